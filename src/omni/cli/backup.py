"""`omni backup`: a copy of the log as of one moment, made while the daemon runs, verified before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from omni.cli.exits import BadUsage
from omni.domain.errors import EventLogError, NotFound

if TYPE_CHECKING:
    from omni.replay.verify import Report


def backup(database: Path, target: Path, count: Callable[[int], None]) -> Report:
    """Copy the log to `target`, which must not exist yet. Raises BadUsage, NotFound, EventLogError."""
    from omni.replay.history import History
    from omni.replay.verify import verify

    if not database.exists():
        raise NotFound(f"there is no event log at {database}", hint="omni serve makes one; --data-dir names another")
    if target.exists():
        raise BadUsage(f"{target} exists already", hint="omni backup, with a name that is free")
    if not target.parent.is_dir():
        raise BadUsage(f"there is no directory {target.parent}", hint=f"mkdir -p {target.parent}")
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        _copy(database, unfinished)
        with History.at(unfinished) as history:
            report = verify(history.reader, count)
        _name(unfinished, target)
    finally:
        for left in (
            unfinished,
            *(unfinished.with_name(unfinished.name + end) for end in ("-wal", "-shm", "-journal")),
        ):
            left.unlink(missing_ok=True)
    return report


def _copy(database: Path, unfinished: Path) -> None:
    import apsw

    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    source = apsw.Connection(str(database), apsw.SQLITE_OPEN_READWRITE)
    try:
        source.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        source.set_busy_timeout(5_000)
        source.execute("VACUUM INTO ?", (str(unfinished),))
    except apsw.Error as error:
        raise EventLogError(f"the event log {database} cannot be copied: {error}", hint="omni verify") from error
    finally:
        source.close()


def _name(unfinished: Path, target: Path) -> None:
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    os.link(unfinished, target)  # unlike a rename, a link never replaces what got that name in the meantime
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

"""One daemon per log: an advisory lock held for life on a file of its own.

The lock file is never deleted. Should somebody delete it, a second daemon gets in; the epoch row that every opening
adds to the database then stops the first one at its next append (see `sqlite.py`).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from omni.domain.errors import LogLocked


def lock_path(database: Path) -> Path:
    """The file of a log that its daemon holds; its content is that daemon's pid."""
    return database.with_name(database.name + ".lock")


class DaemonLock:
    """An exclusive lock beside the database; the kernel lets go of it when the process dies."""

    def __init__(self, database: Path) -> None:
        self._fd = os.open(lock_path(database), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as refused:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise LogLocked(
                f"another daemon, pid {holder}, holds the event log {database}",
                hint="omni status shows that daemon; to start another, end that process, then omni serve",
            ) from refused
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let the next daemon in."""
        os.close(self._fd)


class Holder(NamedTuple):
    """Who holds the log: whether anybody does, and the pid that the lock file names."""

    held: bool
    pid: int | None


def holder(database: Path) -> Holder:
    """Find out who holds the log, for a moment as a second shared holder where nobody else does."""
    try:
        fd = os.open(lock_path(database), os.O_RDONLY)
    except OSError:
        return Holder(held=False, pid=None)
    said = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
    pid = int(said) if said.isdigit() else None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return Holder(held=True, pid=pid)
    finally:
        os.close(fd)
    return Holder(held=False, pid=pid)

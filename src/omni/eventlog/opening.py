"""What is looked at before a log is believed: the end of the chain, and the witness beside it.

What the head marker says, and what follows:

    marker absent or torn        noted, the log goes on and the marker is written afresh
    marker behind or at the end  its hash must be the log's hash there, else somebody replaced the history
    marker beyond the end        acknowledged events are gone: LostTail, unless the owner accepts the loss
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import apsw

from omni.domain.errors import CorruptLog, LostTail
from omni.eventlog.chain import COLUMNS, GENESIS, is_sealed
from omni.eventlog.marker import read_marker
from omni.eventlog.store import Head

TAIL_ROWS: Final = 1_000
_RESTORE: Final = "omni verify, then restore a backup of the log"
_ALL: Final = ", ".join(COLUMNS)


def read_head(connection: apsw.Connection) -> Head:
    """Return the end of the log as this connection sees it."""
    sql = "SELECT position, hash FROM events ORDER BY position DESC LIMIT 1"
    found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return Head(*found[0]) if found else Head(0, GENESIS)


def check_tail(connection: apsw.Connection, rows: int) -> None:
    """Raise CorruptLog unless the last rows are dense, unchanged and chained to each other."""
    sql = f"SELECT * FROM (SELECT {_ALL} FROM events ORDER BY position DESC LIMIT ?) ORDER BY position"  # noqa: S608 - constants
    before: tuple[Any, ...] | None = None
    for row in connection.execute(sql, (rows,)):
        if not is_sealed(row) or not _follows(before, row):
            raise CorruptLog(f"the event log is changed or cut at position {row[0]}", hint=_RESTORE)
        before = row


def check_marker(connection: apsw.Connection, marker: Path, head: Head) -> tuple[Head | None, tuple[str, ...]]:
    """Return the remembered head when it lies beyond the log, with notes; raises CorruptLog on another history."""
    remembered, damaged = read_marker(marker)
    notes = _notes(remembered, damaged=damaged, marker=marker, head=head)
    if remembered is None:
        return None, notes
    if remembered.position > head.position:
        return remembered, notes
    if remembered.hash != _hash_at(connection, remembered.position):
        raise CorruptLog(
            f"the event log has another history than its head marker remembers at position {remembered.position}",
            hint=f"{_RESTORE}; if this log was restored on purpose, move {marker} away first",
        )
    return None, notes


def lost_tail(lost: int, head: Head) -> LostTail:
    """Return the error that says how many acknowledged events are missing."""
    return LostTail(
        f"the event log ends at position {head.position}, but {lost} acknowledged events came after it",
        hint="restore a backup of the log, or omni serve --accept-loss to go on without them",
    )


def _follows(before: tuple[Any, ...] | None, row: tuple[Any, ...]) -> bool:
    if before is None:
        return bool(row[0] > 1 or row[-2] == GENESIS)
    return bool(row[0] == before[0] + 1 and row[-2] == before[-1])


def _hash_at(connection: apsw.Connection, position: int) -> bytes | None:
    if position == 0:
        return GENESIS
    found: Any = connection.execute("SELECT hash FROM events WHERE position = ?", (position,)).get
    return cast("bytes | None", found)


def _notes(remembered: Head | None, *, damaged: bool, marker: Path, head: Head) -> tuple[str, ...]:
    blind = "a lost tail could not be noticed this time"
    if damaged and remembered:
        return (f"the head marker {marker} has a damaged slot; the other one was used",)
    if damaged:
        return (f"the head marker {marker} is damaged; {blind}",)
    if remembered is None and head.position:
        return (f"the head marker {marker} is missing; {blind}",)
    return ()

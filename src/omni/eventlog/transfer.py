"""A log as JSON lines and back: the same rows, hashes and head elsewhere, or a range of it to read.

Both ways the chain is followed row by row, and memory holds one batch of rows and one payload at a time. A range
carries the payloads of its own rows only and cannot be imported: its chain has no beginning, or no end. The shapes of
the lines stand in `transfer_lines.py`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import apsw
import msgspec

from omni import __version__
from omni.domain.errors import CorruptLog, EventLogError
from omni.eventlog.chain import COLUMNS, GENESIS, is_sealed
from omni.eventlog.connection import SharedReader, connect_writer, transaction, translated
from omni.eventlog.files import sync
from omni.eventlog.marker import HeadMarker, marker_path
from omni.eventlog.payloads import hashes_in, is_stub
from omni.eventlog.store import Head
from omni.eventlog.transfer_lines import (
    BlobLine,
    EndLine,
    EpochLine,
    EventLine,
    HeaderLine,
    Line,
    LineReader,
    LineWriter,
    There,
    event_line,
)

TRANSFER_FORMAT: Final = 1
BATCH: Final = 1_000
_ALL: Final = ", ".join(COLUMNS)
_ROWS: Final = f"SELECT {_ALL} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT {BATCH}"  # noqa: S608 - constants
_EPOCHS: Final = "SELECT epoch, boot, pid, position, accepted_loss FROM epochs ORDER BY epoch"
_INSERT_EVENT: Final = f"INSERT INTO events VALUES({','.join('?' * len(COLUMNS))})"
_UNEVEN: Final = (
    "SELECT stream FROM events GROUP BY stream HAVING min(version) <> 1 OR max(version) <> count(*) LIMIT 1"
)

Count = Callable[[int], None]


# --- out ------------------------------------------------------------------------------------------------------------


def export_jsonl(
    database: Path, out: BinaryIO, after: int = 0, until: int | None = None, count: Count = lambda _: None
) -> int:
    """Write a log, or the events with `after < position <= until`, and return how many events were written.

    A daemon may go on writing meanwhile: the export ends where the log ended when it began. Raises CorruptLog where the
    log is damaged, before it writes the row.
    """
    rows = SharedReader(database)
    try:
        return _Export(rows, out).run(after, until, count)
    finally:
        rows.close()


class _Export:
    def __init__(self, rows: SharedReader, out: BinaryIO) -> None:
        self._rows = rows.rows
        self._lines = LineWriter(out)

    def run(self, after: int, until: int | None, count: Count) -> int:
        head = self._head()
        after, until = max(after, 0), head.position if until is None else min(until, head.position)
        whole = (after, until) == (0, head.position)
        there = There(head.position, head.hash.hex())
        self._lines.write(HeaderLine(TRANSFER_FORMAT, __version__, whole, after, until, there))
        if whole:
            self._epochs_and_blobs()
        written = self._events(after, until, count, payloads=not whole)
        self._lines.end(written)
        return written

    def _head(self) -> Head:
        found = self._rows("SELECT position, hash FROM events ORDER BY position DESC LIMIT 1")
        return Head(*found[0]) if found else Head(0, GENESIS)

    def _epochs_and_blobs(self) -> None:
        for row in self._rows(_EPOCHS):
            self._lines.write(EpochLine(*row))
        last = b""
        while found := self._rows("SELECT hash FROM blobs WHERE hash > ? ORDER BY hash LIMIT ?", (last, BATCH)):
            for (digest,) in found:
                self._blob(digest)
            last = found[-1][0]

    def _blob(self, digest: bytes) -> None:
        found = self._rows("SELECT bytes, data FROM blobs WHERE hash = ?", (digest,))
        if not found:
            raise CorruptLog(f"payload {digest.hex()} is missing from the log", hint="omni verify")
        size, content = found[0]
        if content is not None and hashlib.sha256(content).digest() != digest:
            raise CorruptLog(f"payload {digest.hex()} was changed", hint="omni verify")
        text = None if content is None else base64.b64encode(content).decode("ascii")
        self._lines.write(BlobLine(digest.hex(), size, text))

    def _events(self, after: int, until: int, count: Count, *, payloads: bool) -> int:
        link = _Link(after, self._hash_at(after))
        while link.position < until:
            batch = self._rows(_ROWS, (link.position, until))
            for row in batch:
                link.follow(row)
                for digest in _payloads_of(row) if payloads else ():
                    self._blob(digest)
                self._lines.write(event_line(row))
            if not batch:
                raise CorruptLog(f"position {link.position + 1} is missing from the log", hint="omni verify")
            count(link.position - after)
        return max(until - after, 0)

    def _hash_at(self, position: int) -> bytes:
        found = self._rows("SELECT hash FROM events WHERE position = ?", (position,)) if position else []
        return bytes(found[0][0]) if found else GENESIS


class _Link:
    """The end of a chain that is followed row by row."""

    def __init__(self, position: int, hash: bytes) -> None:  # noqa: A002
        self.position = position
        self.hash = hash

    def follow(self, row: tuple[Any, ...]) -> None:
        """Raise CorruptLog unless a row is the next one, and as it was written."""
        position, previous, own = row[0], row[-2], row[-1]
        if position != self.position + 1:
            raise CorruptLog(f"position {position} follows {self.position}", hint="omni verify")
        if previous != self.hash or not is_sealed(row):
            raise CorruptLog(f"position {position} ({row[3]} of {row[1]}) was changed", hint="omni verify")
        self.position, self.hash = position, own


# --- in -------------------------------------------------------------------------------------------------------------


def import_jsonl(source: BinaryIO, database: Path, count: Count = lambda _: None) -> Head:
    """Make a log of a whole export, with the same rows and hashes, and return its head.

    Nothing may be there yet under this name, and until all is well nothing is. Raises CorruptLog that names the line
    that cannot be taken, EventLogError when there is a log already, LogUnavailable when the disk takes no more.
    """
    _require_free(database)
    scratch = database.with_name(f"{database.name}.{os.getpid()}.importing")
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear(scratch)
        with translated(scratch):
            head = _fill(scratch, source, count)
        sync(scratch)
        _place(scratch, database)
        HeadMarker(marker_path(database), head).close()
        sync(database.parent)
    except OSError as error:
        what = f"{database} cannot be written: {error.strerror or error}"
        raise EventLogError(what, hint=f"ls -ld {database.parent}") from error
    finally:
        with contextlib.suppress(OSError):
            _clear(scratch)
    return head


def _fill(scratch: Path, source: BinaryIO, count: Count) -> Head:
    # Nothing of it counts before it is whole and synced, so no commit on the way needs a sync of its own.
    connection = connect_writer(scratch, None, "OFF")
    try:
        head = _Import(connection, source, count).run()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return head
    finally:
        connection.close()


# What can be wrong with a line that somebody has made, and has given a check of its own.
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, KeyError, OverflowError, RecursionError)
_UNTAKEN = (*_UNREADABLE, apsw.ConstraintError)
_CALENDAR_MS: Final = range(253_370_764_800_000)  # 1970 to 9998: in some zone, no other time could be shown


class _Import:
    def __init__(self, connection: apsw.Connection, source: BinaryIO, count: Count) -> None:
        self._execute = connection.execute
        self._connection = connection
        self._lines = LineReader(source)
        self._count = count
        self._link = _Link(0, GENESIS)
        self._epoch = 0
        self._blob = ""
        self._take: dict[type[Any], Callable[[Any], None]] = {
            EpochLine: self._take_epoch,
            BlobLine: self._take_blob,
            EventLine: self._take_event,
        }

    def run(self) -> Head:
        lines = iter(self._lines)
        header = self._head(next(lines, None))
        ended = False
        while not ended:
            with transaction(self._connection):
                ended = self._batch(lines)
            self._count(self._link.position)
        return self._closed(header)

    def _head(self, line: Line | None) -> HeaderLine:
        if not isinstance(line, HeaderLine):
            raise self._lines.refused("an export begins with a header")
        if line.format != TRANSFER_FORMAT:
            raise self._lines.refused(
                f"it has format {line.format}, and this omni knows format {TRANSFER_FORMAT}; omni {line.omni} wrote it"
            )
        if not line.whole:
            raise self._lines.refused(
                f"it is a part of a log, from position {line.after + 1} to {line.until} of {line.head.position}, "
                "which can be read, but makes no log"
            )
        return line

    def _batch(self, lines: Iterator[Line]) -> bool:
        """Take a number of lines; whether the last one was among them."""
        for _ in range(BATCH):
            line = next(lines, None)
            if line is None:
                raise self._lines.refused("the export ends here, without its last line")
            if isinstance(line, EndLine):
                self._end(line)
                return True
            self._taken(line)
        return False

    def _taken(self, line: Line) -> None:
        try:
            self._take[type(line)](line)
        except _UNTAKEN as error:
            raise self._lines.refused(f"it holds what no log holds: {error!r}") from error

    def _take_epoch(self, line: EpochLine) -> None:
        if line.epoch != self._epoch + 1 or self._blob or self._link.position:
            raise self._lines.refused(f"epoch {line.epoch} is out of order")
        self._epoch = line.epoch
        self._execute("INSERT INTO epochs VALUES(?, ?, ?, ?, ?)", msgspec.structs.astuple(line))

    def _take_blob(self, line: BlobLine) -> None:
        if line.hash <= self._blob or self._link.position:
            raise self._lines.refused(f"payload {line.hash} is out of order")
        content = None if line.data is None else _unpacked(line.data)
        sound = line.data is None or (
            content is not None and len(content) == line.bytes and hashlib.sha256(content).hexdigest() == line.hash
        )
        if not sound:
            raise self._lines.refused(f"payload {line.hash} was changed")
        self._blob = line.hash
        self._execute("INSERT INTO blobs VALUES(?, ?, ?)", (bytes.fromhex(line.hash), line.bytes, content))

    def _take_event(self, line: EventLine) -> None:
        row = line.row
        if line.at_ms not in _CALENDAR_MS:
            raise ValueError(f"the time {line.at_ms}")
        try:
            self._link.follow(row)
        except CorruptLog as error:
            raise self._lines.refused(error.message) from error
        for digest in _payloads_of(row):
            if not self._execute("SELECT count(*) FROM blobs WHERE hash = ?", (digest,)).get:
                raise self._lines.refused(f"payload {digest.hex()} of position {line.position} is missing")
        self._execute(_INSERT_EVENT, row)

    def _end(self, line: EndLine) -> None:
        if line.sha256 != self._lines.before or line.events != self._link.position:
            raise self._lines.refused("the last line speaks of other lines than those before it")
        if self._lines.more():
            raise self._lines.refused("something follows the last line")

    def _closed(self, header: HeaderLine) -> Head:
        head = Head(self._link.position, self._link.hash)
        if header.head != There(head.position, head.hash.hex()):
            raise self._lines.refused("the events end elsewhere than the header says")
        if (uneven := self._execute(_UNEVEN).get) is not None:
            raise self._lines.refused(f"the versions of {uneven} have gaps")
        return head


def _payloads_of(row: tuple[Any, ...]) -> list[bytes]:
    return [digest for text in (row[10], row[11]) if text is not None and is_stub(text) for digest in hashes_in(text)]


def _unpacked(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _require_free(database: Path) -> None:
    """Raise EventLogError if there is a log, or what is left of one: SQLite would take an old -wal for the new one."""
    for path in (database, marker_path(database), Path(f"{database}-wal"), Path(f"{database}-shm")):
        if os.path.lexists(path):  # a link to nowhere would be followed
            raise EventLogError(
                f"{path} exists already, and an import overwrites nothing",
                hint="omni --data-dir DIR replay import FILE, with a directory that has no log",
            )


def _clear(scratch: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{scratch}{suffix}").unlink(missing_ok=True)


def _place(scratch: Path, database: Path) -> None:
    """Give it its name, unless somebody has taken that meanwhile: a link, unlike a rename, replaces nothing."""
    try:
        os.link(scratch, database)
    except FileExistsError as error:
        raise EventLogError(f"{database} has come into being meanwhile", hint="omni status") from error
    except OSError:  # a file system without links
        _require_free(database)
        scratch.rename(database)

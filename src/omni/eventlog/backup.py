"""A copy of the log as of one moment, and the full check of a log, row by row.

A check looks at everything that opening a log trusts:

    SQLite's own integrity      page structure, index against table, column types
    schema                      the tables and triggers are ours, to the letter
    rows                        positions and versions dense, hashes right, chain unbroken, events decodable
    large payloads              present or erased on purpose, and hashing to their name
    head marker                 the log reaches as far as it was once acknowledged, on the same history
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from omni.domain.errors import CorruptLog, EventLogError
from omni.eventlog.chain import COLUMNS, GENESIS, is_sealed
from omni.eventlog.codec import Codec, grow
from omni.eventlog.connection import BUSY_TIMEOUT_MS, SCHEMA, Rows, SharedReader, connect_reader, translated
from omni.eventlog.files import sync
from omni.eventlog.marker import marker_path, read_marker
from omni.eventlog.payloads import hashes_in, is_stub
from omni.eventlog.reader import SMALL_BATCH_ROWS
from omni.eventlog.store import Head, Row

PROBLEMS_KEPT: Final = 100
_ALL: Final = ", ".join(COLUMNS)
_ROWS: Final = (
    f"SELECT {_ALL} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT {SMALL_BATCH_ROWS}"  # noqa: S608 - constants
)

Progress = Callable[[int], None]


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong; position 0 means the log as a whole."""

    position: int
    what: str


class VerifyReport(msgspec.Struct, frozen=True):
    """What a full check saw; it keeps the first hundred problems and counts the rest in one line."""

    events: int
    streams: int
    head: Head
    problems: list[Problem]
    erased: frozenset[str] = frozenset()  # large payloads that are gone on purpose, by their hashes

    @property
    def ok(self) -> bool:
        """Whether the log is whole and unchanged."""
        return not self.problems


def backup(path: Path, dest: Path, codec: Codec, progress: Progress = lambda _: None) -> VerifyReport:
    """Copy the log to `dest`, which must not exist, while a daemon may go on writing, and check the copy.

    The copy gets its name only when it is complete and on the disk. A copy with problems is kept and the report names
    them: it may be all that is left. Raises EventLogError when no copy could be made.
    """
    _claim(dest)
    unfinished = dest.with_name(f"{dest.name}.unfinished")
    try:
        _copy(path, unfinished)
        report = verify(unfinished, codec, progress)
        unfinished.rename(dest)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        dest.unlink(missing_ok=True)
        raise
    sync(dest.parent)
    return report


def verify(path: Path, codec: Codec, progress: Progress = lambda _: None) -> VerifyReport:
    """Check a whole log, alive or at rest, and report what is wrong; raises EventLogError when there is none."""
    check = RowCheck(path, codec)
    for _ in check.events(progress):
        pass
    return check.report()


class RowCheck:
    """One pass over a log; what it must remember grows with the number of streams only."""

    def __init__(self, path: Path, codec: Codec) -> None:
        self.sound = True  # nothing has been found wrong so far
        self._path = path
        self._decode = codec.decode
        self._position = 0
        self._previous = GENESIS
        self._versions: dict[str, int] = {}
        self._blobs: dict[bytes, bool] = {}  # whether it is there, or erased
        self._problems: list[Problem] = []
        self._dropped = 0
        self._seen = 0

    def events(self, progress: Progress = lambda _: None) -> Iterator[tuple[Row, Any]]:
        """Check row after row, and yield each with its event; None where that cannot be read."""
        # The marker first: what is appended while we read can only bring the log further ahead of it.
        remembered, _ = read_marker(marker_path(self._path))
        try:
            rows = SharedReader(self._path)
        except CorruptLog as error:
            self.note(0, error.message)
            return
        self._rows = rows
        try:
            yield from self._events(rows, remembered, progress)
        except EventLogError as error:
            self.note(self._position, error.message)
        finally:
            rows.close()

    def note(self, position: int, what: str) -> None:
        """Keep a problem, or count it where there are too many."""
        self.sound = False
        if len(self._problems) < PROBLEMS_KEPT:
            self._problems.append(Problem(position, what))
        else:
            self._dropped += 1

    def report(self) -> VerifyReport:
        """What was seen so far."""
        more = [Problem(0, f"{self._dropped} further problems")] if self._dropped else []
        head = Head(self._position, self._previous)
        return VerifyReport(self._seen, len(self._versions), head, self._problems + more, self.erased)

    @property
    def erased(self) -> frozenset[str]:
        """Large payloads that are gone on purpose, by their hashes."""
        return frozenset(digest.hex() for digest, there in self._blobs.items() if not there)

    def whole(self, text: str) -> str:
        """The JSON of a body or an input as it was written, while its row is looked at."""
        return grow(text, lambda digest: _content(self._rows, digest)) if is_stub(text) else text

    def _events(self, rows: SharedReader, remembered: Head | None, progress: Progress) -> Iterator[tuple[Row, Any]]:
        last = rows.rows("SELECT max(position) FROM events")[0][0] or 0
        self._structure(rows)
        self._payloads(rows)
        at = 0
        while batch := rows.rows(_ROWS, (at, last)):
            yield from self._batch(batch, remembered)
            progress(self._seen)
            if batch[-1][0] <= at:  # damaged pages can lead in circles
                self.note(at, "the rows after this one are out of order")
                return
            at = batch[-1][0]
        self._reach(remembered)

    def _structure(self, rows: SharedReader) -> None:
        for (line,) in rows.rows("PRAGMA integrity_check"):
            if line != "ok":
                self.note(0, f"integrity check: {line}")
        found: dict[str, str] = dict(rows.rows("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"))
        for name in sorted(found.keys() | SCHEMA.keys()):
            if found.get(name) != SCHEMA.get(name):
                self.note(0, f"schema: {name} is not what omni created")

    def _payloads(self, rows: SharedReader) -> None:
        for (digest,) in rows.rows("SELECT hash FROM blobs"):
            size, content = rows.rows("SELECT bytes, data FROM blobs WHERE hash = ?", (digest,))[0]
            sound = content is None or (len(content) == size and hashlib.sha256(content).digest() == digest)
            if not sound:
                self.note(0, f"payload {digest.hex()} was changed")
            self._blobs[digest] = content is not None

    def _batch(self, batch: Rows, remembered: Head | None) -> Iterator[tuple[Row, Any]]:
        chained, versions = self._chained(batch), self._versions
        for row in batch:
            position, stream, version = row[0], row[1], row[2]
            if not chained or version != versions.get(stream, 0) + 1:
                for what in self._faults(row):
                    self.note(position, what)
            if remembered and position == remembered.position and row[-1] != remembered.hash:
                self.note(position, "the head marker remembers another history")
            versions[stream] = version
            self._position, self._previous = position, row[-1]
            self._seen += 1
            yield row, self._read(row)

    def _chained(self, batch: Rows) -> bool:
        """Whether there is nothing to say about many rows but for their versions; `_faults` says what there is."""
        dense = [row[0] for row in batch] == list(range(self._position + 1, self._position + 1 + len(batch)))
        before = [self._previous, *(row[-1] for row in batch)]
        return dense and [row[-2] for row in batch] == before[:-1] and all(map(is_sealed, batch))

    def _faults(self, row: Row) -> Iterator[str]:
        position, stream, version = row[:3]
        if position != self._position + 1:
            yield f"positions {self._position + 1} to {position - 1} are missing"
        if version != (wanted := self._versions.get(stream, 0) + 1):
            yield f"{stream} goes on with version {version} where {wanted} is next"
        if row[-2] != self._previous:
            yield "the chain to the event before is broken"
        if not is_sealed(row):
            yield f"{row[3]} of {stream} was changed"

    def _read(self, row: Row) -> Any:
        name, schema, body, raw = row[3], row[4], row[10], row[11]
        try:
            if is_stub(body) or (raw is not None and is_stub(raw)):
                self._payloads_of(row[0], (body, raw))
                body = self.whole(body)
            return self._decode(name, schema, body)
        except CorruptLog as error:
            self.note(row[0], error.message)
        except (AttributeError, TypeError, ValueError, KeyError, msgspec.MsgspecError) as error:
            self.note(row[0], f"a column holds the wrong kind of value: {error}")
        return None

    def _payloads_of(self, position: int, texts: tuple[Any, ...]) -> None:
        for digest in (each for text in texts if is_stub(text) for each in hashes_in(text)):
            if digest not in self._blobs:
                self.note(position, f"payload {digest.hex()} is missing")

    def _reach(self, remembered: Head | None) -> None:
        if remembered and remembered.position > self._position:
            lost = remembered.position - self._position
            self.note(self._position, f"{lost} acknowledged events after this one are missing")


def _content(rows: SharedReader, digest: bytes) -> bytes | None:
    found = rows.rows("SELECT data FROM blobs WHERE hash = ?", (digest,))
    return found[0][0] if found else None


def _claim(dest: Path) -> None:
    """Take the name with an empty file, so that nothing is ever overwritten."""
    try:
        os.close(os.open(dest, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise EventLogError(f"{dest} exists already", hint="omni backup, with a name that is free") from error
    except OSError as error:
        raise EventLogError(f"{dest} cannot be written: {error.strerror}", hint=f"ls -ld {dest.parent}") from error


def _copy(path: Path, unfinished: Path) -> None:
    unfinished.unlink(missing_ok=True)
    _claim(unfinished)
    with translated(path):
        source = connect_reader(path)
        try:
            source.set_busy_timeout(BUSY_TIMEOUT_MS)
            source.pragma("query_only", 0)
            source.execute("VACUUM INTO ?", (str(unfinished),))
        except apsw.FullError as error:
            raise EventLogError(f"the disk under {unfinished} is full", hint=f"df -h {unfinished.parent}") from error
        finally:
            source.close()
    sync(unfinished)

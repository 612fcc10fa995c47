"""Reading the log: in order, by stream, by prefix; for the daemon, for replay and for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from omni.domain.errors import CorruptLog
from omni.eventlog.chain import COLUMNS, GENESIS, is_sealed
from omni.eventlog.codec import Codec, grow
from omni.eventlog.connection import Rows, SharedReader
from omni.eventlog.payloads import is_stub
from omni.eventlog.store import Head, Mark, Recorded, Row

BATCH_ROWS: Final = 2_000
SMALL_BATCH_ROWS: Final = 400  # for who reads all of a log: these fit the cache of a processor
_VERIFY: Final = "omni verify"
_ALL: Final = ", ".join(COLUMNS)
_NEEDED: Final = ", ".join(COLUMNS[:-2])
_STREAM: Final = f"SELECT {_NEEDED} FROM events WHERE stream = ? ORDER BY version"  # noqa: S608 - constants
_MARKS: Final = (
    "SELECT position, stream, type, at_ms, actor FROM events WHERE position > ? AND position <= ? ORDER BY position"
)
# U+10FFFF sorts after every other character in SQLite's binary order, which is the order of UTF-8 bytes.
_LAST: Final = "\U0010ffff"


class LogReader:
    """The log for reading; holds no transaction between calls, so it never keeps the writer from checkpointing."""

    def __init__(self, rows: SharedReader, codec: Codec) -> None:
        self._shared = rows
        self._rows = rows.rows
        self._codec = codec

    @property
    def head(self) -> Head:
        """The end of the log now."""
        found = self._rows("SELECT position, hash FROM events ORDER BY position DESC LIMIT 1")
        return Head(*found[0]) if found else Head(0, GENESIS)

    def read(
        self, after: int = 0, *, prefixes: Sequence[str] = (), until: int | None = None, check: bool = False
    ) -> Iterator[Recorded]:
        """Yield events in order; raises CorruptLog at the first that is missing or cannot be read.

        With `check` each row's hash is recomputed, and without prefixes the chain is followed from `after` on.
        """
        sql, bindings = _batch_query(prefixes, check=check)
        last = self.head.position if until is None else until
        previous = self.hash_at(after) if check and not prefixes else None
        while after < last:
            rows = self._rows(sql, (after, last, *bindings))
            if not prefixes:
                _require_dense(rows, after)
            if check:
                previous = _require_chained(rows, previous)
            yield from map(self.recorded, rows)
            if len(rows) < BATCH_ROWS:
                return
            after = _further(rows[-1][0], after)

    def facts(
        self, after: int, prefixes: Sequence[str], *, until: int | None = None, types: Sequence[str] = ()
    ) -> Iterator[tuple[int, str, int, Any]]:
        """Yield (position, stream, at_ms, event) in order: all that a fold needs, at half the price of `read`."""
        wanted, bindings = _facts_query(prefixes, self._codec.stored_as(types))
        decode, last = self._codec.decode, self.head.position if until is None else until
        while after < last:
            rows = self._rows(wanted, (after, last, *bindings))
            for position, stream, at_ms, name, schema, body in rows:
                event = decode(name, schema, grow(body, self.blob) if is_stub(body) else body)
                if not types or event.__struct_config__.tag in types:
                    yield position, stream, at_ms, event
            if len(rows) < BATCH_ROWS:
                return
            after = _further(rows[-1][0], after)

    def last(self, stream: str, type_name: str, until: int) -> Recorded | None:
        """Return the newest event of one type in one stream up to a position, going backwards from its end."""
        names = self._codec.stored_as((type_name,))
        while rows := self._rows(_newest_query(len(names)), (stream, until, *names)):
            found = self.recorded(rows[0])
            if found.event.__struct_config__.tag == type_name:
                return found
            until = found.position - 1
        return None

    def at_ms(self, position: int) -> int | None:
        """Return the wall-clock time of the event at a position; None where there is none."""
        found = self._rows("SELECT at_ms FROM events WHERE position = ?", (position,))
        return int(found[0][0]) if found else None

    def marks(self, after: int, limit: int) -> list[Mark]:
        """Return that something happened, without what: bounded however large the events are.

        Raises CorruptLog at the first that is missing.
        """
        rows = self._rows(_MARKS, (after, after + limit))
        _require_dense(rows, after)
        return [Mark(*row) for row in rows]

    def stream(self, stream: str) -> list[Recorded]:
        """Return one stream from its first event on."""
        return [self.recorded(row) for row in self._rows(_STREAM, (stream,))]

    def find_streams(self, prefix: str, limit: int) -> list[str]:
        """Return the first streams, by name, that start with the prefix."""
        sql = "SELECT DISTINCT stream FROM events WHERE stream >= ? AND stream < ? ORDER BY stream LIMIT ?"
        return [str(row[0]) for row in self._rows(sql, (prefix, prefix + _LAST, limit))]

    def hash_at(self, position: int) -> bytes | None:
        """Return the chain's hash at a position; None beyond the end."""
        if position == 0:
            return GENESIS
        found = self._rows("SELECT hash FROM events WHERE position = ?", (position,))
        return found[0][0] if found else None

    def blob(self, digest: bytes) -> bytes | None:
        """Return a large payload, or None if it was erased; raises CorruptLog if it was never there."""
        found = self._rows("SELECT data FROM blobs WHERE hash = ?", (digest,))
        if not found:
            raise CorruptLog(f"payload {digest.hex()} is missing from the log", hint=_VERIFY)
        content: bytes | None = found[0][0]
        if content is not None and sha256(content).digest() != digest:
            raise CorruptLog(f"payload {digest.hex()} was changed", hint=_VERIFY)
        return content

    def erased(self) -> list[bytes]:
        """Return the hashes of all payloads that were erased, in order."""
        return [row[0] for row in self._rows("SELECT hash FROM blobs WHERE data IS NULL ORDER BY hash")]

    def close(self) -> None:
        """Let go of the database."""
        self._shared.close()

    def rows(self, after: int, until: int) -> Iterator[Row]:
        """Yield the rows with `after < position <= until` as they are stored, without their hashes.

        Raises CorruptLog at the first that is missing.
        """
        sql, _ = _batch_query((), check=False, limit=SMALL_BATCH_ROWS)
        while after < until:
            rows = self._rows(sql, (after, until))
            _require_dense(rows, after)
            yield from rows
            if len(rows) < SMALL_BATCH_ROWS:
                return
            after = _further(rows[-1][0], after)

    def recorded(self, row: Row) -> Recorded:
        """Return what a row says; raises CorruptLog where it cannot be read."""
        position, stream, version, name, schema, at_ms, mono_ms, boot, actor, cause, body, raw, *_ = row
        try:
            if is_stub(body):
                body = grow(body, self.blob)
            if raw is not None:
                raw = grow(raw, self.blob).encode()
        except (AttributeError, TypeError) as error:  # damage can put a number where a text was
            raise CorruptLog(f"position {position} holds no text: {error}", hint=_VERIFY) from error
        event = self._codec.decode(name, schema, body)
        return Recorded(position, stream, version, event, at_ms, mono_ms, boot, actor, cause, raw)


def open_reader(path: Path, codec: Codec) -> LogReader:
    """Open the log to read it, whether a daemon is alive or not; takes no lock."""
    return LogReader(SharedReader(path), codec)


def _require_dense(rows: Rows, after: int) -> None:
    if [row[0] for row in rows] == list(range(after + 1, after + 1 + len(rows))):
        return
    for expected, row in enumerate(rows, after + 1):
        if row[0] != expected:
            raise CorruptLog(f"position {expected} is missing from the log", hint=_VERIFY)


def _require_chained(rows: Rows, previous: bytes | None) -> bytes | None:
    """Return the hash that the next batch must follow; None where rows are left out and each stands alone."""
    follow = previous is not None
    for row in rows:
        if not is_sealed(row) or (follow and row[-2] != previous):
            raise CorruptLog(f"position {row[0]} ({row[3]} of {row[1]}) was changed", hint=_VERIFY)
        previous = row[-1]
    return previous if follow else None


def _batch_query(prefixes: Sequence[str], *, check: bool, limit: int = BATCH_ROWS) -> tuple[str, tuple[object, ...]]:
    # The plus keeps SQLite on the primary key: walking the stream index would need a sort of everything it finds.
    ranges = " OR ".join(["(+stream >= ? AND +stream < ?)"] * len(prefixes))
    where = f" AND ({ranges})" if prefixes else ""
    sql = (
        f"SELECT {_ALL if check else _NEEDED} FROM events "  # noqa: S608 - constants and placeholders only
        f"WHERE position > ? AND position <= ?{where} ORDER BY position LIMIT {limit}"
    )
    return sql, tuple(bound for prefix in prefixes for bound in (prefix, prefix + _LAST))


def _facts_query(prefixes: Sequence[str], types: Sequence[str]) -> tuple[str, tuple[object, ...]]:
    """All rows of whole streams come by the stream index, which is quick for a few; a prefix needs the walk."""
    columns = "position, stream, at_ms, type, schema, body"
    of_type = f" AND type IN ({','.join('?' * len(types))})" if types else ""
    if prefixes and not any(prefix.endswith("-") for prefix in prefixes):
        names = ",".join("?" * len(prefixes))
        sql = (
            f"SELECT {columns} FROM events WHERE +position > ? AND +position <= ? "  # noqa: S608 - constants only
            f"AND stream IN ({names}){of_type} ORDER BY +position LIMIT {BATCH_ROWS}"
        )
        return sql, (*prefixes, *types)
    bounds = [(prefix, prefix + _LAST if prefix.endswith("-") else prefix) for prefix in prefixes]
    ranges = " OR ".join(["(+stream >= ? AND +stream <= ?)"] * len(bounds))
    of_stream = f" AND ({ranges})" if bounds else ""
    sql = (
        f"SELECT {columns} FROM events "  # noqa: S608 - constants and placeholders only
        f"WHERE position > ? AND position <= ?{of_stream}{of_type} ORDER BY position LIMIT {BATCH_ROWS}"
    )
    return sql, (*(bound for pair in bounds for bound in pair), *types)


def _newest_query(types: int) -> str:
    return (
        f"SELECT {_NEEDED} FROM events WHERE stream = ? AND +position <= ? "  # noqa: S608 - constants
        f"AND type IN ({','.join('?' * types)}) ORDER BY version DESC LIMIT 1"
    )


def _further(position: int, after: int) -> int:
    if position <= after:  # damaged pages can lead in circles
        raise CorruptLog(f"the rows after position {after} are out of order", hint=_VERIFY)
    return position

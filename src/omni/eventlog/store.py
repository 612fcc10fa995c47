"""What the rest of the system may know about the log: records, the protocol, and the ways an append can fail.

Nothing here knows that the log is SQLite. An event's id is `stream:version`; `position` is the one global order.

    EventLogError
    ├── OutcomeUnknown      the commit may or may not be there; throw memory away and read again
    └── BadEvent            the event could be written but never read back, so it was refused
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import msgspec

from omni.domain.errors import EventLogError

Row: TypeAlias = tuple[Any, ...]  # the columns of the log in their order (`omni.eventlog.chain`), as they are stored


class OutcomeUnknown(EventLogError):
    """The commit failed half way: it may survive or not, so memory no longer stands for the log."""


class BadEvent(EventLogError):
    """An event or input that could be written but not read back; refused before anything is written."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event on its way in; `version` is the expected current version plus one."""

    stream: str
    version: int
    event: msgspec.Struct
    at_ms: int
    mono_ms: int
    actor: str
    cause: str
    input: bytes | None = None


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One event as the log holds it."""

    position: int
    stream: str
    version: int
    event: msgspec.Struct
    at_ms: int
    mono_ms: int
    boot: str
    actor: str
    cause: str
    input: bytes | None


class Mark(msgspec.Struct, frozen=True, gc=False):
    """That something was recorded: all but the content."""

    position: int
    stream: str
    type: str
    at_ms: int
    actor: str


class Head(msgspec.Struct, frozen=True):
    """The end of the log: the last position and the hash that vouches for all before it."""

    position: int
    hash: bytes


class EventReader(Protocol):
    """Reading alone: enough for replay and the command line."""

    @property
    def head(self) -> Head:
        """The end of the log now."""
        ...

    def read(
        self, after: int = 0, *, prefixes: Sequence[str] = (), until: int | None = None, check: bool = False
    ) -> Iterator[Recorded]:
        """Yield events with `after < position <= until` in order, only of streams with one of the prefixes.

        No read transaction stays open between batches. `check` recomputes the hash of every row.
        """
        ...

    def rows(self, after: int, until: int) -> Iterator[Row]:
        """Yield the rows with `after < position <= until` as they are stored, in order."""
        ...

    def recorded(self, row: Row) -> Recorded:
        """Return what a row says, its large payloads put back."""
        ...

    def facts(
        self, after: int, prefixes: Sequence[str], *, until: int | None = None, types: Sequence[str] = ()
    ) -> Iterator[tuple[int, str, int, Any]]:
        """Yield (position, stream, at_ms, event) with `after < position <= until`, in order: all that a fold needs.

        A prefix that does not end in a dash is the whole name of a stream; no prefix at all stands for every stream.
        With `types`, only events of these types are read.
        """
        ...

    def last(self, stream: str, type_name: str, until: int) -> Recorded | None:
        """Return the newest event of one type in one stream up to a position; None when there is none."""
        ...

    def at_ms(self, position: int) -> int | None:
        """Return the wall-clock time of the event at a position; None where there is none."""
        ...

    def stream(self, stream: str) -> list[Recorded]:
        """Return one stream from its first event on; empty when there is none."""
        ...

    def find_streams(self, prefix: str, limit: int) -> list[str]:
        """Return the first `limit` streams, by name, that start with the prefix."""
        ...

    def erased(self) -> list[bytes]:
        """Return the hashes of all payloads that were erased, in order."""
        ...

    def hash_at(self, position: int) -> bytes | None:
        """Return the chain's hash at a position, for comparing a snapshot; None beyond the end."""
        ...

    def close(self) -> None:
        """Let go of all files; a second call does nothing."""
        ...


class EventStore(EventReader, Protocol):
    """The one writer of a log. All methods may be called from any thread."""

    boot: str

    def exclusive(self) -> AbstractContextManager[Head]:
        """Hold the writer, re-entrantly: inside, nobody else appends and `head.position + 1` is next."""
        ...

    def append(self, entries: Sequence[Entry], *, from_reserve: bool = False) -> int:
        """Make all entries durable in one transaction, or none, and return the last position.

        `from_reserve` may use the space that was kept back for telling that the disk is full. Raises VersionConflict,
        LogUnavailable, LogLocked or BadEvent with nothing written, and OutcomeUnknown when only a new look can tell.
        """
        ...

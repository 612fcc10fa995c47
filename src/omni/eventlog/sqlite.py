"""The event store over SQLite: one writer, one transaction and so one sync per append.

    append ── check versions ── encode, chain ── BEGIN ─ epoch still ours? ─ INSERT ─ COMMIT
           ── files still there? ── head marker ── acknowledged

A fault before COMMIT leaves nothing behind (LogUnavailable and its kin). A fault of COMMIT itself leaves it open
whether the transaction survives a crash, so it surfaces as OutcomeUnknown; the next use reads the head again. Two
faults are final for this opening: the files were replaced under us, or another daemon took the log over.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeAlias, TypeVar

import apsw

from omni.domain.errors import EventLogError, LogLocked, VersionConflict
from omni.eventlog.ballast import Ballast
from omni.eventlog.chain import COLUMNS, seal
from omni.eventlog.codec import Codec, shrink_event, shrink_input
from omni.eventlog.connection import (
    BUSY_TIMEOUT_MS,
    FileWatch,
    SharedReader,
    connect_writer,
    disk_full,
    transaction,
    translated,
)
from omni.eventlog.file_system import Look, mount_of, require_trusted
from omni.eventlog.lock import DaemonLock
from omni.eventlog.marker import HeadMarker, marker_path, set_aside
from omni.eventlog.opening import TAIL_ROWS, check_marker, check_tail, lost_tail, read_head
from omni.eventlog.payloads import Blobs
from omni.eventlog.reader import LogReader, open_reader
from omni.eventlog.store import BadEvent, Entry, Head, OutcomeUnknown

__all__ = ["SqliteEventStore", "open_reader"]

T = TypeVar("T")
# The last position of an append, what was appended, and how long the whole and its commit took in seconds.
Observer: TypeAlias = Callable[[int, Sequence[Entry], float, float], None]

_WIDTH: Final = len(COLUMNS)
_ROW: Final = "(" + ",".join("?" * _WIDTH) + ")"
# One statement for many rows takes the interpreter lock once; a short ladder keeps the statement cache small.
_INSERTS: Final = [(n, "INSERT INTO events VALUES" + ",".join([_ROW] * n)) for n in (128, 64, 32, 16, 8, 4, 2, 1)]
_KEEP_BLOB: Final = (
    "INSERT INTO blobs VALUES(?, ?, ?) ON CONFLICT(hash) DO UPDATE SET data = excluded.data WHERE data IS NULL"
)
_ERASE_BLOB: Final = "UPDATE blobs SET data = NULL WHERE hash = ? AND data IS NOT NULL"
_VERSIONS_KEPT: Final = 16_384
_TAKEN: Final = (apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY)


class SqliteEventStore(LogReader):
    """The log, open for writing by this process alone."""

    def __init__(self, path: Path, codec: Codec, resources: ExitStack, opened: _Opened) -> None:
        super().__init__(opened.reader, codec)
        self.boot = opened.boot
        self.accepted_loss = opened.accepted_loss
        self.notes = opened.notes
        self._path = path
        self._resources = resources
        self._lock = threading.RLock()
        self._connection = opened.connection
        self._execute = opened.connection.execute
        self._head = opened.head
        self._marker = opened.marker
        self._watch = opened.watch
        self._ballast = opened.ballast
        self._epoch = opened.epoch
        self._versions: dict[str, int] = {}
        self._full = not opened.ballast.take()
        self._stale = False
        self._final: EventLogError | None = None
        self._listeners: list[Callable[[], None]] = []
        self._observers: list[Observer] = []
        self._commit_s = 0.0

    @classmethod
    def open(
        cls,
        path: Path,
        codec: Codec,
        *,
        accept_loss: bool = False,
        vfs: str | None = None,
        synchronous: str = "FULL",
        tail_rows: int = TAIL_ROWS,
        trust_file_system: bool = False,
        look: Look = mount_of,
    ) -> SqliteEventStore:
        """Take the log over for this process, after checking its end against the chain and the head marker.

        `vfs` and `synchronous` exist for tests of power loss, `look` for tests of file systems that are not here.
        Raises UntrustedFileSystem (nothing is written then), LogLocked, LostTail, CorruptLog, LogUnavailable.
        """
        require_trusted(path, trust=trust_file_system, look=look)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as resources:
            opened = _Opened(
                path, resources, accept_loss=accept_loss, vfs=vfs, synchronous=synchronous, tail_rows=tail_rows
            )
            return cls(path, codec, resources.pop_all(), opened)

    @property
    def head(self) -> Head:
        """The end of the log; everything up to it is durable."""
        with self._lock:
            self._refresh()
            return self._head

    @contextmanager
    def exclusive(self) -> Iterator[Head]:
        """Hold the writer, re-entrantly: inside, `head.position + 1` is the next position."""
        with self._lock:
            self._refresh()
            yield self._head

    def append(self, entries: Sequence[Entry], *, from_reserve: bool = False) -> int:
        """Make all entries durable in one transaction, or none, and return the last position."""
        with self._lock:
            self._require_usable(from_reserve=from_reserve)
            if entries:
                began = time.perf_counter()
                versions = self._next_versions(entries)
                blobs: Blobs = {}
                columns, head = self._seal_all(entries, blobs)
                self._transact(columns, blobs, head)
                self._advance(head, versions)
                took_s = time.perf_counter() - began
                for tell in self._listeners:
                    tell()
                for observe in self._observers:
                    observe(head.position, entries, took_s, self._commit_s)
            return self._head.position

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called after each append, in the appending thread: it must not hold that up, nor raise."""
        with self._lock:
            self._listeners.append(tell)

    def observe(self, take: Observer) -> None:
        """Have `take` given each append once it is durable, under the same terms as `watch`, in order of position.

        An append whose outcome was not known is not given, also where it turns out to have gone through.
        """
        with self._lock:
            self._observers.append(take)

    def erase_blob(self, sha256: str) -> bool:
        """Erase a large payload for good and tell whether it was there; the chain stays valid.

        Its bytes are overwritten in the database and the WAL is emptied. Backups and snapshots are separate copies.
        """
        with self._lock:
            self._require_usable(from_reserve=True)
            with translated(self._path):
                with transaction(self._connection):
                    self._require_own_epoch()
                    self._execute(_ERASE_BLOB, (bytes.fromhex(sha256),))
                    erased = self._connection.changes() > 0
                self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return erased

    def close(self) -> None:
        """Checkpoint, sync the marker and let the next daemon in."""
        with self._lock:
            self._final = self._final or EventLogError("the event log is closed", hint="omni serve")
            self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- before the transaction ------------------------------------------------------------------------------------

    def _require_usable(self, *, from_reserve: bool) -> None:
        if self._final is not None:
            raise type(self._final)(self._final.message, hint=self._final.hint)
        self._refresh()
        if self._full and not from_reserve:
            if not self._ballast.take():
                raise disk_full(self._path)
            self._full = False

    def _refresh(self) -> None:
        """Read the head again if the last transaction ended in the dark."""
        if not self._stale or self._final is not None:
            return
        with translated(self._path):
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            self._head = read_head(self._connection)
        self._versions.clear()
        self._stale = False

    def _next_versions(self, entries: Sequence[Entry]) -> dict[str, int]:
        ahead: dict[str, int] = {}
        for entry in entries:
            stream = entry.stream
            current = ahead.get(stream)
            if current is None:
                current = self._version_of(stream, entry.version)
            if entry.version != current + 1:
                raise VersionConflict(
                    f"{stream} is at version {current}, so its next event is not version {entry.version}",
                    hint="omni verify",
                )
            ahead[stream] = entry.version
        return ahead

    def _version_of(self, stream: str, wanted: int) -> int:
        known = self._versions.get(stream)
        if known is not None:
            return known
        if wanted == 1:
            return 0  # most often a new stream; if it is not, the unique index objects
        with translated(self._path):
            return self._execute("SELECT max(version) FROM events WHERE stream = ?", (stream,)).get or 0

    def _seal_all(self, entries: Sequence[Entry], blobs: Blobs) -> tuple[list[Any], Head]:
        """Return the columns of all rows, flat, and the head they lead to."""
        position, previous, boot, encode = self._head.position, self._head.hash, self.boot, self._codec.encode
        flat: list[Any] = []
        for entry in entries:
            position += 1
            name, schema, body = encode(entry.event)
            row = (
                position, entry.stream, entry.version, name, schema, entry.at_ms, entry.mono_ms, boot, entry.actor,
                entry.cause, shrink_event(body, blobs), shrink_input(entry.input, blobs), previous,
            )  # fmt: skip
            try:
                previous = seal(row)
            except (TypeError, ValueError, OverflowError) as error:
                raise BadEvent(f"a column of {name} cannot be stored: {error}") from error
            flat.extend(row)
            flat.append(previous)
        return flat, Head(position, previous)

    # --- the transaction -------------------------------------------------------------------------------------------

    def _transact(self, columns: list[Any], blobs: Blobs, head: Head) -> None:
        # Stale from here until all went well, whatever interrupts us.
        self._stale = True
        try:
            with translated(self._path):
                self._execute("BEGIN IMMEDIATE")
                self._require_own_epoch()
                self._insert(columns, blobs)
        except BaseException as error:
            self._undo(error.__cause__)
            raise
        self._commit(head)
        self._require_unmoved()  # after the commit, so that nothing is acknowledged that went into a deleted file

    def _require_own_epoch(self) -> None:
        newest, boot, pid = self._execute("SELECT epoch, boot, pid FROM epochs ORDER BY epoch DESC LIMIT 1").get
        if newest != self._epoch:
            self._final = LogLocked(
                f"the daemon with pid {pid} (boot {boot}) has taken the event log {self._path} over",
                hint="omni status; this process must end",
            )
            raise self._final

    def _insert(self, columns: list[Any], blobs: Blobs) -> None:
        try:
            for digest, content in blobs.items():
                self._execute(_KEEP_BLOB, (digest, len(content), content))
            at, left = 0, len(columns) // _WIDTH
            for rows, sql in _INSERTS:
                while left >= rows:
                    self._execute(sql, columns[at : at + rows * _WIDTH])
                    at += rows * _WIDTH
                    left -= rows
        except apsw.ConstraintError as error:
            if getattr(error, "extendedresult", 0) in _TAKEN:
                raise VersionConflict(f"a stream has moved on: {error}", hint="omni verify") from error
            raise BadEvent(f"a column cannot be stored: {error}") from error
        except (OverflowError, TypeError) as error:
            raise BadEvent(f"a column cannot be stored: {error}") from error

    def _require_unmoved(self) -> None:
        try:
            self._watch.require_unmoved()
        except EventLogError as error:
            self._final = error
            raise

    def _undo(self, cause: BaseException | None) -> None:
        """Roll back; where the log ends is looked up at the next use."""
        with contextlib.suppress(apsw.Error):
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
        if isinstance(cause, apsw.FullError):
            self._ballast.release()
            self._full = True

    def _commit(self, head: Head) -> None:
        began = time.perf_counter()
        try:
            self._execute("COMMIT")
            self._commit_s = time.perf_counter() - began
        except apsw.Error as error:
            self._undo(error)
            # The frame that makes a transaction valid is written last: where there was no space, it is not there. A
            # failed sync says nothing about what reached the disk.
            if isinstance(error, apsw.FullError) and self._ends_before(head):
                raise disk_full(self._path) from error
            raise OutcomeUnknown(
                f"the disk failed while {self._path} was committed; the transaction may survive or not: {error}",
                hint="omni verify",
            ) from error

    def _ends_before(self, head: Head) -> bool:
        with contextlib.suppress(EventLogError):
            self._refresh()
            return self._head.position < head.position
        return False

    def _advance(self, head: Head, versions: dict[str, int]) -> None:
        self._head = head
        if len(self._versions) + len(versions) > _VERSIONS_KEPT:
            self._versions.clear()
        self._versions.update(versions)
        self._stale = False
        # A marker that cannot be written lags, which is sound; the append itself is durable.
        with contextlib.suppress(OSError):
            self._marker.write(head)


class _Opened:
    """Everything an open log holds, acquired in order; `resources` lets go of it in reverse."""

    def __init__(
        self, path: Path, resources: ExitStack, *, accept_loss: bool, vfs: str | None, synchronous: str, tail_rows: int
    ) -> None:
        lock = DaemonLock(path)
        resources.callback(lock.release)
        self.ballast = Ballast(path)
        with translated(path):
            self.connection = self._make_room(lambda: connect_writer(path, vfs, synchronous))
            resources.callback(self.connection.close)
            self.connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            self.head = read_head(self.connection)
            check_tail(self.connection, tail_rows)
            beyond, self.notes = check_marker(self.connection, marker_path(path), self.head)
            self.accepted_loss = beyond.position - self.head.position if beyond else 0
            if beyond and not accept_loss:
                raise lost_tail(self.accepted_loss, self.head)
            self.epoch, self.boot = self._make_room(self._begin_epoch)
        if beyond:
            set_aside(marker_path(path), beyond, self.boot)
        self.watch = FileWatch(path)
        self.reader = SharedReader(path, vfs)
        resources.callback(self.reader.close)
        self.marker = HeadMarker(marker_path(path), self.head)
        resources.callback(self.marker.close)

    def _make_room(self, work: Callable[[], T]) -> T:
        """Do the work; on a full disk give the ballast up and try once more, so that a daemon can start and say so."""
        try:
            return work()
        except apsw.FullError:
            if not self.ballast.held:
                raise
            self.ballast.release()
            return work()

    def _begin_epoch(self) -> tuple[int, str]:
        """Write down that a new daemon owns the log; the one before it stops at its next append."""
        execute = self.connection.execute
        with transaction(self.connection):
            epoch = (execute("SELECT max(epoch) FROM epochs").get or 0) + 1
            boot = f"{epoch}-{secrets.token_hex(4)}"
            execute(
                "INSERT INTO epochs VALUES(?, ?, ?, ?, ?)",
                (epoch, boot, os.getpid(), self.head.position, self.accepted_loss),
            )
        return epoch, boot

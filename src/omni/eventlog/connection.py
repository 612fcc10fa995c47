"""Connections to the database: schema, pragmas, and which SQLite fault means what.

apsw runs only the first of two pragmas in one string, and SQLite ignores what it does not know. So each pragma is set
alone and read back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from omni.domain.errors import CorruptLog, EventLogError, LogUnavailable
from omni.eventlog.files import sync

APPLICATION_ID: Final = 0x4F6D6E69  # "Omni"
FORMAT: Final = 1
BUSY_TIMEOUT_MS: Final = 5_000

SCHEMA: Final = {
    "events": """CREATE TABLE events(
  position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL,
  schema INTEGER NOT NULL, at_ms INTEGER NOT NULL, mono_ms INTEGER NOT NULL, boot TEXT NOT NULL, actor TEXT NOT NULL,
  cause TEXT NOT NULL, body TEXT NOT NULL, input TEXT, prev_hash BLOB NOT NULL, hash BLOB NOT NULL,
  UNIQUE(stream, version)) STRICT""",
    "blobs": "CREATE TABLE blobs(hash BLOB PRIMARY KEY, bytes INTEGER NOT NULL, data BLOB) STRICT, WITHOUT ROWID",
    "epochs": """CREATE TABLE epochs(
  epoch INTEGER PRIMARY KEY, boot TEXT NOT NULL, pid INTEGER NOT NULL, position INTEGER NOT NULL,
  accepted_loss INTEGER NOT NULL) STRICT""",
    **{
        f"{table}_no_{verb.lower()}": f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table, verb in (("events", "UPDATE"), ("events", "DELETE"), ("epochs", "UPDATE"), ("epochs", "DELETE"),
                            ("blobs", "DELETE"))
    },
}  # fmt: skip

Rows = list[tuple[Any, ...]]

_SYNC_LEVELS: Final = {"OFF": 0, "NORMAL": 1, "FULL": 2, "EXTRA": 3}
_READER_PRAGMAS: Final = (("query_only", 1, 1), ("trusted_schema", 0, 0))
_DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, UnicodeDecodeError)


def connect_writer(database: Path, vfs: str | None, synchronous: str) -> apsw.Connection:
    """Open, or create with mode 0600, the one connection that writes and checkpoints."""
    _create_private(database)
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(str(database), flags, vfs)
    try:
        _set_pragmas(connection, (
            ("journal_mode", "WAL", "wal"), ("synchronous", synchronous, _SYNC_LEVELS[synchronous]),
            ("fullfsync", 1, 1), ("checkpoint_fullfsync", 1, 1), ("recursive_triggers", 1, 1), ("secure_delete", 1, 1),
            ("trusted_schema", 0, 0),
        ))  # fmt: skip
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        ensure_schema(connection, database)
        connection.authorizer = _authorise
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(database: Path, vfs: str | None = None) -> apsw.Connection:
    """Open a connection that can only read and never checkpoints, also when it is the last to close."""
    if not database.exists():
        raise EventLogError(f"there is no event log at {database}", hint="omni serve, which creates it")
    connection = apsw.Connection(str(database), apsw.SQLITE_OPEN_READWRITE, vfs)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        _set_pragmas(connection, _READER_PRAGMAS)
        check_format(connection, database)
    except BaseException:
        connection.close()
        raise
    return connection


def ensure_schema(connection: apsw.Connection, database: Path) -> None:
    """Create the tables in an empty database; any other must be a log of this format."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").get:
        check_format(connection, database)
        return
    with transaction(connection):
        for statement in SCHEMA.values():
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")


def check_format(connection: apsw.Connection, database: Path) -> None:
    """Raise CorruptLog unless the file is an event log that this version understands."""
    application, found = (connection.pragma(name) for name in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        raise CorruptLog(
            f"{database} is a database, but not an Omni event log", hint="omni config show, then correct the data path"
        )
    if found != FORMAT:
        raise CorruptLog(
            f"{database} has log format {found}; this omni knows format {FORMAT}",
            hint="omni version, then install the version that wrote this log",
        )


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Run one write transaction; whatever fails, the connection is out of it afterwards.

    Not apsw's own `with connection`: with an authorizer, a COMMIT that failed left it inside the transaction.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def translated(database: Path) -> Iterator[None]:
    """Turn SQLite's faults into the log's errors; for work where nothing was committed."""
    try:
        yield
    except _DAMAGED as error:
        raise CorruptLog(
            f"the event log {database} is damaged: {error}", hint="omni verify, then restore a backup of the log"
        ) from error
    except apsw.FullError as error:
        raise disk_full(database) from error
    except apsw.BusyError as error:
        raise LogUnavailable(
            f"another program keeps the event log {database} locked", hint=f"fuser {database}"
        ) from error
    except apsw.Error as error:
        raise LogUnavailable(
            f"the event log {database} cannot be used: {error}", hint=f"ls -l {database.parent}"
        ) from error


def disk_full(database: Path) -> LogUnavailable:
    """Return the error that says the disk is full."""
    return LogUnavailable(
        f"the disk under {database} is full; nothing was written and nothing is lost",
        hint=f"df -h {database.parent}, then free some space; the log goes on by itself",
    )


class FileWatch:
    """Notices that the files SQLite writes to are no longer the ones that the path names.

    Inserts go on without an error into a file that was deleted. Only `stat` is used: opening and closing any of these
    files would drop the locks of this process.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._paths = [f"{database}{suffix}" for suffix in ("", "-wal", "-shm")]
        self._opened = self._inodes()

    def require_unmoved(self) -> None:
        """Raise LogUnavailable if one of the files was deleted or replaced."""
        try:
            moved = self._inodes() != self._opened
        except OSError:
            moved = True
        if moved:
            raise LogUnavailable(
                f"the event log {self._database}, or its -wal or -shm file, was deleted or replaced under the daemon",
                hint="put the files back or restore a backup; then end this daemon and start omni serve",
            )

    def _inodes(self) -> list[tuple[int, int]]:
        return [(found.st_ino, found.st_dev) for found in map(os.stat, self._paths)]


class SharedReader:
    """One reading connection that threads take turns on, one short statement at a time."""

    def __init__(self, database: Path, vfs: str | None = None) -> None:
        self._database = database
        self._lock = threading.Lock()
        with translated(database):
            self._connection = connect_reader(database, vfs)
            self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)

    def rows(self, sql: str, bindings: tuple[object, ...] = ()) -> Rows:
        """Return all rows at once, so that no read transaction outlives the call."""
        with self._lock, translated(self._database):
            return self._connection.execute(sql, bindings).fetchall()

    def close(self) -> None:
        """Close the connection without a checkpoint."""
        with self._lock:
            self._connection.close()


def _create_private(database: Path) -> None:
    try:
        fd = os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    os.close(fd)
    sync(database.parent)


def _set_pragmas(connection: apsw.Connection, pragmas: tuple[tuple[str, object, object], ...]) -> None:
    for name, value, expected in pragmas:
        connection.pragma(name, value)
        if (found := connection.pragma(name)) != expected:
            raise EventLogError(
                f"SQLite keeps {name}={found!r} where {expected!r} is needed",
                hint="omni serve --data-dir DIR, on a local disk",
            )


_ALLOWED_ANYWHERE: Final = {
    apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_TRANSACTION, apsw.SQLITE_FUNCTION,
}  # fmt: skip
_ALLOWED_ON: Final = {
    (apsw.SQLITE_INSERT, "events"), (apsw.SQLITE_INSERT, "epochs"), (apsw.SQLITE_INSERT, "blobs"),
    (apsw.SQLITE_UPDATE, "blobs"), (apsw.SQLITE_PRAGMA, "wal_checkpoint"),
}  # fmt: skip


def _authorise(action: int, first: str | None, _second: str | None, _db: str | None, _trigger: str | None) -> int:
    allowed = action in _ALLOWED_ANYWHERE or (action, first) in _ALLOWED_ON
    return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY

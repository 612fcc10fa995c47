"""Ways in which SQLite lets an append-only log be changed, or go on where nobody finds it."""

import os
from pathlib import Path

import apsw
import pytest
from tests.eventlog.samples import CODEC, fill, said, texts, tinker

from omni.domain.errors import CorruptLog, EventLogError, LogUnavailable
from omni.eventlog.connection import _set_pragmas, connect_writer
from omni.eventlog.sqlite import SqliteEventStore

REPLACE = (
    "INSERT OR REPLACE INTO events SELECT position, stream, version, type, schema, 7, mono_ms, boot, actor, cause, "
    "body, input, prev_hash, hash FROM events WHERE position = 1"
)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET at_ms = 0",
        "DELETE FROM events",
        "DELETE FROM epochs",
        "DELETE FROM blobs",
        "DROP TABLE events",
        "DROP TRIGGER events_no_update",
        "ALTER TABLE events ADD COLUMN x",
        "CREATE TABLE other(x)",
        "PRAGMA synchronous=OFF",
        "PRAGMA writable_schema=1",
        "ATTACH ':memory:' AS other",
    ],
)
def test_the_writer_itself_may_not_change_the_past(store: SqliteEventStore, statement: str) -> None:
    fill(store, "task-1", 2)
    with pytest.raises(apsw.AuthError):
        store._execute(statement)
    assert len(texts(store, check=True)) == 2


def test_replace_does_not_go_around_the_triggers(store: SqliteEventStore) -> None:
    fill(store, "task-1", 2)
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        store._execute(REPLACE)
    assert len(texts(store, check=True)) == 2


def test_without_recursive_triggers_replace_would_have_worked(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 2)
    store.close()
    tinker(path, "PRAGMA recursive_triggers=0", REPLACE)
    with pytest.raises(CorruptLog, match="position 1"):
        SqliteEventStore.open(path, CODEC)


def test_another_program_is_stopped_by_the_triggers(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 2)
    for statement in ("UPDATE events SET at_ms = 0", "DELETE FROM events"):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            tinker(path, statement)


def test_apsw_stops_at_the_first_pragma_that_answers() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("PRAGMA journal_mode=MEMORY; PRAGMA recursive_triggers=1")
    both_at_once = connection.pragma("recursive_triggers")
    connection.close()
    assert both_at_once == 0


def test_every_pragma_holds_on_the_connection_that_writes(path: Path) -> None:
    path.parent.mkdir()
    connection = connect_writer(path, None, "FULL")
    connection.authorizer = None
    wanted = {
        "journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "checkpoint_fullfsync": 1, "recursive_triggers": 1,
        "trusted_schema": 0, "secure_delete": 1, "wal_autocheckpoint": 1000,
    }  # fmt: skip
    assert {name: connection.pragma(name) for name in wanted} == wanted
    connection.close()


def test_a_pragma_that_does_not_take_stops_the_start() -> None:
    connection = apsw.Connection(":memory:")  # has no WAL, and says so only when asked
    with pytest.raises(EventLogError, match="journal_mode='memory' where 'wal' is needed"):
        _set_pragmas(connection, (("journal_mode", "WAL", "wal"),))
    connection.close()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_deleted_file_is_noticed_before_anything_is_acknowledged(
    path: Path, store: SqliteEventStore, suffix: str
) -> None:
    fill(store, "task-1", 2)
    os.unlink(f"{path}{suffix}")  # noqa: PTH108 - the name has no stem
    with pytest.raises(LogUnavailable, match="deleted or replaced") as raised:
        store.append([said("task-1", 3)])
    assert "start omni serve" in raised.value.hint
    with pytest.raises(LogUnavailable, match="deleted or replaced"):
        store.append([said("task-1", 3)])


def test_a_replaced_database_is_noticed_too(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 2)
    path.rename(path.with_name("elsewhere.db"))
    path.touch()
    with pytest.raises(LogUnavailable, match="deleted or replaced"):
        store.append([said("task-1", 3)])


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "omni.db"
    tinker(path, "CREATE TABLE theirs(x)", "INSERT INTO theirs VALUES(1)")
    with pytest.raises(CorruptLog, match="not an Omni event log"):
        SqliteEventStore.open(path, CODEC)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "omni.db"
    path.write_bytes(b"my shopping list" * 100)
    with pytest.raises(CorruptLog, match="damaged"):
        SqliteEventStore.open(path, CODEC)
    assert path.read_bytes() == b"my shopping list" * 100


def test_a_log_of_a_newer_format_is_refused_by_name(path: Path, store: SqliteEventStore) -> None:
    store.close()
    tinker(path, "PRAGMA user_version=2")
    with pytest.raises(CorruptLog, match="format 2; this omni knows format 1"):
        SqliteEventStore.open(path, CODEC)

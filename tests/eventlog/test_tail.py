"""A database that lost its end looks sound to everyone but the head marker."""

import shutil
from pathlib import Path

import apsw
import pytest
from tests.eventlog.samples import CODEC, fill, said, texts, tinker

from omni.domain.errors import CorruptLog, LostTail
from omni.eventlog.backup import verify
from omni.eventlog.connection import SCHEMA
from omni.eventlog.marker import marker_path, read_marker
from omni.eventlog.reader import open_reader
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Head

SLOT_STEP = 4096


def _cut_after_six(path: Path) -> None:
    tinker(
        path,
        "DROP TRIGGER events_no_delete",
        "DELETE FROM events WHERE position > 6",
        SCHEMA["events_no_delete"],
    )


@pytest.fixture
def cut(path: Path, store: SqliteEventStore) -> Path:
    fill(store, "task-1", 9)
    store.close()
    _cut_after_six(path)
    return path


def test_a_lost_tail_is_invisible_to_integrity_check_and_chain(cut: Path) -> None:
    connection = apsw.Connection(str(cut))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()
    reader = open_reader(cut, CODEC)
    assert len(texts(reader, check=True)) == 6
    reader.close()


def test_the_head_marker_sees_a_lost_tail_and_counts_it(cut: Path) -> None:
    with pytest.raises(LostTail, match="3 acknowledged events") as raised:
        SqliteEventStore.open(cut, CODEC)
    assert "--accept-loss" in raised.value.hint
    assert [problem.what for problem in verify(cut, CODEC).problems] == [
        "3 acknowledged events after this one are missing"
    ]


def test_an_accepted_loss_is_written_down_and_work_goes_on(cut: Path) -> None:
    store = SqliteEventStore.open(cut, CODEC, accept_loss=True)
    assert (store.accepted_loss, store.head.position) == (3, 6)
    assert store.append([said("task-1", 7)]) == 7
    store.close()
    (kept,) = cut.parent.glob("*.lost-9-*")
    assert read_marker(kept)[0] == Head(9, read_marker(kept)[0].hash)  # type: ignore[union-attr]
    connection = apsw.Connection(str(cut))
    assert connection.execute("SELECT accepted_loss FROM epochs ORDER BY epoch").fetchall() == [(0,), (3,)]
    connection.close()
    again = SqliteEventStore.open(cut, CODEC)
    assert (again.accepted_loss, again.notes) == (0, ())
    again.close()


def test_accept_loss_without_a_loss_changes_nothing(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 2)
    store.close()
    again = SqliteEventStore.open(path, CODEC, accept_loss=True)
    assert again.accepted_loss == 0
    assert marker_path(path).exists()
    again.close()


def test_a_history_that_was_swapped_is_seen_at_the_marker(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 3)
    store.close()
    other = path.parent.parent / "other" / "omni.db"
    second = SqliteEventStore.open(other, CODEC)
    fill(second, "task-1", 5, "a different past")
    second.close()
    shutil.copy(other, path)
    with pytest.raises(CorruptLog, match="another history"):
        SqliteEventStore.open(path, CODEC)
    assert "the head marker remembers another history" in [p.what for p in verify(path, CODEC).problems]


@pytest.mark.parametrize("slot", [0, 1])
def test_one_torn_slot_leaves_a_marker_that_lags_by_one(path: Path, store: SqliteEventStore, slot: int) -> None:
    fill(store, "task-1", 5)
    store.close()
    _spoil(path, slot)
    remembered, damaged = read_marker(marker_path(path))
    assert remembered is not None
    assert damaged
    assert remembered.position in (4, 5)
    again = SqliteEventStore.open(path, CODEC)
    assert "the other one was used" in again.notes[0]
    again.close()


def test_a_marker_torn_in_both_slots_does_not_stop_the_start_but_is_told(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 5)
    store.close()
    _spoil(path, 0)
    _spoil(path, 1)
    again = SqliteEventStore.open(path, CODEC)
    assert "damaged" in again.notes[0]
    again.close()
    assert read_marker(marker_path(path)) == (again._head, False)


def test_a_missing_marker_is_told_and_made_again(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 5)
    store.close()
    marker_path(path).unlink()
    again = SqliteEventStore.open(path, CODEC)
    assert "is missing" in again.notes[0]
    again.close()
    assert read_marker(marker_path(path))[0] == again._head


def test_the_marker_follows_every_commit(path: Path, store: SqliteEventStore) -> None:
    for version in range(1, 6):
        store.append([said("task-1", version)])
        assert read_marker(marker_path(path)) == (store.head, False)


def test_a_marker_that_lags_is_sound(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 3)
    old = marker_path(path).read_bytes()
    store.append([said("task-1", 4)])
    store.close()
    marker_path(path).write_bytes(old)
    again = SqliteEventStore.open(path, CODEC)
    assert (again.head.position, again.notes) == (4, ())
    again.close()


def _spoil(path: Path, slot: int) -> None:
    raw = bytearray(marker_path(path).read_bytes())
    raw[slot * SLOT_STEP + 10] ^= 0xFF
    marker_path(path).write_bytes(raw)

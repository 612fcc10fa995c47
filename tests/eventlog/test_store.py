import threading
from pathlib import Path

import pytest
from tests.eventlog.process import LogProcess
from tests.eventlog.samples import CODEC, Counted, Said, fill, said, texts, tinker

from omni.domain.errors import EventLogError, VersionConflict
from omni.eventlog.chain import GENESIS
from omni.eventlog.reader import BATCH_ROWS, open_reader
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry, EventStore, Head


def test_what_was_appended_is_read_back_whole(store: EventStore) -> None:
    entry = Entry("task-1", 1, Said("ä 中文 \0 🦊", {"a": [1, None]}), 17, 4, "router", "m-9", b'{"id": "m-9"}')
    assert store.append([entry]) == 1
    (recorded,) = store.read(check=True)
    assert recorded.event == entry.event
    assert (recorded.position, recorded.stream, recorded.version) == (1, "task-1", 1)
    assert (recorded.at_ms, recorded.mono_ms, recorded.actor, recorded.cause) == (17, 4, "router", "m-9")
    assert (recorded.boot, recorded.input) == (store.boot, b'{"id": "m-9"}')


def test_an_empty_log_starts_at_the_genesis_hash(store: EventStore) -> None:
    assert store.head == Head(0, GENESIS)
    assert store.append([]) == 0
    assert list(store.read()) == []
    assert store.hash_at(0) == GENESIS
    assert store.hash_at(1) is None


def test_one_append_takes_many_streams_and_keeps_their_order(store: EventStore) -> None:
    store.append([said("task-1", 1, "a"), said("router", 1, "b"), said("task-1", 2, "c")])
    assert texts(store) == ["a", "b", "c"]
    assert [recorded.event for recorded in store.stream("task-1")] == [Said("a"), Said("c")]


def test_reading_filters_by_prefix_start_and_end(store: EventStore) -> None:
    for version, stream in enumerate(("task-1", "router", "task-2", "tasks", "router-x"), 1):
        store.append([said(stream, 1, str(version))])
    assert texts(store, prefixes=("task-",)) == ["1", "3"]
    assert texts(store, prefixes=("task-", "router")) == ["1", "2", "3", "5"]
    assert texts(store, after=1, until=3) == ["2", "3"]
    assert texts(store, after=5) == []
    assert texts(store, after=1, prefixes=("task-",), check=True) == ["3"]


def test_facts_are_what_read_says_of_the_same_streams(store: SqliteEventStore) -> None:
    for version, stream in enumerate(("task-1", "router", "task-2", "router-x"), 1):
        store.append([said(stream, 1, str(version)), said(stream, 2, "large " * 4_000)])
    for after in (0, 3):
        wanted = [r for r in store.read(after) if r.stream.startswith("task-") or r.stream == "router"]
        assert list(store.facts(after, ("task-", "router"))) == [
            (recorded.position, recorded.stream, recorded.at_ms, recorded.event) for recorded in wanted
        ]
    assert [position for position, *_ in store.facts(0, ("router",))] == [3, 4]
    assert [position for position, *_ in store.facts(0, ("router-x", "router"))] == [3, 4, 7, 8]


def test_reading_goes_over_many_batches(store: EventStore) -> None:
    count = BATCH_ROWS * 2 + 7
    store.append([said("task-1", version, str(version)) for version in range(1, count + 1)])
    assert texts(store, check=True) == [str(version) for version in range(1, count + 1)]
    assert texts(store, prefixes=("task-",), after=3)[-1] == str(count)


def test_streams_are_found_by_prefix_in_order_of_name(store: EventStore) -> None:
    store.append([said(name, 1) for name in ("task-b", "task-a", "router", "task-ab")])
    store.append([said("task-a", 2)])
    assert store.find_streams("task-a", 10) == ["task-a", "task-ab"]
    assert store.find_streams("task-", 2) == ["task-a", "task-ab"]
    assert store.find_streams("x", 2) == []


@pytest.mark.parametrize("version", [1, 2, 4, 0])
def test_a_version_that_is_not_the_next_is_refused_and_nothing_is_written(
    store: SqliteEventStore, version: int
) -> None:
    fill(store, "task-1", 2)
    with pytest.raises(VersionConflict):
        store.append([said("task-2", 1), said("task-1", version)])
    assert store.head.position == 2
    assert store.append([said("task-1", 3), said("task-2", 1)]) == 4


def test_versions_are_checked_after_a_restart_too(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 2)
    store.close()
    again = SqliteEventStore.open(path, CODEC)
    try:
        for version in (1, 2, 4):
            with pytest.raises(VersionConflict):
                again.append([said("task-1", version)])
        assert again.append([said("task-1", 3)]) == 3
    finally:
        again.close()


def test_every_opening_has_a_boot_of_its_own(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 1)
    store.close()
    again = SqliteEventStore.open(path, CODEC)
    again.append([said("task-1", 2)])
    boots = [recorded.boot for recorded in again.read()]
    again.close()
    assert boots == [store.boot, again.boot]
    assert store.boot != again.boot


def test_inside_exclusive_nobody_else_appends(store: SqliteEventStore) -> None:
    began = threading.Event()

    def intrude() -> None:
        began.set()
        store.append([said("task-2", 1)])

    with store.exclusive() as head, store.exclusive():
        other = threading.Thread(target=intrude)
        other.start()
        assert began.wait(5)
        other.join(0.05)
        assert other.is_alive()
        assert store.append([said("task-1", 1)]) == head.position + 1
    other.join(5)
    assert [recorded.stream for recorded in store.read()] == ["task-1", "task-2"]


def test_appends_from_many_threads_stay_dense(store: SqliteEventStore) -> None:
    def work(name: str) -> None:
        for version in range(1, 26):
            store.append([said(f"{name}", version)])
            list(store.read(after=max(0, store.head.position - 3)))

    threads = [threading.Thread(target=work, args=(f"task-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    recorded = list(store.read(check=True))
    assert [each.position for each in recorded] == list(range(1, 101))
    assert all(len(store.stream(f"task-{number}")) == 25 for number in range(4))


def test_a_closed_log_takes_nothing_more(store: SqliteEventStore) -> None:
    store.close()
    store.close()
    with pytest.raises(EventLogError, match="closed"):
        store.append([said("task-1", 1)])


def test_a_reader_works_with_the_daemon_alive_and_dead(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 3)
    reader = open_reader(path, CODEC)
    assert reader.head == store.head
    store.append([said("task-1", 4)])
    assert len(list(reader.read())) == 4
    reader.close()
    store.close()
    reader = open_reader(path, CODEC)
    assert len(reader.stream("task-1")) == 4
    reader.close()


def test_a_reader_of_no_log_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="no event log") as raised:
        open_reader(tmp_path / "omni.db", CODEC)
    assert "omni serve" in raised.value.hint
    assert not (tmp_path / "omni.db").exists()


def test_a_reader_writes_nothing_not_even_a_checkpoint(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 3)
    reader = open_reader(path, CODEC)
    with pytest.raises(EventLogError, match="readonly"):
        reader._rows("INSERT INTO epochs VALUES(9, 'x', 1, 1, 0)")
    before = path.stat().st_size
    reader.close()
    assert path.stat().st_size == before


@pytest.mark.slow
def test_a_reader_of_a_dead_daemons_log_leaves_the_files_as_they_are(path: Path) -> None:
    with LogProcess(path) as daemon:
        assert daemon.ask("append 5") == "ok 5"
        daemon.kill()
    before = {file: file.read_bytes() for file in (path, Path(f"{path}-wal"))}
    reader = open_reader(path, CODEC)
    assert len(texts(reader, check=True)) == 5
    reader.close()
    assert {file: file.read_bytes() for file in before} == before


def test_reading_between_batches_holds_no_transaction(path: Path, store: SqliteEventStore) -> None:
    store.append([said("task-1", version) for version in range(1, BATCH_ROWS + 2)])
    reading = store.read()
    next(reading)
    rows = store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert rows == [(0, 0, 0)]  # not busy, all of it written back
    assert len(list(reading)) == BATCH_ROWS


def test_a_missing_position_is_reported_by_the_next_reader(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 5)
    store.close()
    tinker(path, "DROP TRIGGER events_no_delete", "DELETE FROM events WHERE position = 3")
    reader = open_reader(path, CODEC)
    with pytest.raises(EventLogError, match="position 3 is missing"):
        list(reader.read())
    reader.close()


def test_a_changed_row_is_reported_by_a_checked_read(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 5)
    store.close()
    tinker(path, "DROP TRIGGER events_no_update", "UPDATE events SET at_ms = 7 WHERE position = 3")
    reader = open_reader(path, CODEC)
    assert len(list(reader.read())) == 5
    with pytest.raises(EventLogError, match=r"position 3 .* was changed"):
        list(reader.read(check=True))
    with pytest.raises(EventLogError, match=r"position 3 .* was changed"):
        list(reader.read(check=True, prefixes=("task-",)))
    reader.close()


def test_the_files_are_for_the_owner_alone(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 1)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes) >= {"omni.db", "omni.db-wal", "omni.db.head", "omni.db.lock", "ballast"}
    assert set(modes.values()) == {0o600}


def test_facts_of_some_types_up_to_a_position_leave_the_rest_unread(store: SqliteEventStore) -> None:
    fill(store, "task-a", 3)
    store.append([Entry("task-a", 4, Counted(1.0, "pieces"), 1, 1, "router", "m"), said("router", 1)])
    store.append([Entry("router", 2, Counted(2.0, "pieces"), 1, 1, "router", "m"), said("task-a", 5)])
    every = list(store.facts(0, ()))
    assert [position for position, *_ in every] == [1, 2, 3, 4, 5, 6, 7]
    for streams in ((), ("task-", "router"), ("task-a", "router")):
        assert list(store.facts(1, streams, until=6)) == every[1:6]
        assert list(store.facts(0, streams, types=("sample.counted",))) == [every[3], every[5]]
        assert list(store.facts(3, streams, until=5, types=("sample.counted", "sample.said"))) == every[3:5]


def test_the_last_event_of_a_type_is_found_from_any_position(store: SqliteEventStore) -> None:
    fill(store, "task-a", 2)
    store.append([Entry("task-a", 3, Counted(1.0, "pieces"), 1, 1, "router", "m"), said("task-a", 4), said("x", 1)])
    found = [store.last("task-a", "sample.said", until) for until in range(6)]
    assert [each.position if each else None for each in found] == [None, 1, 2, 2, 4, 4]
    assert store.last("task-a", "sample.rawly", 5) is None
    assert [store.at_ms(position) for position in (0, 1, 2, 6)] == [None, 1_001, 1_002, None]

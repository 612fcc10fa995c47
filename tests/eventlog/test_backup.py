import threading
from pathlib import Path

import pytest
from tests.eventlog.samples import CODEC, fill, said, texts, tinker

from omni.domain.errors import EventLogError
from omni.eventlog.backup import PROBLEMS_KEPT, backup, verify
from omni.eventlog.reader import open_reader
from omni.eventlog.sqlite import SqliteEventStore


def test_a_backup_of_a_living_log_is_whole_and_complete(path: Path, store: SqliteEventStore, tmp_path: Path) -> None:
    fill(store, "task-1", 20)
    store.append([said("task-2", 1, "large " * 4_000)])
    dest = tmp_path / "copy.db"
    report = backup(path, dest, CODEC)
    assert (report.ok, report.events, report.streams, report.head) == (True, 21, 2, store.head)
    reader = open_reader(dest, CODEC)
    assert texts(reader, check=True) == texts(store)
    reader.close()
    assert dest.stat().st_mode & 0o777 == 0o600


def test_a_backup_goes_on_beside_appends_and_is_one_moment(path: Path, store: SqliteEventStore, tmp_path: Path) -> None:
    fill(store, "task-1", 50)
    enough = threading.Event()

    def keep_appending() -> None:
        version = 0
        while not enough.is_set():
            version += 1
            store.append([said("task-2", version), said("task-3", version)])

    other = threading.Thread(target=keep_appending)
    other.start()
    try:
        reports = [backup(path, tmp_path / f"copy-{number}.db", CODEC) for number in range(3)]
    finally:
        enough.set()
        other.join(10)
    assert all(report.ok and report.events % 2 == 0 for report in reports)
    assert store.hash_at(reports[-1].events) == reports[-1].head.hash
    assert store.head.position > reports[0].events


def test_a_backup_can_be_put_in_place_and_written_to(path: Path, store: SqliteEventStore, tmp_path: Path) -> None:
    fill(store, "task-1", 5)
    restored = tmp_path / "restored" / "omni.db"
    restored.parent.mkdir()
    backup(path, restored, CODEC)
    with SqliteEventStore.open(restored, CODEC) as again:
        assert again.append([said("task-1", 6)]) == 6
    assert verify(restored, CODEC).ok


def test_a_backup_overwrites_nothing(path: Path, store: SqliteEventStore, tmp_path: Path) -> None:
    dest = tmp_path / "copy.db"
    dest.write_text("precious")
    with pytest.raises(EventLogError, match="exists already"):
        backup(path, dest, CODEC)
    assert dest.read_text() == "precious"


def test_a_backup_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="no event log"):
        backup(tmp_path / "omni.db", tmp_path / "copy.db", CODEC)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_into_nowhere_says_where(path: Path, store: SqliteEventStore, tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="cannot be written") as raised:
        backup(path, tmp_path / "nowhere" / "copy.db", CODEC)
    assert str(tmp_path / "nowhere") in raised.value.hint


def test_verify_works_on_a_living_log_and_tells_how_far_it_is(path: Path, store: SqliteEventStore) -> None:
    fill(store, "task-1", 5)
    seen: list[int] = []
    report = verify(path, CODEC, seen.append)
    assert (report.ok, report.events, report.streams, report.head) == (True, 5, 1, store.head)
    assert seen == [5]
    assert store.append([said("task-1", 6)]) == 6


def test_verify_of_an_empty_log_is_content(path: Path, store: SqliteEventStore) -> None:
    assert (verify(path, CODEC).ok, verify(path, CODEC).events) == (True, 0)


def test_verify_without_a_log_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="no event log"):
        verify(tmp_path / "omni.db", CODEC)


LOOSEN = (
    "PRAGMA writable_schema=1",
    "UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'events'",
    "VACUUM",
)
TAMPERING = {
    "a changed body": ("UPDATE events SET body = replace(body, 'hello', 'hallo') WHERE position = 3", 3, "was changed"),
    "a changed input": ("UPDATE events SET input = '{}' WHERE position = 1", 1, "was changed"),
    "a changed time": ("UPDATE events SET at_ms = at_ms + 1 WHERE position = 3", 3, "was changed"),
    "a row taken out": ("DELETE FROM events WHERE position = 3", 4, "positions 3 to 3 are missing"),
    "a stream renamed": ("UPDATE events SET stream = 'x' WHERE position = 5", 5, "version 5 where 1 is next"),
    "a hash made up": ("UPDATE events SET hash = zeroblob(32) WHERE position = 3", 4, "the chain"),
    "a type nobody knows": ("UPDATE events SET type = 'x' WHERE position = 3", 3, "a newer omni wrote x"),
    "a trigger taken away": ("DROP TRIGGER blobs_no_delete", 0, "schema: blobs_no_delete"),
    "a table added": ("CREATE TABLE theirs(x)", 0, "schema: theirs"),
    "a number where a text was": ("UPDATE events SET body = x'00' WHERE position = 3", 3, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "position", "what"), TAMPERING.values(), ids=TAMPERING.keys())
def test_verify_finds_what_was_tampered_with(
    path: Path, store: SqliteEventStore, statement: str, position: int, what: str
) -> None:
    fill(store, "task-1", 5)
    store.close()
    tinker(
        path,
        "DROP TRIGGER events_no_update",
        "DROP TRIGGER events_no_delete",
        *(LOOSEN if "x'00'" in statement else ()),
        statement,
    )
    found = verify(path, CODEC).problems
    assert any(problem.position == position and what in problem.what for problem in found), found


def test_verify_keeps_a_bounded_list(path: Path, store: SqliteEventStore) -> None:
    store.append([said("task-1", version) for version in range(1, 301)])
    store.close()
    tinker(path, "DROP TRIGGER events_no_update", "UPDATE events SET at_ms = 0")
    report = verify(path, CODEC)
    assert len(report.problems) == PROBLEMS_KEPT + 1
    assert "further problems" in report.problems[-1].what

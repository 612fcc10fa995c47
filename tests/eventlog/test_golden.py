from contextlib import closing
from pathlib import Path

from tests.eventlog.golden import restore
from tests.eventlog.samples import CODEC, Counted, Said, said

from omni.eventlog.backup import verify
from omni.eventlog.reader import open_reader
from omni.eventlog.sqlite import SqliteEventStore


def test_a_log_of_the_first_schema_is_read_hash_for_hash(tmp_path: Path) -> None:
    path = tmp_path / "omni.db"
    restore(path)
    with SqliteEventStore.open(path, CODEC) as store:
        assert [recorded.event for recorded in store.read(check=True)] == [
            Counted(3, "pieces"), Said("three, said Zoë"), Counted(0, "pieces"), Said("long " * 4_000),
        ]  # fmt: skip
        assert store.append([said("task-2", 3)]) == 5
    assert verify(path, CODEC).problems == []


def test_events_are_found_by_a_name_that_they_got_later(tmp_path: Path) -> None:
    restore(tmp_path / "events.db")
    with closing(open_reader(tmp_path / "events.db", CODEC)) as reader:
        counted = [position for position, *_ in reader.facts(0, (), types=("sample.counted",))]
        newest = reader.last("task-2", "sample.counted", 100)
    assert counted == [1, 3]
    assert newest is not None
    assert newest.position == 3

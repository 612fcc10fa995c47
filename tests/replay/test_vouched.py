"""What an earlier check has decided again need not be decided once more, as long as it is the same history."""

import shutil
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest
from msgspec.structs import replace
from tests.replay.lived import Edit, copied, entries
from tests.sim.world import World

import omni.replay.verify as checking
import omni.replay.vouched as marks
from omni.config import log_path
from omni.domain import events as ev
from omni.eventlog.reader import open_reader
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Recorded
from omni.eventlog.upcasters import log_codec
from omni.replay.checkpoints import beside
from omni.replay.verify import Report, verify
from omni.replay.vouched import vouch, vouched


@pytest.fixture(autouse=True)
def _every_log_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "IN_TWO_FROM", 1)
    monkeypatch.setattr(marks, "IN_TWO_FROM", 1)


def checked(database: Path) -> Report:
    report = verify(database, vouched=vouched(database))
    vouch(database, report)
    return report


def checked_and_gone_on(day: World, data_dir: Path, edit: Edit = list) -> tuple[Path, int]:
    """A log that was checked half-way, and where that was."""
    rows = entries(day, edit)
    half = next(n for n in range(len(rows) // 2, len(rows)) if rows[n].cause != rows[n - 1].cause)
    with closing(SqliteEventStore.open(log_path(data_dir), log_codec())) as store:
        store.append(rows[:half])
        assert checked(log_path(data_dir)).ok
        store.append(rows[half:])
    return log_path(data_dir), half


def notice(kind: str, which: int) -> Edit:
    def edit(rows: list[Recorded]) -> list[Recorded]:
        wrong = [row.position for row in rows if isinstance(row.event, ev.NoticeQueued)][which]
        return [replace(r, event=replace(r.event, kind=kind)) if r.position == wrong else r for r in rows]

    return edit


def test_the_second_check_says_the_same_and_decides_nothing(day: World, tmp_path: Path) -> None:
    database = copied(day, tmp_path)
    first = checked(database)
    assert (first.ok, first.vouched) == (True, 0)
    second = checked(database)
    assert second.vouched == first.head
    assert replace(second, vouched=0) == first


def test_what_came_after_the_mark_is_decided(day: World, tmp_path: Path) -> None:
    database, half = checked_and_gone_on(day, tmp_path)
    whole, report = verify(database), checked(database)
    assert (report.vouched, report.decided_to) == (half, whole.head)
    assert replace(report, vouched=0) == whole


def test_a_divergence_after_the_mark_is_found(day: World, tmp_path: Path) -> None:
    database, half = checked_and_gone_on(day, tmp_path, notice("wrong", -1))
    report = checked(database)
    assert report.vouched == half
    assert report.redecided == verify(database).redecided
    assert report.redecided.divergences == 1
    assert checked(database).vouched == half, "a check with findings leaves no mark"


def test_another_history_is_decided_whole(day: World, tmp_path: Path) -> None:
    sound, other = tmp_path / "sound", tmp_path / "other"
    checked(copied(day, sound))
    database = copied(day, other, notice("wrong", 0))
    shutil.copytree(beside(log_path(sound)), beside(database))
    report = checked(database)
    assert (report.vouched, report.redecided.divergences) == (0, 1)


def test_a_mark_within_a_message_says_nothing(day: World, tmp_path: Path) -> None:
    rows = entries(day)
    within = next(n for n in range(len(rows) // 2, len(rows)) if rows[n].cause == rows[n - 1].cause)
    with closing(SqliteEventStore.open(log_path(tmp_path), log_codec())) as store:
        store.append(rows[:within])
        assert checked(log_path(tmp_path)).ok
        store.append(rows[within:])
    report = checked(log_path(tmp_path))
    assert (report.ok, report.vouched) == (True, 0)


def test_a_row_that_was_changed_is_damage_in_spite_of_the_mark(day: World, tmp_path: Path) -> None:
    database = copied(day, tmp_path)
    checked(database)
    with closing(apsw.Connection(str(database))) as raw:
        for name in [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]:
            raw.execute(f'DROP TRIGGER "{name}"')
        raw.execute("UPDATE events SET body = '{' WHERE position = 20")
    report = checked(database)
    assert any("was changed" in each.what for each in report.damage)
    assert not report.ok


def test_other_code_believes_no_mark(day: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = copied(day, tmp_path)
    checked(database)
    monkeypatch.setattr(marks, "ROOMS", ("domain",))
    assert vouched(database) is None


def test_a_mark_of_another_state_is_found(day: World, tmp_path: Path) -> None:
    database = copied(day, tmp_path)
    report = checked(database)
    (mark,) = Snapshots(beside(database)).find("vouched", fingerprint_of(database))
    forged = {"redecided": report.redecided, "state_hash": "another"}
    files = Snapshots(beside(database))
    files.save(mark.name, mark.position, mark.hash, mark.fingerprint, msgspec.msgpack.encode(forged))
    assert [each.rule for each in checked(database).findings] == ["state.differs"]


def test_a_mark_that_cannot_be_read_is_as_if_it_were_not_there(day: World, tmp_path: Path) -> None:
    database = copied(day, tmp_path)
    checked(database)
    for path in beside(database).glob("vouched-*"):
        path.write_bytes(path.read_bytes()[:-1])
    assert checked(database).vouched == 0


def fingerprint_of(database: Path) -> str:
    with closing(open_reader(database, log_codec())) as reader:
        return marks._fingerprint(reader)

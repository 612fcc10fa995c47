"""States along the log change how long a look takes, and no answer."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.replay.logs import AT_MS, beginning, codec, completed_life, created, held_life, life, task_id, write
from tests.replay.test_state import LONG

from omni.config import log_path
from omni.domain import events as ev
from omni.domain.system import SystemSnapshot, SystemState
from omni.domain.values import Result
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.sqlite import SqliteEventStore
from omni.replay import checkpoints
from omni.replay.checkpoints import Checkpoints, beside, spacing
from omni.replay.fold import Folded, restore
from omni.replay.history import History
from omni.replay.state import state_at

STEP = 8
EVENTS = len(LONG) + 6 * 12


@pytest.fixture(autouse=True)
def close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SPACING", STEP)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return write(tmp_path, *LONG, *(each for n in range(10, 22) for each in completed_life(n)))


def files(data_dir: Path) -> list[Path]:
    directory = beside(log_path(data_dir))
    return sorted(directory.iterdir()) if directory.exists() else []


def at(data_dir: Path, position: int) -> Any:
    with History.open(data_dir) as history:
        return state_at(history, position).view(None, None)


def positions(data_dir: Path) -> list[int]:
    return [int(path.name[6:26]) for path in files(data_dir)]


@pytest.fixture
def answers(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each position looks like without any state to begin from."""
    with monkeypatch.context() as apart:
        apart.setattr(checkpoints, "SPACING", 10**9)
        found = [at(data_dir, position) for position in range(EVENTS + 1)]
    assert files(data_dir) == []
    return found


def test_with_and_without_them_every_answer_is_the_same(data_dir: Path, answers: list[Any]) -> None:
    assert at(data_dir, EVENTS) == answers[EVENTS]
    assert positions(data_dir) == [*range(STEP, EVENTS + 1, STEP)]
    assert [at(data_dir, position) for position in range(EVENTS + 1)] == answers


def test_a_look_in_the_middle_leaves_states_only_up_to_there(data_dir: Path, answers: list[Any]) -> None:
    assert at(data_dir, 3 * STEP + 1) == answers[3 * STEP + 1]
    assert positions(data_dir) == [STEP, 2 * STEP, 3 * STEP]
    assert at(data_dir, STEP - 1) == answers[STEP - 1]


def looked_from(data_dir: Path, position: int) -> list[int]:
    """After which positions a look at one reads the log."""
    with History.open(data_dir) as history:
        read = []
        facts = history.reader.facts

        def counted(after: int, *given: Any, **named: Any) -> Iterator[Any]:
            read.append(after)
            return facts(after, *given, **named)

        history.reader.facts = counted  # type: ignore[method-assign]
        state_at(history, position)
    return read


def test_a_later_look_reads_only_what_came_after_the_nearest(data_dir: Path) -> None:
    at(data_dir, EVENTS)
    assert looked_from(data_dir, 5 * STEP + 3) == [5 * STEP]


def test_one_that_would_fill_the_memory_is_not_unpacked(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(data_dir, EVENTS)
    monkeypatch.setattr(checkpoints, "UNPACKED_BYTES", 64)
    assert looked_from(data_dir, 5 * STEP + 3) == [0]


def test_they_are_for_the_owner_alone(data_dir: Path) -> None:
    at(data_dir, EVENTS)
    assert beside(log_path(data_dir)).stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files(data_dir)} == {0o600}


def broken(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [broken, empty, flipped, unreadable])
def test_a_damaged_one_is_not_there(damage: Any, data_dir: Path, answers: list[Any]) -> None:
    at(data_dir, EVENTS)
    for path in files(data_dir)[2:]:
        damage(path)
    assert [at(data_dir, position) for position in range(0, EVENTS + 1, 3)] == answers[::3]


PLANTED = {
    "one without a bottom": zlib.compress(b"\x81\xa1z" + b"\x91" * 100_000 + b"\x01"),
    "no text": zlib.compress(b"\x81\xa2\xff\xfe\x01"),
    "half of one": zlib.compress(b"\x80")[:-4],
    "that of another position": zlib.compress(msgspec.msgpack.encode(replace(Folded().snapshot(), position=3))),
}


@pytest.mark.parametrize("payload", PLANTED.values(), ids=PLANTED)
def test_one_that_was_planted_with_care_changes_no_answer(payload: bytes, data_dir: Path, answers: list[Any]) -> None:
    at(data_dir, EVENTS)
    with History.open(data_dir) as history:
        directory = Snapshots(beside(log_path(data_dir)))
        for found in list(directory.find(checkpoints.NAME, Checkpoints(history.reader, data_dir)._fingerprint)):
            directory.save(found.name, found.position, found.hash, found.fingerprint, payload, lambda *_: ())
    assert at(data_dir, EVENTS) == answers[EVENTS]


def test_those_of_another_log_are_not_believed(data_dir: Path, answers: list[Any], tmp_path: Path) -> None:
    other = write(tmp_path / "other", *beginning(), *(each for n in range(90) for each in held_life(n)))
    at(other, 183)
    shutil.copytree(beside(log_path(other)), beside(log_path(data_dir)))
    assert [at(data_dir, position) for position in range(0, EVENTS + 1, 7)] == answers[::7]


def test_those_of_other_code_are_not_believed(
    data_dir: Path, answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni.eventlog.snapshots.__version__", "0.0.1")
    at(data_dir, EVENTS)
    monkeypatch.undo()
    monkeypatch.setattr(checkpoints, "SPACING", STEP)
    with History.open(data_dir) as history:
        found = checkpoints.Checkpoints(history.reader, beside(history.database))
        assert found._nearest(EVENTS).position == 0
    assert at(data_dir, EVENTS) == answers[EVENTS]


def test_what_was_erased_is_in_no_answer_any_more(tmp_path: Path) -> None:
    secret = "secret " * 4_000
    home = write(
        tmp_path, *beginning(), *life(1, created(secret)), *(e for n in range(2, 8) for e in completed_life(n))
    )
    assert at(home, 40)["tasks"]["open"][0]["description"] == secret
    with closing(SqliteEventStore.open(log_path(home), codec())) as store:
        (digest,) = [row[0] for row in store._rows("SELECT hash FROM blobs")]
        assert store.erase_blob(digest.hex())
    assert at(home, 40)["tasks"]["open"][0]["description"].startswith("[erased: ")
    assert at(home, 41)["tasks"]["open"][0]["description"].startswith("[erased: ")


def test_a_log_that_was_lost_and_grew_again_is_not_mistaken_for_the_old_one(tmp_path: Path) -> None:
    home = write(tmp_path / "log", *beginning())
    early = tmp_path / "early.db"
    from omni.eventlog.backup import backup

    backup(log_path(home), early, codec())
    write(home, *(each for n in range(20) for each in completed_life(n)))
    at(home, 123)
    for path in home.glob("omni.db*"):
        if path.is_file():
            path.unlink()
    shutil.copy(early, log_path(home))
    write(home, *(each for n in range(50, 60) for each in held_life(n)))
    assert at(home, 23)["tasks"]["counts"] == {"held": 10}
    assert max(positions(home)) <= 23, "what speaks of the lost history is cleared away"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_directory_that_cannot_be_written_costs_only_time(data_dir: Path, answers: list[Any]) -> None:
    data_dir.chmod(0o500)
    try:
        assert at(data_dir, EVENTS) == answers[EVENTS]
    finally:
        data_dir.chmod(0o700)


def test_a_disk_that_takes_none_costs_only_time(data_dir: Path, answers: list[Any]) -> None:
    beside(log_path(data_dir)).touch()  # a file stands where the directory should be
    assert [at(data_dir, position) for position in (EVENTS, 50)] == [answers[EVENTS], answers[50]]


def test_a_state_that_cannot_be_written_down_costs_only_time(tmp_path: Path) -> None:
    beyond = ev.AttemptSucceeded(1, Result("", {"n": 10**30}))
    lives = [*completed_life(1)[:4], *life(1, beyond, ev.TaskCompleted(1)), *completed_life(2), *completed_life(3)]
    home = write(tmp_path, *beginning(), *lives)
    assert at(home, 21)["tasks"]["counts"] == {"completed": 3}
    assert positions(home) == []


def test_there_is_a_bound_on_their_number(data_dir: Path, answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    at(data_dir, EVENTS)
    monkeypatch.setattr(checkpoints, "KEPT", 4)
    write(data_dir, *(each for n in range(40, 52) for each in completed_life(n)))
    at(data_dir, EVENTS + 72)
    step = spacing(EVENTS + 72)
    assert step > STEP
    assert len(files(data_dir)) <= 4
    assert all(position % step == 0 for position in positions(data_dir))
    assert at(data_dir, EVENTS) == answers[EVENTS]


def test_there_is_a_bound_on_their_size(data_dir: Path, answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    at(data_dir, EVENTS)
    largest = max(path.stat().st_size for path in files(data_dir))
    shutil.rmtree(beside(log_path(data_dir)))
    monkeypatch.setattr(checkpoints, "BYTES_KEPT", largest * 4)
    at(data_dir, EVENTS)
    kept = positions(data_dir)
    assert sum(path.stat().st_size for path in files(data_dir)) <= largest * 4
    assert len(kept) >= 3
    gaps = [after - before for before, after in zip([0, *kept], kept, strict=False)]
    assert max(gaps) <= 4 * STEP + EVENTS // 4, f"thinned out evenly: {kept}"
    assert at(data_dir, EVENTS - 3) == answers[EVENTS - 3]


def test_a_short_log_needs_none(tmp_path: Path) -> None:
    home = write(tmp_path, *beginning())
    at(home, 3)
    assert files(home) == []


def test_spacing_grows_with_the_log_by_doubling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SPACING", 32_768)
    assert spacing(0) == spacing(1_000_000) == 32_768
    assert spacing(1_048_577) == 65_536
    assert 10_000_000 // spacing(10_000_000) <= checkpoints.KEPT


def test_the_snapshot_of_the_system_leaves_nothing_out() -> None:
    assert {*SystemSnapshot.__struct_fields__} == {*vars(SystemState())}


def test_a_state_that_was_saved_is_the_same_state(data_dir: Path) -> None:
    with History.open(data_dir) as history:
        folded = Folded()
        folded.fold(history.reader.facts(0, ()))
        again = restore(folded.snapshot())
    assert again.snapshot() == folded.snapshot()
    assert vars(again.system) == vars(folded.system)
    assert again.board.places == folded.board.places
    assert task_id(2) in again.board.tasks
    assert again.at > AT_MS


def test_progress_is_told_and_only_of_what_is_read(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "REPORT_EVERY", 10)
    told: list[int] = []
    with History.open(data_dir) as history:
        state_at(history, 97, told.append)
        assert told == [*range(0, 97, 10)]
        told.clear()
        state_at(history, 97, told.append)
    assert told == [0]

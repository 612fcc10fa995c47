"""Reading the log without a daemon."""

from pathlib import Path

import pytest
from tests.replay.logs import beginning, completed_life, created, failed_life, held_life, life, task_id, write

from omni.domain.errors import NotFound
from omni.replay.history import Ambiguous, History


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    lives = [*completed_life(1), *held_life(2), *failed_life(3), *life(4, created("still new"))]
    return write(tmp_path / "data", *beginning(), *lives)


def test_a_directory_without_a_log_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no event log"):
        History.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_task_is_folded_from_its_own_stream(data_dir: Path) -> None:
    with History.open(data_dir) as history:
        task = history.task(task_id(1))
    assert (task["state"], task["executor"], task["result"]["content"]) == ("completed", "echo", "hello")
    assert task["position"] == 9


def test_any_unique_beginning_of_six_characters_names_a_task(data_dir: Path) -> None:
    with History.open(data_dir) as history:
        assert history.task(task_id(3)[:13])["id"] == task_id(3)
        with pytest.raises(Ambiguous) as caught:
            history.resolve(task_id(1)[:6])
        for n in (1, 2, 3, 4):
            assert task_id(n) in caught.value.message
        with pytest.raises(Ambiguous, match="too short"):
            history.resolve(task_id(1)[:5])
        with pytest.raises(NotFound):
            history.resolve("ffffff")


def test_an_ambiguous_beginning_lists_ten_candidates_at_most(tmp_path: Path) -> None:
    write(tmp_path, *(each for n in range(30) for each in life(n, created())))
    with History.open(tmp_path) as history, pytest.raises(Ambiguous) as caught:
        history.resolve(task_id(0)[:6])
    assert caught.value.message.count("\n  0") == 10
    assert caught.value.message.endswith("and more")


def test_events_come_in_order_and_after_a_position(data_dir: Path) -> None:
    with History.open(data_dir) as history:
        events = history.events(task_id(1))
        assert [e["type"] for e in events] == [
            "task.created", "task.routed", "attempt.planned", "attempt.started", "attempt.succeeded", "task.completed"
        ]  # fmt: skip
        assert [e["position"] for e in events] == [4, 5, 6, 7, 8, 9]
        assert [e["position"] for e in history.events(task_id(1), after=7)] == [8, 9]


def test_tasks_come_newest_first_and_pages_join_without_gap_or_repeat(tmp_path: Path) -> None:
    write(tmp_path, *(each for n in range(150) for each in (completed_life(n) if n % 3 else held_life(n))))
    with History.open(tmp_path) as history:
        for state, wanted in (
            (None, range(150)),
            ("held", range(0, 150, 3)),
            ("completed", [n for n in range(150) if n % 3]),
        ):
            found, before = [], None
            while True:
                page = history.tasks(state, 7, before)
                found += [t["id"] for t in page["tasks"]]
                if (before := page["next"]) is None:
                    break
            assert found == [task_id(n) for n in reversed(wanted)], state


def test_a_page_that_ends_exactly_at_the_last_task_has_no_next(data_dir: Path) -> None:
    with History.open(data_dir) as history:
        assert history.tasks(None, 4)["next"] is None
        assert history.tasks(None, 3)["next"] == task_id(2)


def test_status_counts_every_task_once(data_dir: Path) -> None:
    with History.open(data_dir) as history:
        status = history.status()
    assert status["counts"] == {"completed": 1, "failed": 1, "held": 1, "idle": 1}
    assert [e["name"] for e in status["executors"]] == ["echo", "absent"]
    assert {e["health"]["state"] for e in status["executors"]} == {"unknown"}
    assert status["executors"][0]["health"]["reason"] == "not asked: read from the log"


def test_the_board_can_be_seen_as_of_a_position(data_dir: Path) -> None:
    with History.open(data_dir) as history:
        assert history.board(until=7).tasks[task_id(1)].state == "executing"
        assert set(history.board().tasks) == {task_id(n) for n in (1, 2, 3, 4)}


def test_why_tells_the_decision_as_it_was_recorded(data_dir: Path) -> None:
    with History.open(data_dir) as history:
        answer = history.why(task_id(3))
        unrouted = history.why(task_id(2))
    decision = answer["decision"]
    assert (decision["executor"], decision["tier"], decision["model"], decision["mode"]) == (
        "echo",
        "P1",
        "small",
        "NORMAL",
    )
    assert (decision["type"], decision["complexity"]) == ("general", 12)
    assert decision["candidates"][1] == {
        "executor": "absent", "score": 0, "reasons": [], "rejected": "disabled in the configuration"
    }  # fmt: skip
    assert [a["state"] for a in answer["attempts"]] == ["failed"]
    assert unrouted["decision"] is None
    assert list(unrouted["held"]["options"]) == ["retry", "fail"]


def test_a_long_read_reports_its_progress(data_dir: Path) -> None:
    told: list[int] = []
    with History.open(data_dir) as history:
        history.status(told.append)
    assert told == [0]

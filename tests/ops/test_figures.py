"""What counts as held and as missed, and what becomes of tasks in the count."""

from __future__ import annotations

import pytest

from omni.domain import events as ev
from omni.domain.values import TaskError
from omni.ops.figures import Figure, Report, Tasks, at_least, below, exactly, within
from omni.ops.record import History, count
from omni.ops.stage import Asked


@pytest.mark.parametrize(
    ("figure", "ok"),
    [
        (below("a", 0.999, 1.0), True),
        (below("a", 1.0, 1.0), False),
        (within("a", 5.0, 5.0), True),
        (within("a", 5.001, 5.0), False),
        (within("a", None, 5.0), False),
        (below("a", None, 5.0), False),
        (exactly("a", 0), True),
        (exactly("a", 1), False),
        (at_least("a", 1), True),
        (at_least("a", 0), False),
    ],
)
def test_a_figure_holds_within_its_bound_and_never_when_nothing_happened(figure: Figure, ok: bool) -> None:
    assert figure.ok is ok
    assert figure.view()["ok"] is ok


def test_one_missed_figure_is_a_missed_drill() -> None:
    good, bad = exactly("a", 0), exactly("b", 1)
    assert Report("kill", False, {}, (good,), Tasks()).ok
    assert not Report("kill", False, {}, (good, bad), Tasks()).ok


def test_a_report_has_the_keys_of_the_contract() -> None:
    view = Report("kill", False, {"dwell_s": 15}, (within("a", 1.23456, 5.0),), Tasks(submitted=1)).view()
    assert view["figures"] == [
        {"name": "a", "measured": 1.235, "rule": "at most", "wanted": 5.0, "unit": "s", "ok": True}
    ]
    assert (view["fault"], view["live"], view["ok"], view["tasks"]["submitted"]) == ("kill", False, True, 1)


def history(mark: str, *ends: object, attempts: int = 1, reserved: int = 1) -> History:
    made = History()
    made.mark, made.ends, made.attempts, made.reserved = mark, list(ends), attempts, reserved
    return made


DONE, FAILED = ev.TaskCompleted(1), ev.TaskFailed(TaskError("failed", "no"))


def asked(mark: str, times: int) -> list[Asked]:
    return [Asked(0.0, "proxy", "m", "k", mark)] * times


def test_tasks_are_counted_by_what_the_log_says_of_them() -> None:
    known = {"1": history("a", DONE), "2": history("b", FAILED), "3": history("c"), "4": history("d", DONE, attempts=2)}
    assert count(known, {"1", "2", "3", "4"}) == Tasks(submitted=4, completed=2, failed=1, open=1, again=1)


def test_an_acknowledged_task_that_the_log_does_not_know_is_lost() -> None:
    assert count({"1": history("a", DONE)}, {"1", "2"}).lost == 1


def test_a_task_that_ended_twice_was_done_twice() -> None:
    assert count({"1": history("a", DONE, DONE)}, {"1"}).twice == 1


def test_two_tasks_under_one_key_are_one_done_twice() -> None:
    assert count({"1": history("a", DONE), "2": history("a", DONE)}, {"1"}).twice == 1


def test_a_model_that_was_asked_without_a_reserved_call_was_asked_twice() -> None:
    known = {"1": history("a", DONE, reserved=2)}
    assert count(known, {"1"}, asked("a", 2)).twice == 0
    assert count(known, {"1"}, asked("a", 3)).twice == 1

"""What people read about a task."""

from __future__ import annotations

import pytest
from tests.domain.given import Desk, worker

from omni.cli.output import Output, local_time
from omni.cli.show import task_lines, why_lines
from omni.domain import commands as cmd
from omni.domain.values import TaskError
from omni.domain.view import decision_view, task_view


@pytest.mark.parametrize("orderly", [True, False])
def test_why_says_by_what_a_task_was_stopped_and_when_it_goes_on(*, orderly: bool) -> None:
    desk = Desk(worker(on_crash="resume"))
    desk.create("a")
    why = "the account's limit is reached"
    desk.put(cmd.ReportInterrupted("a", 1, why, resumable=True, orderly=orderly, retry_after_ms=5 * 3_600_000))
    routed = desk.log[-3]
    row = _Row(routed[3], routed[2], routed[1])
    answer = decision_view(desk.task("a"), [row])
    lines = why_lines(Output(), answer)
    assert any(why in line for line in lines)
    assert lines[-1].strip() == f"next try {local_time(answer['retry_at'])}"
    desk.at = desk.task("a").retry_at or 0
    desk.put(cmd.TimerFired("a"))
    assert "next try" not in "".join(why_lines(Output(), decision_view(desk.task("a"), [row])))


def test_an_error_of_several_lines_is_said_once_and_line_by_line() -> None:
    desk = Desk(worker())
    desk.create("a")
    desk.put(cmd.ReportFailed("a", 1, TaskError("failed", "there is no directory /x\n  next: make it")))
    lines = "\n".join(task_lines(Output(), task_view(desk.task("a")))).splitlines()
    assert lines[-2:] == ["  error     there is no directory /x", "            next: make it"]
    assert [each for each in lines if "attempt 1" in each and each.endswith("there is no directory /x")]


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_stop_that_was_never_confirmed_is_said(*, confirmed: bool) -> None:
    desk = Desk(worker())
    desk.create("a")
    desk.put(cmd.ReportCancelled("a", 1, confirmed=confirmed))
    lines = "\n".join(task_lines(Output(), task_view(desk.task("a"))))
    assert ("never confirmed" in lines) is not confirmed


class _Row:
    """A recorded event."""

    actor = "router"

    def __init__(self, position: int, at_ms: int, event: object) -> None:
        self.position, self.at_ms, self.event = position, at_ms, event

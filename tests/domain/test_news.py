"""What Brainstem hears of repairs, and of tasks that wait for a person."""

from __future__ import annotations

import pytest
from tests.domain.given import Desk, worker

from omni.domain import commands as cmd
from omni.domain.news import owed as news_of
from omni.domain.values import ExecutorHealth, TaskSpec

REPAIR = TaskSpec("bring it back", executor="nobody")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (cmd.CreateTask("", "r1", REPAIR, "brainstem"), "nobody"),
        (cmd.CancelTask("", "r1", "brainstem"), "r1"),
    ],
    ids=["an executor that is gone", "a task that never arrived"],
)
def test_a_repair_that_cannot_be_is_reported_as_ended(message: cmd.Message, words: str) -> None:
    desk = Desk(worker())
    assert desk.put(message) == []
    (report,) = [send.message for send in desk.sends if send.to == "brainstem"]
    assert (report.task_id, report.state) == ("r1", "refused")
    assert words in report.detail


def test_what_others_are_refused_is_nothing_to_brainstem() -> None:
    desk = Desk(worker())
    for message in (cmd.CreateTask("q", "t", REPAIR, "a client"), cmd.CancelTask("q", "t", "a client")):
        desk.put(message)
        assert desk.refusal is not None
        assert [send for send in desk.sends if send.to == "brainstem"] == []


def test_after_a_start_brainstem_hears_again_of_what_waits_for_a_person_under_the_same_name() -> None:
    desk = Desk(worker(on_crash="ask"))
    desk.create("a")
    desk.interrupt("a")
    first = news_of(desk.board.tasks.values())
    desk.put(cmd.Boot("boot-2", desk.settings))
    again = [send for send in desk.sends if send.to == "brainstem"]
    assert [send.message.kind for send in again] == ["task_held"]
    assert again == first


def test_who_waits_for_an_executor_is_no_news_after_a_start() -> None:
    desk = Desk(worker())
    desk.note("worker", ExecutorHealth("failed", "it broke"))
    desk.create("a")
    desk.put(cmd.Boot("boot-2", desk.settings))
    assert [send for send in desk.sends if send.to == "brainstem"] == []

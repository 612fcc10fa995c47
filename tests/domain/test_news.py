"""What Brainstem hears of the repairs that it asked for."""

from __future__ import annotations

import pytest
from tests.domain.given import Desk, worker

from omni.domain import commands as cmd
from omni.domain.values import TaskSpec

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

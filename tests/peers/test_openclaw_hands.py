"""The real OpenClaw as the hands of a real daemon: what it leaves, what dies under it, and what its models say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.fakes.processes import MessagesProcess
from tests.peers.hands import Hands, around
from tests.peers.programs import OPENCLAW, missing
from tests.torture.daemon_process import until

from omni.domain import events as ev

pytestmark = pytest.mark.timeout(900)
ENDED_WITHIN_S = 480.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, messages: MessagesProcess) -> Iterator[Hands]:
    if reason := missing(OPENCLAW, "OMNI_TEST_OPENCLAW"):
        pytest.skip(reason)
    with around(tmp_path_factory.mktemp("hands"), messages) as hands:
        hands.house.up()
        yield hands


@pytest.fixture
def hands(whole: Hands) -> Hands:
    """The same, and nobody outside remembers what was before."""
    for each in (whole.house.provider, whole.house.telegram, whole.proxy, whole.cloud):
        each.anew()
    return whole


def test_a_cancelled_task_leaves_no_run(hands: Hands) -> None:
    task_id = hands.at_work("[[slow:300]]")
    hands.cancel(task_id)
    assert hands.ended(task_id, ENDED_WITHIN_S)["state"] == "cancelled"
    until(lambda: hands.house.provider.asked()[-1].ended == "left", 60, "OpenClaw has let go of the model")
    assert hands.runs(task_id) == ["cancelled"]
    assert len(hands.house.provider.asked()) == 1


def test_a_run_that_a_killed_gateway_takes_up_again_is_adopted_and_begun_by_nobody_else(hands: Hands) -> None:
    task_id = hands.at_work("[[slow:10]]")
    hands.house.kill_all()
    hands.house.up()
    task = hands.ended(task_id, ENDED_WITHIN_S)
    assert task["state"] == "completed", task
    assert "slow done" in task["result"]["content"]
    assert len(task["attempts"]) == 1
    assert hands.runs(task_id) == ["cancelled", "completed"]
    assert len(hands.house.provider.asked()) == 2  # before the kill, and by OpenClaw's own recovery


def test_a_task_outlives_the_death_of_both(hands: Hands) -> None:
    task_id = hands.at_work("[[slow:10]]")
    hands.daemon.kill()
    hands.house.kill_all()
    hands.up()
    hands.house.up()
    task = hands.ended(task_id, ENDED_WITHIN_S)
    assert task["state"] == "completed", task
    assert "slow done" in task["result"]["content"]
    assert len(hands.house.provider.asked()) == 2
    assert len({each.handle for each in hands.story(task_id) if isinstance(each, ev.AttemptPlanned)}) == 1


@pytest.mark.parametrize("status", ["400", "500"])
def test_a_model_that_fails_fails_the_task_in_its_words(hands: Hands, status: str) -> None:
    task = hands.ended(hands.give(f"[[status:{status}]]"), ENDED_WITHIN_S)
    assert task["state"] == "failed", task
    assert task["error"]["message"], task


def test_a_model_that_is_limited_rests_the_hands_or_fails_the_task_and_never_counts_as_done(hands: Hands) -> None:
    task_id = hands.give("[[status:429]]")
    until(lambda: _limited(hands, task_id), ENDED_WITHIN_S, "the limit is told")
    assert hands.task(task_id)["state"] != "completed"
    hands.cancel(task_id)


def _limited(hands: Hands, task_id: str) -> bool:
    words = str([each for each in hands.story(task_id) if not isinstance(each, ev.TaskCreated)])
    return "429" in words or "rate" in words.lower()

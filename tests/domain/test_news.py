"""What Brainstem hears of repairs, and of tasks that wait for a person."""

from __future__ import annotations

import pytest
from tests.domain.given import Desk, worker
from tests.domain.stem import Stem

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import news
from omni.domain.news import owed as news_of
from omni.domain.system import REMEMBERED
from omni.domain.values import ExecutorHealth, NoticeSink, RepairSettings, TaskSpec, Telling

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


def test_who_waits_for_an_executor_is_told_as_such_once_for_all_who_do() -> None:
    desk = Desk(worker())
    desk.note("worker", ExecutorHealth("failed", "it broke"))
    desk.create("a")
    desk.create("b")
    first, second = (send.message for send in news.of(desk.board.tasks.values(), failures=False))
    assert isinstance(first, cmd.Tell)
    assert first.kind == "task_stranded"
    assert first.dedup == second.dedup


def test_who_waits_for_an_executor_is_no_news_after_a_start() -> None:
    desk = Desk(worker())
    desk.note("worker", ExecutorHealth("failed", "it broke"))
    desk.create("a")
    desk.put(cmd.Boot("boot-2", desk.settings))
    assert [send for send in desk.sends if send.to == "brainstem"] == []


@pytest.mark.parametrize(("client", "repair"), [("brainstem", True), ("cli", False)])
def test_a_repair_that_a_person_has_tried_again_is_a_repair(client: str, *, repair: bool) -> None:
    """It may do what a repair may and no more, and makes no call through the proxy that it mends."""
    desk = Desk(worker())
    desk.put(cmd.CreateTask("", "r1", TaskSpec("bring it back"), client))
    desk.fail("r1")
    desk.put(cmd.RetryTask("q", "r1", "r2", "cli"))
    (start,) = [send.message for send in desk.sends if isinstance(send.message, cmd.StartAttempt)]
    assert (start.task_id, start.repair) == ("r2", repair)


def test_a_budget_is_told_of_once_though_something_comes_late_in_another_hour() -> None:
    one, desk = stem(), Desk(worker())
    desk.create("a")
    desk.fail("a", "over_budget")
    assert hears(one, desk, "a") == ["budget_reached"]
    desk.at += news.HOUR_MS
    assert [type(event) for event in [*desk.succeed("a")]] == [ev.LateOutcomeArrived]
    assert hears(one, desk, "a") == []
    desk.create("b")
    desk.fail("b", "over_budget")
    assert hears(one, desk, "b") == ["budget_reached"]


# --- Brainstem's memory of what it has heard ------------------------------------------------------------------------


CHAT = Telling((NoticeSink("chat", people=True, addressed=True),))


def stem() -> Stem:
    return Stem(RepairSettings(attempts=0), CHAT)


def hears(one: Stem, desk: Desk, *task_ids: str) -> list[str]:
    """Brainstem hears what the Router announces of these tasks; what it queues for people, who take it at once."""
    sends = news.of([desk.task(task_id) for task_id in task_ids], failures=True)
    return [key for send in sends for key in told(one, send.message)]


def told(one: Stem, message: cmd.Message) -> list[str]:
    queued = [(e.key, e.kind) for e in one.put(message) if isinstance(e, ev.NoticeQueued)]
    for key, _ in queued:
        one.put(cmd.Delivered(key, ok=True, sink="chat"))
    return [kind for _, kind in queued]


def after_a_start(one: Stem, desk: Desk) -> list[str]:
    """Both begin anew from their logs; what is queued by it, but for the word that they had crashed."""
    one.put(cmd.DaemonDown("SIGTERM"))
    one.start(RepairSettings(attempts=0))
    desk.put(cmd.Boot("another", desk.settings))
    return [kind for send in desk.sends if send.to == "brainstem" for kind in told(one, send.message)]


def many_fail(one: Stem, desk: Desk) -> None:
    """So many that Brainstem forgets the names of all that it heard of before."""
    for n in range(REMEMBERED):
        desk.create(f"f{n}")
        desk.fail(f"f{n}")
        assert hears(one, desk, f"f{n}") == ["task_failed"]


@pytest.mark.parametrize("late", [True, False])
def test_an_answer_whose_name_was_forgotten_is_not_told_again(*, late: bool) -> None:
    one, desk = stem(), Desk(worker())
    desk.create("a", reply_to="telegram:42")
    desk.succeed("a")
    assert hears(one, desk, "a") == ["task_answer"]
    many_fail(one, desk)
    if late:
        desk.fail("a")  # after all
        assert hears(one, desk, "a") == []
    assert after_a_start(one, desk) == []


def test_a_question_whose_name_was_forgotten_is_not_told_again() -> None:
    one, desk = stem(), Desk(worker(on_crash="ask"))
    desk.create("a", reply_to="telegram:42")
    desk.interrupt("a")
    assert hears(one, desk, "a") == ["task_held", "task_answer"]
    many_fail(one, desk)
    assert after_a_start(one, desk) == []
    desk.put(cmd.ResolveTask("q", "a", "fail"))
    assert hears(one, desk, "a") == ["task_failed", "task_answer"]


def test_more_questions_than_names_can_be_remembered_are_each_told_once_though_all_were_lost_at_first() -> None:
    many = REMEMBERED + 200
    one, desk = stem(), Desk(worker(on_crash="ask", max_concurrency=many))
    for n in range(many):
        desk.create(f"t{n}")
    for n in reversed(range(many)):  # the newest asks first
        desk.interrupt(f"t{n}")
    assert after_a_start(one, desk) == ["task_held"] * many
    assert after_a_start(one, desk) == []

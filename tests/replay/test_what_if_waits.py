"""Who is held at a cap in the record and by the policy, but would have gone on at another time, or not by itself."""

from __future__ import annotations

from typing import Any

import pytest
from tests.domain.given import worker
from tests.replay.test_what_if import Story, fates

from omni.domain import commands as cmd
from omni.domain.ledger import DAY_MS
from omni.domain.values import Budget, ExecutorSpec, Result, TaskError
from omni.replay.what_if import Answer

DAY = 1.0  # dollars a day: `a` takes $0.90 of it, and then `b` asks for $1.00


def held_on_its_way(at_cap: Any, **more: Any) -> Story:
    story = Story(worker(on_crash="retry", max_concurrency=3), budget=Budget(daily_usd=DAY, at_cap=at_cap, **more))
    story.whole("a")
    story.create("b")
    refused(story, "b")
    return story


def held_before_it_began(at_cap: Any) -> Story:
    story = Story(worker(on_crash="retry"), budget=Budget(daily_usd=0.9, at_cap=at_cap))
    story.whole("a", estimate=0.9)
    story.create("b")
    return story


def refused(story: Story, task: str) -> None:
    story.reserve(task)
    story.put(cmd.ReportFailed(task, 1, TaskError("failed", "stopped")))


def goes_on(story: Story, days: int = 1) -> None:
    story.at += days * DAY_MS
    story.put(cmd.TimerFired("budget"))
    done(story)


def decided(story: Story, decision: Any, days: int) -> None:
    story.at += days * DAY_MS
    story.put(cmd.ResolveTask("r", "b", decision, "me"))
    if decision == "retry":
        done(story)


def done(story: Story) -> None:
    assert story.task("b").open_attempt is not None
    story.put(cmd.ReportSucceeded("b", len(story.task("b").attempts), Result("done")))


def whole(answer: Answer) -> dict[str, bool]:
    view = answer.view()
    return {name: view[name]["whole"] for name in ("cost", "latency", "held", "failed")}


@pytest.mark.parametrize("held", [held_on_its_way, held_before_it_began])
def test_what_went_on_by_itself_waits_for_a_person_where_the_policy_asks(held: Any) -> None:
    story = held("hold")
    goes_on(story)
    answer = story.by(budget=Budget(daily_usd=story.settings.budget.daily_usd, at_cap="ask"))
    assert fates(answer) == {"b": "held"}
    assert (answer.held.same, answer.held.delta, answer.latency.unknown) == (1, 0, 1)
    assert "person" in answer.changes[0].policy.reason
    assert fates(story.by()) == {}


@pytest.mark.parametrize("held", [held_on_its_way, held_before_it_began])
@pytest.mark.parametrize("decision", ["retry", "fail"])
def test_what_a_person_decided_later_would_have_gone_on_by_itself_before_that(held: Any, decision: str) -> None:
    story = held("ask")
    decided(story, decision, days=2)
    answer = story.by(budget=Budget(daily_usd=story.settings.budget.daily_usd))
    assert fates(answer) == {"b": "unsure"}
    assert answer.held.same == 1, "it is held in both"
    assert (answer.failed.unknown, answer.latency.unknown) == (1, decision == "retry")
    assert fates(story.by()) == {}


def test_what_may_be_resumed_by_the_time_that_it_is_held_goes_on_by_itself_in_both() -> None:
    """When its call was refused, it had no session yet that it could be resumed by."""
    story = Story(worker(on_crash="resume"), budget=Budget(daily_usd=DAY))
    story.whole("a")
    story.create("b")
    story.reserve("b")
    story.put(cmd.ReportStarted("b", 1, session="s"))
    story.put(cmd.ReportFailed("b", 1, TaskError("failed", "stopped")))
    goes_on(story)
    assert fates(story.by()) == {}
    assert fates(story.by(budget=Budget(daily_usd=DAY, at_cap="ask"))) == {"b": "held"}


def test_a_task_that_was_never_decided_about_would_have_gone_on_the_next_day() -> None:
    story = held_on_its_way("ask")
    story.at += 3 * DAY_MS
    story.whole("z", estimate=0.1, usd=0.05)
    answer = story.by(budget=Budget(daily_usd=DAY))
    assert fates(answer) == {"b": "unsure"}
    assert (answer.held.same, answer.failed.unknown, answer.cost.view()["whole"]) == (1, 1, False)


def test_a_persons_retry_of_the_same_day_came_first_and_the_time_is_not_known() -> None:
    story = held_on_its_way("ask")
    decided(story, "retry", days=0)
    assert fates(story.by(budget=Budget(daily_usd=DAY))) == {"b": "other_time"}


def test_at_the_tasks_cap_a_person_is_asked_and_at_the_days_cap_nobody() -> None:
    story = Story(worker(on_crash="retry"), budget=Budget(task_usd=0.5))
    story.whole("a", estimate=0.4, usd=0.4)
    story.create("b")
    refused(story, "b")
    decided(story, "retry", days=2)
    assert fates(story.by(budget=Budget(daily_usd=DAY))) == {"b": "unsure"}


def test_money_that_comes_free_lets_on_earlier_under_a_higher_cap_and_the_time_is_not_known() -> None:
    """x reserves $1.00 and comes to $0.30: b's $1.00 fits then under $1.60, and under $1.20 on the next day only."""
    story = Story(worker(on_crash="retry", max_concurrency=3), budget=Budget(daily_usd=1.2))
    story.create("x")
    call = story.reserve("x")
    story.create("b")
    refused(story, "b")
    story.at += 1_000
    story.settle(call, 0.3)
    story.succeed("x")
    goes_on(story)
    answer = story.by(budget=Budget(daily_usd=1.6))
    assert fates(answer) == {"b": "other_time"}
    assert (answer.held.same, answer.latency.same, answer.latency.unknown) == (1, 1, 1)
    assert whole(answer) == {"cost": True, "latency": False, "held": True, "failed": True}
    assert fates(story.by(budget=Budget(daily_usd=1.25))) == {}, "both wait for the next day"


def test_what_was_held_before_the_policy_began_goes_on_as_at_a_start_with_a_higher_cap() -> None:
    story = held_on_its_way("hold")
    before = len(story.log)
    story.at += 1_000
    story.whole("c", estimate=0.05, usd=0.05)
    goes_on(story)
    assert fates(story.by(after=before, budget=Budget(daily_usd=5.0))) == {"b": "other_time"}
    assert fates(story.by(after=before, budget=Budget(daily_usd=1.2))) == {}


# --- a policy that begins in the middle -----------------------------------------------------------------------------


def test_whoever_is_stranded_when_the_policy_begins_goes_on_then() -> None:
    coder = ExecutorSpec("coder", types=("coding",))
    story = Story(coder)
    story.create("a", "say hello")
    before = len(story.log)
    story.at += 1_000
    story.create("z", "write code", type="coding")
    story.succeed("z")
    answer = story.by(after=before, executors=(coder, worker("more")))
    assert fates(answer) == {"a": "let_on"}
    assert fates(story.by(after=before)) == {}


def test_whoever_waits_for_or_runs_on_an_executor_that_the_policy_lacks_does_not_stay_there() -> None:
    story = Story(worker("one", max_concurrency=1), worker("two"))
    story.create("runs", executor="one")
    story.create("waits")
    assert story.task("waits").route.executor == "one"  # type: ignore[union-attr]
    before = len(story.log)
    story.at += 1_000
    story.succeed("runs")
    story.call("waits")
    story.succeed("waits")
    answer = story.by(after=before, executors=(worker("two"),))
    assert fates(answer) == {"runs": "unsure", "waits": "elsewhere"}
    assert (answer.latency.same, answer.latency.unknown, answer.failed.unknown) == (0, 2, 2)
    assert fates(story.by(after=before)) == {}


def test_who_was_let_on_may_have_been_held_later_and_the_sum_says_so() -> None:
    """$0.90 a day is used up before `b` begins; by $1.00 it may begin, and its call of $1.00 would not fit."""
    story = held_before_it_began("ask")
    view = story.by(budget=Budget(daily_usd=1.0)).view()
    assert view["changes"][0]["fate"] == "let_on"
    assert (view["held"]["gone"], view["held"]["whole"], view["held"]["doubts"]) == (1, False, ["let_on"])
    assert view["held"]["label"].endswith("unknown")

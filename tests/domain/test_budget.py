"""Caps on spending: what is let go, what is refused, and what becomes of a task that ran into one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from msgspec.structs import replace
from tests.domain.given import READY, Desk, names, worker

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain import ledger as ledgers
from omni.domain.ledger import DAY_MS, KEEP_DAYS
from omni.domain.values import Budget, Held, Result, TaskState, Tier, Usage
from omni.domain.view import task_view

HOUR_MS = 3_600_000


class Till(Desk):
    """A desk at which model calls are asked for and settled."""

    def reserve(self, call: str, usd: float | None = 1.0, task: str = "a", n: int = 1, **more: Any) -> list[Any]:
        given = {"channel": "openrouter", "model": "large", "mode": "NORMAL", "tier": "P2", "paid": True, **more}
        owner = {"task_id": task, "n": n} if task else {"client": "openclaw"}
        return self.put(cmd.ReserveCall(f"r-{call}", call, estimate_usd=usd, **owner, **given))

    def settle(self, call: str, usd: float | None = 1.0, verdict: str = "ok", **more: Any) -> list[Any]:
        return self.put(cmd.SettleCall(call, verdict, billed_usd=usd, **more))

    def cancelled(self, task: str = "a", n: int = 1) -> list[Any]:
        return self.put(cmd.ReportCancelled(task, n))

    def reboot(self, **changes: Any) -> list[Any]:
        self.settings = replace(self.settings, budget=replace(self.settings.budget, **changes))
        events = self.put(cmd.Boot("boot-2", self.settings))
        for executor in self.settings.executors:
            self.note(executor.name, READY)
        return events

    @property
    def answer(self) -> cmd.CallAnswered:
        return next(s.message for s in self.sends if isinstance(s.message, cmd.CallAnswered))

    @property
    def verdict(self) -> str:
        """The kind of the refusal that the last request was answered with; empty when it was let go."""
        return self.answer.refusal.kind if self.answer.refusal else ""

    @property
    def stops(self) -> list[tuple[str, int]]:
        return [(s.message.task_id, s.message.n) for s in self.sends if isinstance(s.message, cmd.CancelAttempt)]

    @property
    def wakes(self) -> list[int]:
        return [s.message.at for s in self.sends if isinstance(s.message, cmd.WakeAt) and s.message.key == "budget"]

    def held(self, task: str = "a") -> Held:
        held = self.task(task).held
        assert held is not None
        return held


def till(policy: str = "retry", **caps: Any) -> Till:
    """A till with one task whose first attempt runs."""
    desk = Till(worker(on_crash=policy, max_concurrency=9), budget=Budget(**caps))
    desk.create("a")
    desk.put(cmd.ReportStarted("a", 1))
    return desk


# --- calls ----------------------------------------------------------------------------------------------------------


def test_a_call_is_written_down_before_it_is_let_go() -> None:
    desk = till()
    assert names(desk.reserve("c1")) == ["call.reserved"]
    assert desk.log[-1][0] == "task-a"
    assert desk.answer == cmd.CallAnswered("r-c1")


def test_a_call_of_a_client_with_a_key_of_its_own_stands_in_its_own_stream() -> None:
    desk = till()
    desk.reserve("c1", task="")
    desk.settle("c1")
    assert [stream for stream, *_ in desk.log[-2:]] == ["calls", "calls"]
    assert desk.board.ledger.version == 2
    assert desk.board.ledger.spent(0) == 1.0


def test_reserved_and_billed_together_stay_within_the_cap() -> None:
    desk = till(daily_usd=3.0)
    desk.reserve("c1", 1.5)
    desk.settle("c1", 1.5)
    desk.reserve("c2", 1.0)
    assert names(desk.reserve("c3", 0.6)) == ["call.refused"]
    assert desk.verdict == "over_budget"
    assert "the day's cap of $3.00 ($2.50 spent or reserved)" in desk.events[0].reason


def test_three_calls_of_a_tenth_fit_under_three_tenths() -> None:
    desk = till(daily_usd=0.3)
    for call in ("c1", "c2", "c3"):
        assert names(desk.reserve(call, 0.1)) == ["call.reserved"]


def test_the_bill_takes_the_place_of_the_estimate() -> None:
    desk = till(daily_usd=2.0)
    desk.reserve("c1", 1.9)
    desk.settle("c1", 0.1)
    assert names(desk.reserve("c2", 1.9)) == ["call.reserved"]


def test_a_free_call_is_written_down_and_never_refused_for_money() -> None:
    desk = till(daily_usd=0.0)
    assert names(desk.reserve("c1", 5.0, paid=False)) == ["call.reserved"]
    assert desk.board.ledger.spent(0) == 0.0
    desk.settle("c1", None, imputed_usd=0.4)
    total = desk.board.ledger.total(0)
    assert (total.billed_usd, total.imputed_usd, total.unknown) == (0.0, 0.4, 0)
    assert desk.board.ledger.spent(0) == 0.0


def test_a_call_without_an_estimate_needs_room_but_takes_none() -> None:
    desk = till(daily_usd=1.0)
    assert names(desk.reserve("c1", None)) == ["call.reserved"]
    assert desk.board.ledger.spent(0) == 0.0
    desk.settle("c1", 1.0)
    assert names(desk.reserve("c2", None)) == ["call.refused"]


def test_a_bill_that_nobody_knows_is_counted_and_its_estimate_kept() -> None:
    desk = till(daily_usd=2.0)
    desk.reserve("c1", 1.5)
    settled = desk.settle("c1", None, "broken_stream")
    assert (settled[0].billed_usd, settled[0].kept_usd) == (None, 1.5)
    assert desk.board.ledger.total(0).unknown == 1
    assert desk.task("a").cost_usd is None
    assert names(desk.reserve("c2", 1.0)) == ["call.refused"]


@pytest.mark.parametrize("verdict", ["refused", "rate_limited", "key_rejected", "server_error"])
def test_a_call_that_was_turned_away_costs_nothing(verdict: str) -> None:
    desk = till(daily_usd=2.0)
    desk.reserve("c1", 1.5)
    assert desk.settle("c1", None, verdict)[0].kept_usd == 0.0
    assert desk.board.ledger.total(0).unknown == 0
    assert names(desk.reserve("c2", 1.5)) == ["call.reserved"]


@pytest.mark.parametrize("price", [-5.0, math.nan, math.inf])
def test_a_price_that_is_none_opens_no_budget(price: float) -> None:
    desk = till(daily_usd=2.0)
    assert desk.reserve("c1", price)[0].estimate_usd is None
    assert desk.settle("c1", price)[0].billed_usd is None
    assert desk.board.ledger.total(0).unknown == 1


def test_the_same_call_asked_for_twice_is_reserved_once() -> None:
    desk = till(daily_usd=1.0)
    desk.reserve("c1")
    assert desk.reserve("c1") == []
    assert desk.verdict == ""
    assert desk.board.ledger.spent(0) == 1.0


def test_a_second_word_on_a_call_changes_nothing() -> None:
    desk = till()
    desk.reserve("c1")
    desk.settle("c1", 0.2)
    assert desk.settle("c1", 7.0) == []
    assert desk.settle("never", 7.0) == []
    assert desk.task("a").cost_usd == 0.2


@pytest.mark.parametrize(("task", "n"), [("a", 2), ("nobody", 1)])
def test_a_key_opens_nothing_but_the_attempt_it_was_made_for(task: str, n: int) -> None:
    desk = till()
    assert desk.reserve("c1", task=task, n=n) == []
    assert desk.verdict == "stale_key"


def test_a_key_opens_nothing_once_its_attempt_has_ended() -> None:
    desk = till()
    desk.succeed("a")
    assert desk.reserve("c1", paid=False) == []
    assert desk.verdict == "stale_key"


def test_a_call_may_be_settled_after_its_task_has_ended() -> None:
    desk = till()
    desk.reserve("c1")
    desk.succeed("a")
    assert names(desk.settle("c1", 0.3)) == ["call.settled"]
    assert (desk.task("a").state, desk.task("a").cost_usd) == (TaskState.COMPLETED, 0.3)


def test_a_call_whose_task_has_left_memory_is_still_settled() -> None:
    desk = till()
    desk.reserve("c1")
    desk.succeed("a")
    for i in range(boards.KEEP_ENDED):
        desk.create(f"t{i}")
        desk.succeed(f"t{i}")
    assert "a" not in desk.board.tasks
    desk.settle("c1", 0.3)
    assert desk.log[-1][0] == "calls"
    assert desk.board.ledger.spent(0) == 0.3


# --- days, tiers, channels ------------------------------------------------------------------------------------------


def test_a_call_belongs_to_the_day_it_was_reserved_on() -> None:
    desk = till(daily_usd=2.0)
    desk.at = DAY_MS - 1
    desk.reserve("c1", 1.5)
    desk.at = DAY_MS
    assert names(desk.reserve("c2", 1.5)) == ["call.reserved"]
    desk.settle("c1", 1.4)
    assert desk.board.ledger.spent(0) == 1.4
    assert desk.board.ledger.spent(1) == 1.5


def test_the_day_begins_at_the_owners_midnight() -> None:
    desk = till(daily_usd=2.0, utc_offset_ms=8 * HOUR_MS)
    desk.at = 16 * HOUR_MS - 1
    desk.reserve("c1", 2.0)
    assert names(desk.reserve("c2", 1.0, task="")) == ["call.refused"]
    desk.at = 16 * HOUR_MS
    assert names(desk.reserve("c3", 1.0, task="")) == ["call.reserved"]


def test_a_client_that_asks_again_and_again_is_refused_each_time_and_written_down_once_a_day() -> None:
    desk = till(daily_usd=1.0)
    desk.reserve("c0", 1.0, task="")
    assert [names(desk.reserve(f"c{number}", 0.5, task="")) for number in (1, 2)] == [["call.refused"], []]
    assert desk.verdict == "over_budget"
    ledger = ledgers.restore(desk.board.ledger.snapshot())
    assert ledger.refused == desk.board.ledger.refused == {("openclaw", "day"): 0}
    desk.at = DAY_MS
    desk.reserve("c3", 1.0, task="")
    assert [names(desk.reserve(f"c{number}", 0.5, task="")) for number in (4, 5)] == [["call.refused"], []]


@pytest.mark.parametrize("name", ["P2", "openrouter"])
def test_a_tier_or_a_channel_has_a_cap_of_its_own(name: str) -> None:
    desk = till(channel_usd={name: 1.0}, daily_usd=9.0)
    desk.reserve("c1", 1.0)
    assert names(desk.reserve("c2", 0.5, channel="anthropic", tier="P1")) == ["call.reserved"]
    refused = desk.reserve("c3", 0.5)
    assert refused[0].cap == name
    assert f"the day's cap for {name} of $1.00" in refused[0].reason


def test_the_smaller_of_a_tasks_caps_binds_it() -> None:
    desk = till(task_usd=5.0)
    desk.create("b", budget_usd=1.0)
    desk.reserve("c1", 2.0)
    assert desk.verdict == ""
    desk.reserve("c2", 2.0, task="b")
    assert (desk.verdict, desk.events[0].cap) == ("over_budget", "task")


def test_days_long_past_leave_memory() -> None:
    desk = till()
    desk.reserve("c1")
    desk.settle("c1")
    desk.at += KEEP_DAYS * DAY_MS
    desk.reserve("c2")
    assert list(desk.board.ledger.days) == []


def test_a_clock_that_was_months_ahead_for_a_moment_opens_no_budget() -> None:
    desk = till(daily_usd=2.0)
    desk.at += 2 * KEEP_DAYS * DAY_MS
    desk.reserve("c1")
    desk.settle("c1")
    desk.at -= 2 * KEEP_DAYS * DAY_MS
    desk.reserve("c2", 2.0)
    desk.settle("c2", 2.0)
    desk.reserve("c3")
    assert desk.verdict == "over_budget"


def test_a_bill_that_comes_months_late_is_not_remembered() -> None:
    desk = till()
    desk.reserve("c1")
    desk.at += KEEP_DAYS * DAY_MS
    desk.reserve("c2")
    desk.settle("c1")
    assert list(desk.board.ledger.days) == []
    assert list(desk.board.ledger.open) == ["c2"]


# --- what becomes of the task ---------------------------------------------------------------------------------------


def test_a_task_over_its_budget_is_asked_to_stop_once() -> None:
    desk = till(daily_usd=1.0)
    desk.reserve("c1", 2.0)
    assert desk.stops == [("a", 1)]
    assert desk.reserve("c2", 0.5) == []
    assert (desk.verdict, desk.stops) == ("over_budget", [])


@pytest.mark.parametrize("end", ["cancelled", "fail", "unsent"])
def test_an_attempt_stopped_for_money_ends_in_a_held_task_not_in_a_failed_one(end: str) -> None:
    desk = till(task_usd=1.0)
    desk.reserve("c1", 2.0)
    if end == "unsent":
        desk.fail("a", "unavailable")
    else:
        getattr(desk, end)("a")
    assert desk.task("a").state is TaskState.HELD
    assert (desk.held().kind, desk.held().options) == ("budget", ("retry", "fail"))
    assert "the task's cap of $1.00 ($0.00 spent or reserved), and this call may cost $2.00" in desk.held().reason
    assert getattr(desk.events[0], "retry_at", None) is None


def test_an_interrupted_attempt_is_repeated_under_its_key_and_meets_the_cap_again() -> None:
    desk = till(task_usd=1.0)
    desk.reserve("c1", 2.0)
    desk.interrupt("a")
    assert [type(s.message) for s in desk.sends] == [cmd.WakeAt]
    desk.at += HOUR_MS // 2
    desk.put(cmd.TimerFired("a"))
    assert desk.task("a").attempts[1].key == "a:1"
    assert desk.task("a").capped is None
    assert names(desk.reserve("c2", 2.0, n=2)) == ["call.refused"]
    assert desk.stops == [("a", 2)]


def test_an_attempt_that_was_asked_to_stop_buys_no_more_calls_and_is_not_asked_again() -> None:
    desk = till(task_usd=1.0)
    desk.put(cmd.CancelTask("r", "a", "owner"))
    for call, usd in (("c1", 2.0), ("c2", 0.1)):
        assert desk.reserve(call, usd) == []
        assert (desk.verdict, desk.stops) == ("stale_key", [])


def test_work_that_its_executor_never_took_goes_on_by_itself_whatever_the_policy() -> None:
    desk = used_up()
    desk.at = DAY_MS
    desk.create("a", tier="P2")
    desk.fail("a", "unavailable")
    desk.reserve("c2", 1.0, task="")
    desk.settle("c2", 1.0)
    desk.at += HOUR_MS
    assert names(desk.put(cmd.TimerFired("a"))) == ["task.held"]
    desk.at = 2 * DAY_MS
    assert names(desk.put(cmd.TimerFired("budget"))) == ["task.routed", "attempt.planned"]


def test_an_attempt_that_may_have_done_its_work_goes_on_under_its_key_without_regard_to_the_day() -> None:
    desk = till(daily_usd=1.0)
    desk.create("b", tier="P2")
    desk.interrupt("b")
    desk.reserve("c1", 1.0)
    desk.settle("c1", 1.0)
    desk.at += HOUR_MS // 2
    desk.put(cmd.TimerFired("b"))
    assert (desk.started, desk.task("b").attempts[1].key) == ([("b", 2)], "b:1")


def test_a_success_wins_over_the_budget() -> None:
    desk = till(task_usd=1.0)
    desk.reserve("c1", 2.0)
    desk.succeed("a")
    assert desk.task("a").state is TaskState.COMPLETED


def test_a_person_who_cancels_is_obeyed_also_when_the_money_is_gone() -> None:
    desk = till(task_usd=1.0)
    desk.reserve("c1", 2.0)
    desk.put(cmd.CancelTask("r", "a", "owner"))
    desk.cancelled()
    assert desk.task("a").state is TaskState.CANCELLED


@pytest.mark.parametrize("policy", ["ask", "fail"])
def test_work_that_may_have_been_done_is_asked_about_when_it_was_stopped_for_money(policy: str) -> None:
    desk = till(policy, daily_usd=1.0)
    desk.reserve("c1", 1.5)
    desk.interrupt("a")
    assert desk.held().kind == "interrupted"
    assert desk.held().options == ("retry", "accept", "fail")


def test_a_router_that_lost_its_memory_asks_the_attempt_to_stop_again() -> None:
    from omni.domain import dispatch

    desk = till(daily_usd=1.0)
    desk.reserve("c1", 2.0)
    stops = [s.message for s in dispatch.owed(desk.replayed(), "boot-1") if isinstance(s.message, cmd.CancelAttempt)]
    assert stops == [cmd.CancelAttempt("a", 1, "worker")]


def test_a_router_that_lost_its_memory_wakes_at_midnight_again() -> None:
    from omni.domain import dispatch

    desk = used_up(utc_offset_ms=8 * HOUR_MS)
    desk.create("a", tier="P2")
    assert desk.wakes == [16 * HOUR_MS]
    woken = [s.message for s in dispatch.owed(desk.replayed(), "boot-1") if isinstance(s.message, cmd.WakeAt)]
    assert woken == [cmd.WakeAt("router", 16 * HOUR_MS, "budget")]
    assert desk.put(cmd.TimerFired("budget")) == []
    assert desk.wakes == [16 * HOUR_MS]


def test_a_daily_cap_lets_go_when_the_next_day_begins() -> None:
    desk = till(daily_usd=1.0)
    desk.reserve("c1", 0.6)
    desk.settle("c1", 0.6)
    desk.reserve("c2", 0.6)
    desk.cancelled()
    assert desk.wakes == [DAY_MS]
    assert "goes on by itself" in desk.held().reason
    desk.at = DAY_MS - 1
    assert desk.put(cmd.TimerFired("budget")) == []
    assert desk.wakes == [DAY_MS]
    desk.at = DAY_MS
    assert names(desk.put(cmd.TimerFired("budget"))) == ["task.routed", "attempt.planned"]
    assert desk.started == [("a", 2)]


def test_a_start_with_a_higher_cap_lets_go_at_once_and_one_with_the_same_does_not() -> None:
    desk = till(daily_usd=1.0)
    desk.reserve("c1", 0.6)
    desk.settle("c1", 0.6)
    desk.reserve("c2", 0.6)
    desk.cancelled()
    assert "task.routed" not in names(desk.reboot())
    assert desk.task("a").state is TaskState.HELD
    assert "task.routed" in names(desk.reboot(daily_usd=2.0))


def test_a_call_that_came_cheaper_lets_one_waiting_task_go_on() -> None:
    desk = till(daily_usd=3.0)
    for task in "bc":
        desk.create(task)
    desk.reserve("c1", 2.5)
    for task in "bc":
        desk.reserve(f"c-{task}", 1.0, task=task)
        desk.cancelled(task)
    assert desk.settle("c1", 2.4)[1:] == []
    desk.reserve("c2", 0.5)
    assert names(desk.settle("c2", None, "refused")) == ["call.settled"]
    assert desk.task("b").state is TaskState.HELD


def test_room_that_comes_back_goes_to_the_one_that_waited_longest() -> None:
    desk = till(daily_usd=3.0)
    for task in "bc":
        desk.create(task)
    desk.reserve("c1", 2.5)
    for task in "bc":
        desk.reserve(f"c-{task}", 1.0, task=task)
        desk.cancelled(task)
    assert names(desk.settle("c1", 0.1)) == ["call.settled", "task.routed", "attempt.planned"]
    assert desk.started == [("b", 2)]
    assert desk.task("c").state is TaskState.HELD


@pytest.mark.parametrize(("policy", "alone"), [("retry", True), ("ask", False), ("fail", False), ("resume", False)])
def test_only_work_that_may_be_repeated_goes_on_by_itself(policy: str, alone: bool) -> None:
    desk = till(policy, daily_usd=1.0)
    desk.reserve("c1", 0.9)
    desk.reserve("c2", 0.9)
    desk.cancelled()
    desk.at = DAY_MS
    desk.put(cmd.TimerFired("budget"))
    assert (desk.task("a").state is TaskState.DISPATCHING) is alone


def test_work_that_can_be_resumed_goes_on_where_it_stopped() -> None:
    desk = Till(worker(on_crash="resume"), budget=Budget(daily_usd=1.0))
    desk.create("a")
    desk.put(cmd.ReportStarted("a", 1, session="s-1"))
    desk.reserve("c1", 0.9)
    desk.reserve("c2", 0.9)
    desk.cancelled()
    desk.at = DAY_MS
    desk.put(cmd.TimerFired("budget"))
    planned = desk.events[-1]
    assert (planned.n, planned.resume, planned.session) == (2, True, "s-1")
    assert planned.handle == desk.task("a").attempts[0].handle


def test_a_call_that_no_day_has_room_for_waits_for_a_person() -> None:
    desk = till(daily_usd=1.0)
    desk.reserve("c1", 1.5)
    desk.cancelled()
    assert "retry allows as much again" in desk.held().reason
    desk.at = DAY_MS
    assert desk.put(cmd.TimerFired("budget")) == []


def test_ask_and_a_tasks_own_cap_wait_for_a_person() -> None:
    for caps in ({"daily_usd": 1.0, "at_cap": "ask"}, {"task_usd": 1.0}):
        desk = till(**caps)
        desk.reserve("c1", 0.9)
        desk.reserve("c2", 0.9)
        desk.cancelled()
        assert desk.wakes == []
        desk.at = DAY_MS
        assert desk.put(cmd.TimerFired("budget")) == []
        assert desk.task("a").state is TaskState.HELD


def test_retry_is_the_word_for_one_more_cap_of_the_same() -> None:
    desk = till(task_usd=1.0)
    desk.reserve("c1", 0.8)
    desk.settle("c1", 0.8)
    desk.reserve("c2", 0.8)
    desk.cancelled()
    desk.put(cmd.ResolveTask("r", "a", "retry", "owner"))
    assert desk.started == [("a", 2)]
    assert names(desk.reserve("c3", 0.8, n=2)) == ["call.reserved"]
    assert names(desk.reserve("c4", 0.8, n=2)) == ["call.refused"]
    assert "the task's cap of $2.00" in desk.events[0].reason


def test_a_word_for_one_task_opens_the_day_for_no_other() -> None:
    desk = till(daily_usd=1.0, at_cap="ask")
    desk.create("b")
    desk.reserve("c1", 0.8)
    desk.settle("c1", 0.8)
    desk.reserve("c2", 0.8)
    desk.cancelled()
    desk.put(cmd.ResolveTask("r", "a", "retry", "owner"))
    assert names(desk.reserve("c3", 0.8, n=2)) == ["call.reserved"]
    assert names(desk.reserve("c4", 0.1, task="b")) == ["call.refused"]


def test_a_word_about_the_day_is_for_that_day_and_one_about_the_task_for_good() -> None:
    for caps, third in (({"daily_usd": 1.0, "at_cap": "ask"}, "call.refused"), ({"task_usd": 1.0}, "call.reserved")):
        desk = till(**caps)
        desk.reserve("c1", 1.5)
        desk.cancelled()
        desk.put(cmd.ResolveTask("r", "a", "retry", "owner"))
        assert names(desk.reserve("c2", 0.1, n=2)) == ["call.reserved"]
        desk.at = DAY_MS
        assert names(desk.reserve("c3", 1.5, n=2)) == [third]


def test_a_word_about_an_interrupted_attempt_raises_no_cap() -> None:
    desk = till("ask", task_usd=1.0)
    desk.reserve("c1", 1.5)
    desk.interrupt("a")
    desk.put(cmd.ResolveTask("r", "a", "retry", "owner"))
    assert names(desk.reserve("c2", 1.5, n=2)) == ["call.refused"]


# --- degrade --------------------------------------------------------------------------------------------------------


def test_degrade_offers_a_free_call_and_stops_nothing() -> None:
    desk = till(daily_usd=1.0, at_cap="degrade")
    desk.reserve("c1", 2.0)
    assert (desk.verdict, desk.answer.degrade, desk.stops) == ("over_budget", True, [])
    assert names(desk.reserve("c2", None, paid=False)) == ["call.reserved"]
    desk.fail("a")
    assert desk.task("a").state is TaskState.FAILED


def used_up(**caps: Any) -> Till:
    """A till at which the day's money is gone, and nobody at work."""
    desk = Till(worker(on_crash="ask"), budget=Budget(**{"daily_usd": 1.0, **caps}))
    desk.reserve("c1", 1.0, task="")
    desk.settle("c1", 1.0)
    return desk


def test_a_paid_task_is_held_before_it_starts_when_the_day_is_used_up() -> None:
    desk = used_up()
    assert names(desk.create("a", tier="P2")) == ["task.created", "task.routed", "task.held"]
    assert desk.wakes == [DAY_MS]
    assert "the day's cap of $1.00 ($1.00 spent or reserved) is used up" in desk.held().reason
    assert names(desk.create("b", tier="P1"))[-1] == "attempt.planned"
    desk.succeed("b")
    desk.at = DAY_MS
    assert names(desk.put(cmd.TimerFired("budget"))) == ["task.routed", "attempt.planned"]


def test_under_degrade_a_task_that_no_free_call_would_do_for_is_held_and_not_failed() -> None:
    desk = till(task_usd=2.0, at_cap="degrade")
    desk.reserve("c1", 3.0)
    assert names(desk.fail("a", "over_budget")) == ["attempt.failed", "task.held"]
    assert desk.held().kind == "budget"
    assert desk.held().options == ("retry", "fail")


def test_under_degrade_a_paid_task_starts_on_the_free_tier_and_says_why() -> None:
    desk = used_up(at_cap="degrade")
    events = desk.create("a", tier="P2")
    assert names(events) == ["task.created", "task.routed", "task.routed", "attempt.planned"]
    assert (events[-1].route.tier, events[-1].route.model) == ("P1", "small")
    assert "P1 instead of P2, because the day's cap of $1.00" in events[2].reason


def test_where_nothing_is_free_degrade_holds() -> None:
    desk = Till(worker(), tiers=(Tier("P2", "large", paid=True),), budget=Budget(daily_usd=0.0, at_cap="degrade"))
    assert names(desk.create("a"))[-1] == "task.held"
    assert desk.wakes == [DAY_MS]


def test_a_start_under_degrade_lets_those_go_on_who_waited_for_money() -> None:
    desk = used_up()
    desk.create("a", tier="P2")
    desk.reboot(at_cap="degrade")
    assert desk.task("a").attempts[0].route.tier == "P1"


def test_what_is_only_reserved_keeps_no_task_from_starting() -> None:
    desk = till(daily_usd=1.0)
    desk.reserve("c1", 1.0)
    assert names(desk.create("b", tier="P2"))[-1] == "attempt.planned"


def test_a_tier_with_a_cap_of_its_own_holds_its_tasks_only() -> None:
    desk = used_up(daily_usd=None, channel_usd={"P2": 1.0})
    assert names(desk.create("a", tier="P2"))[-1] == "task.held"
    assert names(desk.create("b"))[-1] == "attempt.planned"


# --- crashes --------------------------------------------------------------------------------------------------------


def test_a_call_that_was_open_when_the_daemon_died_is_settled_at_the_next_start() -> None:
    desk = till(daily_usd=2.0)
    desk.reserve("c1", 1.5)
    desk.reserve("c2", 0.5, task="")
    settled = [e for e in desk.reboot() if names([e]) == ["call.settled"]]
    assert [(e.call, e.verdict, e.source, e.billed_usd, e.kept_usd) for e in settled] == [
        ("c1", "unknown", "unknown", None, 1.5),
        ("c2", "unknown", "unknown", None, 0.5),
    ]
    assert settled[0].detail == "the daemon ended before the call was settled"
    assert desk.board.ledger.open == {}
    assert desk.settle("c1", 0.1) == []
    assert names(desk.reserve("c3", 0.1, task="")) == ["call.refused"]


# --- what it came to ------------------------------------------------------------------------------------------------


def test_metered_calls_outweigh_what_the_executor_counted_itself() -> None:
    desk = till()
    for call, cost in (("c1", 0.25), ("c2", 0.5)):
        desk.reserve(call)
        desk.settle(call, cost, usage=Usage(100, 10))
    desk.put(cmd.ReportSucceeded("a", 1, Result("done"), usage=Usage(9, 9), cost_usd=9.0))
    view = task_view(desk.task("a"))
    assert view["cost_usd"] == 0.75
    assert view["usage"] == {"input_tokens": 200, "output_tokens": 20}


def test_what_the_executor_counted_stands_where_nothing_was_metered() -> None:
    desk = till()
    desk.put(cmd.ReportSucceeded("a", 1, Result("done"), usage=Usage(9, 8), cost_usd=0.9))
    assert (desk.task("a").cost_usd, desk.task("a").usage) == (0.9, Usage(9, 8))


def test_the_newest_day_is_told_in_one_word() -> None:
    from omni.domain.budget import spend

    desk = till(daily_usd=9.0)
    desk.reserve("c1", 1.0)
    desk.settle("c1", 0.8)
    desk.reserve("c2", 0.7)
    desk.settle("c2", None, "hung")
    desk.reserve("c3", 0.5)
    told = spend(desk.board)
    assert (told.billed_usd, told.kept_usd, told.reserved_usd, told.unknown) == (0.8, 0.7, 0.5, 1)
    assert (told.until, told.budget.daily_usd) == (DAY_MS, 9.0)


def test_a_board_from_its_snapshot_and_one_from_the_log_hold_the_same_ledger() -> None:
    desk = till(daily_usd=2.0)
    desk.reserve("c1", 1.0)
    desk.settle("c1", 0.9)
    desk.reserve("c2", 0.5)
    desk.reserve("c3", 0.9)
    desk.cancelled()
    restored = boards.restore(desk.board.snapshot())
    assert restored.snapshot() == desk.replayed().snapshot() == desk.board.snapshot()
    assert restored.at("capped") == desk.board.at("capped")
    assert list(restored.at("capped")) == ["a"]

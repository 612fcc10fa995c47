"""What another policy would have done: hand-computed money, changed choices, and what must stay unknown."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.domain.given import Desk, worker

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.hops import Paths, Provider, Rung
from omni.domain.ledger import DAY_MS
from omni.domain.values import (
    Budget,
    Evidence,
    ExecutorHealth,
    ExecutorSpec,
    HealthSettings,
    Result,
    Route,
    RoutingSettings,
    TaskError,
    Thresholds,
    Tier,
    Usage,
)
from omni.replay.what_if import Answer, Policy, SecondReading
from omni.replay.what_if.figures import Chosen

HOUR_MS = 3_600_000
LARGE_FOR_ALL, SMALL_FOR_ALL = 0, 101  # thresholds
TIERS = (Tier("P2", "small", "large", paid=True), Tier("P9", "free", "free"))
RATES = {"small": (1.0, 4.0), "large": (5.0, 20.0), "free": (3.0, 3.0)}  # dollars for a million tokens, in and out
USED = Usage(100_000, 20_000)  # large: 0.50 + 0.40 = $0.90; small: 0.10 + 0.08 = $0.18
WATCHED = HealthSettings(proxy=True, clouds=("east",), primary_keys=("east",), backup_keys=("east",))


def price(channel: str, model: str, usage: Usage) -> float | None:
    if model not in RATES:
        return None
    inward, outward = RATES[model]
    return (usage.input_tokens * inward + usage.output_tokens * outward) / 1_000_000


class Story(Desk):
    """A Router that records, on a clock that the story moves; calls are those of a task's open attempt."""

    def __init__(self, *executors: ExecutorSpec, threshold: int = LARGE_FOR_ALL, **more: Any) -> None:
        super().__init__(*(executors or (worker(),)), ready=False, tiers=TIERS, **more)
        self.settings = replace(self.settings, complexity_threshold=threshold)
        self.put(cmd.Boot("boot-2", self.settings))
        for each in self.settings.executors:
            self.note(each.name, ExecutorHealth("ready"))

    def write(self, stream: str, event: Any) -> None:
        """An event that another actor writes."""
        self.log.append((stream, event, self.at, len(self.log) + 1))

    def call(self, task: str, *, estimate: float | None = 1.0, usd: float | None = 0.9, **more: Any) -> None:
        """One call from reservation to bill, on the route of the task's open attempt."""
        name = self.reserve(task, estimate=estimate, paid=more.get("paid", True))
        self.settle(name, usd, usage=more.get("usage", USED))

    def reserve(self, task: str, *, estimate: float | None = 1.0, paid: bool = True) -> str:
        last = self.task(task).attempts[-1]
        name, route = f"call-{len(self.log)}", last.route
        self.put(
            cmd.ReserveCall("r", name, "proxy", route.model, "NORMAL", task, last.n, "", paid, estimate, route.tier)
        )
        return name

    def settle(self, name: str, usd: float | None = 0.9, usage: Usage | None = USED, verdict: str = "ok") -> None:
        self.put(cmd.SettleCall(name, verdict, "", usd, None, "table" if usd else "unknown", usage))

    def whole(self, task: str, description: str = "say hello", *, executor: str | None = None, **call: Any) -> None:
        """A task from its creation to its end two seconds later, with one call."""
        self.create(task, description, executor=executor)
        self.call(task, **call)
        self.at += 2_000
        self.succeed(task)

    def by(self, after: int = 0, health: HealthSettings | None = None, **changed: Any) -> Answer:
        """The story read again with changed settings."""
        policy = Policy(replace(self.settings, **changed), health or HealthSettings())
        return self.read(policy, after)

    def read(self, policy: Policy, after: int = 0) -> Answer:
        reading = SecondReading(policy, price, after, len(self.log))
        for stream, event, at, position in self.log:
            reading.take(position, stream, at, event)
        return reading.close()


def fates(answer: Answer) -> dict[str, str]:
    return {change.task: change.fate for change in answer.changes}


# --- money, by hand -------------------------------------------------------------------------------------------------


def test_another_model_under_a_cap_agrees_with_the_sum_done_by_hand() -> None:
    """Three tasks on the large model; tried: the small model for all, and at most $0.40 a day.

    recorded   3 × (100,000 × $5 + 20,000 × $20) / 1,000,000 = 3 × ($0.50 + $0.40) = 3 × $0.90 = $2.70
    small      (100,000 × $1 + 20,000 × $4) / 1,000,000 = $0.10 + $0.08 = $0.18
    estimate   recorded $1.00; both prices of small are a fifth of large's, so $0.20
    task a     0.00 spent + 0.20 ≤ 0.40   let go, comes to $0.18
    task b     0.18 spent + 0.20 ≤ 0.40   let go, comes to $0.18: $0.36 spent
    task c     0.36 spent + 0.20 > 0.40   refused: held, and its $0.90 are not spent that day
    policy     2 × $0.18 = $0.36
    Δ          (0.36 - 1.80) re-priced - 0.90 avoided = -$2.34
    """
    story = Story()
    for task in ("a", "b", "c"):
        story.whole(task)
    answer = story.by(complexity_threshold=SMALL_FOR_ALL, budget=Budget(daily_usd=0.40))
    cost = answer.cost
    assert fates(answer) == {"a": "other_model", "b": "other_model", "c": "held"}
    assert cost.recorded_usd == pytest.approx(2.70, abs=1e-9)
    assert cost.repriced_from_usd == pytest.approx(1.80, abs=1e-9)
    assert cost.repriced_usd == pytest.approx(0.36, abs=1e-9)
    assert cost.avoided_usd == pytest.approx(0.90, abs=1e-9)
    assert cost.policy_usd == pytest.approx(0.36, abs=1e-9)
    assert cost.delta_usd == pytest.approx(-2.34, abs=1e-9)
    assert (cost.unknown, cost.view()["label"]) == (0, "re-priced")
    assert (answer.held.recorded, answer.held.added, answer.held.delta, answer.held.unknown) == (0, 1, 1, 2)
    assert answer.held.view()["label"] == "re-priced + unknown"
    assert (answer.failed.recorded, answer.failed.unknown) == (0, 2)
    assert (answer.latency.recorded, answer.latency.same, answer.latency.unknown) == (3, 0, 3)
    assert answer.latency.recorded_ms == 3 * 2_000


def test_a_cap_alone_takes_away_what_did_not_fit_and_leaves_the_rest_as_recorded() -> None:
    """At most $2.00 a day, and calls of $0.90 that are estimated at $1.00; the last one is $0.09, for $0.10.

    a   0.00 + 1.00 ≤ 2.00   0.90        b   0.90 + 1.00 ≤ 2.00   1.80
    c   1.80 + 1.00 > 2.00   held        d   1.80 + 0.10 ≤ 2.00   1.89
    Δ   -0.90 for c; policy 2.79 - 0.90 = $1.89, all of it recorded
    """
    story = Story(worker(on_crash="retry"))
    for task in ("a", "b", "c"):
        story.whole(task)
    story.whole("d", estimate=0.1, usd=0.09, usage=Usage(10_000, 2_000))
    answer = story.by(budget=Budget(daily_usd=2.0))
    assert fates(answer) == {"c": "held"}
    assert answer.cost.policy_usd == pytest.approx(1.89, abs=1e-9)
    assert answer.cost.delta_usd == pytest.approx(-0.90, abs=1e-9)
    assert answer.cost.view()["label"] == "recorded + unknown", "c goes on the next day"
    assert (answer.latency.same, answer.latency.unknown) == (3, 1)
    assert answer.changes[0].waits_for_day, "hold: it goes on by itself, at a cost that nobody knows"


def test_a_cap_of_the_task_or_of_a_tier_is_asked_with_the_shadows_own_spending() -> None:
    """$1.00 a task: a's second call finds 0.90 + 1.00 > 1.00; on P2 $1.50 a day: so does b's."""
    story = Story()
    story.create("a")
    story.call("a")
    story.call("a")
    story.succeed("a")
    story.whole("b")
    own = story.by(budget=Budget(task_usd=1.0))
    assert fates(own) == {"a": "held"}
    assert own.cost.delta_usd == pytest.approx(-0.90)
    tier = story.by(budget=Budget(channel_usd={"P2": 1.5}))
    assert fates(tier) == {"a": "held", "b": "held"}
    assert tier.cost.policy_usd == pytest.approx(0.90)


def test_a_new_day_has_its_own_money() -> None:
    story = Story()
    story.whole("a")
    story.at += DAY_MS
    story.whole("b")
    assert not story.by(budget=Budget(daily_usd=1.0)).changed


def test_only_what_comes_after_the_beginning_is_decided_again_but_the_days_spending_before_it_counts() -> None:
    story = Story()
    story.whole("a")
    middle = len(story.log)
    story.whole("b")
    answer = story.by(after=middle, budget=Budget(daily_usd=1.0))
    assert fates(answer) == {"b": "held"}
    assert answer.cost.recorded_usd == pytest.approx(0.90), "the call of `a` was before"
    assert answer.tasks == 1


def test_a_tier_that_becomes_free_costs_nothing_and_one_that_becomes_paid_is_billed_at_its_price() -> None:
    """P2 free: $0.90 → $0.00. A free call of small, 100,000 and 20,000 tokens, paid: $0.00 → $0.18."""
    story = Story()
    story.whole("a")
    free = story.by(tiers=(replace(TIERS[0], paid=False), TIERS[1]))
    assert free.cost.delta_usd == pytest.approx(-0.90)
    assert fates(free) == {"a": "other_price"}
    assert (free.latency.same, free.failed.unknown) == (1, 0), "the same model: only the bill is another"
    story = Story(threshold=SMALL_FOR_ALL)
    story.settings = replace(story.settings, tiers=(replace(TIERS[0], paid=False), TIERS[1]))
    story.put(cmd.Boot("boot-3", story.settings))
    story.note("worker", ExecutorHealth("ready"))
    story.whole("a", paid=False, estimate=None, usd=0.0)
    paid = story.by(tiers=TIERS)
    assert paid.cost.delta_usd == pytest.approx(0.18)
    assert paid.cost.view()["label"] == "re-priced"


def test_what_an_executor_says_of_its_own_calls_is_re_priced_by_its_tokens() -> None:
    story = Story()
    story.create("a")
    story.put(cmd.ReportSucceeded("a", 1, Result("done"), usage=USED, cost_usd=0.9))
    answer = story.by(complexity_threshold=SMALL_FOR_ALL)
    assert answer.cost.delta_usd == pytest.approx(0.18 - 0.90)


# --- what must stay unknown -----------------------------------------------------------------------------------------


def test_another_executor_leaves_outcome_latency_and_cost_unknown() -> None:
    story = Story(worker("one"), worker("two"))
    story.whole("a")
    answer = story.by(executors=(worker("two"), worker("one")))
    change = answer.changes[0]
    assert (change.fate, change.recorded.executor, change.policy.executor) == ("elsewhere", "one", "two")
    assert change.recorded.reason.startswith("one: ")
    assert change.policy.reason.startswith("two: ")
    assert (answer.cost.unknown, answer.cost.policy_usd, answer.cost.delta_usd) == (1, 0.0, 0.0)
    assert not answer.cost.view()["whole"]
    assert (answer.latency.unknown, answer.failed.unknown, answer.held.unknown) == (1, 1, 1)


@pytest.mark.parametrize(
    ("usage", "model"), [(None, "small"), (USED, "nobody-knows")], ids=["no tokens recorded", "no price known"]
)
def test_without_tokens_or_price_a_moved_call_is_unknown(usage: Usage | None, model: str) -> None:
    story = Story()
    story.whole("a", usage=usage)
    answer = story.by(complexity_threshold=SMALL_FOR_ALL, tiers=(replace(TIERS[0], light_model=model), TIERS[1]))
    assert (fates(answer), answer.cost.unknown) == ({"a": "other_model"}, 1)
    assert (answer.cost.view()["label"], answer.cost.view()["whole"]) == ("unknown", False)
    assert (answer.cost.recorded_usd, answer.cost.policy_usd, answer.cost.delta_usd) == (0.90, 0.0, 0.0)


def test_a_bill_that_nobody_knew_stays_unknown_on_both_sides() -> None:
    story = Story()
    story.whole("a", usd=None)
    answer = story.by(complexity_threshold=SMALL_FOR_ALL)
    assert (answer.cost.recorded_unknown, answer.cost.unknown) == (1, 1)


def test_what_a_cap_held_and_would_now_be_let_go_has_an_unknown_outcome_and_says_whether_it_ran_later() -> None:
    """$1.00 a day: b's call does not fit (0.90 + 1.00), and b runs the next day. With $3.00 it fits."""
    story = Story(worker(on_crash="retry"), budget=Budget(daily_usd=1.0))
    story.whole("a")
    story.create("b")
    story.reserve("b")
    story.put(cmd.ReportFailed("b", 1, TaskError("failed", "stopped")))
    story.at += DAY_MS
    story.put(cmd.TimerFired("budget"))
    story.put(cmd.ReportSucceeded("b", 2, Result("done")))
    answer = story.by(budget=Budget(daily_usd=3.0))
    change = answer.changes[0]
    assert (change.task, change.fate, change.means.outcome) == ("b", "let_on", "unknown")
    assert (change.ran_later, change.ended) == (True, "completed")
    assert "has room" in change.policy.reason
    assert (answer.held.recorded, answer.held.gone, answer.held.added) == (1, 1, 0)
    assert (answer.latency.same, answer.latency.unknown) == (1, 1)


def test_under_a_cap_spending_that_nobody_knows_makes_what_follows_that_day_unsure() -> None:
    story = Story(worker("one", keywords=("greet",)), worker("two"))
    story.whole("a", description="greet them")
    story.whole("b", executor="one")
    story.at += DAY_MS
    story.whole("c", executor="one")
    swapped = (worker("one"), worker("two", keywords=("greet",)))
    answer = story.by(executors=swapped, budget=Budget(daily_usd=50.0))
    assert fates(answer) == {"a": "elsewhere", "b": "unsure"}, "c has a day of its own"
    assert "nobody knows" in answer.changes[1].policy.reason
    assert fates(story.by(executors=swapped)) == {"a": "elsewhere"}, "without a cap nobody has to know"


def test_an_executor_that_the_policy_lacks_is_replaced_or_leaves_the_task_held_or_refused() -> None:
    story = Story(worker("one"), worker("gpu", types=("gpu",)))
    story.whole("plain")
    story.create("cuda", "train a model with CUDA on eight GPUs", type="gpu")
    story.succeed("cuda")
    story.create("named", executor="gpu")
    story.succeed("named")
    answer = story.by(executors=(ExecutorSpec("coder", types=("coding",)),))
    assert fates(answer) == {"plain": "held", "cuda": "held", "named": "refused"}
    assert "no executor can take" in answer.changes[0].policy.reason
    assert answer.refused == 1
    assert (answer.held.recorded, answer.held.added) == (0, 2)


def test_a_stranded_task_would_have_gone_to_an_executor_that_the_policy_adds() -> None:
    story = Story(ExecutorSpec("coder", types=("coding",)))
    story.create("a", "say hello")
    answer = story.by(executors=(ExecutorSpec("coder", types=("coding",)), worker("more")))
    assert fates(answer) == {"a": "let_on"}
    assert answer.changes[0].policy.executor == "more"
    assert (answer.held.recorded, answer.held.gone) == (1, 1)


def test_at_a_cap_degrade_moves_the_call_to_the_free_tier() -> None:
    """$1.00 a day: b's call does not fit (0.90 + 1.00), and is made over the free tier: $0.90 → $0.00."""
    story = Story()
    story.whole("a")
    story.whole("b")
    answer = story.by(budget=Budget(daily_usd=1.0, at_cap="degrade"))
    assert fates(answer) == {"b": "other_model"}
    assert answer.changes[0].policy.model == "free"
    assert answer.cost.delta_usd == pytest.approx(-0.90)


def test_a_call_on_a_day_with_spending_that_nobody_knows_is_unsure_even_if_its_task_began_before() -> None:
    """`a` would have gone to another executor and made no call in the record: nobody knows its spending."""
    story = Story(worker("one", keywords=("greet",)), worker("two"))
    story.create("b", executor="one")
    story.create("a", "greet them")
    story.call("b")
    swapped = (worker("one"), worker("two", keywords=("greet",)))
    answer = story.by(executors=swapped, budget=Budget(daily_usd=50.0))
    assert fates(answer) == {"a": "elsewhere", "b": "unsure"}


def test_a_days_money_is_that_of_the_owners_day_in_the_record() -> None:
    """Half past eleven in the evening and half past midnight by UTC are one day eight hours further east."""
    story = Story(budget=Budget(utc_offset_ms=8 * HOUR_MS))
    story.at = DAY_MS - HOUR_MS // 2
    story.whole("a")
    story.at = DAY_MS + HOUR_MS // 2
    story.whole("b")
    assert fates(story.by(budget=Budget(daily_usd=1.0))) == {"b": "held"}


def test_a_task_stays_where_it_is_when_only_the_record_lost_its_executor() -> None:
    one, two = worker("one"), worker("two")
    story = Story(one, two)
    story.note("one", ExecutorHealth("unknown"))
    story.create("a")
    both = story.settings
    story.settings = replace(both, executors=(two,))
    story.put(cmd.Boot("boot-3", story.settings))
    assert story.task("a").route == replace(story.task("a").route or Route(""), executor="two")
    answer = story.read(Policy(both))
    assert fates(answer) == {"a": "elsewhere"}
    assert answer.changes[0].policy == Chosen("one", "P2", "large", "its executor was not gone")


def test_a_task_that_would_have_gone_elsewhere_leaves_the_sum_open_even_if_it_made_no_call() -> None:
    story = Story(worker("one"), worker("two"))
    story.create("a")
    story.succeed("a")
    cost = story.by(executors=(worker("two"), worker("one"))).cost
    assert (cost.unknown, cost.unknown_tasks, cost.view()["whole"], cost.view()["label"]) == (0, 1, False, "unknown")


def test_a_model_whose_calls_were_never_metered_costs_what_nobody_knows() -> None:
    story = Story()
    story.create("a")
    story.succeed("a")
    assert story.by(complexity_threshold=SMALL_FOR_ALL).cost.unknown_tasks == 1


def test_what_follows_from_re_priced_money_says_so() -> None:
    story = Story()
    story.whole("a")
    story.whole("b")
    answer = story.by(complexity_threshold=SMALL_FOR_ALL, budget=Budget(daily_usd=0.20, at_cap="ask"))
    assert fates(answer) == {"a": "other_model", "b": "held"}
    assert (answer.held.added, answer.held.unknown, answer.held.by_price) == (1, 1, True)


# --- time -----------------------------------------------------------------------------------------------------------


def test_fewer_slots_make_the_start_of_whatever_ran_side_by_side_unknown_and_nothing_else() -> None:
    story = Story(worker(max_concurrency=3))
    story.whole("alone")
    story.create("first")
    story.create("second")
    story.at += 10_000
    story.succeed("first")
    story.succeed("second")
    story.at += 60_000
    story.whole("later")
    answer = story.by(executors=(worker(max_concurrency=1),))
    assert fates(answer) == {"second": "other_time"}
    assert (answer.latency.same, answer.latency.unknown) == (3, 1)
    assert answer.cost.unknown == 0


def test_more_slots_may_have_begun_sooner_what_waited_for_one() -> None:
    story = Story(worker(max_concurrency=1))
    story.create("first")
    story.create("second")
    story.at += 10_000
    story.succeed("first")
    story.succeed("second")
    answer = story.by(executors=(worker(max_concurrency=2),))
    assert fates(answer) == {"second": "other_time"}


def test_who_waited_behind_work_that_would_have_been_other_work_began_at_another_time() -> None:
    story = Story(worker("one", max_concurrency=1, keywords=("greet",)), worker("two"))
    story.create("first", "greet them")
    story.create("second", executor="one")
    story.at += 10_000
    story.succeed("first")
    story.succeed("second")
    answer = story.by(executors=(worker("one", max_concurrency=1), worker("two", keywords=("greet",))))
    assert fates(answer) == {"first": "elsewhere", "second": "other_time"}
    assert (answer.latency.unknown, answer.failed.unknown) == (2, 1)


def test_another_crash_policy_and_other_time_limits_leave_the_outcome_unknown() -> None:
    story = Story(worker(on_crash="retry", timeout_ms=60_000))
    story.create("broken")
    story.interrupt("broken")
    story.create("slow")
    story.at += 50_000
    story.succeed("slow")
    assert fates(story.by(executors=(worker(on_crash="ask", timeout_ms=60_000),))) == {"broken": "unsure"}
    assert fates(story.by(executors=(worker(on_crash="retry", timeout_ms=30_000),)))["slow"] == "unsure"


# --- modes ----------------------------------------------------------------------------------------------------------


def failing(*at: int) -> tuple[Evidence, ...]:
    return tuple(Evidence(each, "probe", "refused") for each in at)


def outage(story: Story, failures: int = 2) -> None:
    """The proxy goes down on so many failures, comes back a minute later, and a task runs meanwhile and after."""
    for event in (ev.HealthStarted("boot-2"), ev.HealthConfigured(WATCHED)):
        story.write(ev.HEALTH_STREAM, event)
    story.put(cmd.NoteMode("NORMAL", cleared=True))
    story.whole("before")
    story.at += 5_000
    story.write(ev.HEALTH_STREAM, ev.ProxyChanged("down", failing(*range(story.at - failures, story.at))))
    story.write(ev.HEALTH_STREAM, ev.ModeChanged("NORMAL", "DEGRADED", "proxy", "it is down"))
    story.put(cmd.NoteMode("DEGRADED", "proxy", "it is down", cleared=True))
    story.at += 1_000
    story.whole("during")
    story.at += 60_000
    story.write(ev.HEALTH_STREAM, ev.ProxyChanged("up", (Evidence(story.at, "probe", "ok"),) * 2))
    story.write(ev.HEALTH_STREAM, ev.ModeChanged("DEGRADED", "NORMAL", "", "it answers again"))
    story.put(cmd.NoteMode("NORMAL", cleared=True))
    story.at += 120_000
    story.whole("after")


def by_thresholds(story: Story, **changed: Any) -> Answer:
    return story.by(health=replace(WATCHED, thresholds=replace(Thresholds(), **changed)))


def test_a_failover_whose_evidence_meets_a_higher_threshold_stays() -> None:
    story = Story()
    outage(story, failures=3)
    answer = by_thresholds(story, proxy_failures=3)
    assert (answer.changes, answer.doubts, answer.cost.unknown) == ([], {}, 0)


def test_a_failover_whose_evidence_does_not_meet_it_is_in_doubt_for_a_bounded_time_and_counted() -> None:
    story = Story()
    outage(story)
    answer = by_thresholds(story, proxy_failures=3)
    assert answer.doubts["edges"].times == 1
    assert answer.doubts["channels"].times == 1, "one call was made while the mode may have been another"
    assert answer.cost.unknown == 1
    assert answer.cost.same_usd == pytest.approx(1.80)
    assert fates(answer) == {"during": "unsure"}, "its call may have gone to a proxy that was gone"
    assert (answer.failed.unknown, answer.latency.unknown) == (1, 1)


def test_a_lower_threshold_may_have_tripped_on_what_nobody_wrote_down_and_the_answer_says_so() -> None:
    story = Story()
    outage(story)
    answer = by_thresholds(story, proxy_failures=1)
    assert "does not hold" in answer.doubts["thresholds"].what
    assert answer.changed
    assert answer.cost.unknown == 0


@pytest.mark.parametrize("changed", [{"proxy_failures": 1}, {"proxy_every_ms": 1}], ids=["lower", "other probes"])
def test_no_figure_is_whole_where_nobody_knows_which_failovers_there_would_have_been(changed: dict[str, int]) -> None:
    story = Story()
    outage(story)
    view = by_thresholds(story, **changed).view()
    for name in ("cost", "latency", "held", "failed"):
        assert (view[name]["whole"], view[name]["label"]) == (False, "recorded + unknown"), name
        assert view[name]["doubts"] == [view["unknown"][0]["kind"]]
    same = story.by(health=WATCHED).view()
    assert all(same[name]["whole"] and not same[name]["doubts"] for name in ("cost", "latency", "held", "failed"))


def test_a_latency_is_not_whole_where_moved_tasks_take_slots_of_others() -> None:
    story = Story(worker("one", keywords=("greet",)), worker("two"))
    story.whole("a", description="greet them")
    story.whole("b", executor="one")
    answer = story.by(executors=(worker("one"), worker("two", keywords=("greet",))))
    view = answer.view()
    assert view["latency"]["doubts"] == ["slots"]
    assert view["failed"]["doubts"] == []


def test_a_longer_dwell_leaves_the_return_in_doubt_and_a_shorter_one_the_time_before_it() -> None:
    story = Story()
    outage(story)
    longer = by_thresholds(story, dwell_ms=100_000)
    assert longer.doubts["returns"].times == 1
    assert longer.cost.unknown == 0, "by the next call even the longest dwell is over"
    shorter = by_thresholds(story, dwell_ms=1)
    assert shorter.cost.unknown == 1, "the proxy may have been back before the call during the outage"


def brainstem(story: Story, health: HealthSettings) -> None:
    """The one cloud is lost while a task runs."""
    for event in (ev.HealthStarted("boot-2"), ev.HealthConfigured(health)):
        story.write(ev.HEALTH_STREAM, event)
    story.put(cmd.NoteMode("NORMAL", cleared=True))
    story.create("cut")
    story.write(ev.HEALTH_STREAM, ev.CloudChanged("east", "down", evidence=failing(0, 5_000, 10_000)))
    story.write(ev.HEALTH_STREAM, ev.ModeChanged("NORMAL", "BRAINSTEM", "cloud", "no cloud"))
    story.put(cmd.NoteMode("BRAINSTEM", "cloud", "no cloud", cleared=True))
    story.at += 60_000
    story.succeed("cut")


def test_a_second_cloud_that_nobody_watched_makes_a_suspension_unsure() -> None:
    story = Story()
    brainstem(story, WATCHED)
    two = HealthSettings(True, ("east", "west"), ("east", "west"), ("east", "west"))
    answer = story.by(health=two)
    assert "west" in answer.doubts["unwatched"].what
    assert fates(answer) == {"cut": "unsure"}


def test_an_executor_that_no_longer_needs_the_cloud_would_not_have_been_suspended() -> None:
    story = Story()
    brainstem(story, WATCHED)
    answer = story.by(health=WATCHED, executors=(worker(needs_cloud=False),))
    assert fates(answer) == {"cut": "unsure"}


# --- ways -----------------------------------------------------------------------------------------------------------


def test_a_tier_on_another_channel_is_re_priced_there() -> None:
    story = Story()
    old = Paths(True, (Rung("P2", "small", "large", True), Rung("P9", "free", "free")))
    direct = Paths(
        True,
        (Rung("P2", "small", "large", True, "east"), Rung("P9", "free", "free")),
        (Provider("east", ("chat",), {"large": "small"}, primary=True),),
    )
    story.whole("a")
    reading = SecondReading(Policy(story.settings, HealthSettings(), direct), price, 0, len(story.log))
    reading._world.ladders.recorded_paths = old
    for stream, event, at, position in story.log:
        reading.take(position, stream, at, event)
    answer = reading.close()
    assert fates(answer) == {"a": "other_price"}
    assert answer.cost.delta_usd == pytest.approx(0.18 - 0.90)


def test_a_renamed_tier_changes_the_names_and_not_the_money() -> None:
    """P2 is called `dear` now: the same model on the same channel at the same price."""
    story = Story()
    story.whole("a")
    answer = story.by(tiers=(replace(TIERS[0], name="dear"), TIERS[1]))
    assert fates(answer) == {"a": "other_price"}
    assert answer.failed.unknown == 0
    assert answer.cost.repriced == 1
    assert answer.cost.delta_usd == pytest.approx(0.0)


# --- monotonic ------------------------------------------------------------------------------------------------------


def test_a_higher_cap_never_holds_more() -> None:
    from tests.replay.chronicle import Chronicle
    from tests.replay.chronicle import price as listed

    caps = [0.0, 0.01, 0.05, 0.2, 1.0, 100.0]
    for seed in range(60):
        chronicle = Chronicle(seed)
        budget = Budget(utc_offset_ms=chronicle.settings.budget.utc_offset_ms)
        held = []
        for usd in caps:
            settings = replace(chronicle.settings, budget=replace(budget, task_usd=usd))
            reading = SecondReading(Policy(settings, chronicle.watched), listed, 0, len(chronicle.log))
            for row in chronicle.log:
                reading.take(*row)
            held.append(sum(change.fate == "held" for change in reading.close().changes))
        assert held == sorted(held, reverse=True), (seed, held)


def test_the_parts_of_every_figure_add_up_to_the_record() -> None:
    from tests.replay.chronicle import Chronicle, some_settings
    from tests.replay.chronicle import price as listed

    changed = 0
    for seed in range(120):
        chronicle = Chronicle(seed)
        other: RoutingSettings = some_settings(chronicle.random)
        reading = SecondReading(Policy(other, chronicle.watched), listed, 0, len(chronicle.log))
        for row in chronicle.log:
            reading.take(*row)
        answer = reading.close()
        cost = answer.cost
        parts = cost.same_usd + cost.repriced_from_usd + cost.avoided_usd + cost.unknown_recorded_usd
        assert parts == pytest.approx(cost.recorded_usd, abs=1e-9), seed
        assert cost.policy_usd - cost.recorded_usd == pytest.approx(cost.delta_usd - cost.unknown_recorded_usd), seed
        for tally in (answer.held, answer.failed):
            assert tally.recorded == tally.same + tally.gone + tally.unknown_recorded, seed
        latency = answer.latency
        assert latency.recorded_ms == latency.same_ms + latency.unknown_ms + latency.gone_ms, seed
        changed += bool(answer.changes)
    assert changed > 60

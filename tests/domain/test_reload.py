"""Given what the log says, when other settings come within a boot, then these events follow, and nothing is lost."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import given
from tests.domain.given import READY, TIERS, Desk, names, worker
from tests.domain.stem import REPAIR, Stem, replayed
from tests.domain.ward import BOTH, CLOUDS, NO_PROXY, Ward

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import executor_watch, symptoms
from omni.domain.executor_watch import Watched
from omni.domain.values import (
    PROXY,
    Budget,
    ExecutorHealth,
    ExecutorSpec,
    NoticeSink,
    QuietHours,
    RepairSettings,
    RoutingSettings,
    TaskState,
    Telling,
)

ONE, OTHER = worker("one", max_concurrency=1), worker("other", max_concurrency=1)


def settings(*executors: ExecutorSpec, **more: Any) -> RoutingSettings:
    return RoutingSettings(executors, TIERS, **more)


def take(desk: Desk, new: RoutingSettings, *anew: str) -> list[Any]:
    desk.settings = new
    return desk.put(cmd.Reconfigure("r", new, anew))


def answered(desk: Desk) -> bool:
    return cmd.Reply("r", None) in [send.message for send in desk.sends if send.to == "reload"]


# --- the Router


def test_the_same_settings_write_nothing_down_and_are_answered() -> None:
    desk = Desk(ONE)
    assert take(desk, desk.settings) == []
    assert answered(desk)


def test_other_settings_are_one_event_and_the_gateway_hears_of_them() -> None:
    desk = Desk(ONE)
    new = settings(ONE, budget=Budget(daily_usd=3.0))
    assert names(take(desk, new)) == ["router.configured"]
    to_gateway = [send.message for send in desk.sends if send.to == "gateway"]
    assert cmd.Boot("boot-1", new) in to_gateway
    assert [each.budget.daily_usd for each in to_gateway if isinstance(each, cmd.Spend)] == [3.0]
    assert answered(desk)


def test_what_runs_goes_on_and_the_queue_of_a_removed_executor_moves_to_another() -> None:
    desk = Desk(ONE, OTHER)
    desk.create("a", executor="one")
    desk.create("b", executor="one")
    desk.create("c")
    assert desk.task("b").state is TaskState.IDLE
    take(desk, settings(OTHER))
    assert desk.task("a").state is TaskState.DISPATCHING
    assert desk.task("b").state is TaskState.HELD  # by its own wish nobody else may take it
    desk.succeed("a")
    assert desk.task("a").state is TaskState.COMPLETED


def test_a_task_behind_a_removed_executor_is_routed_anew() -> None:
    desk = Desk(ONE, OTHER)
    for task_id in ("a", "b", "c"):
        desk.create(task_id)
    behind = [i for i in ("a", "b", "c") if desk.task(i).state is TaskState.IDLE]
    assert {desk.task(i).route.executor for i in behind} == {"one"}  # type: ignore[union-attr]
    take(desk, settings(OTHER))
    assert [desk.task(i).route.executor for i in behind] == ["other"] * len(behind)  # type: ignore[union-attr]


def test_a_task_that_nobody_could_take_goes_on_when_somebody_appears_and_is_seen() -> None:
    desk = Desk(worker("one", types=("gpu",)))
    desk.create("a", type="coding")
    assert desk.task("a").state is TaskState.HELD
    new = worker("coder", types=("coding",))
    events = take(desk, settings(worker("one", types=("gpu",)), new), "coder")
    assert names(events) == ["router.configured", "task.routed"]
    assert desk.started == []  # it is not connected yet
    desk.note("coder", READY)
    assert desk.started == [("a", 1)]


def test_an_executor_that_is_connected_anew_gets_nothing_before_it_is_seen_and_its_queue_waits() -> None:
    desk = Desk(ONE)
    desk.create("a")
    desk.create("b")
    take(desk, settings(worker("one", max_concurrency=2)), "one")
    assert desk.started == []
    assert desk.task("b").state is TaskState.IDLE  # not sent elsewhere, not held
    desk.succeed("a")
    assert desk.started == []
    desk.note("one", READY)
    assert desk.started == [("b", 1)]


def test_an_executor_that_comes_back_is_not_believed_to_be_what_it_was() -> None:
    desk = Desk(ONE, OTHER)
    take(desk, settings(OTHER))
    take(desk, settings(ONE, OTHER))
    assert "one" not in desk.board.health
    desk.create("a", executor="one")
    assert desk.started == []


def test_more_slots_are_used_at_once() -> None:
    desk = Desk(ONE)
    desk.create("a")
    desk.create("b")
    take(desk, settings(worker("one", max_concurrency=2)))
    assert desk.started == [("b", 1)]


def test_a_higher_cap_lets_go_on_who_waited_for_money() -> None:
    desk = Desk(ONE, budget=Budget(daily_usd=1.0))
    desk.create("a", tier="P2")
    desk.put(cmd.ReserveCall("q", "c1", "proxy", "large", "NORMAL", "a", 1, paid=True, estimate_usd=0.9, tier="P2"))
    desk.put(cmd.SettleCall("c1", "ok", "a", billed_usd=1.0, source="provider"))
    desk.create("b", tier="P2")
    desk.succeed("a")
    assert desk.task("b").state is TaskState.HELD
    take(desk, settings(ONE, budget=Budget(daily_usd=5.0)))
    assert desk.started == [("b", 1)]


def test_work_that_may_have_been_done_is_not_given_to_another_executor() -> None:
    desk = Desk(worker("one", on_crash="retry"), OTHER)
    desk.create("a", executor="one")
    desk.interrupt("a")
    take(desk, settings(OTHER))
    assert desk.task("a").state is TaskState.HELD
    assert desk.task("a").held.kind == "interrupted"  # type: ignore[union-attr]


# --- any order of reloads and work

SPECS = st.lists(st.sampled_from(["one", "other", "third"]), unique=True, max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reload"), SPECS, st.integers(1, 3), st.sampled_from([None, 0.5, 5.0])),
        st.tuples(st.sampled_from(["create", "succeed", "fail", "interrupt", "ready", "down"]), st.integers(0, 7)),
    ),
    max_size=40,
)


@given(STEPS)
def test_live_state_is_what_the_log_says_whenever_it_is_reloaded(steps: list[Any]) -> None:
    desk = Desk(ONE, OTHER)
    known: list[str] = []
    for step in steps:
        if step[0] == "reload":
            executors = tuple(worker(name, max_concurrency=step[2]) for name in step[1])
            old = {each.name: each for each in desk.board.settings.executors}
            anew = [each.name for each in executors if each.name not in old]
            take(desk, settings(*executors, budget=Budget(daily_usd=step[3])), *anew)
        else:
            act(desk, known, *step)
        assert desk.replayed().snapshot() == desk.board.snapshot()
    settle_down(desk, known)


def act(desk: Desk, known: list[str], what: str, pick: int) -> None:
    if what == "create":
        known.append(f"t{len(known)}")
        desk.create(known[-1])
    elif what in {"ready", "down"}:
        name = ("one", "other", "third")[pick % 3]
        if name in desk.board.executors:
            desk.note(name, READY if what == "ready" else ExecutorHealth("failed", "gone"))
    elif known:
        task_id = known[pick % len(known)]
        attempt = desk.task(task_id).open_attempt
        if attempt is not None:
            report(desk, what, task_id, attempt.n)


def report(desk: Desk, what: str, task_id: str, n: int) -> None:
    if what == "succeed":
        desk.succeed(task_id, n)
    elif what == "fail":
        desk.fail(task_id, n=n)
    else:
        desk.interrupt(task_id, n)


def settle_down(desk: Desk, known: list[str]) -> None:
    """With one executor that is well, every task comes to its end or to a person."""
    take(desk, settings(worker("last", max_concurrency=9)), "last")
    desk.note("last", READY)
    for _ in range(20):
        for task_id in known:
            if (attempt := desk.task(task_id).open_attempt) is not None:
                desk.succeed(task_id, attempt.n)
        desk.at += 600_000
        desk.put(cmd.TimerFired(known[0] if known else ""))
    stuck = [i for i in known if not (desk.task(i).ended or desk.task(i).state is TaskState.HELD)]
    assert not stuck, [(i, desk.task(i)) for i in stuck]


# --- Brainstem

CHANGED = cmd.ConfigChanged("r", "other digest", {"a": 1}, RepairSettings("another"), Telling((NoticeSink("log"),)))


def test_another_configuration_is_written_down_with_what_follows_from_it() -> None:
    stem = Stem()
    (loaded,) = stem.put(CHANGED)
    assert loaded == ev.ConfigLoaded("other digest", {"a": 1}, CHANGED.repair, CHANGED.telling)
    assert (stem.state.config_digest, stem.state.settings) == ("other digest", CHANGED.repair)
    assert stem.to("reload") == [cmd.Reply("r", None)]
    assert replayed(stem.log).snapshot() == stem.state.snapshot()


def test_the_configuration_that_is_in_force_is_no_news() -> None:
    stem = Stem()
    stem.put(CHANGED)
    assert stem.put(CHANGED) == []
    assert stem.to("reload") == [cmd.Reply("r", None)]


def test_a_start_after_a_reload_tells_of_its_own_configuration_again() -> None:
    stem = Stem()
    stem.put(CHANGED)
    stem.put(cmd.DaemonDown("SIGTERM"))
    assert names(stem.start()) == ["system.started", "system.config_loaded"]
    assert stem.state.settings == REPAIR


def test_what_is_owed_to_a_sink_that_is_gone_is_dropped_and_the_others_hear_it_still() -> None:
    stem = Stem(telling=Telling((NoticeSink("log"), NoticeSink("chat", people=True))))
    stem.put(cmd.Tell("task_failed", {"task": "t"}))
    events = stem.put(CHANGED)
    assert [(e.sink, "not configured" in e.detail) for e in events if isinstance(e, ev.NoticeDropped)] == [
        ("chat", True)
    ]
    assert set(stem.state.lanes) == {("log", "")}


def test_a_new_sink_hears_of_what_comes_and_of_nothing_old() -> None:
    stem = Stem(telling=Telling((NoticeSink("log"),)))
    stem.put(cmd.Tell("task_failed", {"task": "old"}))
    both = Telling((NoticeSink("log"), NoticeSink("chat", people=True)))
    stem.put(cmd.ConfigChanged("r", "d2", {}, REPAIR, both))
    stem.put(cmd.Tell("task_failed", {"task": "new"}))
    assert [len(stem.state.lanes[lane]) for lane in (("log", ""), ("chat", ""))] == [2, 1]


def test_new_quiet_hours_hold_back_what_people_would_hear() -> None:
    chat = NoticeSink("chat", people=True)
    stem = Stem(telling=Telling((chat,)))
    always = QuietHours(0, 1439, ())
    stem.put(cmd.ConfigChanged("r", "d2", {}, REPAIR, Telling((chat,), always)))
    stem.put(cmd.Tell("task_failed", {"task": "t"}))
    assert stem.to("notifier") == []


def test_an_outage_is_repaired_by_whoever_is_named_meanwhile() -> None:
    stem = Stem(RepairSettings(""))
    stem.turn("DEGRADED")
    stem.put(cmd.ConfigChanged("r", "d2", {}, REPAIR, stem.telling))
    assert [wake.key for wake in stem.to("timers")] == ["repair"]
    assert names(stem.put(cmd.TimerFired("repair"))) == ["system.repair_started"]


# --- HealthMonitor


def test_what_stays_watched_keeps_what_is_known_of_it() -> None:
    ward = Ward()
    ward.kill("east")
    before = ward.health.clouds["east"]
    ward.symptoms.keep_only(("east", PROXY))
    events = ward._write(symptoms.start(ward.health, "boot-1", type(BOTH)(proxy=True, clouds=("east", "north"))))
    assert names(events) == ["health.configured"]
    assert ward.health.clouds["east"] == before
    assert ward.health.clouds["north"].state == "up"
    assert "west" not in ward.health.clouds


def test_who_is_watched_again_has_to_answer_again() -> None:
    ward = Ward(NO_PROXY)
    for cloud in CLOUDS:
        ward.see(cloud)
    ward.see("east", "refused")
    assert ward.symptoms.cleared(ward.health)
    ward.symptoms.keep_only(("west",))
    assert not ward.symptoms.cleared(ward.health)
    assert "east" not in ward.symptoms.clouds


def test_an_executor_that_is_connected_anew_has_earned_no_patience() -> None:
    known = {"one": Watched(ExecutorHealth("ready"), 5, seen=True, seen_up=True, last=None)}
    executor_watch.begin_anew(known, ("one", "never seen"))
    outcome = executor_watch.observe(known, cmd.ExecutorObserved("one", ok=False, detail="refused"), 9)
    assert [event.health.state for _, event in outcome.events] == ["failed"]
    assert "never seen" not in known

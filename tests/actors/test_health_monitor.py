"""The HealthMonitor: what it tells, when it looks, and how soon it knows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.actors.lookout import ANSWER_MS, BOTH, CLOUDS, HOUR, MINUTE, RULES, SECOND, Lookout
from tests.sim.conftest import make_scratch

from omni.actors.health_monitor import HealthMonitor
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import HealthSettings

MakeLookout = Callable[..., Lookout]


class Watch:
    """A HealthMonitor with its own clock; gives the status that the Gateway is told."""

    def __init__(self) -> None:
        self.monitor = HealthMonitor()
        self.state: Any = self.monitor.initial()

        self.events: list[Any] = []

    def see(self, at: int, *, ok: bool, detail: str = "") -> cmd.ExecutorStatus:
        seen = cmd.ExecutorObserved("peer", ok, detail)
        outcome = self.monitor.handle(self.state, cmd.Envelope("m", at, at, "pool", seen))
        for stream, event in outcome.events:
            self.monitor.evolve(self.state, stream, event, at, at)
            self.events.append(event)
        (status,) = [send.message for send in outcome.sends if send.to == "gateway"]
        assert isinstance(status, cmd.ExecutorStatus)
        return status


@pytest.fixture
def make() -> Iterator[MakeLookout]:
    """Lookouts that have looked at everything once."""
    made: list[Lookout] = []
    directories: list[Path] = []

    def make(settings: HealthSettings = BOTH, *, settle: bool = True) -> Lookout:
        directories.append(make_scratch())
        made.append(Lookout(directories[-1], settings))
        if settle:
            made[-1].run(SECOND)
        return made[-1]

    yield make
    for lookout in made:
        lookout.close()
    for directory in directories:
        shutil.rmtree(directory)


@pytest.fixture
def lookout(make: MakeLookout) -> Lookout:
    return make()


# --- executors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("jump_ms", "state"), [(-30 * 24 * HOUR, "ready"), (-MINUTE, "paused"), (HOUR, "ready")])
def test_a_rest_ends_when_a_clock_that_was_far_ahead_is_put_right(jump_ms: int, state: str) -> None:
    monitor, at = HealthMonitor(), 1_700_000_000_000
    known = monitor.initial()

    def put(message: cmd.Message, at: int, mono: int) -> list[Any]:
        outcome = monitor.handle(known, cmd.Envelope("m", at, mono, "test", message))
        for stream, event in outcome.events:
            monitor.evolve(known, stream, event, at, 1)
        return [send.message for send in outcome.sends if send.to == "timers"]

    put(cmd.StartWatch("boot", BOTH), at, 1_000)
    put(cmd.ExecutorObserved("peer", ok=True), at, 1_000)
    put(cmd.ExecutorPaused("peer", HOUR, "session limit"), at, 1_000)
    wakes = put(cmd.Observed(CLOUDS[0], "ping", "ok"), at + jump_ms, 1_000)
    for wake in [each for each in wakes if each.key == "pause:peer"]:
        assert wake == cmd.WakeIn("health", 0, "pause:peer")
        put(cmd.TimerFired(wake.key), at + jump_ms, 1_000)
    assert known.executors["peer"].health.state == state


def test_health_is_told_with_the_time_since_when_it_holds() -> None:
    watch = Watch()
    told = [
        watch.see(1_000, ok=True),
        watch.see(2_000, ok=True),
        watch.see(3_000, ok=False),
        watch.see(4_000, ok=False),
    ]
    assert [(status.health.state, status.since) for status in told] == [
        ("ready", 1_000), ("ready", 1_000), ("ready", 1_000), ("failed", 4_000),
    ]  # fmt: skip


def test_a_failure_that_reads_differently_at_each_try_is_one_event_and_people_hear_its_latest_words() -> None:
    watch = Watch()
    told = [watch.see(n, ok=False, detail=f"exit code 1, pid {n}") for n in range(1, 6)]
    assert len(watch.events) == 1
    assert [status.health.reason for status in told] == [f"exit code 1, pid {n}" for n in range(1, 6)]


def test_before_it_is_told_what_to_watch_it_says_nothing_of_the_mode() -> None:
    watch = Watch()
    watch.see(1_000, ok=True)
    envelope = cmd.Envelope("m", 90_000_000, 2_000, "test", cmd.Observed("proxy", "call", "refused"))
    for outcome in (watch.monitor.handle(watch.state, envelope), watch.monitor.settle(watch.state, envelope)):
        assert [*outcome.events, *outcome.sends] == []
    assert {send.to for send in watch.monitor.owed(watch.state, "boot")} == {"router", "gateway"}


# --- when it looks --------------------------------------------------------------------------------------------------


def test_a_boot_looks_at_everything_at_once_and_is_cleared_when_all_have_answered(make: MakeLookout) -> None:
    lookout = make(settle=False)
    start = lookout.wall
    assert [lookout.looked(target, start) for target in ("proxy", *CLOUDS)] == [[0], [0], [0]]
    assert [note.cleared for note in lookout.told["router"]] == [False]
    lookout.world = {"west": "hung"}
    lookout.boot()
    lookout.run(RULES.cloud_timeout_ms - 1)
    assert not lookout.last("router").cleared
    lookout.run(1)
    assert lookout.last("router").cleared


def test_with_nothing_to_watch_a_boot_is_cleared_at_once(make: MakeLookout) -> None:
    lookout = make(HealthSettings(), settle=False)
    assert lookout.last("router").cleared
    lookout.run(MINUTE)
    assert lookout.looks == []


def test_all_is_well_and_the_proxy_is_looked_at_every_two_seconds_and_clouds_every_thirty(make: MakeLookout) -> None:
    lookout = make(settle=False)
    start = lookout.wall
    lookout.run(MINUTE)
    assert lookout.looked("proxy", start) == list(range(0, MINUTE + 1, 2_000))
    assert lookout.looked("east", start) == [0, 30_000, 60_000]
    assert lookout.recorded()[2:] == []


def test_a_dead_proxy_is_known_within_five_seconds_without_any_traffic(make: MakeLookout) -> None:
    for verdict, within_ms in (("refused", 2_600), ("hung", 4_500)):
        lookout = make()
        lookout.run(2_000 - (lookout.mono - 5_000) + ANSWER_MS + 1)  # just after a look: the worst moment
        assert lookout.mode == "NORMAL"
        died = lookout.wall
        lookout.world = {"proxy": verdict}
        lookout.run(within_ms)
        assert lookout.mode == "DEGRADED"
        first, second = lookout.looked("proxy", died)[:2]
        answered = first + (RULES.proxy_timeout_ms if verdict == "hung" else ANSWER_MS)
        assert second - answered == RULES.proxy_confirm_ms


def test_a_call_that_the_proxy_refuses_brings_the_next_look_forward(lookout: Lookout) -> None:
    lookout.run(500)
    lookout.world = {"proxy": "refused"}
    called = lookout.wall
    lookout.call("proxy", "refused")
    lookout.run(RULES.proxy_confirm_ms + ANSWER_MS)
    assert lookout.looked("proxy", called) == [RULES.proxy_confirm_ms]
    assert lookout.mode == "DEGRADED"


def test_two_calls_that_the_proxy_refuses_need_no_look_at_all(lookout: Lookout) -> None:
    lookout.call("proxy", "refused")
    assert kinds(lookout.call("proxy", "refused")) == ["ProxyChanged", "ModeChanged"]
    assert lookout.mode == "DEGRADED"


@pytest.mark.parametrize("verdict", ["server_error", "slow"])
def test_a_call_that_failed_inside_the_proxy_makes_it_ask_the_clouds_themselves(lookout: Lookout, verdict: str) -> None:
    lookout.run(4_300)
    called = lookout.wall
    lookout.call("proxy", verdict)
    lookout.run(15_000)
    assert lookout.looked("east", called)[:4] == [0, 2_505, 5_010, 7_515]
    assert len(lookout.looked("east", called)) <= 6
    assert (lookout.looked("proxy", called)[0] == 0) is (verdict == "slow")
    assert lookout.mode == "NORMAL"


def test_a_hundred_failing_calls_a_second_do_not_make_it_ask_clouds_a_hundred_times(lookout: Lookout) -> None:
    lookout.run(5_000)
    called = lookout.wall
    for _ in range(500):
        lookout.call("proxy", "slow")
        lookout.run(10)
    assert len(lookout.looked("east", called)) <= 3
    assert len(lookout.looked("proxy", called)) <= 11


def test_a_cloud_in_doubt_is_asked_every_two_and_a_half_seconds_until_it_is_decided(lookout: Lookout) -> None:
    died = lookout.wall
    lookout.world = {"east": "refused"}
    lookout.run(MINUTE + 30_000)
    first, *later = lookout.looked("east", died)
    assert [when - first for when in later[:3]] == [2_505, 5_010, 30_000 + 5_010]
    assert lookout.health.clouds["east"].state == "down"
    assert lookout.mode == "NORMAL"


def test_all_clouds_gone_is_brainstem_and_one_that_is_back_ends_it(lookout: Lookout) -> None:
    lookout.world = dict.fromkeys(CLOUDS, "no_route")
    lookout.run(30_000 + 5_100)
    assert (lookout.mode, lookout.last("router").cause) == ("BRAINSTEM", "network")
    gone = lookout.wall
    lookout.world = {"east": "no_route"}
    lookout.run(61_000)
    assert lookout.mode == "NORMAL"
    assert len(lookout.looked("west", gone)) in {2, 3}


def test_a_look_that_is_never_answered_does_not_end_the_looking(lookout: Lookout) -> None:
    lookout.silent = True
    lookout.run(MINUTE)
    asked = len(lookout.looks)
    lookout.run(MINUTE)
    assert len(lookout.looks) > asked
    lookout.silent = False
    lookout.world = {"proxy": "refused"}
    lookout.run(10_000)
    assert lookout.mode == "DEGRADED"


def test_a_timer_that_rings_for_a_look_that_was_brought_forward_does_not_make_a_second_one(lookout: Lookout) -> None:
    lookout.run(5_000)
    lookout.call("proxy", "slow")  # looks at once
    assert len(lookout.out["proxy"]) == 1
    lookout.put(cmd.TimerFired("proxy"))
    assert len(lookout.out["proxy"]) == 1


def test_a_timer_of_a_target_that_is_not_watched_any_more_comes_to_nothing(make: MakeLookout) -> None:
    lookout = make(replace(BOTH, clouds=("east",)))
    asked = len(lookout.looks)
    lookout.put(cmd.TimerFired("west"), cmd.TimerFired("storage"))
    assert len(lookout.looks) == asked


# --- what it tells --------------------------------------------------------------------------------------------------


def test_everybody_is_told_of_an_edge_in_the_turn_that_wrote_it_and_of_nothing_else(lookout: Lookout) -> None:
    counts = {name: len(told) for name, told in lookout.told.items()}
    lookout.call("proxy", "server_error")
    lookout.call("proxy", "refused")
    assert {name: len(told) for name, told in lookout.told.items()} == counts
    lookout.call("proxy", "refused")
    assert set(lookout.told) == {"router", "brainstem", "gateway", "port"}
    note = lookout.last("router")
    assert (note.mode, note.cause, note.cleared, note.since) == ("DEGRADED", "proxy", True, lookout.wall)
    assert note.reason == "the LiteLLM proxy is down (refused: as told)"
    assert lookout.last("port").mode == note


def test_a_key_or_a_breaker_is_told_without_a_change_of_mode(lookout: Lookout) -> None:
    lookout.call("east", "key_rejected", key="backup", model="m")
    lookout.call("west", "rate_limited", key="backup", model="m", retry_after_ms=9_000)
    told = {each.name: (each.state, each.until) for each in lookout.last("port").components}
    assert told["east/backup"] == ("invalid", None)
    assert told["west/m"] == ("open", lookout.wall + 9_000)
    assert lookout.mode == "NORMAL"


@pytest.mark.parametrize("actor", ["router", "brainstem", "gateway", "port"])
def test_an_actor_that_was_restarted_is_told_again_and_nobody_else(lookout: Lookout, actor: str) -> None:
    before = {name: len(told) for name, told in lookout.told.items()}
    lookout.put(cmd.ActorRestarted(actor))
    after = {name: len(told) - before[name] for name, told in lookout.told.items()}
    assert after == {name: int(name == actor) for name in before}


def test_after_its_own_death_it_knows_what_it_knew_tells_it_and_goes_on_looking(lookout: Lookout) -> None:
    lookout.call("proxy", "refused")
    lookout.call("proxy", "refused")
    before = lookout.health
    lookout.told.clear()
    lookout.timers.clear()  # one may have rung for the actor that died
    lookout.die()
    assert lookout.health == before
    assert lookout.mode == "DEGRADED"
    lookout.run(2 * MINUTE)
    assert lookout.mode == "NORMAL"
    assert lookout.last("router").cleared


def test_a_restart_restores_health_and_mode_and_tells_them_uncleared(lookout: Lookout) -> None:
    lookout.world = {"proxy": "refused"}
    lookout.run(10_000)
    lookout.world = {"proxy": "hung"}
    lookout.boot(down_ms=1_000)
    assert (lookout.mode, lookout.last("router").cleared) == ("DEGRADED", False)
    assert kinds(lookout.recorded())[-1] == "HealthStarted"
    lookout.run(RULES.proxy_timeout_ms)
    assert (lookout.mode, lookout.last("router").cleared) == ("DEGRADED", True)


def test_the_same_boot_said_twice_is_one_boot(lookout: Lookout) -> None:
    assert lookout.put(cmd.StartWatch(lookout.store.boot, BOTH)) == []


def test_a_jump_of_the_clock_changes_no_mode(lookout: Lookout) -> None:
    lookout.jump(8 * 60 * MINUTE)
    lookout.world = dict.fromkeys(("proxy", *CLOUDS), "no_route")
    lookout.run(RULES.grace_ms)
    lookout.world = {}
    lookout.run(5 * MINUTE)
    assert kinds(lookout.recorded())[2:] == ["ClockJumped"]


def test_what_a_jump_of_the_clock_runs_through_is_void(lookout: Lookout) -> None:
    lookout.jump(MINUTE)
    assert kinds(lookout.call("east", "rate_limited", model="m")) == ["ClockJumped"]
    assert kinds(lookout.call("east", "rate_limited", model="m")) == ["BreakerChanged"]


def test_whoever_forces_brainstem_is_answered_with_the_mode_that_follows(lookout: Lookout) -> None:
    lookout.put(cmd.ForceMode("r-1", brainstem=True, by="owner"))
    reply = lookout.last("door")
    assert (reply.request, reply.payload.mode, reply.payload.cause) == ("r-1", "BRAINSTEM", "operator")
    assert lookout.put(cmd.ForceMode("r-2", brainstem=True, by="owner")) == []
    assert (lookout.last("door").request, len(lookout.told["door"])) == ("r-2", 2)
    lookout.put(cmd.ForceMode("r-3", brainstem=False, by="owner"))
    assert lookout.last("door").payload == lookout.last("router")
    assert lookout.mode == "NORMAL"


def test_whoever_wants_another_mode_is_answered_when_it_cannot_be_written_down() -> None:
    refusal = cmd.Refusal("storage_unavailable", "the disk is full", "make room")
    (send,) = HealthMonitor().refuse(cmd.ForceMode("r", brainstem=True), refusal)
    assert (send.to, send.message) == ("door", cmd.Reply("r", refusal))


def test_whoever_wants_another_mode_before_anything_is_watched_is_told_to_come_again() -> None:
    watch = Watch()
    outcome = watch.monitor.handle(watch.state, cmd.Envelope("m", 1, 1, "gateway", cmd.ForceMode("r", brainstem=True)))
    assert [(send.to, send.message.payload.kind) for send in outcome.sends] == [("door", "not_watching")]


def test_an_invalid_key_is_noticed_and_its_mending_too(lookout: Lookout) -> None:
    lookout.keys = {("east", "backup"): "key_rejected"}
    lookout.run(MINUTE)
    assert lookout.health.key("east", "backup").state == "invalid"
    lookout.keys = {}
    lookout.run(MINUTE)
    assert lookout.health.key("east", "backup").state == "ok"


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events if not isinstance(event, ev.ExecutorHealthChanged)]

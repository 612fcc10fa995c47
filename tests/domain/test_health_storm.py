"""Any observations in any order, with jumps of the clock and restarts: what must hold of health and mode."""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace
from tests.domain.ward import BOTH, CLOUDS, HOUR, MINUTE, NO_PROXY, ONLY_PROXY, Ward, replayed

from omni.domain import events as ev
from omni.domain.health import LONGEST_WAIT_MS, Health
from omni.domain.mode import derive
from omni.domain.values import KeyRole
from omni.domain.verdict import MEANING, Verdict

TORTURE = int(os.environ.get("OMNI_TORTURE", "1"))

TARGETS = ("proxy", *CLOUDS)
DEAD = st.sampled_from([v.value for v, meaning in MEANING.items() if meaning.alive is False])
SETTINGS = [BOTH, NO_PROXY, ONLY_PROXY, replace(BOTH, backup_keys=("west",)), replace(BOTH, clouds=("east",))]


class Storm(RuleBasedStateMachine):
    """Looks at health after every step; at the end everything is well again."""

    def __init__(self) -> None:
        super().__init__()
        self.ward = Ward()
        self.last: tuple[Any, ...] = ("proxy", "ok", "probe", None, "", None)
        self.modes_checked = 0

    @initialize(settings=st.sampled_from(SETTINGS))
    def begin(self, settings: Any) -> None:
        self.ward = Ward(settings)

    @rule(
        whom=st.sampled_from(TARGETS),
        verdict=st.sampled_from([v.value for v in Verdict]),
        source=st.sampled_from(["", "", "call"]),
        key=st.sampled_from([None, "primary", "backup"]),
        model=st.sampled_from(["small", "large"]),
        retry_after_ms=st.none() | st.integers(0, 10**13),
    )
    def see(
        self, whom: str, verdict: str, source: str, key: KeyRole | None, model: str, retry_after_ms: int | None
    ) -> None:
        self.last = (whom, verdict, source, key, model, retry_after_ms)
        self.again()

    @rule()
    def again(self) -> None:
        """The same is reported once more, or late."""
        target, verdict, source, key, model, retry_after_ms = self.last
        self.ward.see(target, verdict, source, key=key, model=model, retry_after_ms=retry_after_ms)

    @rule(
        whom=st.sampled_from(TARGETS),
        verdicts=st.lists(DEAD | st.just("ok"), max_size=12),
        every_ms=st.sampled_from([1, 500, 2_500, 30_000]),
    )
    def series(self, whom: str, verdicts: list[str], every_ms: int) -> None:
        self.ward.series(whom, verdicts, every_ms)

    @rule(several=st.sets(st.sampled_from(TARGETS), min_size=1), verdict=DEAD)
    def outage(self, several: set[str], verdict: str) -> None:
        for target in sorted(several):
            self.ward.kill(target, verdict)

    @rule(rounds=st.integers(1, 6))
    def healthy(self, rounds: int) -> None:
        for _ in range(rounds):
            self.ward.run(30_000)
            for target in TARGETS:
                self.ward.see(target)

    @rule(ms=st.sampled_from([1, 999, 4_000, 15_000, MINUTE, 10 * MINUTE, HOUR]))
    def run(self, ms: int) -> None:
        self.ward.run(ms)

    @rule(ms=st.sampled_from([-24 * HOUR, -HOUR, -6_000, -4_000, 4_000, 6_000, HOUR, 24 * HOUR]))
    def jump(self, ms: int) -> None:
        self.ward.jump(ms)

    @rule(down_ms=st.sampled_from([10, MINUTE, HOUR, -HOUR]))
    def restart(self, down_ms: int) -> None:
        before = self.ward.health
        self.ward.start(down_ms=down_ms)
        after = self.ward.health
        assert [after.proxy.state, after.forced] == [before.proxy.state, before.forced]
        assert _states(after) == _states(before)
        if not any(key.state == "cooldown" for key in before.keys.values()):
            assert (after.mode, after.cause, after.since) == (before.mode, before.cause, before.since)

    @rule(settings=st.sampled_from(SETTINGS))
    def reconfigure(self, settings: Any) -> None:
        self.ward.start(settings, down_ms=1_000)

    @rule(brainstem=st.booleans())
    def force(self, brainstem: bool) -> None:
        self.ward.force(brainstem=brainstem)

    @invariant()
    def the_mode_is_the_derived_one(self) -> None:
        health = self.ward.health
        assert derive(health, self.ward.decided_at) == (health.mode, health.cause)

    @invariant()
    def whoever_can_reach_a_model_is_not_in_brainstem(self) -> None:
        health = self.ward.health
        up = [name for name, cloud in health.clouds.items() if cloud.state == "up"]
        through = health.proxy.state == "up" and (bool(up) or not health.clouds)
        past_it = any(health.key(name, "backup").state == "ok" for name in up)
        if (through or past_it) and not health.forced:
            assert health.mode != "BRAINSTEM"
        if health.proxy.state == "down":
            assert health.mode != "NORMAL"

    @invariant()
    def the_log_tells_all_of_it(self) -> None:
        assert replayed(self.ward.log) == self.ward.health

    @invariant()
    def every_mode_in_the_log_follows_from_the_log_before_it(self) -> None:
        before, log = "NORMAL", self.ward.log
        for n, (event, at) in enumerate(log):
            if not isinstance(event, ev.ModeChanged):
                continue
            assert event.before == before
            before = event.after
            if n >= self.modes_checked:
                assert derive(replayed(log[:n]), at) == (event.after, event.cause)
                assert event.reason
                assert event.evidence or isinstance(log[n - 1][0], ev.ModeForced | ev.HealthConfigured), event
        assert before == self.ward.mode
        self.modes_checked = len(log)

    @invariant()
    def edges_are_edges(self) -> None:
        last: dict[Any, Any] = {}
        for event, at in self.ward.log:
            match event:
                case ev.HealthConfigured():
                    last.clear()
                case ev.ProxyChanged(state=state, evidence=evidence):
                    assert last.get("proxy") != state
                    assert evidence
                    last["proxy"] = state
                case ev.CloudChanged(cloud=cloud, state=state, evidence=evidence):
                    assert last.get(cloud) != state
                    assert {MEANING[Verdict(each.verdict)].alive for each in evidence} == {state == "up"}
                    last[cloud] = state
                case ev.KeyChanged(until_ms=until) | ev.BreakerChanged(until_ms=until):
                    assert until is None or at < until <= at + LONGEST_WAIT_MS

    def teardown(self) -> None:
        """An hour passes, everything is well, and two rounds later the mode is NORMAL."""
        ward = self.ward
        ward.force(brainstem=False)
        ward.see("proxy", "abandoned")  # so that a jump at the very end is not one of the hour
        ward.run(HOUR + 1)
        for _ in range(2):
            ward.run(30_000)
            for target in TARGETS:
                ward.see(target)
        assert ward.mode == "NORMAL", ward.health.reason
        assert set(_states(ward.health).values()) <= {"up"}
        for look in (
            self.the_log_tells_all_of_it,
            self.every_mode_in_the_log_follows_from_the_log_before_it,
            self.edges_are_edges,
        ):
            look()


def _states(health: Health) -> dict[str, str]:
    return {name: cloud.state for name, cloud in health.clouds.items()}


TestStorm = Storm.TestCase
TestStorm.settings = settings(max_examples=40 * TORTURE, stateful_step_count=60)

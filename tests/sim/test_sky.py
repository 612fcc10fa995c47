"""The whole system under any weather: proxy, clouds, keys, network and clocks do what they like."""

from __future__ import annotations

import os
import shutil
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.sim.conftest import make_scratch
from tests.sim.overseer import TARGETS
from tests.sim.sky import CLOUD_MOODS, CLOUDS, PROXY_MOODS
from tests.sim.world import KINDS, World

from omni.domain import commands as cmd
from omni.domain.values import PROXY, HealthSettings, Thresholds

TORTURE = int(os.environ.get("OMNI_TORTURE", "1"))
Pick = st.integers(0, 255)
Picks = st.lists(Pick, min_size=1, max_size=12)
MINUTE_MS = 60_000


class Weather(RuleBasedStateMachine):
    """Everything that can happen above, while tasks come and go; the world checks itself after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = make_scratch()
        self.world: Any = None

    @initialize(pick=Pick)
    def begin(self, pick: int) -> None:
        self.world = World(self.directory, watched=True)
        self.world.everyone_ready()
        self.world.settle(pick)

    # --- above ----------------------------------------------------------------------------------------------------

    @rule(mood=st.sampled_from([*PROXY_MOODS, "dead"]))
    def proxy(self, mood: str) -> None:
        self.world.sky.moods[PROXY] = mood

    @rule(cloud=st.sampled_from(CLOUDS), mood=st.sampled_from([*CLOUD_MOODS, "down"]))
    def cloud(self, cloud: str, mood: str) -> None:
        self.world.sky.moods[cloud] = mood

    @rule(there=st.booleans())
    def network(self, *, there: bool) -> None:
        self.world.sky.network = there

    @rule(deaf=st.booleans())
    def sinks(self, *, deaf: bool) -> None:
        self.world.sky.deaf = deaf

    @rule(picks=Picks, twice=st.booleans())
    def answers_come(self, picks: list[int], *, twice: bool) -> None:
        for pick in picks:
            self.world.sky.answer(pick, twice=twice)
        self.world.settle(picks[0])

    @rule(which=st.sampled_from(TARGETS), pick=Pick, count=st.integers(1, 6))
    def calls_are_made(self, which: str, pick: int, count: int) -> None:
        for _ in range(count):
            self.world.calls(which, pick)

    @rule(which=st.sampled_from(TARGETS), source=st.sampled_from(["probe", "ping", "call"]), pick=Pick)
    def an_observation_comes_late(self, which: str, source: str, pick: int) -> None:
        self.world._from_above(*self.world.sky.seen(which, source, pick))

    @rule(brainstem=st.booleans())
    def a_person_decides(self, *, brainstem: bool) -> None:
        self.world.ask(cmd.ForceMode(self.world.new_name("r"), brainstem, "owner"))

    @rule(pick=Pick, rounds=st.integers(1, 12))
    def time_goes_on(self, pick: int, rounds: int) -> None:
        """The everyday course: timers ring, everybody answers as things are."""
        for _ in range(rounds):
            waits = [self.world._wait_ms(t) for t in self.world.timers]
            self.world.clock.run(max(0, min(waits, default=1_000)))
            self.world.fire()
            self.world.settle(pick)
            while self.world.sky.answer(pick):
                self.world.settle(pick)

    @rule(ms=st.sampled_from([-60 * MINUTE_MS, -10_000, 10_000, MINUTE_MS, 480 * MINUTE_MS]))
    def the_clock_jumps(self, ms: int) -> None:
        self.world.clock.jump(ms)
        self.world.fire()

    # --- below ----------------------------------------------------------------------------------------------------

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), pick=Pick)
    def tasks_come(self, kinds: list[str], pick: int) -> None:
        for kind in kinds:
            self.world.submit(kind)
        self.world.settle(pick)

    @rule(acts=st.lists(st.tuples(Pick, Pick), min_size=1, max_size=12), pick=Pick)
    def executors_act(self, acts: list[tuple[int, int]], pick: int) -> None:
        for which, what in acts:
            self.world.act(which, what)
        self.world.settle(pick)

    @rule(picks=Picks)
    def messages(self, picks: list[int]) -> None:
        for pick in picks:
            if not self.world.step(pick):
                return

    @rule(survivors=Pick, settle=st.booleans())
    def crash(self, survivors: int, *, settle: bool) -> None:
        before = self.world.over.health
        known = (before.proxy.state, {name: each.state for name, each in before.clouds.items()}, before.mode)
        self.world.crash(survivors)
        after = self.world.over.health
        assert known == (after.proxy.state, {n: e.state for n, e in after.clouds.items()}, after.mode)
        self.world.everyone_ready()
        if settle:
            self.world.settle(survivors)

    @rule(clouds=st.sampled_from([CLOUDS, CLOUDS[:1], CLOUDS[1:]]), quick=st.booleans(), pick=Pick)
    def reload(self, clouds: tuple[str, ...], pick: int, *, quick: bool) -> None:
        """Another configuration: a cloud comes or goes, other thresholds hold."""
        rules = Thresholds(cloud_failures=2, dwell_ms=1_000) if quick else Thresholds()
        watch = HealthSettings(proxy=True, clouds=clouds, primary_keys=clouds, backup_keys=clouds, thresholds=rules)
        self.world.reload(self.world.settings, watch)
        self.world.settle(pick)

    @rule(moment=st.sampled_from(["before append", "after append", "before send", "after send"]), picks=Picks)
    def crash_soon(self, moment: str, picks: list[int]) -> None:
        self.world.failpoints.arm(moment, picks[0] % 4)
        self.messages(picks)

    @rule()
    def calm(self) -> None:
        self.world.calm()

    def teardown(self) -> None:
        try:
            if self.world is not None:
                self.world.calm()
        finally:
            if self.world is not None:
                self.world.close()
            shutil.rmtree(self.directory)


TestWeather = pytest.mark.timeout(900 * TORTURE)(Weather.TestCase)
TestWeather.settings = settings(
    max_examples=40 * TORTURE,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

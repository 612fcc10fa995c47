"""The HealthMonitor where anything breaks at any time: never wrong for long, and it never stops looking."""

from __future__ import annotations

import os
import shutil
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec.structs import replace
from tests.actors.lookout import BOTH, CLOUDS, HOUR, MINUTE, SECOND, Lookout
from tests.sim.conftest import make_scratch

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import HealthSettings, KeyRole
from omni.domain.verdict import Verdict

TORTURE = int(os.environ.get("OMNI_TORTURE", "1"))

TARGETS = ("proxy", *CLOUDS)
SETTINGS = [BOTH, replace(BOTH, proxy=False), HealthSettings(proxy=True), replace(BOTH, backup_keys=("east",))]
Target = st.sampled_from(TARGETS)
Fault = st.sampled_from(["ok", "refused", "hung", "no_route", "closed"])


class Storm(RuleBasedStateMachine):
    """`Lookout.check` looks after every turn; at the end everything is well again."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = make_scratch()
        self.lookout: Any = None
        self.last: Any = None

    @initialize(settings=st.sampled_from(SETTINGS))
    def begin(self, settings: HealthSettings) -> None:
        self.lookout = Lookout(self.directory, settings)

    @rule(whom=Target, verdict=Fault)
    def becomes(self, whom: str, verdict: str) -> None:
        self.lookout.world[whom] = verdict

    @rule(
        whom=st.sampled_from(CLOUDS),
        role=st.sampled_from(["primary", "backup"]),
        word=st.sampled_from(["", "key_rejected", "out_of_credit"]),
    )
    def key_becomes(self, whom: str, role: KeyRole, word: str) -> None:
        self.lookout.keys[whom, role] = word

    @rule(ms=st.sampled_from([1, 400, 3 * SECOND, 20 * SECOND, 40 * SECOND]))
    def run(self, ms: int) -> None:
        self.lookout.run(ms)

    @rule(
        whom=Target,
        verdict=st.sampled_from([v.value for v in Verdict]),
        key=st.sampled_from([None, "primary", "backup"]),
        retry_after_ms=st.none() | st.integers(0, 10**13),
        times=st.integers(1, 6),
    )
    def call(self, whom: str, verdict: str, key: KeyRole | None, retry_after_ms: int | None, times: int) -> None:
        for _ in range(times):
            self.lookout.call(whom, verdict, key=key, model="m", retry_after_ms=retry_after_ms)

    @rule(whom=Target, verdict=Fault)
    def late(self, whom: str, verdict: str) -> None:
        """An answer to a look that nobody waits for any more, or a second one: it is taken for the one that is due."""
        self.lookout.disown(whom)
        source = "probe" if whom == "proxy" else "ping"
        self.lookout.put(cmd.Observed(whom, source, verdict, "late"), cmd.Observed(whom, source, verdict, "late"))

    @rule(key=st.sampled_from([*TARGETS, "storage"]))
    def stray_timer(self, key: str) -> None:
        self.lookout.put(cmd.TimerFired(key))

    @rule(ms=st.sampled_from([-HOUR, -6_000, -4_000, 4_000, 6_000, HOUR]))
    def jump(self, ms: int) -> None:
        self.lookout.jump(ms)

    @rule(silent=st.booleans())
    def adapter(self, silent: bool) -> None:
        """The adapter falls silent: what it was asked is never answered."""
        self.lookout.silent = silent
        if silent:
            self.lookout.out.clear()
            self.lookout.orphans.clear()

    @rule()
    def actor_dies(self) -> None:
        health = self.lookout.health
        self.lookout.die()
        assert self.lookout.health == health

    @rule(settings=st.sampled_from([None, None, *SETTINGS]), down_ms=st.sampled_from([10, MINUTE, -HOUR]))
    def restart(self, settings: HealthSettings | None, down_ms: int) -> None:
        mode = self.lookout.mode
        recovering = any(key.state == "cooldown" for key in self.lookout.health.keys.values())
        self.lookout.boot(settings, down_ms)
        if settings is None and not recovering:
            assert self.lookout.mode == mode
        assert not self.lookout.last("router").cleared

    @rule(brainstem=st.booleans())
    def force(self, brainstem: bool) -> None:
        self.lookout.put(cmd.ForceMode("r", brainstem, "owner"))
        assert self.lookout.last("door").payload == self.lookout.last("router")
        assert not brainstem or self.lookout.mode == "BRAINSTEM"

    def teardown(self) -> None:
        """All is well for an hour, and a few looks later everybody knows."""
        if self.lookout is not None:
            self._calm(self.lookout)
            self.lookout.close()
        shutil.rmtree(self.directory)

    def _calm(self, lookout: Lookout) -> None:
        lookout.world.clear()
        lookout.keys.clear()
        lookout.silent = False
        lookout.put(cmd.ForceMode("r", brainstem=False, by="owner"))
        lookout.wall += HOUR  # as if this hour had been run through, without its thousands of looks
        lookout.mono += HOUR
        lookout.run(3 * MINUTE)
        note = lookout.last("router")
        assert (note.mode, note.cleared) == ("NORMAL", True), note
        assert {c.state for c in lookout.last("port").components if c.kind in {"proxy", "cloud"}} <= {"up"}
        assert lookout.recorded().count(ev.HealthStarted(lookout.store.boot)) == 1
        looks = len(lookout.looks)
        lookout.run(MINUTE)
        assert len(lookout.looks) - looks == 30 * lookout.settings.proxy + 2 * len(lookout.settings.clouds)


TestStorm = Storm.TestCase
TestStorm.settings = settings(max_examples=25 * TORTURE, stateful_step_count=30)

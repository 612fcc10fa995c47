"""Any order of messages, any outcome, any crash: the promises hold after every step."""

from __future__ import annotations

import os
import shutil
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec.structs import replace
from tests.sim.conftest import make_scratch
from tests.sim.sky import NIGHT, TELLING
from tests.sim.world import EXECUTORS, KINDS, World

from omni.domain import commands as cmd
from omni.domain.values import Decision, Mode, Result, RoutingSettings, StartGuard, TaskError, Telling

TORTURE = int(os.environ.get("OMNI_TORTURE", "1"))

NAMES = [e.name for e in EXECUTORS]
Pick = st.integers(0, 255)
Act = st.tuples(Pick, Pick)
Steps = st.sampled_from(["begin", "begin", "succeed", "fail", "die", "rest"])
Picks = st.lists(Pick, min_size=1, max_size=20)
Key = st.sampled_from([None, None, None, "k1", "k2"])
Text = st.sampled_from(["say hello", "count the files"])
Executor = st.sampled_from([None, None, None, *NAMES, "nobody"])
Moments = st.sampled_from(["before append", "after append", "before send", "after send"])
DiskFaults = st.sampled_from(["disk full", "lost commit", "kept commit"])
Chat = st.sampled_from([None, "telegram:1", "telegram:2", "telegram:2"])
HOUR_MS = 3_600_000
WITHIN_MS = 600_000
GUARD = StartGuard(2, 60_000)


def without(name: str) -> RoutingSettings:
    return RoutingSettings(tuple(e for e in EXECUTORS if e.name != name))


WITHOUT = {"": RoutingSettings(EXECUTORS), **{name: without(name) for name in NAMES}}


class Storm(RuleBasedStateMachine):
    """Everything that can happen, in any order; the world checks itself after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = make_scratch()
        self.world: Any = None

    @initialize(picks=Picks)
    def begin(self, picks: list[int]) -> None:
        self.world = World(self.directory, telling=Telling(TELLING.sinks, NIGHT), guard=GUARD)
        self.world.everyone_ready()
        self.messages(picks)

    # --- clients --------------------------------------------------------------------------------------------------

    @rule(
        kind=st.sampled_from(KINDS),
        text=Text,
        key=Key,
        executor=Executor,
        priority=st.integers(0, 9),
        chat=Chat,
        wait=st.booleans(),
    )
    def submit(
        self,
        kind: str,
        text: str,
        key: str | None,
        executor: str | None,
        priority: int,
        chat: str | None,
        *,
        wait: bool,
    ) -> None:
        given = {"executor": executor, "priority": priority if key is None else 5, "idempotency_key": key}
        self.world.submit(kind, text, wait=wait, reply_to=chat if key is None else None, **given)

    @rule(kind=st.sampled_from(["general", "coding"]), steps=st.lists(Steps, max_size=4), pick=Pick)
    def a_model_says_it_again(self, kind: str, steps: list[str], pick: int) -> None:
        """The same words, whatever has become of them meanwhile."""
        for step in [*steps, ""]:
            self.world.submit(kind, within_ms=WITHIN_MS, reply_to="telegram:1")
            self.world.settle(pick)
            calls = self.world.hands.calls[-1:]
            for call in [c for c in calls if step in c.steps(self.world.ledger)]:
                self.world.take(call, step)
            self.world.settle(pick)

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=6), picks=Picks)
    def submit_many(self, kinds: list[str], picks: list[int]) -> None:
        for kind in kinds:
            self.world.submit(kind)
        self.messages(picks)

    @rule(pick=Pick)
    def cancel(self, pick: int) -> None:
        self.world.ask(cmd.CancelTask(self.world.new_name("r"), self._task(pick), "owner"))

    @rule(pick=Pick, decision=st.sampled_from(["retry", "accept", "fail"]))
    def resolve(self, pick: int, decision: Decision) -> None:
        held = [i for i, life in self.world.judge.lives.items() if life.state == "held"]
        task_id = held[pick % len(held)] if held else self._task(pick)
        self.world.ask(cmd.ResolveTask(self.world.new_name("r"), task_id, decision, "owner"))

    @rule(pick=Pick)
    def retry(self, pick: int) -> None:
        new_id = self.world.new_name("t")
        self.world.ask(cmd.RetryTask(self.world.new_name("r"), self._task(pick), new_id, "owner"))

    @rule(pick=Pick, wait=st.booleans())
    def look_at_one(self, pick: int, *, wait: bool) -> None:
        self.world.ask(cmd.GetTask(self.world.new_name("r"), self._task(pick), wait))

    @rule(state=st.sampled_from(["", "held", "completed"]))
    def look_at_all(self, state: str) -> None:
        self.world.ask(cmd.ListTasks(self.world.new_name("r"), state, 3))
        self.world.ask(cmd.GetStatus(self.world.new_name("r")))

    def _task(self, pick: int) -> str:
        ids: list[str] = [*self.world.client.seen[-8:], "nobody"]
        return ids[pick % len(ids)]

    # --- executors ------------------------------------------------------------------------------------------------

    @rule(acts=st.lists(Act, min_size=1, max_size=12), picks=Picks)
    def executors_act(self, acts: list[tuple[int, int]], picks: list[int]) -> None:
        for pick, what in acts:
            self.world.act(pick, what)
        self.messages(picks)

    @rule(resumable=st.booleans(), pick=Pick)
    def all_connections_die(self, *, resumable: bool, pick: int) -> None:
        """Then the backoff runs out: the way to a second and third attempt, and to late reports of the first."""
        for call in [c for c in self.world.hands.calls if c.state in {"handed", "begun"}]:
            for step in ("begin", "resumable_die" if resumable else "die")[call.state == "begun" :]:
                self.world.take(call, step)
        self.world.settle(pick)
        self.time_passes(pick, 10_000)

    @rule(step=st.sampled_from(["repeat", "late_success", "late_failure", "late_interruption"]), picks=Picks)
    def everything_comes_late(self, step: str, picks: list[int]) -> None:
        for call in [c for c in self.world.hands.calls if c.state in {"gone", "over"}][-6:]:
            self.world.take(call, step)
        self.messages(picks)

    @rule(pick=Pick, what=Pick)
    def executor_acts(self, pick: int, what: int) -> None:
        self.world.act(pick, what)

    @rule(pick=Pick, n=st.sampled_from([-1, 0, 1, 2, 9]), text=st.text(max_size=8))
    def executor_talks_nonsense(self, pick: int, n: int, text: str) -> None:
        """About attempts that never were. (What it says of a real one is not nonsense, but its word.)"""
        task_id = self._task(pick)
        life = self.world.judge.lives.get(task_id)
        n = n if n < 1 else n + 20 + (len(life.tries) if life else 0)  # never to be, not just not yet
        reports = [
            cmd.ReportStarted(task_id, n, session=text),
            cmd.ReportSucceeded(task_id, n, Result(text, {"x": [text]})),
            cmd.ReportFailed(task_id, n, TaskError(text, text)),
            cmd.ReportInterrupted(task_id, n, text, resumable=True),
            cmd.ReportCancelled(task_id, n),
            cmd.ProgressMade(task_id, n, float("nan")),
        ]
        self.world.report(reports[pick % len(reports)])

    @rule(executor=st.sampled_from(NAMES), ok=st.booleans())
    def observe(self, executor: str, *, ok: bool) -> None:
        if executor in self.world.names:
            self.world.observe(executor, ok=ok)

    @rule(executor=st.sampled_from(NAMES), picks=Picks)
    def executor_goes_down(self, executor: str, picks: list[int]) -> None:
        if executor in self.world.names:
            self.world.observe(executor, ok=False)
            self.world.observe(executor, ok=False)
            self.messages(picks)

    @rule(executor=st.sampled_from(NAMES), ms=st.sampled_from([0, 1_000, 90_000, 5 * HOUR_MS, 400 * HOUR_MS]))
    def executor_rests(self, executor: str, ms: int) -> None:
        if executor in self.world.names:
            self.world.rests(executor, ms)

    @rule(deaf=st.booleans())
    def the_chat(self, *, deaf: bool) -> None:
        self.world.sky.deaf = deaf

    @rule(picks=Picks, twice=st.booleans())
    def notices_are_taken(self, picks: list[int], *, twice: bool) -> None:
        for pick in picks:
            self.world.sky.answer(pick, twice=twice)
        self.messages(picks)

    @rule(mode=st.sampled_from(["NORMAL", "DEGRADED", "BRAINSTEM", "BRAINSTEM"]), picks=Picks)
    def the_mode_turns(self, mode: Mode, picks: list[int]) -> None:
        self.world.turns(mode)
        self.messages(picks)

    # --- messages and time ----------------------------------------------------------------------------------------

    @rule(picks=Picks)
    def messages(self, picks: list[int]) -> None:
        for pick in picks:
            if not self.world.step(pick):
                return

    @rule(pick=Pick)
    def all_messages(self, pick: int) -> None:
        self.world.settle(pick)

    @rule(pick=Pick, ms=st.sampled_from([50, 1_100, 2_500, 10_000, HOUR_MS + 1]))
    def time_passes(self, pick: int, ms: int) -> None:
        self.world.clock.run(ms)
        self.world.fire()
        self.world.settle(pick)

    @rule(ms=st.sampled_from([-HOUR_MS, -1_000, 1_000, 30_000, 8 * HOUR_MS]))
    def the_clock_jumps(self, ms: int) -> None:
        self.world.clock.jump(ms)
        self.world.fire()

    # --- crashes --------------------------------------------------------------------------------------------------

    @rule(survivors=Pick, without=st.sampled_from([None, None, None, "", *NAMES]), settle=st.booleans())
    def crash(self, survivors: int, without: str | None, *, settle: bool) -> None:
        self.world.crash(survivors, None if without is None else WITHOUT[without])
        self.world.everyone_ready()
        if settle:
            self.world.settle(survivors)

    @rule(pick=Pick)
    def stop_in_good_order(self, pick: int) -> None:
        self.world.stop_in_order(pick)
        self.world.everyone_ready()

    @rule()
    def a_person_lets_it_go_on(self) -> None:
        self.world.go_on()

    @rule(
        without=st.sampled_from(["", *NAMES]),
        slots=st.integers(1, 3),
        anew=st.lists(st.sampled_from(NAMES), max_size=2),
        picks=Picks,
        settle=st.booleans(),
    )
    def reload(self, without: str, slots: int, anew: list[str], picks: list[int], *, settle: bool) -> None:
        """Another configuration while all goes on: executors come and go, have more slots or fewer, are changed."""
        kept = (replace(each, max_concurrency=slots) for each in WITHOUT[without].executors)
        self.world.reload(RoutingSettings(tuple(kept)), anew=anew)
        self.messages(picks)
        if settle:
            self.world.settle(picks[0])
            self.world.everyone_ready()

    @rule(picks=Picks, survivors=Pick)
    def crash_amid_news(self, picks: list[int], survivors: int) -> None:
        """Everything that runs is done, and only some have heard of it."""
        self.world.submit(reply_to="telegram:2")
        self.world.settle(survivors)
        for step in ("begin", "succeed"):
            for call in [c for c in self.world.hands.calls if step in c.steps(self.world.ledger)]:
                self.world.take(call, step)
        self.messages(picks)
        self.crash(survivors, None, settle=False)

    @rule(moment=Moments, after=st.integers(0, 4), picks=Picks)
    def crash_soon(self, moment: str, after: int, picks: list[int]) -> None:
        self.world.failpoints.arm(moment, after)
        self.messages(picks)

    @rule(fault=DiskFaults, after=st.integers(0, 2), picks=Picks)
    def the_disk_fails_soon(self, fault: str, after: int, picks: list[int]) -> None:
        self.world.failpoints.arm(fault, after)
        self.messages(picks)

    @rule()
    def leave_a_snapshot(self) -> None:
        self.world.kernels["router"].save_snapshot()

    @rule()
    def check(self) -> None:
        self.world.check_log()

    @rule()
    def calm(self) -> None:
        self.world.calm()

    def teardown(self) -> None:
        try:
            if self.world is not None:
                self.world.check_log()
                self.world.calm()
        finally:
            if self.world is not None:
                self.world.close()
            shutil.rmtree(self.directory)


# A failure is made as small as possible before it is shown, which takes its time.
TestStorm = pytest.mark.timeout(900 * TORTURE)(Storm.TestCase)
TestStorm.settings = settings(
    max_examples=60 * TORTURE,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

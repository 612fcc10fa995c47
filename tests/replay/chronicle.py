"""Random histories, made by the real rules in memory: tasks, failures, calls, caps, health, modes, restarts.

One seed makes one history. The Router's rules and HealthMonitor's run as in the daemon, each message decided on the
state that the one before left; only threads, disk and time are missing.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain import dispatch, mode, symptoms
from omni.domain import events as ev
from omni.domain import health as facts
from omni.domain.board import Board
from omni.domain.effects import Outcome
from omni.domain.health import Health
from omni.domain.symptoms import Symptoms
from omni.domain.task import Task
from omni.domain.values import (
    PROXY,
    Budget,
    Decision,
    ExecutorHealth,
    ExecutorSpec,
    HealthSettings,
    HealthState,
    KeyRole,
    Result,
    RoutingSettings,
    TaskError,
    TaskSpec,
    Tier,
    Usage,
)

BEGIN = 1_790_000_000_000
HOUR, DAY = 3_600_000, 86_400_000
CLOUDS = ("east", "west")
WATCHED = HealthSettings(proxy=True, clouds=CLOUDS, primary_keys=CLOUDS, backup_keys=CLOUDS)
TEXTS = ("say hello", "fix the bug in parser.py", "train a model with CUDA on eight GPUs", "watch the site every hour")
TIERS = (Tier("P1", "small", "small-plus"), Tier("P2", "large", "large-plus", paid=True))
MODELS = {"P1": ("small", "small-plus"), "P2": ("large", "large-plus")}
EXECUTORS = (
    ExecutorSpec("coder", types=("coding",), max_concurrency=2, on_crash="resume"),
    ExecutorSpec("claw", types=("general",), max_concurrency=1, on_crash="retry"),
    ExecutorSpec("far", types=("gpu",), always_on=True, on_crash="ask", max_concurrency=1),
    ExecutorSpec("near", types=("general",), keywords=("disk",), local=True, needs_cloud=False, on_crash="fail"),
)


def price(channel: str, model: str, usage: Usage) -> float | None:
    """A price list for these models; of `large-plus` nobody knows the price."""
    rates = {"small": (1e-6, 4e-6), "small-plus": (2e-6, 8e-6), "large": (5e-6, 2e-5)}.get(model)
    return None if rates is None else usage.input_tokens * rates[0] + usage.output_tokens * rates[1]


def some_settings(random: Random) -> RoutingSettings:
    """A configuration: some of the executors, and caps or none."""
    executors = tuple(each for each in EXECUTORS if random.random() < 0.85)
    caps = Budget(
        daily_usd=random.choice([None, 0.01, 0.03, 0.1, 0.4]),
        task_usd=random.choice([None, None, 0.02, 0.1]),
        at_cap=random.choice(["hold", "degrade", "ask"]),
        utc_offset_ms=random.choice([0, 8 * HOUR, -5 * HOUR]),
        channel_usd=random.choice([{}, {}, {"P2": 0.02}, {"west": 0.01}]),
    )
    return RoutingSettings(executors, TIERS, random.choice([0, 0, 20, 50]), caps, watched=True)


class Chronicle:
    """Makes one history; `log` holds its (position, stream, time, event)."""

    def __init__(self, seed: int, *, steps: int = 60, reconfigured: bool = False) -> None:
        self.random = Random(seed)
        self.board, self.health, self.symptoms = Board(), Health(), Symptoms()
        self.log: list[tuple[int, str, int, Any]] = []
        self.at, self.mono = BEGIN, 0
        self.settings = some_settings(self.random)
        self.watched = WATCHED
        self.reconfigured = reconfigured
        self.counts = {"tasks": 0, "calls": 0, "boots": 0}
        self.open_calls: dict[str, str] = {}
        self.boot()
        for _ in range(steps):
            self.pass_time()
            self.random.choices(_MOVES, _WEIGHTS)[0](self)

    # --- what happens -------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """A new process, perhaps with another configuration; what it made before the first probes is held back."""
        self.counts["boots"] += 1
        if self.reconfigured and self.counts["boots"] > 1:
            self.settings = some_settings(self.random)
        name = f"boot-{self.counts['boots']}"
        self.symptoms = Symptoms()
        symptoms.tick(self.health, self.symptoms, self.at, self.mono)
        self._note_health(symptoms.start(self.health, name, self.watched))
        self.put(cmd.Boot(name, self.settings))
        self.open_calls = {}
        for executor in self.settings.executors:
            if self.random.random() < 0.9:
                self.put(cmd.NoteExecutor(executor.name, ExecutorHealth("ready")))
        self.note_mode()

    def pass_time(self) -> None:
        """Let time pass, mostly little, at times the night; timers ring that are due."""
        step = self.random.choices([200, 5_000, 61_000, HOUR, DAY // 2], [40, 30, 20, 6, 4])[0]
        before = self.at
        self.at += step
        self.mono += step
        if (before + self._offset) // DAY != (self.at + self._offset) // DAY:
            self.put(cmd.TimerFired("budget"))
        for task_id in list(self.board.at("delayed")):
            if (self.board.tasks[task_id].retry_at or 0) <= self.at:
                self.put(cmd.TimerFired(task_id))
        if self.board.ramp:
            self.put(cmd.TimerFired("ramp"))

    def create(self) -> None:
        self.counts["tasks"] += 1
        chance = self.random.random
        names = [each.name for each in self.settings.executors]
        spec = TaskSpec(
            self.random.choice(TEXTS),
            executor=self.random.choice(names) if names and chance() < 0.1 else None,
            tier=self.random.choice(["P1", "P2"]) if chance() < 0.3 else None,
            model="large" if chance() < 0.05 else None,
            priority=self.random.randint(0, 9),
            budget_usd=0.03 if chance() < 0.1 else None,
            timeout_s=600.0 if chance() < 0.1 else None,
        )
        self.put(cmd.CreateTask("r", f"t{self.counts['tasks']:04}", spec, "test"))

    def report(self) -> None:
        """An open attempt goes on or ends, in one of the ways in which attempts do."""
        task = self._running()
        if task is None or task.open_attempt is None:
            return
        n, chance = task.open_attempt.n, self.random.random
        cost = 0.004 if chance() < 0.3 else None
        done = cmd.ReportSucceeded(task.id, n, Result("done"), usage=Usage(900, 90) if cost else None, cost_usd=cost)
        kind = self.random.choice(["failed", "timeout", "unavailable", "rate_limited", "over_budget"])
        again = cmd.ReportInterrupted(task.id, n, "it died", resumable=chance() < 0.7, orderly=chance() < 0.3)
        self.put(
            self.random.choices(
                [
                    cmd.ReportStarted(task.id, n, session="s"),
                    done,
                    cmd.ReportFailed(task.id, n, TaskError(kind, "no")),
                    again,
                    cmd.ReportCancelled(task.id, n),
                ],
                [30, 40, 15, 12, 3],
            )[0]
        )

    def call(self) -> None:
        """A model call of a task, or of a client with a key of its own; one that goes out is settled later."""
        task = self._running() if self.random.random() < 0.85 else None
        n = task.open_attempt.n if task and task.open_attempt else 0
        tier = task.attempts[-1].route.tier if task else "P1"
        tier = tier if self.random.random() < 0.7 else self.random.choice(["P1", "P2", ""])
        route_model = task.attempts[-1].route.model if task else ""
        model = route_model if self.random.random() < 0.7 else self.random.choice(MODELS.get(tier, ("other",)))
        degraded = self.board.mode == "DEGRADED"
        channel = self.random.choice(CLOUDS) if degraded else PROXY
        self.counts["calls"] += 1
        name = f"c{self.counts['calls']}"
        estimate = self.random.choice([None, 0.005, 0.008, 0.02])
        paid = degraded or tier != "P1"
        owner = task.id if task else ""
        self.put(
            cmd.ReserveCall(
                "r", name, channel, model, self.board.mode, owner, n, "" if task else "chat", paid, estimate, tier
            )
        )
        if name in self.board.ledger.open:
            self.open_calls[name] = owner

    def settle(self) -> None:
        """A call that is out comes to its end, billed, priced, free, unknown or turned away."""
        if not self.open_calls:
            return
        name = self.random.choice(list(self.open_calls))
        owner = self.open_calls.pop(name)
        paid = self.board.ledger.open[name].paid
        usd = self.random.choice([0.004, 0.01, 0.02, 0.05, None])
        verdict = self.random.choices(["ok", "rate_limited", "broken_stream"], [8, 1, 1])[0]
        usage = Usage(1200, 340) if self.random.random() < 0.8 else None
        billed, imputed = (usd, None) if paid else (0.0, usd)
        self.put(cmd.SettleCall(name, verdict, owner, billed, imputed, "table" if usd else "unknown", usage))

    def note_executor(self) -> None:
        if not self.settings.executors:
            return
        state: HealthState = self.random.choice(_STATES)
        until = self.at + 60_000 if state == "paused" else None
        health = ExecutorHealth(state, "" if state == "ready" else "gone", until)
        self.put(cmd.NoteExecutor(self.random.choice(self.settings.executors).name, health))

    def storm(self) -> None:
        """A component fails or answers several times in a row."""
        target = self.random.choice([PROXY, PROXY, *CLOUDS])
        targets = CLOUDS if target != PROXY and self.random.random() < 0.6 else (target,)
        verdict = self.random.choice(["refused", "hung", "no_route", "ok", "ok"])
        for _ in range(self.random.randint(1, 5)):
            self.at += 2_500
            self.mono += 2_500
            for each in targets:
                self.observe(each, verdict)

    def observe(self, target: str, verdict: str) -> None:
        source = "probe" if target == PROXY else "ping"
        key: KeyRole | None = "backup" if target != PROXY and self.random.random() < 0.2 else None
        verdict = "key_rejected" if key and self.random.random() < 0.3 else verdict
        seen = cmd.Observed(target, source, verdict, "seen", key, "", None)
        jumped = symptoms.tick(self.health, self.symptoms, self.at, self.mono)
        edges = jumped or symptoms.observe(self.health, self.symptoms, seen, self.at, self.mono)
        if edges:
            self._note_health(edges)
            self.note_mode()

    def force(self) -> None:
        self._note_health(symptoms.force(self.health, "owner", brainstem=not self.health.forced))
        self.note_mode()

    def decide(self) -> None:
        """A person decides about a held task, cancels one or tries one again."""
        held = [*self.board.at("held"), *self.board.at("stranded"), *self.board.at("capped")]
        if held and self.random.random() < 0.6:
            wish: Decision = self.random.choice(_WISHES)
            return self.put(cmd.ResolveTask("r", self.random.choice(held), wish, "owner"))
        if not self.board.tasks:
            return None
        task_id = self.random.choice(list(self.board.tasks))
        if self.random.random() < 0.5:
            return self.put(cmd.CancelTask("r", task_id, "owner"))
        self.counts["tasks"] += 1
        return self.put(cmd.RetryTask("r", task_id, f"t{self.counts['tasks']:04}", "owner"))

    def note_mode(self) -> None:
        self.put(cmd.NoteMode(self.health.mode, self.health.cause, self.health.reason, cleared=True))

    # --- the kernel, in memory ----------------------------------------------------------------------------------------

    def put(self, message: Any) -> None:
        """Decide one message, and settle until all is quiet."""
        self._apply(dispatch.decide(self.board, cmd.Envelope("m", self.at, self.mono, "test", message)))
        while (step := dispatch.settle(self.board, self.at)).events:
            self._apply(step)

    def _apply(self, outcome: Outcome) -> None:
        for stream, event in outcome.events:
            position = len(self.log) + 1
            boards.evolve(self.board, stream, event, self.at, position)
            self.log.append((position, stream, self.at, event))

    def _note_health(self, events: list[Any]) -> None:
        for event in events:
            self._write_health(event)
        if changed := mode.change(self.health, self.at):
            self._write_health(changed)

    def _write_health(self, event: Any) -> None:
        facts.evolve(self.health, event, self.at)
        self.log.append((len(self.log) + 1, ev.HEALTH_STREAM, self.at, event))

    def _running(self) -> Task | None:
        spots = [
            i for kind in ("running", "suspended") for name in self.board.spots(kind) for i in self.board.at(kind, name)
        ]
        return self.board.tasks[self.random.choice(spots)] if spots else None

    @property
    def _offset(self) -> int:
        return self.settings.budget.utc_offset_ms


_MOVES: list[Callable[[Chronicle], None]] = [
    Chronicle.create,
    Chronicle.report,
    Chronicle.call,
    Chronicle.settle,
    Chronicle.note_executor,
    Chronicle.storm,
    Chronicle.force,
    Chronicle.decide,
    Chronicle.boot,
]
_STATES: tuple[HealthState, ...] = ("ready", "ready", "failed", "paused")
_WISHES: tuple[Decision, ...] = ("retry", "retry", "accept", "fail")
_WEIGHTS = [18, 26, 20, 16, 5, 5, 1, 5, 2]

"""A log that was lived, quickly: the real kernels of the three writers, over a real store, with a clock of our own.

Everything that the rules decide is decided here by them, inputs and all, so `omni verify` decides it again. Around them
is a small world: executors that fail now and then, calls that cost something, a proxy and clouds that go and come, a
day's budget that is used up before midnight.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections import deque
from pathlib import Path
from typing import Any
from zlib import crc32

from omni import __version__
from omni.actors.brainstem import Brainstem
from omni.actors.health_monitor import HealthMonitor
from omni.actors.router import Router
from omni.domain import commands as cmd
from omni.domain.values import (
    PROXY,
    Budget,
    ExecutorHealth,
    ExecutorSpec,
    HealthSettings,
    RepairSettings,
    Result,
    RoutingSettings,
    TaskError,
    TaskSpec,
    Tier,
    Usage,
)
from omni.domain.verdict import Verdict
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.upcasters import log_codec
from omni.runtime.kernel import Kernel
from omni.runtime.ports import SystemIds

CLOUDS = ("anthropic", "openrouter")
WATCHED = HealthSettings(proxy=True, clouds=CLOUDS, primary_keys=CLOUDS, backup_keys=CLOUDS)
EXECUTORS = (
    ExecutorSpec("coder", ("coding",), max_concurrency=200, on_crash="retry"),
    ExecutorSpec("writer", ("general",), max_concurrency=200, on_crash="resume"),
    ExecutorSpec("machine", ("gpu",), max_concurrency=100, on_crash="ask", needs_cloud=False),
    ExecutorSpec("watcher", ("always_on",), max_concurrency=100, on_crash="fail"),
)
TIERS = (Tier("P1", "small", "large"), Tier("P2", "good", "best", paid=True))
ROUTING = RoutingSettings(EXECUTORS, TIERS, budget=Budget(daily_usd=400.0), watched=True)
TASKS_A_ROUND = 64
ROUND_MS = 20_000
OUTAGE_EVERY = 97  # rounds; every third one takes the clouds, too
OUTAGE_ROUNDS = 4
SNAPSHOT_EVENTS = 20_000
TEXTS = (
    "Fix the failing test in parser {0} and open a pull request against branch {1}",
    "Summarise report {0}, list the three largest risks with owners and dates, and draft a reply to customer {1}",
    "Write a function that merges {0} sorted lists, with tests, and explain why it is linear in {1}",
    "Train a small classifier on data set {0} with CUDA and report the loss of epoch {1}",
    "Watch the price of item {0} every hour and tell me when it falls below {1} euro",
    "Translate letter {0} into French and keep its tone; the customer is number {1}",
    "把第 {0} 份合同的要点整理成表格, 并标出第 {1} 条的风险",
    "Plan a trip of {0} days for {1} people, with trains where there are any",
)


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.wall, self.mono = 1_790_000_000_000, 5_000

    def wall_ms(self) -> int:
        return self.wall

    def mono_ms(self) -> int:
        return self.mono

    def run(self, ms: int) -> None:
        self.wall += ms
        self.mono += ms


class Life:
    """The three writers and the world around them."""

    def __init__(self, database: Path) -> None:
        self.clock = Clock()
        self.ids = SystemIds(self.clock)
        self.store = SqliteEventStore.open(database, log_codec(), synchronous="OFF")
        snapshots = Snapshots(database.with_name("snapshots"))
        behaviours = (Brainstem(), HealthMonitor(), Router())
        self.kernels: dict[str, Kernel[Any]] = {
            each.name: Kernel(each, self.store, self.clock, snapshots) for each in behaviours
        }
        self.waiting: dict[str, deque[tuple[str, Any]]] = {name: deque() for name in self.kernels}
        self.timers: list[tuple[int, int, str, str]] = []
        self.begun: list[cmd.StartAttempt] = []
        self._count = itertools.count()

    def close(self) -> None:
        self.kernels["router"].save_snapshot()
        self.store.close()

    def begin(self) -> None:
        """The first messages of a boot."""
        boot = self.store.boot
        up = cmd.DaemonUp(__version__, 1, boot, "bench", {}, repair=RepairSettings("coder"))
        self.tell("brainstem", "daemon", up)
        self.tell("health", "daemon", cmd.StartWatch(boot, WATCHED))
        self.tell("router", "daemon", cmd.Boot(boot, ROUTING))
        for executor in EXECUTORS:
            self.tell("router", "health", cmd.NoteExecutor(executor.name, ExecutorHealth("ready")))
        self.look(Verdict.OK, Verdict.OK)

    def tell(self, to: str, sender: str, message: Any) -> None:
        self.waiting[to].append((sender, message))

    def look(self, proxy: Verdict, cloud: Verdict) -> None:
        """One look at everything."""
        self.tell("health", "probes", cmd.Observed(PROXY, "probe", proxy, "as it is"))
        for name in CLOUDS:
            self.tell("health", "probes", cmd.Observed(name, "ping", cloud, "as it is", "backup"))
        self.pump()

    def pump(self) -> None:
        """Turns, until nobody has anything to say."""
        while any(self.waiting.values()):
            for name, queue in self.waiting.items():
                batch = [queue.popleft() for _ in range(min(256, len(queue)))]
                for send in self.kernels[name].turn(batch) if batch else ():
                    self.carry(name, send.to, send.message)

    def carry(self, sender: str, to: str, message: Any) -> None:
        """One message goes where it is meant to; what is outside answers in its own way."""
        if to in self.waiting:
            self.tell(to, sender, message)
        elif isinstance(message, cmd.WakeAt | cmd.WakeIn):
            at = message.at if isinstance(message, cmd.WakeAt) else self.clock.wall + message.delay_ms
            heapq.heappush(self.timers, (at, next(self._count), message.actor, message.key))
        elif isinstance(message, cmd.StartAttempt):
            self.begun.append(message)
        elif isinstance(message, cmd.CancelAttempt):
            self.tell("router", "pool", cmd.ReportCancelled(message.task_id, message.n))
        elif isinstance(message, cmd.Deliver):
            self.tell("brainstem", "notifier", cmd.Delivered(message.key, ok=True))
        elif isinstance(message, cmd.WakeLocal | cmd.SleepLocal):
            state = "checked" if isinstance(message, cmd.WakeLocal) else "unloaded"
            self.tell("brainstem", "local", cmd.LocalObserved(state))

    def round(self, number: int) -> None:
        """Work comes in, what was begun goes on and ends, timers ring, and now and then something breaks."""
        self.clock.run(ROUND_MS)
        self._ring()
        self._sky(number)
        for each in range(number * TASKS_A_ROUND, (number + 1) * TASKS_A_ROUND):
            self.tell("router", "gateway", self._task(each))
        self.pump()
        self._work()
        self.pump()
        router = self.kernels["router"]
        if router.snapshot_due():
            router.save_snapshot()

    def _ring(self) -> None:
        while self.timers and self.timers[0][0] <= self.clock.wall:
            _, _, actor, key = heapq.heappop(self.timers)
            self.tell(actor, "timers", cmd.TimerFired(key))

    def _sky(self, number: int) -> None:
        outage, at = divmod(number, OUTAGE_EVERY)
        down = outage and at < OUTAGE_ROUNDS
        clouds_too = down and outage % 3 == 0
        if outage and at < 2 * OUTAGE_ROUNDS + 4:
            for _ in range(3):
                self.look(Verdict.REFUSED if down else Verdict.OK, Verdict.NO_ROUTE if clouds_too else Verdict.OK)
                self.clock.run(4_000)

    def _task(self, number: int) -> cmd.CreateTask:
        text = TEXTS[number % len(TEXTS)].format(number % 997, number % 89)
        key = f"key-{number}" if number % 10 == 0 else None
        tier = "P2" if number % 50 == 7 else None
        spec = TaskSpec(text, priority=number % 10, idempotency_key=key, tier=tier)
        return cmd.CreateTask(f"r{number}", self.ids.task_id(), spec, "plain@127.0.0.1")

    def _work(self) -> None:
        begun, self.begun = self.begun, []
        for start in begun:
            chance = crc32(start.key.encode())
            if chance % 3 == 0:
                self._call(start, chance)
            self.tell("router", "pool", cmd.ReportStarted(start.task_id, start.n, 4000 + chance % 999, 77))
            self.tell("router", "pool", self._outcome(start, chance >> 8))

    def _call(self, start: cmd.StartAttempt, chance: int) -> None:
        paid, call = start.route.tier == "P2", f"call-{start.key}"
        where = (call, call, "cloud" if paid else PROXY, start.route.model, start.route.mode, start.task_id, start.n)
        self.tell("router", "port", cmd.ReserveCall(*where, paid=paid, estimate_usd=0.5, tier=start.route.tier))
        usd = (chance % 1000) / 1000
        billed, imputed = (usd, None) if paid else (None, usd)
        usage = Usage(chance % 5000, chance % 700)
        settled = cmd.SettleCall(call, "ok", start.task_id, billed, imputed, "table", usage, duration_ms=900)
        self.tell("router", "port", settled)

    def _outcome(self, start: cmd.StartAttempt, chance: int) -> Any:
        task_id, n = start.task_id, start.n
        match chance % 40:
            case 0:
                return cmd.ReportFailed(task_id, n, TaskError("unavailable", "connection refused"))
            case 1:
                return cmd.ReportFailed(task_id, n, TaskError("failed", "it said no"))
            case 2:
                return cmd.ReportInterrupted(task_id, n, "the connection died", resumable=True)
            case 3:
                return cmd.ReportFailed(task_id, n, TaskError("rate_limited", "come back later"), 30_000)
            case _:
                result = Result(f"Done after {chance % 60} s.", {"files": chance % 9, "branch": start.key[:8]})
                return cmd.ReportSucceeded(task_id, n, result)


def write_lived_log(database: Path, events: int) -> int:
    """Live until the log holds about so many events; how many it holds then."""
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    life = Life(database)
    try:
        life.begin()
        for number in itertools.count():
            if life.store.head.position >= events:
                return int(life.store.head.position)
            life.round(number)
    finally:
        life.close()
    raise AssertionError


if __name__ == "__main__":
    print(write_lived_log(Path(sys.argv[1]), int(sys.argv[2])))

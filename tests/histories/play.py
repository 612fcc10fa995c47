"""Lets a history happen: the simulated world, moved by a script and by time instead of by a drawn order.

Real behaviours, kernels and SQLite log; what stands outside answers after the time that it would take. Nothing in it is
left to chance, so that the same rules write the same log, byte for byte, and every step is judged as in `tests.sim`.

    script ──at──▶ agenda ◀──after── executors, probes, notifier, local model
                     │ earliest of agenda and timers
                     ▼
                 clock moves ──▶ message ──▶ actors come to rest
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.histories.sky import Sky
from tests.sim.world import World, each

from omni.actors.executor_pool import ExecutorPool
from omni.config import Loaded, config_hash, load, redacted
from omni.config.settings import call_paths, health_settings, repair_settings, routing_settings
from omni.domain import commands as cmd
from omni.domain import executor_watch, health, hops
from omni.domain.values import PROXY, NoticeSink, Result, TaskError, TaskSpec, Telling, Usage
from omni.domain.verdict import MEANING, Verdict
from omni.replay.verify import judge

OWNER = timezone(timedelta(hours=8))  # a day begins at 16:00 UTC: every figure by day has to know
OFFSET_MS = 8 * 3_600_000
HOUSE = Path(__file__).with_name("house.yaml")
VERSION, PID = "0.1.0", 4_200  # the logs stay as they are when ours goes up
SECRETS = (
    "LITE_LLM_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "ANTHROPIC_BACKUP_KEY", "OPENROUTER_BACKUP_KEY",
    "OPENCLAW_GATEWAY_TOKEN", "MOLTBOT_GATEWAY_TOKEN",
)  # fmt: skip
SINKS = (
    NoticeSink("log"),
    NoticeSink("messenger", people=True, addressed=True, executor="openclaw"),
)
CONNECT_MS = {"hands": 300, "claude_code": 900, "openclaw": 1_400, "moltworker": 2_600}
START_MS = {"hands": 40, "claude_code": 700, "openclaw": 350, "moltworker": 900}
TELL_MS = {"log": 1, "messenger": 600}
STOP_MS, PAUSE_MS, ASK_MS = 120, 150, 200


def at(text: str) -> int:
    """Wall-clock milliseconds of an owner's local time, as in "2026-10-05 08:00:00.250"."""
    return round(datetime.fromisoformat(text).replace(tzinfo=OWNER).timestamp() * 1000)


def house(**changes: Any) -> Loaded:
    """The configuration of all histories, with changes by dotted keys."""
    environ = {"HOME": "/home/owner", **{name: f"a-secret-of-nobody-{name.lower()}" for name in SECRETS}}
    return load(HOUSE, environ=environ, overrides={key.replace("__", "."): value for key, value in changes.items()})


class Ask(NamedTuple):
    """One model call of an attempt, `after_ms` its start: what it costs where it is answered, None if nobody knows.

    On paid ways it is billed, on free ones imputed; a free model that is only to be had directly costs `direct` there.
    A call that `breaks` is cut off in the middle of its answer.
    """

    after_ms: int
    model: str = "light"
    took_ms: int = 2_000
    usd: float | None = 0.001
    tokens: tuple[int, int] = (1_200, 300)
    estimate: float = 0.05
    direct: float = 0.0081
    breaks: bool = False


class Part(NamedTuple):
    """What an executor does in one attempt. `ends`: succeed, fail, refuse (it never begins), or hang for ever.

    `after_crash`: what a new daemon hears of it: gone, resumable, fetched.
    """

    took_ms: int
    asks: tuple[Ask, ...] = ()
    text: str = "done"
    ends: str = "succeed"
    cost_usd: float | None = None
    after_crash: str = "gone"


class Live:
    """One attempt under way, as its executor sees it."""

    def __init__(self, start: cmd.StartAttempt, part: Part) -> None:
        self.start = start
        self.part = part
        self.over = False
        self.began = False


class Play(World):
    """One history. `parts` holds, by task, what its attempts do in turn; the last one is done again if need be."""

    def __init__(self, directory: Path, begins: str, loaded: Loaded) -> None:
        self.loaded = loaded
        self.paths = call_paths(loaded.config)
        self.begins = at(begins)
        self.agenda: list[tuple[int, int, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.parts: dict[str, list[Part]] = {}
        self.live: dict[tuple[str, int], Live] = {}
        self.answers: dict[str, Callable[[cmd.CallAnswered], None]] = {}
        self.calls_made = 0
        self.leaping = True  # over probes that would all say the same
        self.repairs: list[Part] = []
        self.weather: Sky = Sky()
        super().__init__(
            directory,
            routing_settings(loaded.config, OFFSET_MS),
            watched=True,
            telling=Telling(SINKS),
        )

    # --- script ---------------------------------------------------------------------------------------------------

    def on(self, text: str, act: Callable[..., Any], *arguments: Any, **more: Any) -> None:
        """Let something happen at an owner's local time, whatever happens to the daemon until then."""
        self._put(at(text) - self.clock.wall, lambda: act(*arguments, **more), life=-1)

    def after(self, ms: int, act: Callable[[], None]) -> None:
        """Let something happen later, unless the daemon has died by then."""
        self._put(ms, act, life=self.lives)

    def until(self, text: str) -> None:
        """Let time go on to an owner's local time."""
        end = at(text)
        self.settle()
        while (due := self._next()) <= end:
            self.clock.run(max(0, due - self.clock.wall))
            self._happen()
            self.settle()
        self.clock.run(end - self.clock.wall)

    def hand_in(self, description: str, *parts: Part, client: str = "cli", **spec: Any) -> str:
        """A client hands in a task whose attempts go as the parts say; its id."""
        task_id = self.new_name("t")
        self.client.seen.append(task_id)
        self.parts[task_id] = list(parts)
        self.ask(cmd.Submit(self.new_name("r"), task_id, TaskSpec(description, **spec), client))
        return task_id

    def die(self) -> None:
        """The daemon is killed, and its service manager starts it again two seconds later."""
        self.live.clear()
        self.answers.clear()
        self.clock.run(2_000)
        self.crash(survivors=0b11111111)

    def stop(self, reason: str, for_ms: int) -> None:
        """The daemon is stopped in good order, and started again later; nothing may be running."""
        self._try(self.post.send, "brainstem", "daemon", (cmd.DaemonDown(reason),))
        self.settle()
        self.clock.run(for_ms)
        self.crash()

    def end(self) -> None:
        """What must hold of the log when the history is over."""
        self.check_log()
        report = judge(self.store._real, self.store.head)
        assert report.ok, report.findings

    # --- time -----------------------------------------------------------------------------------------------------

    def _put(self, ms: int, act: Callable[[], None], life: int) -> None:
        heapq.heappush(self.agenda, (self.clock.wall + ms, next(self.order), life, act))

    def _next(self) -> int:
        timers = (t for t in self.timers if not (self.leaping and self._looks(t)))
        due = [self.clock.wall + self._wait_ms(timer) for timer in timers]
        return min([*due, self.agenda[0][0] if self.agenda else 1 << 60])

    @staticmethod
    def _looks(timer: tuple[str, str]) -> bool:
        return timer[0] == "health" and not timer[1].startswith(executor_watch.PAUSE_TIMER)

    def _happen(self) -> None:
        while self.agenda and self.agenda[0][0] <= self.clock.wall:
            _, _, life, act = heapq.heappop(self.agenda)
            if life in (-1, self.lives):
                act()
                self.settle()
        self.fire()

    # --- the daemon -----------------------------------------------------------------------------------------------

    def new_name(self, prefix: str) -> str:
        """Task ids in the shape of a UUIDv7, from the clock and a count."""
        if prefix != "t":
            return super().new_name(prefix)
        self._count += 1
        stamp = f"{self.clock.wall:012x}"
        return f"{stamp[:8]}-{stamp[8:]}-7{self._count:03x}-8000-{self._count:012x}"

    def _behaviours(self) -> list[Any]:
        return [ExecutorPool({}) if each.name == "pool" else each for each in super()._behaviours()]

    def _boot(self) -> None:
        """As ever, but that the names of boots and processes are always the same."""
        with pytest.MonkeyPatch.context() as chance:
            chance.setattr("secrets.token_hex", lambda _bytes: f"{self.lives + 1:08x}")
            chance.setattr("os.getpid", lambda: PID + self.lives)
            super()._boot()

    def _register(self) -> None:
        if self.lives == 0:
            self.clock.wall = self.begins
        super()._register()
        for name in ("hands", "probes", "local", "notifier", "port"):
            self.post.register(name, partial(each, getattr(self, f"_{name}")))

    def _announce(self) -> None:
        config, boot = self.loaded.config, self.store.boot
        up = cmd.DaemonUp(
            VERSION, PID + self.lives, boot, config_hash(config), redacted(config), 0,
            repair_settings(config), self.telling,
        )  # fmt: skip
        self.post.send("brainstem", "daemon", (up,))
        self.post.send("health", "daemon", (cmd.StartWatch(boot, health_settings(config)),))
        for name in ("gateway", "router", "pool"):
            self.post.send(name, "daemon", (cmd.Boot(boot, self.settings),))
        for executor in self.settings.executors:
            tools = ("run_task",)
            seen = cmd.ExecutorObserved(executor.name, ok=True, detail="connected", tools=tools)
            self.after(CONNECT_MS[executor.name], lambda seen=seen: self.report(seen))  # type: ignore[misc]

    # --- above: probes, the local model, the user -----------------------------------------------------------------

    def _probes(self, probe: cmd.Probe) -> None:
        verdict, detail, took_ms = self.weather.look(probe.target, probe.timeout_ms)
        source = "probe" if probe.target == PROXY else "ping"
        seen = cmd.Observed(probe.target, source, verdict, detail)
        self.after(took_ms, lambda: self._from_above("health", "probes", seen))

    def _local(self, wish: cmd.WakeLocal | cmd.SleepLocal) -> None:
        wakes = isinstance(wish, cmd.WakeLocal)
        seen = cmd.LocalObserved(*(("checked", "qwen2.5:7b answered") if wakes else ("unloaded", "")))
        self.after(6_800 if wakes else 400, lambda: self._from_above("brainstem", "local", seen))

    def _notifier(self, notice: cmd.Deliver) -> None:
        reached = notice.sink == "log" or self.weather.network
        told = cmd.Delivered(notice.key, reached, "" if reached else "telegram cannot be reached", notice.sink)
        self.after(TELL_MS[notice.sink], lambda: self._from_above("brainstem", "notifier", told))

    # --- model calls ----------------------------------------------------------------------------------------------

    def _port(self, message: Any) -> None:
        if isinstance(message, cmd.CallAnswered):
            self.answers.pop(message.request)(message)

    def call(self, ask: Ask, live: Live | None = None, client: str = "") -> None:
        """A model is asked, over as many hops as it takes."""
        self.calls_made += 1
        self._hop(ask, live, client, f"c{self.calls_made:04}", 1, lost=False)

    def _hop(self, ask: Ask, live: Live | None, client: str, name: str, leg: int, *, lost: bool) -> None:
        known = self.kernels["health"].state
        told = health.report(known.health, cleared=known.cleared)  # what HealthMonitor tells the port
        direct = live is not None and live.start.task_id not in self.parts  # the repair mends the proxy itself
        wanted = hops.Asked("messages", ask.model, direct=direct)
        plan = hops.plan(wanted, self.paths, told, self.clock.wall, proxy_lost=lost)
        if (live and live.over) or not plan.hops:
            return
        hop = plan.hops[0]
        call = f"{name}/{leg}"
        self.answers[call] = lambda answer: self._granted(answer, ask, live, client, name, leg, hop)
        task_id, n = (live.start.task_id, live.start.n) if live else ("", 0)
        estimate = ask.estimate if hop.paid else None
        asked = cmd.ReserveCall(
            call, call, hop.channel, hop.model, told.mode.mode, task_id, n, client, hop.paid, estimate, hop.tier
        )
        self._from_above("router", "port", asked)

    def _granted(
        self, answer: cmd.CallAnswered, ask: Ask, live: Live | None, client: str, name: str, leg: int, hop: hops.Hop
    ) -> None:
        if answer.refusal is not None:
            return
        verdict, detail, took_ms = self.weather.call(hop.channel)
        fails = verdict is not Verdict.OK
        task_id = live.start.task_id if live else ""
        call = f"{name}/{leg}"
        if not fails:
            verdict = Verdict.BROKEN_STREAM if ask.breaks else Verdict.OK
            settled = _settled(call, task_id, ask, hop, verdict)
            self.after(ask.took_ms, lambda: self._over(settled, hop, verdict))
            return
        settled = cmd.SettleCall(call, verdict, task_id, detail=detail, duration_ms=took_ms)

        def go_on() -> None:
            self._over(settled, hop, verdict)
            gone = hop.channel == PROXY and MEANING[verdict].alive is False
            if gone:
                self.after(1, lambda: self._hop(ask, live, client, name, leg + 1, lost=True))
            else:  # the caller's own patience: it asks again when it has waited a little
                self.after(20_000, lambda: self.call(ask, live, client))

        self.after(took_ms, go_on)

    def _over(self, settled: cmd.SettleCall, hop: hops.Hop, verdict: Verdict) -> None:
        self._from_above("router", "port", settled)
        alive = cmd.Observed(hop.channel, "call", verdict, settled.detail, hop.key, hop.model)
        self._from_above("health", "port", alive)

    # --- executors ------------------------------------------------------------------------------------------------

    def _hands(self, message: Any) -> None:
        match message:
            case cmd.StartAttempt():
                self._begin(message)
            case cmd.CancelAttempt(task_id, n):
                stopped = cmd.ReportCancelled(task_id, n)
                self.after(STOP_MS, lambda: self._finish((task_id, n), stopped))
            case cmd.PauseAttempt(task_id, n, "claude_code"):  # the others cannot pause, and go on
                paused = cmd.ReportInterrupted(task_id, n, "paused on request", resumable=True)
                self.after(PAUSE_MS, lambda: self._finish((task_id, n), paused))
            case cmd.ReconcileAttempt():
                self._reconcile(message)

    def _begin(self, start: cmd.StartAttempt) -> None:
        parts = self.parts.get(start.task_id, self.repairs)  # what nobody handed in, Brainstem has
        live = Live(start, parts.pop(0) if len(parts) > 1 else parts[0])
        key = start.task_id, start.n
        self.live[key] = live
        if live.part.ends == "refuse":
            refused = cmd.ReportFailed(*key, TaskError("unavailable", "connection refused"))
            self.after(30, lambda: self._finish(key, refused))
            return
        self.after(START_MS[start.route.executor], lambda: self._run(live))

    def _run(self, live: Live) -> None:
        start, part = live.start, live.part
        if live.over:
            return
        key = start.task_id, start.n
        live.began = True
        self.ledger.begin(start)
        pid = 5_000 + len(self.ledger.work) if start.route.executor in {"claude_code", "hands"} else None
        session = "" if start.route.executor == "hands" else start.handle
        self.report(cmd.ReportStarted(*key, pid, self.clock.wall - 40 if pid else None, session))
        for ask in part.asks:
            self.after(ask.after_ms, lambda ask=ask: self.call(ask, live))  # type: ignore[misc]
        if part.ends != "hang":
            self.after(part.took_ms, lambda: self._finish(key, _outcome(live)))

    def _finish(self, key: tuple[str, int], report: Any) -> None:
        live = self.live.get(key)
        if live is None or live.over:
            return
        live.over = True
        if key in self.ledger.work:
            self.ledger.work[key].state = "finished" if isinstance(report, cmd.ReportSucceeded) else "dead"
        self.report(report)

    def _reconcile(self, asked: cmd.ReconcileAttempt) -> None:
        key = asked.task_id, asked.n
        part = self.parts[asked.task_id][0] if key in self.ledger.work else Part(0)
        told: dict[str, Any] = {
            "gone": cmd.ReportInterrupted(*key, "the daemon ended while it ran; its process is gone"),
            "resumable": cmd.ReportInterrupted(*key, "the daemon ended while it ran", resumable=True),
            "fetched": cmd.ReportSucceeded(*key, Result(part.text), asked.session),
        }
        answer = told[part.after_crash]
        self.after(CONNECT_MS[asked.executor] + ASK_MS, lambda: self.report(answer))


def _settled(call: str, task_id: str, ask: Ask, hop: hops.Hop, verdict: Verdict) -> cmd.SettleCall:
    if verdict is not Verdict.OK:
        return cmd.SettleCall(call, verdict, task_id, duration_ms=ask.took_ms, detail="the stream broke off")
    source = "unknown" if ask.usd is None else "provider" if hop.channel == PROXY else "table"
    usd = ask.direct if hop.paid and ask.model == "light" else ask.usd
    billed, imputed = (usd, None) if hop.paid else (None, usd)
    return cmd.SettleCall(
        call, verdict, task_id, billed, imputed, source, Usage(*ask.tokens), hop.model,  # type: ignore[arg-type]
        ask.took_ms // 4, ask.took_ms,
    )  # fmt: skip


def _outcome(live: Live) -> Any:
    key, part = (live.start.task_id, live.start.n), live.part
    if part.ends == "fail":
        return cmd.ReportFailed(*key, TaskError("failed", part.text))
    return cmd.ReportSucceeded(*key, Result(part.text), live.start.handle, cost_usd=part.cost_usd)

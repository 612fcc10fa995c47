"""The composition root: what the daemon is made of, started in order of dependency and stopped in reverse.

    log → actors (brainstem, health, router, pool, gateway) → loop adapters (timers, hands, door) → port → executors

The asyncio loop runs on the main thread, where signals arrive. Actors have threads of their own.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from omni import __version__, logs
from omni.actors.brainstem import Brainstem
from omni.actors.executor_pool import ExecutorPool
from omni.actors.gateway import Gateway
from omni.actors.health_monitor import HealthMonitor
from omni.actors.router import Router
from omni.config import Config, Loaded, config_hash, log_path, redacted
from omni.config.settings import call_paths, health_settings, own_url, repair_settings, routing_settings
from omni.domain import commands as cmd
from omni.domain import intent
from omni.domain.board import Fact
from omni.domain.errors import OmniError
from omni.domain.template import compile_template
from omni.domain.values import Millis, StartGuard
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.upcasters import log_codec
from omni.executors.hands import Hands
from omni.llm.faults import Faults
from omni.llm.keys import ModelKeys
from omni.notify.notifier import Notifier
from omni.notify.plan import make_sinks, telling
from omni.redact import Redactor
from omni.reloading import NAME as RELOAD
from omni.reloading import Adoption, Parts, Reloader, dry_runs
from omni.runtime.archive import LogArchive
from omni.runtime.kernel import Behaviour, Kernel
from omni.runtime.loop import Latecomer, LoopMailbox, Timers
from omni.runtime.ports import Clock, Ids, SystemClock, SystemIds, utc_offset_ms
from omni.runtime.post import Post
from omni.runtime.process import has_terminal, ignores_hang_ups, settle_in, take_hang_ups
from omni.runtime.supervisor import Supervisor
from omni.server.desk import Desk
from omni.server.door import make_door
from omni.server.labels import Names
from omni.server.limits import PerMinute
from omni.server.metrics import Metrics
from omni.server.model_port import LateModels
from omni.server.readings import Sources
from omni.server.tally import Tally
from omni.server.tokens import TokenFile
from omni.telemetry.context import Parents
from omni.telemetry.switch import traces
from omni.web.dashboard import Dashboard

if TYPE_CHECKING:
    from omni.llm.models import Models
    from omni.telemetry.traces import Traces

log = structlog.get_logger()

MODEL_ADAPTERS = ("probes", "local", "port")
LAST_ANSWERS_S = 0.5
EXIT_FAILED = 1  # the service manager starts us again, and the log brings everything back


class Daemon:
    """Everything that runs. `start` returns when the port answers; executors connect in the background."""

    def __init__(
        self,
        loaded: Loaded,
        data_dir: Path,
        journal: logs.Journal,
        *,
        accept_loss: bool = False,
        redactor: Redactor | None = None,
    ) -> None:
        self.config = loaded.config  # in force: a reload puts another one here
        self._redactor = redactor or Redactor(loaded.secrets)
        self.data_dir = data_dir
        self.clock: Clock = SystemClock()
        self.ids: Ids = SystemIds(self.clock)
        self.post = Post()
        self.failed = asyncio.Event()
        self.failure = ""
        self._announced = False
        self._winding_down = False
        self.store = SqliteEventStore.open(
            log_path(data_dir), log_codec(), accept_loss=accept_loss, trust_file_system=self.config.trust_file_system
        )
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._supervisor = Supervisor(self.post, self.clock, self._give_up)
        self._timers = Timers(self._loop, self.clock, self.post)
        self.hands = Hands(
            list(self.config.executors.values()),
            post=self.post,
            clock=self.clock,
            data_dir=data_dir,
            model_access=self._model_access,
            runbook=self.config.runbook_commands,
            redactor=self._redactor,
            models_reachable=self.config.models.reachable,
            memory=self.config.memory,
        )
        sinks = make_sinks(self.config, self.hands.use_tool, self.clock)
        self._telling = telling(self.config.notify, sinks, utc_offset_ms())
        self.notifier = Notifier(
            self.config.notify,
            self.post,
            language=self.config.language,
            redactor=self._redactor,
            sinks=sinks,
        )
        self.models: Models | None = None
        self._latecomers = {name: Latecomer() for name in MODEL_ADAPTERS}
        self._keys = ModelKeys.of(data_dir)
        self._late_port = LateModels()
        self.faults = Faults(call_paths(self.config), self.clock, self.post)
        self.desk = Desk(self.post, self.ids, self.clock, LogArchive(self.store), self.faults)
        self.metrics = self._metrics()
        self._traces: Traces | None = None
        self._sites: list[Dashboard] = []
        self.door = make_door(
            self.config, self.desk, data_dir, models=self._late_port, make_site=self._dashboard, metrics=self.metrics
        )

        self._adoption = Adoption(self._parts())
        self.reloader = self.desk.reloads = Reloader(loaded, self._adoption, self.clock)

    async def start(self) -> None:
        """Bring up actors, adapters and the port, in order of dependency."""
        self._register_adapters()
        for kernel in self._kernels():
            self._supervisor.start(kernel)
        self.metrics.tally.begin(self._supervisor.state("router"))
        await self._trace()
        self._announce_boot()
        self._announced = True
        await self.door.start()
        for note in self.store.notes:
            log.warning("log.noticed", note=note)
        gc.collect()
        gc.freeze()  # what is here now stays for good: no collection needs to look at it again
        log.info("daemon.started", version=__version__, port=self.door.port, position=self.store.head.position)
        await asyncio.to_thread(intent.classify, "")  # builds its patterns before the first task needs them
        await self._load_models()
        await self.hands.start()
        self.reloader.started()

    def wind_down(self, reason: str) -> None:
        """Begin nothing new: the daemon ends in good order, so that this start is no part of a crash loop."""
        if self._announced and not self._winding_down:
            self._winding_down = True
            self.post.send("router", "daemon", (cmd.DaemonDown(reason),))

    async def drain(self, reason: str, hurry: asyncio.Event) -> None:
        """Begin nothing new, and let what runs end by itself for a bounded time, or until somebody is in a hurry."""
        self.wind_down(reason)
        waits = [self._loop.create_task(each) for each in (self.hands.drained(), hurry.wait(), self.failed.wait())]
        await asyncio.wait(waits, timeout=self.config.limits.drain_s, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        await self.desk.calm(LAST_ANSWERS_S)  # what has just ended is on its way to whoever waits for it

    async def stop(self, reason: str) -> None:
        """Take no more requests, end executors and actors, and leave a snapshot and a word in the log."""
        if self.models:
            await self.models.port.stop()  # while its callers can still hear why their calls end
        await self.door.stop()
        await self.notifier.stop()  # before the hands that its messages go through
        await self.hands.stop()
        if self.models:
            await self.models.stop()
        self._timers.stop()
        if self._announced:  # else a start that failed half-way, whose own error counts: some actors are not there
            self.post.send("brainstem", "daemon", (cmd.DaemonDown(reason),))
        try:
            await asyncio.to_thread(self._supervisor.stop)
            if self._traces:
                await asyncio.to_thread(self._traces.stop)
        finally:
            self.store.close()
        log.info("daemon.stopped", reason=reason)

    async def _load_models(self) -> None:
        """Bring in what speaks HTTP to models; importing it takes longer than all that the port needs."""
        module = await asyncio.to_thread(importlib.import_module, "omni.llm.models")
        self.models = module.Models(self.config, self._keys, self.post, self.clock, self.ids, self.faults)
        for name, receive in self.models.adapters.items():
            self._latecomers[name].arrive(receive)
        self._late_port.arrive(self.models.port)
        self.models.warm()

    def _dashboard(self, tokens: TokenFile | None, failed: PerMinute) -> Dashboard:
        self._sites.append(Dashboard(self.desk, self.config, self.store, self.data_dir, tokens, failed))
        return self._sites[-1]

    def _parts(self) -> Parts:
        """What goes by the configuration while the daemon runs."""
        return Parts(
            self.post,
            self.store.boot,
            self.clock,
            self.data_dir,
            self.hands,
            self.notifier,
            self.faults,
            self._journal,
            self._redactor,
            lambda: self.models,
            (self._go_by, self.door.go_by, *(site.go_by for site in self._sites)),
        )

    def _go_by(self, config: Config) -> None:
        self.config = config
        self.metrics.tally.know(Names.of(config))

    def _metrics(self) -> Metrics:
        tally = Tally(Names.of(self.config), self.store.head.position, self._facts)
        self.store.observe(tally.take)
        sources = Sources(
            database=log_path(self.data_dir),
            depths=self._supervisor.depths,
            restarts=lambda: self._supervisor.restarts,
            notices=self._undelivered,
            now=self.clock.wall_ms,
        )
        return Metrics(self.desk, tally, sources)

    async def _trace(self) -> None:
        """Make traces, where the environment names a collector."""
        parents = Parents()
        self._traces = await asyncio.to_thread(traces, os.environ, parents, self._tool_of)
        if self._traces:
            self._traces.start(self._supervisor.state("router"))
            self.store.observe(self._traces.take)
            self.desk.adopt, self.hands.meta = parents.adopt, parents.meta

    def _tool_of(self, executor: str) -> str:
        found = self.config.executors.get(executor)
        return (found.tool or found.adapter or "") if found else ""

    def _facts(self, after: int, until: int) -> Iterator[Fact]:
        return self.store.facts(after, (), until=until)

    def _undelivered(self) -> tuple[int, Millis]:
        owed = self._supervisor.state("brainstem").outbox
        return len(owed), next((notice.at for notice in list(owed.values())), 0)

    def _model_access(self, task_id: str, n: int, direct: bool) -> tuple[str, str]:  # noqa: FBT001 - a callback's place
        """Where an attempt finds its models, and with which key; the port is bound before the hands start."""
        return own_url(self.config.host, self.door.port), self._keys.attempt_key(task_id, n, direct=direct)

    def _register_adapters(self) -> None:
        adapters: dict[str, Callable[[Any], None]] = {
            "timers": self._timers.receive,
            "hands": self.hands.receive,
            "door": self.desk.receive,
            "notifier": self.notifier.receive,
            RELOAD: self._adoption.receive,
            **{name: each.receive for name, each in self._latecomers.items()},
        }
        for name, receive in adapters.items():
            self.post.register(name, LoopMailbox(self._loop, receive).deliver)
        self.post.register("journal", self._journal.deliver)

    def _kernels(self) -> list[Kernel[Any]]:
        snapshots = Snapshots(self.data_dir / "snapshots")
        behaviours: list[Behaviour[Any]] = [
            Brainstem(),
            HealthMonitor(),
            Router(),
            ExecutorPool({name: compile_template(each) for name, each in dry_runs(self.config).items()}),
            Gateway(self.config.limits.open_tasks),
        ]
        return [Kernel(b, self.store, self.clock, snapshots) for b in behaviours]

    def _announce_boot(self) -> None:
        guard = StartGuard(self.config.limits.crash_loop_starts)
        boot = cmd.Boot(self.store.boot, routing_settings(self.config, utc_offset_ms()), guard)
        watch = cmd.StartWatch(self.store.boot, health_settings(self.config))
        up = cmd.DaemonUp(
            __version__,
            os.getpid(),
            self.store.boot,
            config_hash(self.config),
            redacted(self.config),
            self.store.accepted_loss,
            repair_settings(self.config),
            self._telling,
        )
        self.post.send("brainstem", "daemon", (up,))
        self.post.send("health", "daemon", (watch,))
        for name in ("gateway", "router", "pool"):
            self.post.send(name, "daemon", (boot,))

    def _give_up(self, reason: str) -> None:
        """Called in an actor's thread: the process can no longer do its work."""
        self.failure = reason
        self._loop.call_soon_threadsafe(self.failed.set)


def run(
    loaded: Loaded, data_dir: Path, *, accept_loss: bool = False, on_ready: Callable[[Daemon], None] | None = None
) -> int:
    """Serve until a signal or a failure; the process's exit code. `on_ready` is called once the port answers."""
    console = sys.stderr.isatty()
    settle_in()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = logs.RotatingFile(data_dir / "logs" / "omni.log")
    redactor = Redactor(loaded.secrets)
    journal = logs.configure(file, loaded.config.log_level, redactor, console=console)
    return asyncio.run(_serve(loaded, data_dir, journal, redactor, on_ready, accept_loss=accept_loss))


async def _serve(
    loaded: Loaded,
    data_dir: Path,
    journal: logs.Journal,
    redactor: Redactor,
    on_ready: Callable[[Daemon], None] | None,
    *,
    accept_loss: bool,
) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()
    reasons: list[str] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set() or number == signal.SIGINT:  # who sits there, or asks twice, does not want to wait
            hurry.set()
        reasons.append(number.name)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    sat_at_one = has_terminal() and not ignores_hang_ups()

    def on_hang_up() -> None:
        if sat_at_one and not has_terminal():  # what the signal was made for: whoever sat there has left
            on_signal(signal.SIGHUP)
        else:
            daemon.reloader.reload_soon()

    loop.add_signal_handler(signal.SIGHUP, on_hang_up)
    take_hang_ups()
    daemon = Daemon(loaded, data_dir, journal, accept_loss=accept_loss, redactor=redactor)
    try:
        await daemon.start()
        if on_ready:
            on_ready(daemon)
        await asyncio.wait(
            [loop.create_task(stop.wait()), loop.create_task(daemon.failed.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        if reasons:
            await daemon.drain(", ".join(reasons), hurry)
    except OmniError as error:
        daemon.wind_down(error.message)
        raise
    finally:
        await daemon.stop(daemon.failure or ", ".join(reasons) or "error")
    return EXIT_FAILED if daemon.failure else 0

"""The hands: they take attempts from the pool, hand them to executors over MCP, and report what became of them.

All of it runs on the asyncio loop. One task keeps each executor's connection, one task carries each attempt. Nothing
here is durable and nothing decides: a report is a statement of what was seen, and the Router decides what follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import structlog

from omni.config import ExecutorConfig, RunbookCommand
from omni.domain import commands as cmd
from omni.domain.errors import ConfigError, ExecutorUnavailable
from omni.domain.template import values_for
from omni.executors.bundled import RESUMING_ADAPTERS
from omni.executors.contract import Answer, Report, brief, failure
from omni.executors.hits import NO_NOTES
from omni.executors.recall import Recall
from omni.executors.roster import Entry, Line, Roster, Staff, completed_entries
from omni.redact import Redactor
from omni.runtime.ports import Clock
from omni.runtime.post import Post

if TYPE_CHECKING:
    from omni.executors.call import Order
    from omni.executors.connection import Session

log = structlog.get_logger()

NAME = "hands"
POOL = "pool"
CONNECT_S = 10.0  # how long an attempt waits for an executor that is not connected
ASK_PATIENCE = 6  # times that, before a question about an interrupted attempt is given up: nobody asks it again
STOP_S = 5.0
PROGRESS_EVERY_S = 0.1  # callers want to see that it moves, not every step

_Key = tuple[str, int]
Meta: TypeAlias = Callable[[str, int], dict[str, str]]
ModelAccess: TypeAlias = Callable[[str, int, bool], tuple[str, str]]


@dataclass(eq=False)
class _Running:
    """An attempt in these hands. `session` is there from the moment that its executor is connected.

    `line` is that of its executor when it began, whatever the configuration says by now. `notes` is how many texts of
    the memory go along.
    """

    task: asyncio.Task[None]
    line: Line | None
    key: str
    handle: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    session: Session | None = None
    notes: int = 0


def no_models(task_id: str, n: int, direct: bool) -> tuple[str, str]:  # noqa: FBT001 - a callback's place
    """The model access of hands whose executors get none: neither address nor key."""
    return "", ""


class Hands:
    """Adapter between the post and MCP servers; `receive` belongs behind a LoopMailbox named "hands".

    `model_access` gives the base URL and the key for the model calls of one attempt (task id, n, whether they must not
    go through the proxy). It is asked when the attempt is called; the key goes into the arguments and nowhere else.
    """

    def __init__(
        self,
        executors: Sequence[ExecutorConfig],
        *,
        post: Post,
        clock: Clock,
        data_dir: Path,
        model_access: ModelAccess = no_models,
        owner_id: str = "",
        runbook: Mapping[str, RunbookCommand] | None = None,
        connect_s: float = CONNECT_S,
        redactor: Redactor | None = None,
        memory: ExecutorConfig | None = None,
        models_reachable: bool = False,
    ) -> None:
        entries = completed_entries(executors, runbook or {}, data_dir, models_reachable=models_reachable)
        self._roster = Roster(entries, self._observe)
        self._expected: tuple[Staff, asyncio.Event] | None = None
        self._post = post
        self._data_dir = data_dir
        self._model_access = model_access
        self._connect_s = connect_s
        self._redactor = redactor or Redactor()
        self._owner = owner_id or owner_of(data_dir)
        self._recall = Recall(memory, clock, self._redactor)
        self.meta: Meta | None = None  # what goes along with the call of an attempt, where traces are wanted
        self._attempts: dict[_Key, _Running] = {}
        self._pauses: set[asyncio.Task[None]] = set()
        self._loaded = asyncio.Event()
        self._last_orders = asyncio.Event()  # the Router plans nothing more: all it planned has come here
        self._stopping = False
        self._starter: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect, in the background: the daemon is ready before its executors are."""
        self._starter = asyncio.create_task(self._load())

    def receive(self, message: Any) -> None:
        """Take one message from the pool. Runs on the loop and returns at once."""
        match message:
            case cmd.StartAttempt():
                self._carry(message, message.route.executor, self._attempt(message))
            case cmd.StaffChanged():
                self._change_staff()
            case cmd.DaemonDown():
                self._last_orders.set()
            case cmd.ReconcileAttempt():
                self._carry(message, message.executor, self._reconcile(message))
            case cmd.CancelAttempt():
                self._cancel(message)
            case cmd.PauseAttempt():
                self._pause(message)

    def anew(self, staff: Staff) -> tuple[str, ...]:
        """The executors among these that would be connected anew."""
        return self._roster.anew(staff.entries)

    def expect(self, staff: Staff) -> asyncio.Event:
        """Change to these when the pool says so; set once that is done."""
        done = asyncio.Event()
        self._expected = (staff, done)
        return done

    async def use_tool(self, executor: str, tool: str, arguments: Mapping[str, Any], within_s: float) -> Answer:
        """Call a tool of an executor that is not the one for tasks.

        Raises ExecutorUnavailable when it is not connected or has no such tool, TimeoutError, or what the call raises.
        """
        async with asyncio.timeout(within_s):
            line = self._roster.find(executor)
            session = await self._connected(line, executor, within_s / 2)  # with all of it, nobody would hear why
            if session.broken:
                raise ExecutorUnavailable(f"the connection to {executor} has just been lost", hint="omni status")
            if tool not in session.tools:
                raise ExecutorUnavailable(f"{executor} has no tool {tool!r}", hint="omni status")
            from omni.executors.call import read_answer  # not before: another thread loads what it needs at the start
            from omni.executors.call_log import calling

            with calling(executor, tool) as call:
                return read_answer(call.gives(await session.client.call_tool(tool, dict(arguments))))

    async def drained(self) -> None:
        """Return once no attempt is open here, and all that was planned before a stop has come here.

        A Router that cannot write the stop down plans nothing either: it is not waited for much longer.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._last_orders.wait(), STOP_S)
        while self._attempts:
            await asyncio.wait({each.task for each in self._attempts.values()})

    async def stop(self) -> None:
        """End sessions and children. Open attempts get no report: the next daemon asks what became of them."""
        self._stopping = True
        keepers = self._roster.stop() | self._recall.stop()
        tasks = {each.task for each in self._attempts.values()} | self._pauses
        tasks |= {self._starter} if self._starter else set()
        for task in tasks:
            task.cancel()
        waited = tasks | keepers
        if waited:
            _, late = await asyncio.wait(waited, timeout=STOP_S)
            for task in late:
                task.cancel()
        self._attempts.clear()

    # --- connections

    async def _load(self) -> None:
        """Sweep what an earlier daemon left, import the SDK, connect. The slow parts run off the loop."""
        try:
            await self._connect_all()
        except Exception as error:  # without this nobody would hear why no executor ever comes
            log.exception("executors.failed")
            for name in self._roster.names:
                self._say(cmd.ExecutorObserved(name, ok=False, detail=f"Omni could not start its hands: {error!r}"))

    async def _connect_all(self) -> None:
        from omni.executors.children import sweep

        swept = await asyncio.to_thread(sweep, self._data_dir, self._owner)
        if swept:
            log.warning("children.swept", processes=swept)
        wiring = await asyncio.to_thread(_import_wiring)
        plug = wiring.Plug(self._data_dir, self._owner, self._redactor)
        self._roster.connect(plug.connection)
        self._recall.begin(plug)
        self._loaded.set()

    def _change_staff(self) -> None:
        """What was planned by the old configuration is with us by now: from here on there are other executors."""
        if self._expected is None or self._stopping:
            return
        (staff, done), self._expected = self._expected, None
        self._roster.change(staff.entries)
        self._recall.change(staff.memory)
        done.set()

    def _observe(self, seen: cmd.ExecutorObserved) -> None:
        log.info("executor.connected" if seen.ok else "executor.lost", executor=seen.executor, detail=seen.detail)
        self._say(seen)

    async def _session(self, running: _Running, name: str, within_s: float) -> Session | None:
        """The executor's session; None when the wish to stop came first."""
        stop = running.stop
        getting = asyncio.create_task(self._connected(running.line, name, within_s))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({getting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()
            stopped.cancel()

    async def _connected(self, line: Line | None, name: str, within_s: float) -> Session:
        if line is None:
            raise ExecutorUnavailable(f"there is no executor {name!r} that can run", hint="omni config check")
        began = asyncio.get_running_loop().time()
        try:
            await asyncio.wait_for(self._loaded.wait(), within_s)
        except TimeoutError:
            raise ExecutorUnavailable(f"{name} is still being started", hint="omni status") from None
        left_s = within_s - (asyncio.get_running_loop().time() - began)
        if line.connection is None:  # let go before anything was loaded
            raise ExecutorUnavailable(f"{name} has just been taken out of the configuration", hint="omni status")
        return await line.connection.session(max(0.1, left_s))

    # --- attempts

    def _carry(self, message: cmd.StartAttempt | cmd.ReconcileAttempt, name: str, work: Any) -> None:
        key = (message.task_id, message.n)
        if key in self._attempts or self._stopping:
            work.close()
            return
        task = asyncio.create_task(work, name=f"attempt {message.task_id}:{message.n} on {name}")
        line = self._roster.find(name)
        if line is not None:
            line.begin_attempt()
        self._attempts[key] = _Running(task, line, message.key, message.handle)
        task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: _Key, task: asyncio.Task[None]) -> None:
        running = self._attempts.pop(key, None)
        if running is not None and running.line is not None:
            running.line.end_attempt()
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("attempt.crashed", task=key[0], attempt=key[1], error=repr(error))
        self._say(cmd.ReportInterrupted(*key, f"Omni failed while it watched the attempt: {error!r}"))

    def _cancel(self, message: cmd.CancelAttempt) -> None:
        """Wish an attempt stopped. One that is not here was lost with an earlier process, or has just been reported."""
        found = self._attempts.get((message.task_id, message.n))
        if found:
            found.stop.set()

    def _pause(self, message: cmd.PauseAttempt) -> None:
        """Pass on the wish to pause where the executor takes one. Whatever comes of it, only an outcome counts."""
        from omni.executors.contract import PAUSE_TOOL

        found = self._attempts.get((message.task_id, message.n))
        if found is None or found.session is None or PAUSE_TOOL not in found.session.tools:
            return
        task = asyncio.create_task(self._wish_pause(message, found, found.session))
        self._pauses.add(task)
        task.add_done_callback(self._pauses.discard)

    async def _wish_pause(self, message: cmd.PauseAttempt, attempt: _Running, session: Session) -> None:
        from omni.executors.call import ask_to_pause

        trouble = await ask_to_pause(session, attempt.handle, attempt.key)
        fields = {"task": message.task_id, "attempt": message.n, "executor": message.executor}
        if trouble:
            log.warning("attempt.pause_failed", **fields, error=trouble)
        else:
            log.info("attempt.pause_requested", **fields)

    async def _attempt(self, message: cmd.StartAttempt) -> None:
        running = self._attempts[message.task_id, message.n]
        stop = running.stop
        began = asyncio.get_running_loop().time()
        try:
            session = await self._session(running, message.route.executor, self._connect_s)
            line = running.line
            notes = await self._recall.notes(message, line.entry, stop) if session and line else NO_NOTES
            if session is None or line is None or stop.is_set():
                self._say(cmd.ReportCancelled(message.task_id, message.n))
                return
            running.session, running.notes = session, notes.hits
            arguments = self._arguments(message, line.entry, notes.text)
        except ExecutorUnavailable as error:
            self._say(failure(message.task_id, message.n, "unavailable", error.message, error.hint))
            return
        except ConfigError as error:
            self._say(failure(message.task_id, message.n, "bad_request", error.message, error.hint))
            return
        await self._call(message, running, line.config, session, arguments, began)

    def _arguments(self, message: cmd.StartAttempt, entry: Entry, context: str) -> dict[str, Any]:
        template = entry.template
        if context and "context" not in template.names:
            message = msgspec.structs.replace(message, description=f"{context}\n\n{message.description}")
        access = self._model_access(message.task_id, message.n, message.repair)
        filled = template.fill(values_for(message, *access, context))
        if not isinstance(filled, dict):
            raise ConfigError(f"`arguments` of {message.route.executor} is not a mapping", hint="omni config check")
        return filled

    async def _call(
        self,
        message: cmd.StartAttempt,
        running: _Running,
        config: ExecutorConfig,
        session: Session,
        arguments: dict[str, Any],
        began: float,
    ) -> None:
        from omni.executors.call import Call, Order

        order = Order(
            message.task_id, message.n, arguments, message.key, message.handle,
            began + message.timeout_ms / 1000, message.idle_timeout_ms / 1000,
            self.meta(message.task_id, message.n) if self.meta else None,
        )  # fmt: skip
        on_sent, on_progress = self._starter_of(message, running, config, session), self._progress_of(message)
        call = Call(config, session, order, running.stop, on_sent, on_progress, self._say)
        found = await call.run()
        if found is None and not self._stopping:
            found = await self._unknown(config, order, session, running, call.broke_by)
        if found is not None:
            self._say(found)
            self._recall.keep(message, config, found)

    def _starter_of(
        self, message: cmd.StartAttempt, running: _Running, config: ExecutorConfig, session: Session
    ) -> Any:
        wire, notes = session.wire, running.notes
        own = message.handle if config.adapter in RESUMING_ADAPTERS else ""
        return lambda: self._say(cmd.ReportStarted(message.task_id, message.n, wire.pid, wire.started_ms, own, notes))

    def _progress_of(self, message: cmd.StartAttempt) -> Any:
        loop, last = asyncio.get_running_loop(), [float("-inf")]

        def on_progress(progress: float, total: float | None, text: str) -> None:
            if loop.time() - last[0] >= PROGRESS_EVERY_S or progress == total:
                last[0] = loop.time()
                self._say(cmd.ProgressMade(message.task_id, message.n, progress, total, text))

        return on_progress

    # --- attempts whose outcome is not known

    async def _unknown(
        self, config: ExecutorConfig, order: Order, session: Session, running: _Running, broke_by: str
    ) -> Report:
        """The connection died under a call: ask the server where it can be asked, else say that nobody knows."""
        from omni.executors.contract import LOOKUP_TOOL

        if session.broken:  # its end knows more: an exit code, a close code
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(session.ended.wait(), STOP_S)
        why = session.wire.reason or broke_by
        evidence = brief(f"the connection to {config.name} broke while it ran: {why}")
        if LOOKUP_TOOL not in session.tools:
            return cmd.ReportInterrupted(order.task_id, order.n, evidence)
        return await self._inquire(running, config.name, order.task_id, order.n, evidence)

    async def _reconcile(self, message: cmd.ReconcileAttempt) -> None:
        running = self._attempts[message.task_id, message.n]
        evidence = f"Omni was restarted while {message.executor} ran it"
        self._say(await self._inquire(running, message.executor, message.task_id, message.n, evidence))

    async def _inquire(self, running: _Running, name: str, task_id: str, n: int, evidence: str) -> Report:
        from omni.executors.inquiry import inquire

        line, stop = running.line, running.stop
        try:
            session = await self._session(running, name, self._connect_s * ASK_PATIENCE)
        except ExecutorUnavailable as error:
            # Called again, such an adapter asks by itself what became of it, before it does anything.
            resumable = line is not None and line.config.adapter in RESUMING_ADAPTERS
            return cmd.ReportInterrupted(task_id, n, f"{evidence}; {error.message}", resumable=resumable)
        if session is None or line is None:
            return cmd.ReportCancelled(task_id, n, confirmed=False)
        running.session = session
        return await inquire(line.config, session, task_id, n, running.handle, running.key, evidence, stop)

    def _say(self, message: Any) -> None:
        """Report without the secrets that an executor let slip: what is posted here reaches the log."""
        if not self._stopping:
            self._post.send(POOL, NAME, (self._masked(message),))

    def _masked(self, message: Any) -> Any:
        return msgspec.convert(self._redactor.value(msgspec.to_builtins(message)), type(message))


def owner_of(data_dir: Path) -> str:
    """The mark of all children of this data directory's daemons, the same after a restart."""
    return hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:24]


def _import_wiring() -> Any:
    import omni.executors.plug

    return omni.executors.plug

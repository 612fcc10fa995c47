"""An MCP server over stdio around one adapter: run, progress, cancel, look up by handle, pause, and resume.

Theory of operation. The adapter does the work; this does the bookkeeping that all of them need.

    run_task ──▶ record planned ──▶ adapter.run ──▶ record finished ──▶ answer
                                       │ cancelled, paused, stdin closed: `stop` is set, the adapter ends in order
    the same key again: what runs is waited for, what has finished is answered from its record

A cancelled request gets no answer in MCP, so the caller asks `lookup_attempt`, which says `running` until the work has
really stopped. Attempts live in the server, not in the request that began them: a request that ends takes none along.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol, TypeAlias

import anyio
import mcp_types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

import omni
from omni.adapters.records import Record, Records
from omni.config.adapters import OPTIONS_VARIABLE, STATE_VARIABLE
from omni.executors.bundled import Options
from omni.executors.contract import LOOKUP_TOOL, PAUSE_TOOL, Lookup
from omni.runtime.ports import Clock, SystemClock

RUN_TOOL = "run_task"
END_WITHIN_S = 2.0  # for all that runs, once the server is to end: the daemon kills a child 2.4 s after closing stdin

Reason: TypeAlias = Literal["cancelled", "paused", "ending"]
Tell: TypeAlias = Callable[[float, float | None, str], Awaitable[None]]
Structured: TypeAlias = dict[str, Any]


class Work(msgspec.Struct, frozen=True):
    """What one attempt is called with. `earlier` is the session to go on from, `resume` whether this handle's own is.

    `repair`: the task is to mend the proxy. `base_url` and `api_key` lead to models; empty where there are none.
    """

    description: str
    handle: str
    key: str
    task_id: str = ""
    attempt: int = 1
    earlier: str = ""
    resume: bool = False
    repair: bool = False
    workdir: str = ""
    model: str = ""
    tier: str = ""
    base_url: str = ""
    api_key: str = ""
    timeout_s: float = 3600.0


class Stop:
    """The wish that an attempt should end, and why; the first reason counts."""

    def __init__(self) -> None:
        self._wished = asyncio.Event()
        self.reason: Reason | None = None

    def wish(self, reason: Reason) -> None:
        """Wish it."""
        self.reason = self.reason or reason
        self._wished.set()

    async def wait(self) -> None:
        """Return when it is wished."""
        await self._wished.wait()


class Adapter(Protocol):
    """What does the work. Answers are the structured part of the result contract (`omni.executors.contract`)."""

    async def run(self, work: Work, before: Record | None, stop: Stop, tell: Tell) -> Structured:
        """Do one attempt to its end, or end it in order when `stop` is wished. `before`: its record so far.

        Before it starts anything it must write a record that is `running` and has notes: without one the attempt counts
        as never begun, and is handed over again.
        """

    async def look_up(self, record: Record | None, handle: str, key: str) -> Lookup:
        """What became of an attempt that does not run in this process and has not finished in its record."""


Lifespan: TypeAlias = Callable[[Options, Records, Clock], contextlib.AbstractAsyncContextManager[Adapter]]


class _Job:
    """One attempt that runs here."""

    def __init__(self, key: str, task: asyncio.Task[Structured], stop: Stop) -> None:
        self.key = key
        self.task = task
        self.stop = stop


class Service:
    """The attempts of one adapter's process."""

    def __init__(self, adapter: Adapter, records: Records) -> None:
        self._adapter = adapter
        self._records = records
        self._jobs: dict[str, _Job] = {}
        self._ending = False

    async def run(self, work: Work, tell: Tell) -> Structured:
        """Do an attempt, wait for one that runs, or answer one that has finished."""
        job = self._jobs.get(work.handle)
        if job is None:
            known = self._records.find(work.handle)
            if known and known.key == work.key and known.state == "finished" and known.outcome is not None:
                return dict(known.outcome)
            job = self._begin(work, known, tell)
        if job.key != work.key:
            return failed("unavailable", "an earlier attempt of this session is still ending", retry_after_s=2)
        try:
            return await asyncio.shield(job.task)
        except asyncio.CancelledError:
            job.stop.wish("cancelled")
            raise

    async def look_up(self, handle: str, key: str) -> Lookup:
        """What became of an attempt."""
        if handle in self._jobs:
            return Lookup("running")
        record = self._records.find(handle)
        if record and record.key == key and record.state == "finished" and record.outcome is not None:
            return Lookup("finished", dict(record.outcome))
        if record is None or (record.state == "planned" and not record.notes):  # it stands there before anything starts
            return Lookup("finished", failed("unavailable", "the attempt had not begun when Omni or the adapter ended"))
        return await self._adapter.look_up(record, handle, key)

    def pause(self, handle: str) -> None:
        """Wish an attempt ended at a point from which it can go on; nothing when it does not run here."""
        if job := self._jobs.get(handle):
            job.stop.wish("paused")

    def close(self) -> None:
        """Begin nothing more, and wish everything ended: nobody listens any more."""
        self._ending = True
        for job in self._jobs.values():
            job.stop.wish("ending")

    async def end(self) -> None:
        """End everything, in order, as long as there is time."""
        self.close()
        tasks = [job.task for job in self._jobs.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=END_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, work: Work, known: Record | None, tell: Tell) -> _Job:
        stop = Stop()
        task = asyncio.create_task(self._carry(work, known, stop, tell), name=f"attempt {work.key}")
        task.add_done_callback(lambda done: self._over(work.handle, done))
        self._jobs[work.handle] = _Job(work.key, task, stop)
        return self._jobs[work.handle]

    def _over(self, handle: str, task: asyncio.Task[Structured]) -> None:
        self._jobs.pop(handle, None)
        if not task.cancelled():
            task.exception()  # somebody must have looked, also where the request is gone

    async def _carry(self, work: Work, known: Record | None, stop: Stop, tell: Tell) -> Structured:
        if self._ending:
            return failed("unavailable", "the adapter is ending")
        notes = known.notes if known else {}
        try:
            self._records.write(Record(work.handle, work.key, work.task_id, "planned", notes=notes))
        except (OSError, ValueError) as error:
            return failed("unavailable", f"the attempt cannot be recorded, so it is not begun: {error}")
        try:
            outcome = await self._adapter.run(work, known, stop, tell)
        except Exception as error:  # what it had begun may have run: nobody may take this for a failure of the task
            traceback.print_exc()
            return failed("interrupted", f"the adapter broke: {error!r}")
        self._keep(work, outcome)
        return outcome

    def _keep(self, work: Work, outcome: Structured) -> None:
        """Record how it ended, as far as that is possible: the answer is on its way in any case."""
        if not _is_final(outcome):
            return
        now = self._records.find(work.handle)
        notes = now.notes if now else {}
        try:
            self._records.write(Record(work.handle, work.key, work.task_id, "finished", 0, outcome, notes))
        except OSError:
            traceback.print_exc()


def failed(kind: str, message: str, **more: Any) -> Structured:
    """A structured answer that says what went wrong; `more` joins the error (`retry_after_s`)."""
    return {"error": {"kind": kind, "message": message, **more}}


def _is_final(outcome: Mapping[str, Any]) -> bool:
    """Whether the same answer may be given again; what was only cut off goes on when it is called again."""
    kind = (outcome.get("error") or {}).get("kind")
    return kind not in {"interrupted", "unavailable", "rate_limited"}


def answer_of(outcome: Mapping[str, Any]) -> types.CallToolResult:
    """A structured answer as MCP carries it."""
    error = outcome.get("error")
    text = str(error["message"] if error else outcome.get("text", ""))
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=dict(outcome), is_error=bool(error))


_TEXT = {"type": "string"}
_WORK_SCHEMA = {
    "type": "object",
    "properties": {
        "description": {**_TEXT, "description": "The task."},
        "handle": {**_TEXT, "description": "Id of this attempt's session, a UUID."},
        "key": {**_TEXT, "description": "Name of this attempt; the same one is done once."},
        **dict.fromkeys(("task_id", "earlier", "workdir", "model", "tier", "base_url", "api_key"), _TEXT),
        "attempt": {"type": "integer"},
        "resume": {"type": "boolean"},
        "repair": {"type": "boolean"},
        "timeout_s": {"type": "number"},
    },
    "required": ["description", "handle", "key"],
}
_NAME_SCHEMA = {"type": "object", "properties": {"handle": _TEXT, "key": _TEXT}, "required": ["handle"]}
TOOLS = [
    types.Tool(name=RUN_TOOL, description="Do a task.", input_schema=_WORK_SCHEMA),
    types.Tool(name=LOOKUP_TOOL, description="Say what became of an attempt.", input_schema=_NAME_SCHEMA),
    types.Tool(name=PAUSE_TOOL, description="Stop an attempt so that it can go on.", input_schema=_NAME_SCHEMA),
]


def make_server(name: str, service: Service, more: Mapping[str, ExtraTool] | None = None) -> Server[Any]:
    """The MCP server. `more`: further tools of this adapter, by name."""
    extra = dict(more or {})

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[*TOOLS, *(tool for tool, _ in extra.values())])

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        said = params.arguments or {}
        if params.name in extra:
            return answer_of(await extra[params.name][1](said))
        if params.name == LOOKUP_TOOL:
            found = await service.look_up(str(said.get("handle", "")), str(said.get("key", "")))
            return types.CallToolResult(content=[], structured_content=msgspec.to_builtins(found))
        if params.name == PAUSE_TOOL:
            service.pause(str(said.get("handle", "")))
            return types.CallToolResult(content=[])
        return answer_of(await _asked(service, said, _teller(context)))

    return Server(f"omni-{name}", version=omni.__version__, on_list_tools=list_tools, on_call_tool=call_tool)


ExtraTool: TypeAlias = tuple[types.Tool, Callable[[Mapping[str, Any]], Awaitable[Structured]]]


async def _asked(service: Service, said: Mapping[str, Any], tell: Tell) -> Structured:
    try:
        work = msgspec.convert(said, Work)
    except msgspec.ValidationError as error:
        return failed("bad_request", f"the adapter was called in a way it does not know: {error}")
    return await service.run(work, tell)


def _teller(context: Any) -> Tell:
    async def tell(progress: float, total: float | None, text: str) -> None:
        with contextlib.suppress(Exception):  # who no longer listens must not end the work
            await context.session.report_progress(progress, total, text)

    return tell


def no_more_tools(adapter: Adapter) -> Mapping[str, ExtraTool]:
    """For adapters that have the common tools only."""
    return {}


def serve(name: str, lifespan: Lifespan, tools: Callable[[Any], Mapping[str, ExtraTool]] = no_more_tools) -> None:
    """Speak MCP on stdin and stdout until stdin is closed or a signal comes; then end what runs. Does not return early.

    `lifespan` makes the adapter; `tools` gives further tools of it.
    """
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(name, lifespan, tools))
    _leave()


async def _serve(name: str, lifespan: Lifespan, tools: Callable[[Any], Mapping[str, ExtraTool]]) -> None:
    clock = SystemClock()
    told = msgspec.json.decode(os.environ[OPTIONS_VARIABLE], type=Options)
    records = Records(Path(os.environ[STATE_VARIABLE]) / "attempts", clock)
    records.prune()
    async with contextlib.AsyncExitStack() as own:
        adapter = await own.enter_async_context(lifespan(told, records, clock))
        service = Service(adapter, records)
        server = make_server(name, service, tools(adapter))
        async with _until_signal() as ended, stdio_server() as (read, write), _closing(read, service) as mine:
            speaking = asyncio.create_task(server.run(mine, write, server.create_initialization_options()))
            await asyncio.wait({speaking, asyncio.ensure_future(ended.wait())}, return_when=asyncio.FIRST_COMPLETED)
            await service.end()
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            if ended.is_set():
                await own.aclose()
                _leave()  # to close `stdio_server` is to wait for the next line


def _leave() -> NoReturn:
    sys.stdout.flush()
    os._exit(0)  # a thread that still reads stdin would keep the process


@contextlib.asynccontextmanager
async def _closing(read: Any, service: Service) -> AsyncIterator[Any]:
    """The same messages. When they end the service hears of it first: the server then cancels all requests, and that
    must not be taken for the caller's wish to have the work given up.
    """
    to_server, mine = anyio.create_memory_object_stream[Any](0)

    async def pump() -> None:
        async with to_server:
            try:
                async for message in read:
                    await to_server.send(message)
            finally:
                service.close()

    pumping = asyncio.create_task(pump())
    try:
        yield mine
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)


@contextlib.asynccontextmanager
async def _until_signal() -> AsyncIterator[asyncio.Event]:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        yield ended
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

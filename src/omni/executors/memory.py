"""A memory over MCP (MemOS, or any server with a tool that searches and one that adds). Never required.

                  ┌─ a failure ─▶ the next task asks again ─ the third in a row ─▶ left alone for REST_S ─┐
    ready ─search─┤                                                                                       │
      ▲           └─ hits, in time                                                                        │
      └───────────────────────────────────────────────────────────────────────────────────────────────────┘

A search takes at most `timeout_s` of a task's time, whatever the memory does; while it is not connected, or left
alone, it takes none. What is to be remembered waits in a bounded queue, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import structlog

from omni.config import ExecutorConfig
from omni.config.adapters import MemoryOptions
from omni.domain.commands import ExecutorObserved
from omni.executors.call import read_answer
from omni.executors.call_log import calling
from omni.executors.connection import MAX_TOOLS, TOOL_PAGES, Session, explain
from omni.executors.contract import brief
from omni.executors.forms import ADD, SEARCH, Form, Purpose, Said, Unfit, Values, fit
from omni.executors.hits import NO_NOTES, Notes, notes_of, read_hits
from omni.redact import Redactor
from omni.runtime.ports import Clock

if TYPE_CHECKING:
    from omni.executors.plug import Plug

log = structlog.get_logger()

_T = TypeVar("_T")

FAILURES = 3
REST_S = 60.0
QUEUE = 100
ADD_S = 30.0
STOP_S = 1.0
MAX_QUERY_CHARS = 4_000
MAX_SAID_CHARS = 8_000


class _Forms(NamedTuple):
    """How the tools of one session are called; None for one that cannot be."""

    session: Session
    search: Form | None
    add: Form | None


class Memory:
    """Keeps the connection, searches, and adds. Belongs to the loop."""

    def __init__(self, config: ExecutorConfig, plug: Plug, clock: Clock, redactor: Redactor) -> None:
        self.name = config.name
        self._options = msgspec.convert(config.options, MemoryOptions)
        self._connection = plug.connection(config, self._observed)
        self._clock = clock
        self._redactor = redactor
        self._loop = asyncio.get_running_loop()
        self._forms: _Forms | None = None
        self._learning = asyncio.Lock()
        self._lost = False
        self._failures = 0
        self._rests_until = float("-inf")
        self._waiting: asyncio.Queue[tuple[str, Values]] = asyncio.Queue(QUEUE)
        self._loose: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Keep the connection and write down what is to be remembered, until `stop`."""
        writer = asyncio.create_task(self._write(), name=f"memory {self.name}")
        try:
            await self._connection.run()
        finally:
            for task in {writer, *self._loose}:
                task.cancel()
            await asyncio.wait({writer}, timeout=STOP_S)

    def stop(self) -> None:
        """End the session; what still waits to be remembered is forgotten."""
        self._connection.stop()
        if left := self._waiting.qsize():
            log.warning("memory.forgotten", memory=self.name, texts=left)

    async def search(self, task_id: str, text: str, stop: asyncio.Event) -> Notes:
        """What the memory knows about a task's text; nothing when it fails, takes too long, or `stop` comes first."""
        if self._lost or self._off or self._loop.time() < self._rests_until:
            return NO_NOTES
        began = self._loop.time()
        found = await self._bounded(self._search(task_id, self._values(task_id, text)), stop)
        if stop.is_set():
            return NO_NOTES
        if isinstance(found, str):
            self._failed(task_id, found, began)
            return NO_NOTES
        self._failures = 0
        notes = notes_of(found)
        log.info("memory.searched", task=task_id, hits=notes.hits, ms=self._since_ms(began))
        return notes

    def add(self, task_id: str, text: str, result: str) -> None:
        """Remember a task and its result, some time; what does not fit into the queue is dropped."""
        said = (Said("user", self._safe(text)), Said("assistant", self._safe(result)))
        try:
            self._waiting.put_nowait((task_id, msgspec.structs.replace(self._values(task_id, text), said=said)))
        except asyncio.QueueFull:
            log.warning("memory.dropped", memory=self.name, task=task_id, waiting=QUEUE)

    # --- searching

    @property
    def _off(self) -> bool:
        """Whether the tool of this session that searches cannot be called; why was said when it was read."""
        return self._forms is not None and self._forms.search is None and not self._forms.session.broken

    async def _bounded(self, work: Coroutine[Any, Any, tuple[str, ...]], stop: asyncio.Event) -> tuple[str, ...] | str:
        """The hits, or what went wrong. The work is not waited for when it is late, nor when it ignores its end."""
        task, stopped = self._spawn(work), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({task, stopped}, timeout=self._options.timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            stopped.cancel()
        if stop.is_set():
            return ()
        if not task.done():
            self._doubt("it did not answer a search in time")
            return f"no answer within {self._options.timeout_s:g} s"
        if task.cancelled():
            return "the connection was given up"
        return explain(error) if (error := task.exception()) else task.result()

    async def _search(self, task_id: str, values: Values) -> tuple[str, ...]:
        session = await self._connection.session(self._options.timeout_s)
        form = (await self._learn(session)).search
        if form is None:
            return ()
        with calling(self.name, form.tool, task_id) as call:
            answer = read_answer(call.gives(await session.client.call_tool(form.tool, form.arguments(values))))
        return read_hits(answer, self._options.hits)

    def _failed(self, task_id: str, why: str, began: float) -> None:
        self._failures += 1
        log.warning("memory.failed", memory=self.name, task=task_id, error=brief(why), ms=self._since_ms(began))
        if self._failures >= FAILURES:
            self._rests_until = self._loop.time() + REST_S
            log.warning("memory.rested", memory=self.name, for_s=REST_S, failures=self._failures)

    def _doubt(self, reason: str) -> None:
        """A server that no longer answers anything is started again."""
        if self._forms is not None and not self._forms.session.broken:
            self._spawn(self._forms.session.doubt(reason))

    # --- adding

    async def _write(self) -> None:
        while True:
            task_id, values = await self._waiting.get()
            try:
                async with asyncio.timeout(ADD_S):
                    await self._add(task_id, values)
                log.debug("memory.added", memory=self.name, task=task_id)
            except Exception as error:
                log.warning("memory.dropped", memory=self.name, task=task_id, error=brief(explain(error)))

    async def _add(self, task_id: str, values: Values) -> None:
        session = await self._connection.session(ADD_S)
        form = (await self._learn(session)).add
        if form is None:
            return
        with calling(self.name, form.tool, task_id) as call:
            answer = read_answer(call.gives(await session.client.call_tool(form.tool, form.arguments(values))))
        read_hits(answer, 1)  # for its ValueError: an add that failed says so in the same ways as a search

    # --- what its tools want

    async def _learn(self, session: Session) -> _Forms:
        """How the tools of this session are called, asked once."""
        async with self._learning:
            if self._forms is None or self._forms.session is not session:
                schemas = await _schemas(session)
                search = self._form("search_tool", schemas, SEARCH, ("query",))
                self._forms = _Forms(session, search, self._form("add_tool", schemas, ADD, ("messages", "content")))
            return self._forms

    def _form(
        self, option: str, schemas: Mapping[str, Any], purposes: Mapping[Purpose, bool], vital: tuple[Purpose, ...]
    ) -> Form | None:
        tool = getattr(self._options, option)
        try:
            return fit(tool, _schema_of(tool, schemas), purposes, vital)
        except Unfit as error:
            log.warning("memory.off", memory=self.name, option=option, reason=brief(error.message))
            return None

    def _observed(self, seen: ExecutorObserved) -> None:
        self._lost = not seen.ok
        log.info("memory.connected" if seen.ok else "memory.lost", memory=self.name, detail=seen.detail)
        if seen.ok:
            self._spawn(self._learn_ahead())

    async def _learn_ahead(self) -> None:
        with contextlib.suppress(Exception):  # the first search meets the same trouble, and says so
            async with asyncio.timeout(ADD_S):
                await self._learn(await self._connection.session(1.0))

    # --- small things

    def _values(self, task_id: str, text: str) -> Values:
        options = self._options
        return Values(
            text=self._safe(text)[:MAX_QUERY_CHARS],
            user=options.user,
            conversation=options.conversation or f"omni-{task_id}",
            limit=options.hits,
            at=dt.datetime.fromtimestamp(self._clock.wall_ms() / 1000, dt.UTC).isoformat(timespec="seconds"),
        )

    def _safe(self, text: str) -> str:
        """Masked first, cut afterwards: half a secret would not be known for one."""
        return self._redactor.text(text)[:MAX_SAID_CHARS]

    def _since_ms(self, began: float) -> int:
        return round((self._loop.time() - began) * 1000)

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._loose.add(task)
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, task: asyncio.Task[Any]) -> None:
        self._loose.discard(task)
        if not task.cancelled():
            task.exception()  # somebody must have looked


def _schema_of(tool: str, schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    if tool in schemas:
        found: Mapping[str, Any] = schemas[tool]
        return found
    offered = ", ".join(list(schemas)[:40]) or "none"
    raise Unfit(f"the server has no tool {tool!r}; its tools are: {offered}")


async def _schemas(session: Session) -> dict[str, Any]:
    """The input schemas by the tools' names."""
    found: dict[str, Any] = {}
    cursor: str | None = None
    for _ in range(TOOL_PAGES):
        page = await session.client.list_tools(cursor=cursor)
        found |= {tool.name: tool.input_schema for tool in page.tools}
        cursor = page.next_cursor
        if not cursor or len(found) > MAX_TOOLS:
            break
    return found

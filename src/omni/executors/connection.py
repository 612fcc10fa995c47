"""One executor's connection: kept warm, made anew when it breaks.

    connecting ──initialize, tools/list──▶ ready ──the wire breaks, or retire()──▶ waiting ──backoff──▶ connecting
         └──────────────failure or CONNECT_S──────────────────────────────────────▶ waiting

The SDK's client holds an anyio task group, which must be left by the task that entered it. So each session lives in a
task of its own, and everybody else only sees its `Session`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from mcp import Client, MCPError
from mcp_types import Implementation

import omni
from omni.config import ExecutorConfig
from omni.domain.commands import ExecutorObserved
from omni.domain.errors import ExecutorUnavailable, OmniError
from omni.executors.contract import LOOKUP_TOOL, PAUSE_TOOL, brief
from omni.executors.streamable import UNREACHED
from omni.executors.wire import Tapped, Wire

CONNECT_S = 30.0  # a server may first have to be fetched by its launcher
CLOSE_S = 4.5
TOLD_S = 0.7
DOUBT_S = 5.0
BACKOFF_S = 0.5
BACKOFF_CAP_S = 30.0
STABLE_S = 30.0  # a session that lived this long was a good one: the next failure is the first again
TOOL_PAGES = 50
MAX_TOOLS = 1_000  # the log remembers them; nobody reads more
MAX_TOOL_NAME_CHARS = 200

Observe = Callable[[ExecutorObserved], None]


@dataclass(eq=False)
class Session:
    """A connection that is ready. `ended` is set when it is gone, child and all."""

    name: str
    client: Client
    wire: Wire
    tools: tuple[str, ...]
    in_flight: int = 0
    retiring: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def retire(self, reason: str) -> None:
        """Give this session up and connect anew."""
        self.wire.reason = self.wire.reason or reason
        self.retiring.set()

    async def doubt(self, reason: str) -> None:
        """Give the session up if the server does not answer a simple question: the others' calls hang on it too."""
        try:
            await asyncio.wait_for(self.client.list_tools(), DOUBT_S)
        except Exception:  # any failure is the answer that was feared
            self.retire(reason)

    @property
    def broken(self) -> bool:
        """Whether no more answers can come."""
        return self.wire.lost.is_set() or self.ended.is_set()


class Connection:
    """Keeps one executor's session; `observe` hears of each change."""

    def __init__(
        self,
        config: ExecutorConfig,
        open_wire: Callable[[], AbstractAsyncContextManager[Wire]],
        observe: Observe,
    ) -> None:
        self.config = config
        self._open_wire = open_wire
        self._observe = observe
        self._session: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        self.trouble = "it has not connected yet"

    async def session(self, patience_s: float) -> Session:
        """The live session; ExecutorUnavailable when there is none within the time."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._session), patience_s)
        except TimeoutError:
            why = f"{self.config.name} cannot be reached: {self.trouble}"
            raise ExecutorUnavailable(why, hint="omni doctor") from None

    async def run(self) -> None:
        """Connect, and connect again, until `stop`."""
        failures = 0
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            detail = brief(await self._live_once())
            if self._stopping.is_set():
                break
            self.trouble = detail
            self._observe(ExecutorObserved(self.config.name, ok=False, detail=detail))
            failures = 0 if asyncio.get_running_loop().time() - began > STABLE_S else failures
            await _first(self._stopping.wait(), timeout_s=backoff_s(self.config.name, failures))
            failures += 1

    def stop(self) -> None:
        """End the session; `run` returns soon after."""
        self._stopping.set()

    async def _live_once(self) -> str:
        """One session from start to end; why it ended."""
        life = asyncio.create_task(self._live())
        ready = asyncio.shield(self._session)
        await _first(asyncio.shield(life), ready, self._stopping.wait(), timeout_s=CONNECT_S)
        if not self._session.done() and not life.done():
            life.cancel()
            await asyncio.wait({life}, timeout=CLOSE_S)
            return f"no answer to initialize within {CONNECT_S:.0f} s"
        return await _ending(life)

    async def _live(self) -> str:
        session: Session | None = None
        wire: Wire | None = None
        try:
            async with self._open_wire() as wire:
                info = Implementation(name="omni", version=omni.__version__)
                try:
                    async with Client(Tapped(wire), client_info=info, cache=None) as client:
                        session = Session(self.config.name, client, wire, await self._tools(client))
                        self._ready(session)
                        await _first(wire.lost.wait(), session.retiring.wait(), self._stopping.wait())
                except Exception as error:
                    raise ExecutorUnavailable(await diagnosis(error, wire)) from error
                return "" if self._stopping.is_set() else await _reason(wire) or "the connection was closed"
        finally:
            if session is not None:  # one that never was ready leaves the future alone: its successor may hold it
                self._session = asyncio.get_running_loop().create_future()
                session.ended.set()

    def _ready(self, session: Session) -> None:
        self._session.set_result(session)
        self._observe(ExecutorObserved(self.config.name, ok=True, detail="connected", tools=session.tools))

    async def _tools(self, client: Client) -> tuple[str, ...]:
        names: list[str] = []
        cursor: str | None = None
        for _ in range(TOOL_PAGES):
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools if len(tool.name) <= MAX_TOOL_NAME_CHARS]
            cursor = page.next_cursor
            if not cursor or len(names) > MAX_TOOLS:
                break
        return self._checked(tuple(names))

    def _checked(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if self.config.tool and self.config.tool not in names:
            offered = ", ".join(names[:40]) or "none"
            raise ExecutorUnavailable(f"the server has no tool {self.config.tool!r}; its tools are: {offered}")
        if len(names) <= MAX_TOOLS:
            return names
        needed = (each for each in (self.config.tool, LOOKUP_TOOL, PAUSE_TOOL) if each in names)
        return tuple(dict.fromkeys((*needed, *names)))[:MAX_TOOLS]


def backoff_s(name: str, failures: int) -> float:
    """Seconds before the next try: doubling, capped, ± 25 % by a hash so that a herd spreads."""
    base = min(BACKOFF_CAP_S, BACKOFF_S * 2.0 ** min(failures, 16))
    spread = int.from_bytes(hashlib.sha256(f"{name}:{failures}".encode()).digest()[:2]) / 65_535
    return base * (0.75 + 0.5 * spread)


def cause(error: BaseException) -> BaseException:
    """The first real cause of a group of exceptions; the exception itself when it is none."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def explain(error: BaseException) -> str:
    """What went wrong, in one line for people."""
    error = cause(error)
    if isinstance(error, OmniError):
        return error.message
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"HTTP {status}"
    return str(error) or type(error).__name__


async def diagnosis(error: Exception, wire: Wire) -> str:
    """Why there is no session. Where the server went away, the transport knows more than the protocol."""
    found = cause(error)
    if isinstance(found, OmniError):
        return found.message
    said = explain(found)
    answered = isinstance(found, MCPError) and not said.startswith(UNREACHED)
    return await _reason(wire) or (f"the server refused the connection: {said}" if answered else said)


async def _reason(wire: Wire) -> str:
    """The transport's reason; a child that has just ended gets a moment to be seen as ended."""
    if not wire.reason:
        await _first(wire.told.wait(), timeout_s=TOLD_S)
    return wire.reason


async def _ending(life: asyncio.Task[str]) -> str:
    try:
        return await life
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            life.cancel()
            raise
        return "the connection was given up"
    except Exception as error:  # whatever a server makes a library raise ends this session only
        return explain(error)


async def _first(*waits: Awaitable[Any], timeout_s: float | None = None) -> None:
    tasks = {asyncio.ensure_future(wait) for wait in waits}
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()

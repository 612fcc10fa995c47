"""One tool call from its sending to a report, with both its timeouts and its cancellation.

sent? ──no──▶ unavailable: it never began
  │yes
  ├─ answered ─────────────▶ what the answer means (contract.py)
  ├─ the wire broke ───────▶ interrupted: nobody knows; or the server is asked, where it offers `lookup_attempt`
  └─ cancelled, or timed out: the server is told, and then
         answered after all ──▶ what really finished wins
         its child restarted ─▶ stopped, certain
         silence ─────────────▶ stopped, not confirmed (the protocol allows a server not to answer)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal

import mcp_types as types
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS, METHOD_NOT_FOUND

from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.executors.call_log import calling
from omni.executors.connection import Session
from omni.executors.contract import (
    LOOKUP_TOOL,
    PAUSE_TOOL,
    Answer,
    Lookup,
    Report,
    brief,
    failure,
    pause_of,
    read_lookup,
    report,
    text_of,
)
from omni.executors.streamable import HTTP_FAILED, PROVEN
from omni.executors.wire import MARK, Mark

SILENCE_S = 1.0  # how long a server that was told to stop may still answer
GRACE_S = 10.0  # how long an adapter may take to stop what it started
RESTART_S = 6.0
NOTICE_S = 1.0
LOOKUP_S = 5.0
LOOKUP_EVERY_S = 0.25
_WIRE_WORDS = ("Connection closed", "SSE stream")

End = Literal["answered", "cancelled", "timeout", "idle_timeout"]


@dataclass(frozen=True)
class Order:
    """What to call, for which attempt, and how long it may take. `ends_at` is a loop time."""

    task_id: str
    n: int
    arguments: dict[str, Any]
    key: str
    handle: str
    ends_at: float
    idle_s: float
    meta: dict[str, Any] | None = None


class Call:
    """One call on one session. `run` gives a report, or None when it broke after sending; `broke_by` says how."""

    def __init__(
        self,
        config: ExecutorConfig,
        session: Session,
        order: Order,
        stop: asyncio.Event,
        on_sent: Callable[[], None],
        on_progress: Callable[[float, float | None, str], None],
        on_pause: Callable[[cmd.ExecutorPaused], None],
    ) -> None:
        self._config = config
        self._session = session
        self._order = order
        self._stop = stop
        self._on_progress = on_progress
        self._on_pause = on_pause
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._mark = Mark(on_sent)
        self.broke_by = ""

    async def run(self) -> Report | None:
        """Call, wait, and say what became of it."""
        order = self._order
        with calling(self._config.name, self._config.tool, order.task_id, order.n) as call:
            found = await self._run()
            call.ends(found, self.broke_by or self._session.wire.reason)
            return found

    async def _run(self) -> Report | None:
        context = copy_context()
        context.run(MARK.set, self._mark)
        work = asyncio.create_task(self._ask(), context=context)
        self._session.in_flight += 1
        try:
            end = await self._wait(work)
            found = self._outcome(work) if end == "answered" else await self._break_off(work, end)
            if self.broke_by and not self._session.broken:
                await self._session.doubt(self.broke_by)
            return found
        finally:
            self._session.in_flight -= 1
            await _drop(work)

    async def _ask(self) -> types.CallToolResult:
        return await self._session.client.call_tool(
            self._config.tool, self._order.arguments, progress_callback=self._heard, meta=self._meta
        )

    @property
    def _meta(self) -> Any:
        """What goes along in `_meta`; a copy, for the SDK adds to it."""
        return dict(self._order.meta) if self._order.meta else None

    async def _heard(self, progress: float, total: float | None, message: str | None) -> None:
        self._heard_at = self._loop.time()
        self._on_progress(progress, total, message or "")

    async def _wait(self, work: asyncio.Task[Any]) -> End:
        """Until an answer, the wish to stop, or a deadline. Progress moves the idle deadline, never the total one."""
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            while True:
                idle_at = self._heard_at + self._order.idle_s
                left_s = min(self._order.ends_at, idle_at) - self._loop.time()
                done, _ = await asyncio.wait(
                    {work, stop}, timeout=max(0.0, left_s), return_when=asyncio.FIRST_COMPLETED
                )
                if work in done:
                    return "answered"
                if stop in done:
                    return "cancelled"
                if self._loop.time() >= self._order.ends_at:
                    return "timeout"
                if self._loop.time() >= self._heard_at + self._order.idle_s:
                    return "idle_timeout"
        finally:
            stop.cancel()

    def _outcome(self, work: asyncio.Task[types.CallToolResult]) -> Report | None:
        task_id, n = self._order.task_id, self._order.n
        try:
            answer = read_answer(work.result())
        except MCPError as error:
            return self._refused(error)
        except Exception as error:  # what a server makes a library raise must not take the daemon along
            if not self._mark.sent:
                return failure(task_id, n, "unavailable", f"the call was not sent: {error}")
            if self._session.broken:
                return None
            return failure(task_id, n, "failed", f"the server answered what the protocol does not allow: {error}")
        if pause := pause_of(self._config.name, answer, adapter=bool(self._config.adapter)):
            self._on_pause(pause)
        return report(task_id, n, answer, adapter=bool(self._config.adapter))

    def _refused(self, error: MCPError) -> Report | None:
        task_id, n, name = self._order.task_id, self._order.n, self._config.name
        if error.code == HTTP_FAILED and self._config.transport == "http":
            return self._http_failed(error)
        if error.code == CONNECTION_CLOSED and (self._session.broken or error.message.startswith(_WIRE_WORDS)):
            if self._mark.sent:
                self.broke_by = error.message
                return None
            return failure(task_id, n, "unavailable", f"{name} went away before the task was sent", "omni status")
        kind = "bad_request" if error.code in {INVALID_PARAMS, METHOD_NOT_FOUND} else "failed"
        return failure(task_id, n, kind, f"{name} refused the call: {error.message} (code {error.code})")

    def _http_failed(self, error: MCPError) -> Report | None:
        said = error.data.get("kind") if isinstance(error.data, dict) else None  # a server may send this code too
        kind = said if isinstance(said, str) and said in PROVEN else "interrupted"
        if kind in {"interrupted", "unavailable"}:
            self.broke_by = error.message
        if kind == "interrupted":
            return None
        return failure(self._order.task_id, self._order.n, kind, f"{self._config.name}: {error.message}", "omni status")

    async def _break_off(self, work: asyncio.Task[types.CallToolResult], end: End) -> Report | None:
        """Tell the server to stop, and find out whether it did."""
        if not self._mark.sent:
            return self._stopped(end, confirmed=True)
        await _bounded(self._tell(end), NOTICE_S)
        await asyncio.wait({work}, timeout=SILENCE_S)
        if work.done():
            return self._last_word(work, end)
        if LOOKUP_TOOL in self._session.tools:
            return await self._ask_until_stopped(end)
        return self._stopped(end, confirmed=await self._restarted())

    async def _tell(self, end: End) -> None:
        if self._mark.request_id is None:
            return
        params = types.CancelledNotificationParams(request_id=self._mark.request_id, reason=end)
        await self._session.client.session.send_notification(types.CancelledNotification(params=params))

    def _last_word(self, work: asyncio.Task[types.CallToolResult], end: End) -> Report | None:
        found = self._outcome(work)
        if found is None or isinstance(found, cmd.ReportSucceeded | cmd.ReportInterrupted):
            return found
        return self._stopped(end, confirmed=True)

    async def _ask_until_stopped(self, end: End) -> Report:
        until = self._loop.time() + GRACE_S
        while self._loop.time() < until:
            found = await look_up(self._session, self._order.handle, self._order.key)
            if found.state != "running":
                return self._settled(found, end)
            await asyncio.sleep(LOOKUP_EVERY_S)
        return self._stopped(end, confirmed=await self._restarted())

    def _settled(self, found: Lookup, end: End) -> Report:
        told = report(self._order.task_id, self._order.n, Answer(structured=found.result), adapter=True)
        if found.state == "finished" and isinstance(told, cmd.ReportSucceeded) and found.result is not None:
            return told
        return self._stopped(end, confirmed=found.state == "finished")

    async def _restarted(self) -> bool:
        """End the child where nothing else runs in it: then the call has stopped for certain."""
        alone = self._session.in_flight == 1
        meant = self._config.max_concurrency == 1 or bool(self._config.adapter)
        if self._session.wire.pid is None or not (alone and meant):
            return False
        self._session.retire("restarted, because a cancelled call did not stop")
        return await _bounded(self._session.ended.wait(), RESTART_S)

    def _stopped(self, end: End, *, confirmed: bool) -> Report:
        task_id, n = self._order.task_id, self._order.n
        if end == "cancelled":
            return cmd.ReportCancelled(task_id, n, confirmed)
        what = "did not finish in time" if end == "timeout" else f"was silent for {self._order.idle_s:g} s"
        sure = "was stopped" if confirmed else "was told to stop and did not say that it has"
        return failure(task_id, n, end, f"{self._config.name} {what}; it {sure}")


def read_answer(result: types.CallToolResult) -> Answer:
    """The SDK's result as plain data."""
    blocks = tuple(block.model_dump(by_alias=True, mode="json", exclude_none=True) for block in result.content)
    return Answer(blocks, result.structured_content, bool(result.is_error))


async def look_up(session: Session, handle: str, key: str) -> Lookup:
    """Ask the server what became of an attempt; `unknown` when it cannot say, `silent` when it gave no answer."""
    try:
        result = await _asked(session, LOOKUP_TOOL, handle, key)
    except Exception:  # a busy server may answer the next time
        return Lookup("silent")
    return read_lookup(read_answer(result))


async def ask_to_pause(session: Session, handle: str, key: str) -> str:
    """Tell the server that an attempt should pause; what went wrong, empty when it took the wish."""
    try:
        result = await _asked(session, PAUSE_TOOL, handle, key)
    except Exception as error:  # the attempt goes on, and its own outcome counts
        return brief(str(error) or type(error).__name__)
    return brief(text_of(read_answer(result).blocks) or "it gave no reason") if result.is_error else ""


async def _asked(session: Session, tool: str, handle: str, key: str) -> types.CallToolResult:
    task, _, n = key.rpartition(":")
    with calling(session.name, tool, task, int(n) if n.isdigit() else None) as call:
        arguments = {"handle": handle, "key": key}
        result = call.gives(await session.client.call_tool(tool, arguments, read_timeout_seconds=LOOKUP_S))
        call.quiet = tool == LOOKUP_TOOL and read_lookup(read_answer(result)).state == "running"
        return result


async def _bounded(wait: Awaitable[Any], limit_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wait, limit_s)
        return True
    return False


async def _drop(work: asyncio.Task[Any]) -> None:
    work.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody must have looked
    work.cancel()
    await asyncio.wait({work}, timeout=NOTICE_S)

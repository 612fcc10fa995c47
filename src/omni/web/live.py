"""`GET /api/events`: every event of the log after a position, in order, then each new one as it is recorded.

    the writer appends ── tail.grew() (its thread) ── one wake-up on the loop ── each stream reads on from where it is

A stream is told that there is more, never what: it reads the log itself, on a thread, a bounded batch at a time, and
reads on only when the browser has taken the batch. So nothing is lost, nothing comes twice, and nothing piles up. The
`id:` of each event is its log position; a browser that comes back names the last one it has seen and goes on from
there, over a restart of the daemon too.

    event: hello    at the beginning: `{log, position}`; another `log` than before means another history
    event: reload   the position asked for lies beyond the end: what was shown never happened; load the page again
    event: trouble  the log cannot be read; why, and the next command
    (no name)       `{position, at_ms, at, type, stream, task, actor}`
    : comment       nothing for a while
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from starlette.requests import Request

from omni.domain.errors import OmniError
from omni.domain.events import TASK_PREFIX
from omni.domain.view import timestamp
from omni.eventlog.store import EventReader, Mark
from omni.server.auth import CALLER, Receive, Refusal, Scope, Send, refuse
from omni.server.protocols import ABORT

log = structlog.get_logger()

BATCH = 256
MOST_STREAMS = 16  # beside other connections, of which there may be 64
QUIET_S = 15.0
TAKEN_WITHIN_S = 60.0  # by a browser; one that sleeps comes back and goes on where it was
RETRY_MS = 1000
TROUBLE_RETRY_MS = 15_000
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Log(EventReader, Protocol):
    """The log of this daemon: it says when it has grown, and whether this opening has lost events."""

    boot: str
    accepted_loss: int

    def watch(self, tell: Callable[[], None]) -> None: ...

    def marks(self, after: int, limit: int) -> list[Mark]: ...


class Stream:
    """One browser that listens; `session` is empty for those who came with the token."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.ended = False
        self.woken = asyncio.Event()

    def end(self) -> None:
        """Send nothing more."""
        self.ended = True
        self.woken.set()


class Tail:
    """Wakes streams when the log has grown. Costs the writer nothing while nobody listens, then one call a wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._told = False
        self.streams: set[Stream] = set()

    def grew(self) -> None:
        """The log is longer and durable; called in the writer's thread."""
        if self.streams and not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is gone: the daemon ends
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._told = False  # before anybody reads: what is appended from here on wakes us again
        for stream in self.streams:
            stream.woken.set()


class Live:
    """The endpoint, as an ASGI application. `holds` says whether a session is still good."""

    def __init__(self, log: Log, holds: Callable[[str], bool]) -> None:
        self._log = log
        self._holds = holds
        self._closed = False
        self._tail = Tail(asyncio.get_running_loop())
        log.watch(self._tail.grew)

    def end(self, session: str | None = None) -> None:
        """End the streams of one session, or all."""
        for stream in list(self._tail.streams):
            if session is None or stream.session == session:
                stream.end()

    def close(self) -> None:
        """End all streams and take no more: a server that stops waits for each of them."""
        self._closed = True
        self.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        after = _position(Request(scope))
        if isinstance(after, Refusal):
            await refuse(scope, receive, send, after)
        elif self._closed or len(self._tail.streams) >= MOST_STREAMS:
            full = Refusal(503, f"more than {MOST_STREAMS} pages listen", "close some", ((b"retry-after", b"5"),))
            await refuse(scope, receive, send, full)
        else:
            await self._serve(Stream(scope[CALLER].session), after, receive, send, scope[ABORT])

    async def _serve(
        self, stream: Stream, after: int | None, receive: Receive, send: Send, abort: Callable[[], None]
    ) -> None:
        self._tail.streams.add(stream)
        gone = asyncio.create_task(_end_with(stream, receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._told_all(stream, after, _Pen(send))
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            abort()
            await gone
        finally:
            gone.cancel()
            self._tail.streams.discard(stream)

    async def _told_all(self, stream: Stream, after: int | None, pen: _Pen) -> None:
        try:
            await self._tell(stream, after, pen)
        except OmniError as error:  # damage, or a disk that is gone: say so, and let nobody knock every second
            log.warning("stream.failed", error=error.message)
            said = _event("trouble", {"message": error.message, "hint": error.hint})
            await pen.write(f"retry: {TROUBLE_RETRY_MS}\n{said}")

    async def _tell(self, stream: Stream, after: int | None, pen: _Pen) -> None:
        identity, head = await asyncio.to_thread(self._identity)
        position = head if after is None else after
        await pen.write(f"retry: {RETRY_MS}\n" + _event("hello", {"log": identity, "position": head}))
        if position > head:
            await pen.write(_event("reload", {"position": head}, head))
            position = head
        while not stream.ended and self._is_good(stream):
            stream.woken.clear()
            batch = await asyncio.to_thread(self._batch, position)
            if batch:
                position = batch[-1].position
                await pen.write("".join(map(_told, batch)))
            elif not await _woken(stream):
                await pen.write(": quiet\n\n")

    def _is_good(self, stream: Stream) -> bool:
        return not stream.session or self._holds(stream.session)

    def _batch(self, after: int) -> Sequence[Mark]:
        return self._log.marks(after, BATCH)

    def _identity(self) -> tuple[str, int]:
        """A name of this history, and its end. A log that has lost its tail is another one as long as that is new."""
        first = (self._log.hash_at(1) or b"").hex()[:16]
        lost = self._log.boot if self._log.accepted_loss else ""
        return f"{first}{lost}", self._log.head.position


class _Pen:
    """Writes to one browser, and gives up on one that does not take what it is given."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def write(self, text: str) -> None:
        message = {"type": "http.response.body", "body": text.encode(), "more_body": True}
        await asyncio.wait_for(self._send(message), TAKEN_WITHIN_S)


async def _end_with(stream: Stream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()


async def _woken(stream: Stream) -> bool:
    try:
        await asyncio.wait_for(stream.woken.wait(), QUIET_S)
    except TimeoutError:
        return False
    return True


def _position(request: Request) -> int | Refusal | None:
    """After which position; a browser that comes back says it in a header. None: only what is new."""
    given = request.headers.get("last-event-id") or request.query_params.get("after")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        return Refusal(400, "`after` (and Last-Event-ID) is a log position", "leave it out for new events only")
    return int(given)


def _told(row: Mark) -> str:
    return _event("", view(row), row.position)


def view(row: Mark) -> dict[str, Any]:
    """What a page hears of an event; what more it wants to know, it asks for."""
    is_task = row.stream.startswith(TASK_PREFIX)
    return {
        "position": row.position,
        "at": timestamp(row.at_ms),
        "at_ms": row.at_ms,
        "type": row.type,
        "stream": row.stream,
        "task": row.stream.removeprefix(TASK_PREFIX) if is_task else None,
        "actor": row.actor,
    }


def _event(name: str, data: Any, position: int | None = None) -> str:
    head = f"event: {name}\n" if name else ""
    at = f"id: {position}\n" if position is not None else ""
    return f"{head}{at}data: {msgspec.json.encode(data).decode()}\n\n"

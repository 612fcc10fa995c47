"""The plain dialect: `{"method", "params"}` in, `{"result"}` or `{"error"}` out, one text frame each, in order.

Theory of operation. The reader decodes a request and puts a slot at the end of a line; the writer takes slots from the
front, waits for the answer of each, and sends it. So requests run side by side while answers keep their order. A line
of MAX_IN_FLIGHT slots stops the reader, and with it the client. Creating a task costs no asyncio task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from omni.domain.commands import Refusal
from omni.domain.errors import NotFound, OmniError
from omni.domain.task import Task
from omni.domain.view import task_view
from omni.server.desk import TIME_UP, Desk, Pending
from omni.server.frames import NOT_JSON, text_of, too_deep, why_not_json
from omni.server.limits import RequestRate
from omni.server.refusals import BadArgument, as_error, kind_of
from omni.server.requests import OneTask, PlainCreateTask, Reader, SpecMaker
from omni.server.rights import HINT, Rights

log = structlog.get_logger()

MAX_IN_FLIGHT = 256
UNAUTHORISED = (
    "Unauthorized: this needs the token. Next: connect with the header `Authorization: Bearer TOKEN`; "
    "`omni token show` prints it"
)

Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]


class Request(msgspec.Struct, gc=False):
    method: Any = UNSET
    params: msgspec.Raw | UnsetType = UNSET
    id: msgspec.Raw | UnsetType = UNSET
    jsonrpc: msgspec.Raw | UnsetType = UNSET


class Answer(msgspec.Struct, omit_defaults=True):
    id: msgspec.Raw | UnsetType = UNSET
    result: Any = UNSET
    error: str | UnsetType = UNSET
    kind: str = ""
    hint: str = ""


_decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode
_create = Reader(PlainCreateTask).json
_status = Reader(OneTask).json

Slot: TypeAlias = tuple[msgspec.Raw | UnsetType, Answer | Pending | asyncio.Task[Answer], str, int]


class PlainSession:
    """One connection that speaks the plain dialect, until it closes. Slots, because many of them sit idle."""

    __slots__ = (
        "_client", "_desk", "_line", "_make_spec", "_nesting", "_now", "_rate", "_receive", "_rights", "_room", "_send",
        "_wake",
    )  # fmt: skip

    def __init__(
        self,
        desk: Desk,
        make_spec: SpecMaker,
        receive: Receive,
        send: Send,
        *,
        client: str,
        rights: Rights,
        rate: RequestRate,
        nesting: int,
    ) -> None:
        self._desk = desk
        self._make_spec = make_spec
        self._receive = receive
        self._send = send
        self._client = client
        self._rights = rights
        self._rate = rate
        self._nesting = nesting
        self._line: list[Slot] = []  # a deque takes 600 bytes when empty, and 256 places are quickly moved up
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._now: Slot | None = None

    async def run(self, first: str) -> None:
        """Serve the connection, beginning with the message that was read already."""
        writer = asyncio.create_task(self._write())
        writer.add_done_callback(self._writer_ended)
        try:
            self._take(first)
            await self._read()
        finally:
            writer.cancel()
            self._give_up()

    # --- reading --------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        receive = self._receive
        while True:
            if len(self._line) >= MAX_IN_FLIGHT:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = text_of(message)
            if text is None:
                self._put(UNSET, Answer(error="Invalid JSON: a request is a text frame, not a binary one"), "")
            else:
                self._take(text)

    def _take(self, text: str) -> None:
        try:
            if too_deep(text, self._nesting):
                raise RecursionError
            request = _decode(text)
        except NOT_JSON as error:
            self._put(UNSET, Answer(error=f"Invalid JSON: {why_not_json(error)}"), "")
            return
        method = request.method
        self._put(request.id, self._begin(request), method if isinstance(method, str) else "")

    def _begin(self, request: Request) -> Answer | Pending | asyncio.Task[Answer]:
        if request.jsonrpc is not UNSET:
            return Answer(error="this connection speaks the plain dialect; open another one for MCP")
        method = request.method
        if not isinstance(method, str):
            return Answer(error="Missing method" if method is UNSET else "method must be a text")
        if method != "ping" and self._rights is Rights.NONE:
            return Answer(error=UNAUTHORISED)
        handle = _METHODS.get(method)
        if handle is None:
            return Answer(error=f"Unknown method: {method[:200]}")
        if method == "create_task" and self._rights < Rights.SUBMIT:
            return Answer(error="this key does not open create_task: it is for read", kind="unauthorised", hint=HINT)
        if not self._rate.allows():
            return Answer(error="too many requests a minute; slow down", kind="rate_limited")
        try:
            return handle(self, request.params)
        except OmniError as error:
            return _error(error)

    def _put(self, ident: msgspec.Raw | UnsetType, source: Any, method: str) -> None:
        self._line.append((ident, source, method, self._desk.clock.mono_ms()))
        if self._wake is not None:
            if not self._wake.done():
                self._wake.set_result(None)
            self._wake = None

    # --- methods --------------------------------------------------------------------------------------------------

    def ping(self, params: msgspec.Raw | UnsetType) -> Answer:
        """Answer, whoever asks."""
        return Answer(result="pong")

    def create_task(self, params: msgspec.Raw | UnsetType) -> Answer | Pending | asyncio.Task[Answer]:
        try:
            arguments = _create(params)
            spec = self._make_spec(arguments)
        except BadArgument as error:
            if error.missing and error.argument == "description":
                return Answer(error="Missing description")
            raise
        wait_s = 0.0 if spec.reply_to else arguments.wait_s
        if spec.idempotency_key is None:
            return self._desk.begin_submit(spec, self._client, wait_s)
        submitting = self._desk.submit(spec, client=self._client, wait_s=wait_s)
        return asyncio.create_task(_created(submitting))

    def get_task_status(self, params: msgspec.Raw | UnsetType) -> Answer | asyncio.Task[Answer]:
        try:
            task_id = _status(params).task_id
        except BadArgument as error:
            if error.missing and error.argument == "task_id":
                return Answer(error="Missing task_id")
            raise
        return asyncio.create_task(self._look(task_id))

    async def _look(self, task_id: str) -> Answer:
        try:
            return Answer(result=task_view(await self._desk.get(task_id)))
        except NotFound:
            return Answer(result={"error": "Task not found"})
        except OmniError as error:
            return _error(error)

    # --- writing --------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        line = self._line
        while True:
            if not line:
                self._wake = loop.create_future()
                await self._wake
            self._now = line.pop(0)
            if self._room is not None:
                self._make_room()
            answer = await self._answer(self._now[1])
            answer.id = self._now[0]
            await self._send({"type": "websocket.send", "text": _encode(answer).decode()})
            self._log(answer)
            self._now = None

    async def _answer(self, source: Answer | Pending | asyncio.Task[Answer]) -> Answer:
        if isinstance(source, Pending):
            payload = await source.future
            if isinstance(payload, Task):
                return _task_answer(payload)
            return await self._after(source, payload)
        return source if isinstance(source, Answer) else await source

    async def _after(self, pending: Pending, payload: Any) -> Answer:
        if isinstance(payload, Refusal):
            return _error(as_error(payload))
        assert payload is TIME_UP
        return await _created(self._desk.outcome(pending))

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def _log(self, answer: Answer) -> None:
        assert self._now is not None
        _, _, method, began = self._now
        result = answer.result
        log.debug(  # not louder: a storm of refusals must not become a storm of lines
            "call.answered",
            dialect="plain",
            tool=method,
            task=result.get("id") if isinstance(result, dict) else None,
            client=self._client,
            duration_ms=self._desk.clock.mono_ms() - began,
            outcome="ok" if answer.error is UNSET else answer.kind or "invalid",
        )

    # --- the end --------------------------------------------------------------------------------------------------

    def _writer_ended(self, writer: asyncio.Task[None]) -> None:
        # A client that vanished while we sent shows here; the reader will see the disconnect as its next event.
        if not writer.cancelled():
            writer.exception()
            self._make_room()

    def _give_up(self) -> None:
        slots = ([self._now] if self._now else []) + list(self._line)
        for _, source, _, _ in slots:
            if isinstance(source, Pending):
                self._desk.abandon(source)
            elif isinstance(source, asyncio.Task):
                source.cancel()
        self._line.clear()


_METHODS: dict[str, Callable[[PlainSession, msgspec.Raw | UnsetType], Answer | Pending | asyncio.Task[Answer]]] = {
    "ping": PlainSession.ping,
    "create_task": PlainSession.create_task,
    "get_task_status": PlainSession.get_task_status,
}


async def _created(submitting: Coroutine[Any, Any, Task]) -> Answer:
    try:
        return _task_answer(await submitting)
    except OmniError as error:
        return _error(error)


def _task_answer(task: Task) -> Answer:
    view = task_view(task)
    return Answer(result={"task_id": task.id, "status": view["state"], **view})


def _error(error: OmniError) -> Answer:
    return Answer(error=error.message, kind=kind_of(error), hint=error.hint)

"""The HTTP side of the model port: `/v1/…` for executors and other clients of models, in their own dialects.

The gate has let the caller in by a model key. Here the request is bounded and decoded, the answer is passed on as it
comes, and a client that goes away takes its call with it. Nothing is buffered: a client that reads slowly slows
upstream down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from starlette.routing import Route

from omni.domain.dialects import dialect_of, error_body
from omni.server.auth import CALLER, Receive, Scope, Send
from omni.server.limits import RequestRates

BODY_BYTES = 32 * 1024 * 1024  # what Anthropic takes
BODIES_BYTES = 256 * 1024 * 1024  # of all open calls together
MOST_VALUES = 250_000  # of the longest conversation there may be; each takes far more memory than it has bytes
BODY_WITHIN_S = 60.0
DEAF_S = 300.0  # a client that has not read for so long is gone

Dialect: TypeAlias = Literal["messages", "chat", "responses"]
_POSTS: dict[str, Dialect] = {
    "/v1/messages": "messages",
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
}


_COUNT = "/v1/messages/count_tokens"
Ask: TypeAlias = Callable[..., Awaitable["Reply"]]


class Reply(Protocol):
    """An answer: `body`, or where `streaming` what `chunks` brings. It is owed an `aclose`."""

    status: int
    media_type: str
    headers: dict[str, str]
    body: bytes

    @property
    def streaming(self) -> bool: ...

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class Models(Protocol):
    """What the daemon hands in: whom keys are for, and who answers calls. `omni.llm.port.ModelPort` is one."""

    @property
    def ready(self) -> bool: ...

    @property
    def owner(self) -> Any: ...

    def holder(self, key: str) -> Any: ...

    async def handle(
        self, dialect: Dialect, body: dict[str, Any], headers: Mapping[str, str], holder: Any, *, beta: bool = False
    ) -> Reply: ...

    async def count(
        self, body: dict[str, Any], headers: Mapping[str, str], holder: Any, *, beta: bool = False
    ) -> Reply: ...

    def models(self, dialect: Dialect) -> bytes: ...

    def model(self, dialect: Dialect, name: str) -> bytes | None: ...


class LateModels:
    """Stands at the door for a model port that is still being loaded: until `arrive` callers are told to come back."""

    def __init__(self) -> None:
        self._models: Models | None = None

    def arrive(self, models: Models) -> None:
        """From now on calls are answered."""
        self._models = models

    @property
    def ready(self) -> bool:
        """Whether keys can be checked and calls answered; nothing else here may be asked before."""
        return self._models is not None

    @property
    def owner(self) -> Any:
        return self._there.owner

    def holder(self, key: str) -> Any:
        return self._models.holder(key) if self._models else None

    async def handle(
        self, dialect: Dialect, body: dict[str, Any], headers: Mapping[str, str], holder: Any, *, beta: bool = False
    ) -> Reply:
        return await self._there.handle(dialect, body, headers, holder, beta=beta)

    async def count(
        self, body: dict[str, Any], headers: Mapping[str, str], holder: Any, *, beta: bool = False
    ) -> Reply:
        return await self._there.count(body, headers, holder, beta=beta)

    def models(self, dialect: Dialect) -> bytes:
        return self._there.models(dialect)

    def model(self, dialect: Dialect, name: str) -> bytes | None:
        return self._there.model(dialect, name)

    @property
    def _there(self) -> Models:
        assert self._models is not None, "the gate lets nobody in before"
        return self._models


class _Problem(Exception):
    """A request that is turned down before anybody looks at it."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class _Gone(Exception):
    """The client went away, or does not read."""


class _Room:
    """Bytes of bodies that are held at the same time."""

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self, size: int) -> None:
        """Raises _Problem when there is no room."""
        if size > self._free:
            raise _Problem(503, "too many large model calls at once", (b"retry-after", b"5"))
        self._free -= size

    def give_back(self, size: int) -> None:
        self._free += size


def routes(models: Models, rates: RequestRates, nesting: int) -> list[Route]:
    """All that is under `/v1`."""
    room = _Room(BODIES_BYTES)
    asks: dict[str, Ask] = {path: partial(models.handle, dialect) for path, dialect in _POSTS.items()}
    asks[_COUNT] = models.count
    calls = [Route(path, _Calls(ask, rates, room, nesting)) for path, ask in asks.items()]
    lists = [Route(path, _List(models)) for path in ("/v1/models", "/v1/models/{name:path}")]
    return [*calls, *lists, Route("/v1/{rest:path}", _Nothing())]


class _Calls:
    """What one path is asked, by POST."""

    def __init__(self, ask: Ask, rates: RequestRates, room: _Room, nesting: int) -> None:
        self._ask = ask
        self._rates = rates
        self._room = room
        self._nesting = nesting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[int] = []
        try:
            body = [await self._accepted(scope, receive, held)]  # popped: a long stream must not keep its question
            await _while_there(receive, lambda: self._answer(scope, body.pop(), send))
        except _Problem as problem:
            await _turn_down(scope, send, problem)
        except _Gone:
            pass
        finally:
            self._room.give_back(sum(held))

    async def _accepted(self, scope: Scope, receive: Receive, held: list[int]) -> dict[str, Any]:
        if scope["method"] != "POST":
            raise _Problem(405, "model calls are made with POST", (b"allow", b"POST"))
        if not self._rates.of(scope[CALLER].address).allows():
            raise _Problem(429, "too many requests a minute", (b"retry-after", b"60"))
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                raw = await self._read(receive, held)
        except TimeoutError:
            raise _Problem(408, "the request took too long to arrive") from None
        return decoded(raw, self._nesting)

    async def _read(self, receive: Receive, held: list[int]) -> bytes:
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _Gone
            part = message.get("body", b"")
            if sum(held) + len(part) > BODY_BYTES:
                raise _Problem(413, f"a model call may have {BODY_BYTES >> 20} MiB")
            self._room.take(len(part))
            held.append(len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _answer(self, scope: Scope, body: dict[str, Any], send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        beta = b"beta=true" in scope["query_string"].split(b"&")
        reply = await self._ask(body, headers, scope[CALLER].holder, beta=beta)
        del body
        try:
            await _pass_on(reply, send)
        finally:
            await reply.aclose()


class _List:
    """The models that can be asked for, all of them or one by its name."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await _turn_down(scope, send, _Problem(405, "models are listed with GET", (b"allow", b"GET, HEAD")))
            return
        wants_theirs = any(name == b"anthropic-version" for name, _ in scope["headers"])
        dialect: Dialect = "messages" if wants_theirs else "chat"
        name = scope["path_params"].get("name")
        body = self._models.models(dialect) if name is None else self._models.model(dialect, name)
        status = 200 if body is not None else 404
        body = body or error_body(dialect, 404, f"there is no model {str(name)[:200]!r}; GET /v1/models lists them")
        await _send_whole(send, status, "application/json", {}, body)


class _Nothing:
    """Whatever else is asked for, said in the caller's dialect."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        served = ", ".join([*_POSTS, _COUNT, "/v1/models"])
        await _turn_down(scope, send, _Problem(404, f"{scope['path'][:200]} is not served here; there are: {served}"))


def decoded(raw: bytes, nesting: int) -> dict[str, Any]:
    """The JSON object of a request, nested no deeper than `nesting`. Raises a problem for the caller."""
    if too_many(raw):
        raise _Problem(413, f"a model call may have {MOST_VALUES} values")
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _Problem(400, f"the request is not JSON: {str(error)[:200]}") from None
    if not isinstance(body, dict):
        raise _Problem(400, "the request is not an object")
    if too_deep(body, nesting):
        raise _Problem(400, f"the request nests deeper than {nesting}")
    return body


def too_many(raw: bytes) -> bool:
    """Whether JSON holds more than MOST_VALUES values; told from its bytes, before they become objects."""
    if _marks(raw) <= MOST_VALUES:  # almost always; marks inside of texts count too, and need the closer look
        return False
    bare = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 4 * MOST_VALUES:  # every value may have a name, and be a text itself
        return True
    return _marks(b"".join(bare.split(b'"')[::2])) > MOST_VALUES


def _marks(raw: bytes) -> int:
    return sum(map(raw.count, (b",", b"[", b"{")))


def too_deep(value: Any, limit: int) -> bool:
    """Whether objects and lists nest deeper than `limit`."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for each in level
            for child in (each.values() if type(each) is dict else each)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


async def _while_there(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` to its end, or until the client is gone: then it is cancelled."""
    leash = asyncio.timeout(None)
    try:
        async with leash:
            watch = asyncio.create_task(_watch(receive, leash))
            try:
                await work()
            finally:
                watch.cancel()
    except TimeoutError:
        if not leash.expired():
            raise


async def _watch(receive: Receive, leash: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    leash.reschedule(asyncio.get_running_loop().time())


async def _pass_on(reply: Reply, send: Send) -> None:
    if not reply.streaming:
        await _send_whole(send, reply.status, reply.media_type, reply.headers, reply.body)
        return
    headers = {**reply.headers, "cache-control": "no-cache"}
    await send(_start(reply.status, reply.media_type, headers))
    async for chunk in reply.chunks():
        await _send_chunk(send, chunk)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_chunk(send: Send, chunk: bytes) -> None:
    try:
        async with asyncio.timeout(DEAF_S):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except TimeoutError:
        raise _Gone from None


async def _send_whole(send: Send, status: int, media_type: str, headers: dict[str, str], body: bytes) -> None:
    await send(_start(status, media_type, {**headers, "content-length": str(len(body))}))
    await send({"type": "http.response.body", "body": body})


async def _turn_down(scope: Scope, send: Send, problem: _Problem) -> None:
    body = error_body(dialect_of(scope["path"]), problem.status, problem.message)
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    await _send_whole(send, problem.status, "application/json", {**headers, "connection": "close"}, body)


def _start(status: int, media_type: str, headers: dict[str, str]) -> dict[str, Any]:
    lines = [(b"content-type", media_type.encode("latin-1"))]
    lines += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": lines}

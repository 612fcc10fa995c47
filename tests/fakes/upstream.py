"""A cloud on loopback that keeps a ledger of every request and fails in the ways that clouds fail.

    python -m tests.fakes.upstream --port 0 [--name north] [--keys KEY ...] [--litellm] [--journal FILE]
    prints its port, then serves

With --litellm it plays a LiteLLM proxy and all that is behind it: faults come with the headers that say that a cloud
was asked, and `/health/liveliness` answers after `liveliness_s`, with the statuses of `liveliness` by turns, whatever
else goes wrong.

A request is answered by the fault that its prompt names (`fault:429`), else by the next of the queued faults, else by
the standing one; pings and lists take nothing from the queue. A prompt may carry a marker (`mark:task-7`), which the
answer repeats and the ledger notes.
With --journal every request is also a line in a file, when it comes and again when it ends, which outlives a kill.

    POST /__control  {"fault": "500", "queue": ["cut", "ok"], "retry_after": "2", "delay_s": 0.5, "keys": [...]}, …
    GET  /__ledger   {"entries": [...], "in_flight": n, "peak": n}      DELETE /__ledger forgets

| fault | what the client sees |
|---|---|
| ok | an answer |
| 400 401 402 403 404 408 413 500 503 529 | that status and an error in the dialect of the path |
| 400-echo 401-echo | the same with the key in its message, as some clouds say it |
| 429, 429-after, 429-cooldown | without and with Retry-After; the last as CLIProxyAPI says it |
| 502 | a page of HTML |
| hang | a connection, and nothing on it |
| cut | the connection is closed before the headers |
| badjson, empty, errbody | 200 with half a document, with nothing, with an error in it |
| slow | an answer after `delay_s` |
| drip | an answer in pieces, `delay_s` apart |
| cutstream, hangstream, errstream | a stream that begins well, and is cut, falls silent, or says that it failed |
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from tests.fakes.dialects import PATHS, Dialect, Said, dialect_of, models
from uvicorn.protocols.http.h11_impl import H11Protocol

MODELS = ("fake-light", "fake-heavy")
FAULT = re.compile(rb"fault:([a-z0-9-]+)")
MARK = re.compile(rb"mark:([A-Za-z0-9_-]+)")
LIVELINESS = "/health/liveliness"
FOREVER_S = 3600.0
BREAKS_AFTER = 4  # pieces of a stream; some of the text is out by then in every dialect, and most is not


class Refusal(NamedTuple):
    """An answer that says no; the words of Anthropic's and of OpenAI's dialect."""

    status: int
    kind: str
    message: str
    retry_after: bool = False


REFUSALS = {
    "400": Refusal(400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
    "400-echo": Refusal(400, "invalid_request_error", "the request that came with {key} is too long"),
    "401": Refusal(401, "authentication_error", "invalid x-api-key"),
    "401-echo": Refusal(401, "authentication_error", "Incorrect API key provided: {key}"),
    "402": Refusal(402, "billing_error", "Insufficient credits"),
    "403": Refusal(403, "permission_error", "this key may not use this model"),
    "404": Refusal(404, "not_found_error", "there is no such model"),
    "408": Refusal(408, "timeout_error", "the request timed out"),
    "413": Refusal(413, "request_too_large", "the request is too large"),
    "429": Refusal(429, "rate_limit_error", "too many requests"),
    "429-after": Refusal(429, "rate_limit_error", "too many requests", retry_after=True),
    "429-cooldown": Refusal(429, "model_cooldown", "all credentials for this model are cooling down", retry_after=True),
    "500": Refusal(500, "api_error", "something went wrong here"),
    "503": Refusal(503, "api_error", "not available now"),
    "529": Refusal(529, "overloaded_error", "Overloaded"),
}
BODIES = {
    "badjson": (200, "application/json", '{"id": "x", "choi'),
    "empty": (200, "application/json", ""),
    "502": (502, "text/html", "<html><body><h1>502 Bad Gateway</h1></body></html>"),
}
IN_STREAM = ("cutstream", "hangstream", "errstream")
FAULTS = {"ok", "hang", "cut", "errbody", "slow", "drip", *IN_STREAM, *REFUSALS, *BODIES}


class Entry(msgspec.Struct):
    """One request as the cloud saw it; `at_s` on the machine's monotonic clock."""

    n: int
    at_s: float
    path: str
    key: str
    model: str
    mark: str
    stream: bool
    fault: str
    ended: str = ""  # how: a status, "left" when the client went away, "cut"


class Control(msgspec.Struct, forbid_unknown_fields=True):
    """What the cloud does from now on; None for keys takes any."""

    fault: str = "ok"
    queue: list[str] = []
    retry_after: str = "2"
    delay_s: float = 0.5
    cost_usd: float = 0.00123
    keys: list[str] | None = None
    text: str = ""
    liveliness_s: float = 0.0
    liveliness: list[int] = msgspec.field(default_factory=lambda: [200])  # statuses, by turns

    def __post_init__(self) -> None:
        unknown = {self.fault, *self.queue} - FAULTS
        assert not unknown, f"no such faults: {unknown}"


class Wires(dict[Any, asyncio.Transport]):
    """The open connections by the client's address, for faults below HTTP."""

    def protocol(self) -> type[H11Protocol]:
        wires = self

        class Wired(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                wires[transport.get_extra_info("peername")] = transport
                super().connection_made(transport)

        return Wired

    def cut(self, scope: Scope) -> None:
        if wire := self.get(tuple(scope["client"])):
            wire.close()


class Cloud:
    """The cloud as an ASGI application; `control` and `ledger` may be read and set by a test on the same loop."""

    def __init__(
        self, name: str = "cloud", keys: Iterable[str] | None = None, *, litellm: bool = False, journal: str = ""
    ) -> None:
        self.name = name
        self.litellm = litellm
        self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if journal else None
        self.control = Control(keys=None if keys is None else list(keys))
        self.ledger: list[Entry] = []
        self.in_flight = 0
        self.peak = 0
        self.wires = Wires()
        self.app = Starlette(routes=list(self._routes()))

    def _routes(self) -> Iterable[Route]:
        for path in PATHS:
            yield Route(path, self._ask, methods=["POST"])
        for path in ("/v1/models", "/api/v1/models", "/api/v1/key", "/healthz", "/v1/messages/count_tokens"):
            yield Route(path, self._ask, methods=["GET", "POST"])
        if self.litellm:
            yield Route(LIVELINESS, self._live)
        yield Route("/__control", self._set, methods=["POST"])
        yield Route("/__ledger", self._show, methods=["GET", "DELETE"])

    async def _set(self, request: Request) -> Response:
        known = msgspec.to_builtins(self.control)
        self.control = msgspec.convert({**known, **await request.json()}, Control)
        return JSONResponse(msgspec.to_builtins(self.control))

    async def _live(self, request: Request) -> Response:
        await asyncio.sleep(self.control.liveliness_s)
        statuses = self.control.liveliness
        statuses.append(statuses.pop(0))
        return JSONResponse("I'm alive!" if statuses[-1] == 200 else "", statuses[-1])

    async def _show(self, request: Request) -> Response:
        shown = {"entries": msgspec.to_builtins(self.ledger), "in_flight": self.in_flight, "peak": self.peak}
        if request.method == "DELETE":
            self.ledger.clear()
            self.peak = self.in_flight
        return JSONResponse(shown)

    async def _ask(self, request: Request) -> Response:
        raw = await request.body()
        entry = self._note(request, raw)
        turn = _Turn(self, request, entry, json.loads(raw or b"{}"))
        answer = await turn.answer()
        if self.litellm and answer is not None:
            answer.headers["x-litellm-call-id"] = request.headers.get("x-litellm-call-id", str(entry.n))
            answer.headers.update({"x-litellm-timeout": "20.0"} if entry.fault != "ok" else {})
        return _Counted(self, entry, answer, turn)

    def _note(self, request: Request, raw: bytes) -> Entry:
        body = json.loads(raw or b"{}")
        marks = MARK.findall(raw)
        entry = Entry(
            n=len(self.ledger) + 1,
            at_s=time.monotonic(),
            path=request.url.path,
            key=_key_of(request),
            model=str(body.get("model", "")),
            mark=marks[-1].decode() if marks else "",
            stream=bool(body.get("stream")),
            fault=self._fault(request.url.path, raw),
        )
        self.ledger.append(entry)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        self.write_down(entry)
        return entry

    def write_down(self, entry: Entry) -> None:
        """Add a line to the journal, where there is one; of two lines with the same `life` and `n` the later counts."""
        if self._journal is not None:
            line = {"life": os.getpid(), **msgspec.to_builtins(entry)}
            os.write(self._journal, json.dumps(line).encode() + b"\n")

    def _fault(self, path: str, raw: bytes) -> str:
        if named := FAULT.findall(raw):
            fault = str(named[-1].decode())
            assert fault in FAULTS, f"no such fault: {fault}"
            return fault
        return self.control.queue.pop(0) if self.control.queue and path in PATHS else self.control.fault


def _key_of(request: Request) -> str:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    return str(request.headers.get("x-api-key") or bearer)


class _Counted(Response):
    """Sends an answer, and notes in the ledger how it ended; None cuts the connection."""

    def __init__(self, cloud: Cloud, entry: Entry, answer: Response | None, turn: _Turn) -> None:
        super().__init__()
        self._cloud = cloud
        self._entry = entry
        self._answer = answer
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._send(scope, receive, send)
        except asyncio.CancelledError:
            self._entry.ended = "left"
            self._cloud.write_down(self._entry)
            raise
        finally:
            self._cloud.in_flight -= 1
        if not self._entry.ended:
            whole = self._turn.whole
            self._entry.ended = str(self._answer.status_code) if whole and self._answer else "left"
        self._cloud.write_down(self._entry)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._answer is None:
            self._entry.ended = self._entry.ended or "cut"
            self._cloud.wires.cut(scope)
        else:
            await self._answer(scope, receive, send)


class _Turn:
    """One request on its way to an answer."""

    def __init__(self, cloud: Cloud, request: Request, entry: Entry, body: dict[str, Any]) -> None:
        self._control = cloud.control
        self._wires = cloud.wires
        self._request = request
        self._entry = entry
        self._body = body
        self._anthropic = "x-api-key" in request.headers or "anthropic-version" in request.headers
        self._dialect: Dialect = dialect_of(entry.path, anthropic=self._anthropic)
        text = self._control.text or f"{cloud.name} answers {entry.mark or 'you'} in a few words"
        self._said = Said(entry.n, entry.model, text, self._control.cost_usd, self._wants_usage())
        self.whole = True  # whether everything was sent that was to be sent

    def _wants_usage(self) -> bool:
        options = self._body.get("stream_options") or {}
        return bool(options.get("include_usage")) or self._entry.path.startswith("/api/")

    async def answer(self) -> Response | None:
        """What is sent; None for a connection that is cut."""
        fault = self._entry.fault
        if self._control.keys is not None and self._entry.key not in self._control.keys:
            return self._refuse(REFUSALS["401"])
        if fault in REFUSALS:
            return self._refuse(REFUSALS[fault])
        if fault in BODIES:
            status, media_type, text = BODIES[fault]
            return Response(text, status, media_type=media_type)
        if fault in {"cut", "hang"}:
            await self._below_http(fault)
            return None
        if fault == "errbody":
            return JSONResponse(self._dialect.error(502, "server_error", "the provider went away"))
        if fault == "slow":
            await asyncio.sleep(self._control.delay_s)
        return self._good()

    async def _below_http(self, fault: str) -> None:
        if fault == "hang":
            await self._left(FOREVER_S)
            self._entry.ended = "left"

    async def _left(self, within_s: float) -> bool:
        """Wait, but no longer than the client does; tells whether it went away."""
        try:
            async with asyncio.timeout(within_s):
                while (await self._request.receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return False
        return True

    def _refuse(self, refusal: Refusal) -> Response:
        headers = {"Retry-After": self._control.retry_after} if refusal.retry_after else {}
        message = refusal.message.replace("{key}", self._entry.key)
        body = self._dialect.error(refusal.status, refusal.kind, message)
        return JSONResponse(body, refusal.status, headers)

    def _good(self) -> Response:
        plain = _plain(self._entry.path, anthropic=self._anthropic)
        if plain is not None:
            return JSONResponse(plain)
        if self._entry.stream:
            self.whole = False
            return StreamingResponse(self._stream(), media_type="text/event-stream")
        if self._entry.fault == "drip":
            self.whole = False
            return StreamingResponse(self._drip(), media_type="application/json")
        return JSONResponse(self._dialect.whole(self._said))

    async def _stream(self) -> AsyncIterator[bytes]:
        for n, piece in enumerate(self._dialect.stream(self._said)):
            if n == BREAKS_AFTER and self._entry.fault in IN_STREAM:
                async for last in self._break():
                    yield last
                return
            yield piece
            await asyncio.sleep(self._control.delay_s if self._entry.fault == "drip" else 0.005)
        self.whole = True

    async def _break(self) -> AsyncIterator[bytes]:
        if self._entry.fault == "hangstream":
            await asyncio.sleep(FOREVER_S)  # starlette ends this when the client goes away
            return
        self._entry.ended = self._entry.fault
        if self._entry.fault == "errstream":
            yield self._dialect.broken(self._said)
        else:
            self._wires.cut(self._request.scope)

    async def _drip(self) -> AsyncIterator[bytes]:
        text = json.dumps(self._dialect.whole(self._said)).encode()
        size = len(text) // 6 + 1
        for start in range(0, len(text), size):
            yield text[start : start + size]
            await asyncio.sleep(self._control.delay_s)
        self.whole = True


def _plain(path: str, *, anthropic: bool) -> dict[str, Any] | None:
    """The answers that no model gives: lists, the state of a key, a count."""
    if path.endswith("/models"):
        return models(MODELS, anthropic=anthropic)
    if path == "/api/v1/key":
        return {"data": {"label": "a key", "limit": 10, "limit_remaining": 7.5, "usage": 2.5, "is_free_tier": False}}
    if path == "/healthz":
        return {"status": "ok"}
    return {"input_tokens": 11} if path.endswith("/count_tokens") else None


def settings(app: Any, http: type[H11Protocol] | str = "h11") -> uvicorn.Config:
    """A server for one fake: quiet, on loopback, gone as soon as it is asked to go."""
    return uvicorn.Config(app, http=http, log_level="critical", lifespan="off", timeout_graceful_shutdown=0)


def serve(config: uvicorn.Config, port: int) -> None:
    """Listen on loopback, print the port, serve until a signal."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(512)
    print(listening.getsockname()[1], flush=True)  # noqa: T201 - whoever started us reads it
    uvicorn.Server(config).run([listening])


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="cloud")
    parser.add_argument("--keys", nargs="*")
    parser.add_argument("--litellm", action="store_true")
    parser.add_argument("--journal", default="")
    given = parser.parse_args(arguments)
    cloud = Cloud(given.name, given.keys, litellm=given.litellm, journal=given.journal)
    serve(settings(cloud.app, cloud.wires.protocol()), given.port)


if __name__ == "__main__":
    main(sys.argv[1:])

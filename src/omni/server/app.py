"""The ASGI application: gate, WebSocket door, MCP over HTTP, the JSON API and the model port on one port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.routing import Route

from omni.config import Config
from omni.server import api, model_port
from omni.server.auth import CALLER, Gate, Receive, Refusal, Scope, Send, Site, refuse
from omni.server.desk import Desk
from omni.server.intake import Intake
from omni.server.limits import PerMinute, RequestRates
from omni.server.mcp_door import McpDoor
from omni.server.metrics import Metrics
from omni.server.protocols import ABORT
from omni.server.requests import SpecMaker
from omni.server.tokens import TokenFile
from omni.server.ws import WebSocketDoor

TOKEN_LOOK_S = 0.5
BODY_WITHIN_S = 10.0
SOCKET_PATHS = frozenset({"/", "/ws"})

MakeSite: TypeAlias = Callable[[TokenFile | None, PerMinute], Site]  # with the token and the count of failed logins


class App:
    """What the door serves; `listens_on` tells it the port once that is known."""

    def __init__(self, gate: Gate, site: Site | None = None, go_by: Callable[[Config], None] = lambda _: None) -> None:
        self._gate = gate
        self._site = site
        self.go_by = go_by  # another configuration from now on, as far as that goes without a restart

    def listens_on(self, port: int) -> None:
        """Our port: Host and Origin headers must name it."""
        self._gate.names.listens_on(port)

    def closes(self) -> None:
        """End what would stay open for ever; the door is about to close."""
        if self._site:
            self._site.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._gate(scope, receive, send)


class _Fork:
    """Leads WebSockets past the router: its layers would stay on the stack of every connection, 4 KiB each."""

    def __init__(self, sockets: WebSocketDoor, router: Starlette) -> None:
        self._sockets = sockets
        self._router = router

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_door = scope["type"] == "websocket" and scope["path"] in SOCKET_PATHS
        return self._sockets(scope, receive, send) if is_door else self._router(scope, receive, send)


class McpOverHttp:
    """`/mcp`: bounds the body and its time, counts the request, passes it on."""

    def __init__(self, mcp: McpDoor, rates: RequestRates, frame_bytes: int) -> None:
        self._mcp = mcp
        self._rates = rates
        self._frame_bytes = frame_bytes
        self._open: set[Callable[[], None]] = set()

    def log_out(self) -> None:
        """Cut every request that showed the token which is no longer it: answers may be streams without an end."""
        for abort in list(self._open):
            abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._open.add(scope[ABORT])
        try:
            await self._serve(scope, receive, send)
        finally:
            self._open.discard(scope[ABORT])

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._rates.of(scope[CALLER].counted_as).allows():
            await refuse(scope, receive, send, Refusal(429, "too many requests a minute", "slow down"))
            return
        try:
            body = await asyncio.wait_for(_body(receive, self._frame_bytes), BODY_WITHIN_S)
        except TimeoutError:
            await refuse(scope, receive, send, Refusal(408, "the request took too long to arrive"))
            return
        if body is None:
            problem = Refusal(413, f"a request may have {self._frame_bytes} bytes", "raise limits.frame_bytes")
            await refuse(scope, receive, send, problem)
            return
        await self._mcp.serve_http(scope, _replayed(body, receive), send)


async def _body(receive: Receive, most: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return waiting.pop() if waiting else await receive()

    return replay


def build_app(
    desk: Desk,
    config: Config,
    auth: TokenFile | None,
    readiness: api.Readiness,
    models: model_port.Models | None = None,
    make_site: MakeSite | None = None,
    metrics: Metrics | None = None,
) -> App:
    """Put the door together. `auth` None: no token is wanted (loopback only); `models` None: there is no model port.

    `make_site` brings what browsers see; without it there is the JSON alone.

    Raises ConfigError.
    """
    limits, now = config.limits, _monotonic_s(desk)
    rates = RequestRates(limits.requests_per_minute, now)
    call_rates = RequestRates(limits.requests_per_minute, now)  # executors must not use up the owner's
    make_spec = SpecMaker(config.allowed_workdirs, Intake.of(config))
    mcp = McpDoor(desk, make_spec, limits.nesting, limits.frame_bytes)
    sockets = WebSocketDoor(desk, make_spec, mcp, rates, limits.nesting, limits.frame_bytes)
    over_http = McpOverHttp(mcp, rates, limits.frame_bytes)
    failed = PerMinute(limits.failed_logins_per_minute, now)
    site = make_site(auth, failed) if make_site else None
    router = Starlette(
        routes=[
            *(site.routes if site else ()),
            Route("/mcp", over_http),
            *api.routes(desk, readiness),
            *((metrics.route,) if metrics else ()),
            *(model_port.routes(models, call_rates, limits.nesting) if models else ()),
        ],
        lifespan=lambda _: _alive(mcp, sockets, over_http, auth, site),
    )
    inside = _Fork(sockets, router)
    gate = Gate(
        inside,
        host=config.host,
        tokens=auth,
        limits=limits,
        now=now,
        models=models,
        failed=failed,
        site=site,
        allowed_hosts=config.allowed_hosts,
    )
    if metrics:
        metrics.stands_at(gate.seen)

    def go_by(new: Config) -> None:
        gate.go_by(new.limits, new.allowed_hosts)
        rates.go_by(new.limits.requests_per_minute)
        call_rates.go_by(new.limits.requests_per_minute)
        make_spec.go_by(new.allowed_workdirs, Intake.of(new))

    return App(gate, site, go_by)


@contextlib.asynccontextmanager
async def _alive(
    mcp: McpDoor, sockets: WebSocketDoor, over_http: McpOverHttp, auth: TokenFile | None, site: Site | None
) -> AsyncIterator[None]:
    mcp.start()
    watch = asyncio.create_task(_watch_token(sockets, over_http, auth, site)) if auth else None
    try:
        yield
    finally:
        if watch:
            watch.cancel()
        await mcp.stop()


async def _watch_token(sockets: WebSocketDoor, over_http: McpOverHttp, auth: TokenFile, site: Site | None) -> None:
    generation = auth.generation
    while True:
        await asyncio.sleep(TOKEN_LOOK_S)
        auth.refresh()
        if auth.generation != generation:
            generation = auth.generation
            if site:
                site.log_out()
            over_http.log_out()
            await sockets.log_out()


def _monotonic_s(desk: Desk) -> Any:
    clock = desk.clock
    return lambda: clock.mono_ms() / 1000

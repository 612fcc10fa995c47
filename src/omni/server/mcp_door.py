"""Holds the door for MCP while its library loads: requests that come earlier wait, everything else does not."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from omni.server.auth import Caller, Receive, Scope, Send
from omni.server.desk import Desk
from omni.server.limits import RequestRate
from omni.server.requests import SpecMaker

log = structlog.get_logger()


class McpService(Protocol):
    """What `omni.server.mcp_server` brings once it is loaded."""

    async def serve_socket(
        self, first: str | None, receive: Receive, send: Send, caller: Caller, rate: RequestRate
    ) -> None: ...

    async def serve_http(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def run(self, ready: Callable[[], None], stop: Awaitable[Any]) -> None: ...


class McpDoor:
    """Loads the MCP server on a thread, runs it, and passes connections on to it."""

    def __init__(self, desk: Desk, make_spec: SpecMaker, nesting: int, frame_bytes: int) -> None:
        self._make = (desk, make_spec, nesting, frame_bytes)
        self._service: asyncio.Future[McpService] | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load."""
        self._service = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End what runs; connections have been closed before."""
        self._stop.set()
        if self._task:
            await self._task

    async def serve_socket(
        self, first: str | None, receive: Receive, send: Send, caller: Caller, rate: RequestRate
    ) -> None:
        """Serve one WebSocket connection until it closes."""
        service = await self.ready()
        await service.serve_socket(first, receive, send, caller, rate)

    async def serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the Streamable HTTP transport."""
        service = await self.ready()
        await service.serve_http(scope, receive, send)

    async def ready(self) -> McpService:
        """The loaded service; waits for it."""
        assert self._service is not None, "start() comes first"
        return await asyncio.shield(self._service)

    async def _run(self) -> None:
        assert self._service is not None
        try:
            module = await asyncio.to_thread(importlib.import_module, "omni.server.mcp_server")
            service: McpService = module.McpServer(*self._make)
            await service.run(lambda: self._loaded(service), self._stop.wait())
        except Exception as error:
            log.exception("mcp_server.failed")
            if not self._service.done():
                self._service.set_exception(error)
                self._service.exception()  # nobody may ever ask

    def _loaded(self, service: McpService) -> None:
        assert self._service is not None
        self._service.set_result(service)

"""Nothing but the MCP SDK and an empty tool, behind the WebSocket framing that the product uses: `bare_server PORT`.

What this server does in a second is what the SDK allows. It keeps no task, checks no token, and writes no log.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.shared._context_streams import create_context_streams
from mcp.shared.message import SessionMessage
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from omni.server.protocols import ws_protocol

TOOL = types.Tool(name="nothing", description="Does nothing.", input_schema={"type": "object"})
QUEUE = 8


async def _list(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[TOOL])


async def _call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text="done")])


class BareServer:
    """ASGI endpoint: frames to the SDK and back."""

    def __init__(self) -> None:
        self._server: Server[Any] = Server("bare", on_list_tools=_list, on_call_tool=_call)
        self._server.middleware.clear()  # as in the product: no traces
        self._state: Any = None

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        async with self._server.lifespan(self._server) as self._state:
            yield

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "mcp"})
        incoming, to_read = create_context_streams[SessionMessage | Exception](0)
        to_write, outgoing = create_context_streams[SessionMessage](0)
        async with anyio.create_task_group() as group:
            group.start_soon(_read, receive, incoming)
            group.start_soon(_write, send, outgoing)
            options = self._server.create_initialization_options()
            await serve_dual_era_loop(self._server, to_read, to_write, lifespan_state=self._state, init_options=options)
            group.cancel_scope.cancel()


async def _read(receive: Any, incoming: Any) -> None:
    async with incoming:
        while (message := await receive())["type"] != "websocket.disconnect":
            parsed = types.jsonrpc_message_adapter.validate_json(message["text"], by_name=False)
            await incoming.send(SessionMessage(parsed))


async def _write(send: Any, outgoing: Any) -> None:
    async with outgoing:
        async for message in outgoing:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            await send({"type": "websocket.send", "text": text})


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print("ready", flush=True)


def main(port: int) -> None:
    endpoint = BareServer()
    app = Starlette(routes=[WebSocketRoute("/", endpoint)], lifespan=endpoint.lifespan)
    settings: dict[str, Any] = {
        "host": "127.0.0.1", "port": port, "ws": ws_protocol(QUEUE), "ws_per_message_deflate": False,
        "access_log": False, "log_level": "error", "timeout_graceful_shutdown": 1,
    }  # fmt: skip
    asyncio.run(_Server(uvicorn.Config(app, **settings)).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))

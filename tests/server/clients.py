"""MCP clients for the tests: the SDK's own, over WebSocket and Streamable HTTP, in both protocol eras."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import anyio
import httpx2
import mcp_types as types
import pytest
import websockets
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._context_streams import create_context_streams
from mcp.shared.message import SessionMessage
from tests.server.house import House
from websockets.typing import Subprotocol


@asynccontextmanager
async def ws_transport(house: House) -> AsyncIterator[Any]:
    incoming, to_read = create_context_streams[Any](0)
    to_write, outgoing = create_context_streams[SessionMessage](0)
    connecting = websockets.connect(
        house.url("/ws"), subprotocols=[Subprotocol("mcp")], additional_headers=house.headers, compression=None
    )

    async def read(socket: Any) -> None:
        async with incoming:
            async for frame in socket:
                await incoming.send(SessionMessage(types.jsonrpc_message_adapter.validate_json(frame, by_name=False)))

    async def write(socket: Any) -> None:
        async with outgoing:
            async for message in outgoing:
                await socket.send(message.message.model_dump_json(by_alias=True, exclude_unset=True))

    async with connecting as socket, anyio.create_task_group() as group:
        assert socket.subprotocol == "mcp"
        group.start_soon(read, socket)
        group.start_soon(write, socket)
        yield to_read, to_write
        group.cancel_scope.cancel()


@asynccontextmanager
async def http_transport(house: House) -> AsyncIterator[Any]:
    async with (
        httpx2.AsyncClient(headers=house.headers) as client,
        streamable_http_client(house.url("/mcp", "http"), http_client=client) as streams,
    ):
        yield streams


Transport: TypeAlias = Callable[[House], AbstractAsyncContextManager[Any]]
WAYS = [
    pytest.param(transport, mode, id=f"{name}-{mode}")
    for name, transport in (("ws", ws_transport), ("http", http_transport))
    for mode in ("legacy", "auto")
]


def connect(house: House, transport: Transport, mode: str, **more: Any) -> Client:
    return Client(transport(house), mode=mode, **more)


def text(result: types.CallToolResult, n: int = 0) -> str:
    """The text of a tool's answer."""
    block = result.content[n]
    assert isinstance(block, types.TextContent)
    return block.text


def values(result: types.CallToolResult) -> Any:
    """The structured content of a tool's answer."""
    return result.structured_content

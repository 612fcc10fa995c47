"""MCP over WebSocket: subprotocol `mcp`, one JSON-RPC message per text frame."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.typing import Subprotocol

from omni.executors.wire import MAX_MESSAGE_BYTES, Wire, parse, unparse

OPEN_S = 10.0
CLOSE_S = 1.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class StraightConnect(connect):
    """A connection to the address that was given. A redirect would take our headers to another one."""

    def process_redirect(self, exc: Exception) -> Exception:
        """No redirect is followed."""
        return exc


@asynccontextmanager
async def open_websocket(url: str, headers: Mapping[str, str]) -> AsyncIterator[Wire]:
    """Connect and speak; pings every 20 s notice a peer that went silently."""
    async with StraightConnect(
        url,
        subprotocols=[Subprotocol("mcp")],
        additional_headers=dict(headers),
        max_size=MAX_MESSAGE_BYTES,
        compression=None,
        open_timeout=OPEN_S,
        close_timeout=CLOSE_S,
        proxy=None if urlsplit(url).hostname in LOOPBACK else True,
    ) as socket:
        to_client, read = anyio.create_memory_object_stream[SessionMessage](0)
        write, from_client = anyio.create_memory_object_stream[SessionMessage](0)
        wire = Wire(read, write)
        async with anyio.create_task_group() as group:
            group.start_soon(_read, socket, to_client, wire)
            group.start_soon(_write, socket, from_client, wire)
            yield wire
            group.cancel_scope.cancel()


async def _read(socket: ClientConnection, out: MemoryObjectSendStream[SessionMessage], wire: Wire) -> None:
    async with out:
        try:
            async for frame in socket:
                message = _message(frame)
                if message is not None:
                    await out.send(message)
            wire.tell(_farewell(socket))
        except ConnectionClosedError:
            wire.tell(_farewell(socket))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


def _message(frame: str | bytes) -> SessionMessage | None:
    try:
        return parse(frame)
    except ValueError:  # not JSON-RPC: no answer is possible, and the next frame may be one
        return None


def _farewell(socket: ClientConnection) -> str:
    code, why = socket.close_code, socket.close_reason
    return f"the server closed the WebSocket ({code}{' ' + why if why else ''})"


async def _write(socket: ClientConnection, messages: MemoryObjectReceiveStream[SessionMessage], wire: Wire) -> None:
    async with messages:
        try:
            async for message in messages:
                await socket.send(unparse(message))
        except ConnectionClosed:
            wire.lose()

"""A wire: one open transport to an MCP server, as the pair of message streams that the SDK's client speaks over.

Imports the SDK, which takes half a second: load it off the loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage

from omni.executors.children import MAX_MESSAGE_BYTES

Read = Any  # the SDK's stream protocols are not exported
Write = Any


@dataclass
class Wire:
    """Streams, and what a person wants to know when they break. `pid` only where the server is our child.

    `lost` is set when nothing more can come, `told` when the transport has said all it knows about why.
    """

    read: Read
    write: Write
    pid: int | None = None
    started_ms: int | None = None
    reason: str = ""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def lose(self, reason: str = "") -> None:
        """Note that nothing more can come; the first reason counts."""
        self.reason = self.reason or reason
        self.lost.set()

    def tell(self, reason: str) -> None:
        """Give the last word on why; a reason of our own (retired, restarted) stays."""
        self.reason = self.reason or reason
        self.told.set()


@dataclass
class Mark:
    """Whether one request has left: between "never sent" and "outcome unknown" lies running a task twice."""

    on_sent: Callable[[], None]
    sent: bool = False
    request_id: str | int | None = None


# The SDK writes a request in the task that asks, so the mark of that task is the mark of the request.
MARK: ContextVar[Mark | None] = ContextVar("omni_mark", default=None)


def parse(data: bytes | str) -> SessionMessage:
    """Read one JSON-RPC message; ValueError for anything else.

    An answer with half a character in it is mended, one that nests too deeply becomes an error under its id: dropped,
    it would leave the one who asked waiting until the timeout.
    """
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(data, by_name=False))
    except ValueError:
        return SessionMessage(_mended(data))


def _mended(data: bytes | str) -> types.JSONRPCMessage:
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    try:
        message = json.loads(text)
        whole = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    try:
        return types.jsonrpc_message_adapter.validate_json(whole, by_name=False)
    except ValueError:
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or "result" not in message:
            raise
        error = types.ErrorData(code=types.PARSE_ERROR, message="its answer cannot be read: does it nest too deeply?")
        return types.JSONRPCError(jsonrpc="2.0", id=message.get("id"), error=error)


def unparse(message: SessionMessage) -> str:
    """Write one JSON-RPC message on one line."""
    return message.message.model_dump_json(by_alias=True, exclude_unset=True)


class Tapped:
    """The wire as the transport that the SDK's client wants; notes what was sent and when the server is gone."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def __aenter__(self) -> tuple[Any, Any]:
        return _Reader(self._wire), _Writer(self._wire)

    async def __aexit__(self, *failure: object) -> None:
        self._wire.lose()


class _Stream:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        raise NotImplementedError


class _Reader(_Stream):
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> Any:
        try:
            return await self._wire.read.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._wire.lose()
            raise anyio.EndOfStream from None

    async def aclose(self) -> None:
        await self._wire.read.aclose()


class _Writer(_Stream):
    async def send(self, item: SessionMessage) -> None:
        mark = MARK.get()
        if mark is not None and isinstance(item.message, types.JSONRPCRequest):
            await self._send_marked(item, mark)
        else:
            await self._wire.write.send(item)

    async def _send_marked(self, item: SessionMessage, mark: Mark) -> None:
        # Marked before the write: a write that is cut off may have been delivered all the same.
        first, mark.sent = not mark.sent, True
        mark.request_id = getattr(item.message, "id", None)
        try:
            await self._wire.write.send(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            mark.sent = not first  # nobody takes messages any more, so this one was not taken
            raise
        if first:
            mark.on_sent()

    async def aclose(self) -> None:
        await self._wire.write.aclose()


__all__ = ["MARK", "MAX_MESSAGE_BYTES", "Mark", "Tapped", "Wire", "parse", "unparse"]

"""The WebSocket end: the first message decides which dialect a connection speaks, for its whole life."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec

from omni.server.auth import CALLER, Caller, Receive, Scope, Send
from omni.server.desk import Desk
from omni.server.frames import NOT_JSON, speaks_mcp, text_of, too_deep, why_not_json
from omni.server.limits import RequestRates
from omni.server.mcp_door import McpDoor
from omni.server.names import labelled
from omni.server.plain import PlainSession
from omni.server.requests import SpecMaker

SUBPROTOCOL = "mcp"
TOKEN_CHANGED = 1008
CLOSE_WITHIN_S = 1.0


class WebSocketDoor:
    """ASGI endpoint for `/` and `/ws`."""

    def __init__(
        self, desk: Desk, make_spec: SpecMaker, mcp: McpDoor, rates: RequestRates, nesting: int, frame_bytes: int
    ) -> None:
        self._desk = desk
        self._make_spec = make_spec
        self._mcp = mcp
        self._rates = rates
        self._nesting = nesting
        self._frame_bytes = frame_bytes
        self._logged_in: set[Send] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        mcp = SUBPROTOCOL in scope.get("subprotocols", [])
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if mcp else None})
        caller: Caller = scope[CALLER]
        if caller.logged_in:
            self._logged_in.add(send)
        try:
            await self._serve(mcp, caller, scope, receive, send)
        finally:
            self._logged_in.discard(send)

    async def log_out(self) -> None:
        """Close every connection that showed the token which is no longer it."""
        closing = (_close(send) for send in list(self._logged_in))
        await asyncio.gather(*closing, return_exceptions=True)  # some may be closing already

    async def _serve(self, mcp: bool, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: FBT001
        first = None if mcp else await self._first(receive, send)
        if mcp or (first is not None and speaks_mcp(first)):
            await self._mcp.serve_socket(first, receive, send, caller, self._rates.of(caller.counted_as))
        elif first is not None:
            await self._plain(first, caller, scope, receive, send)

    async def _first(self, receive: Receive, send: Send) -> str | None:
        """The first message that is JSON; None when the client leaves before it."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return None
            text = text_of(message)
            problem = self._problem(text)
            if text is not None and not problem:
                return text
            error = msgspec.json.encode({"error": f"Invalid JSON: {problem}"}).decode()
            await send({"type": "websocket.send", "text": error})

    def _problem(self, text: str | None) -> str:
        if text is None:
            return "a request is a text frame, not a binary one"
        try:
            if too_deep(text, self._nesting):
                raise RecursionError
            speaks_mcp(text)
        except NOT_JSON as error:
            return why_not_json(error)
        return ""

    async def _plain(self, first: str, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        unanswered = Unanswered(receive, send, self._frame_bytes, len(first))
        session = PlainSession(
            self._desk,
            self._make_spec,
            unanswered.receive,
            unanswered.send,
            client=labelled(f"plain@{caller.address}", caller.visitor),
            rights=caller.rights,
            rate=self._rates.of(caller.counted_as),
            nesting=self._nesting,
        )
        await session.run(first)


class Unanswered:
    """Reads no further while the requests without an answer hold more than one full frame together.

    The plain dialect answers each frame with one, in order. Without this bound a client that sends much and reads
    nothing, even one without the token, fills the memory: an `id` may be as large as a frame, and waits to be echoed.
    """

    def __init__(self, receive: Receive, send: Send, most: int, first: int) -> None:
        self._receive = receive
        self._send = send
        self._most = most
        self._sizes = deque((first,))
        self._total = first
        self._room: asyncio.Future[None] | None = None

    async def receive(self) -> Any:
        """The next event, when there is room for it."""
        if self._total > self._most:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        message = await self._receive()
        size = len(message.get("text") or "")
        self._sizes.append(size)
        self._total += size
        return message

    async def send(self, message: Any) -> None:
        """Send the answer to the oldest request; its room is free then, however it ended."""
        try:
            await self._send(message)
        except BaseException:
            self._most = self._total  # nothing will be sent any more: let the reader see the disconnect
            raise
        finally:
            self._total -= self._sizes.popleft()
            self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and self._total <= self._most:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None


async def _close(send: Send) -> None:
    async with asyncio.timeout(CLOSE_WITHIN_S):  # one that does not read must not keep the others in
        await send({"type": "websocket.close", "code": TOKEN_CHANGED, "reason": "the token was changed"})

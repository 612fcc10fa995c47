"""Uvicorn's two protocols, made patient with nobody: silent, slow and deaf peers come to an end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

KEEP_ALIVE_S = 5
ABORT = "omni.abort"  # in the scope: cuts the connection to a peer that takes nothing, which no `send` can end
OVERSIZE_LINGER_S = 1.0
SMALL_FRAME_BYTES = 65_536


class Patience:
    """Connections that have not sent a whole request yet: each for a short while, all together in a bounded number."""

    def __init__(self, most: int, open_timeout_s: float) -> None:
        self.most = most
        self.open_timeout_s = open_timeout_s
        self.waiting: dict[Any, None] = {}

    def make_room(self) -> None:
        """Drop those that have waited longest, so that a flood of silent ones keeps nobody else out."""
        while len(self.waiting) > self.most:
            oldest = next(iter(self.waiting))
            del self.waiting[oldest]
            oldest.transport.abort()


class _Abortable(H11Protocol):
    """Tells the application how to cut its connection."""

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope[ABORT] = self.transport.abort


def http_protocol(patience: Patience) -> type[H11Protocol]:
    """Uvicorn's HTTP protocol with a deadline for each request head."""

    class DoorHttp(_Abortable):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_request(patience.open_timeout_s)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before or self.transport.get_protocol() is not self:
                self._stop_waiting()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.response_complete and not self.transport.is_closing():
                self._await_request(KEEP_ALIVE_S + patience.open_timeout_s)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _await_request(self, within_s: float) -> None:
            self._stop_waiting()
            self._deadline = self.loop.call_later(within_s, self.transport.abort)
            patience.waiting[self] = None
            patience.make_room()

        def _stop_waiting(self) -> None:
            patience.waiting.pop(self, None)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return DoorHttp


class DoorWebSocket(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket protocol with a queue of a few frames, and an end for peers that do not read."""

    frames_ahead = 1

    def send_receive_event_to_app(self) -> None:
        # Upstream stops and starts reading for every single frame; a short queue saves those system calls.
        # Large frames are not read ahead: eight of them on each connection would fill the memory.
        paused = self.read_paused
        small = sum(map(len, self.frames)) <= SMALL_FRAME_BYTES
        if small and not paused and self.queue.qsize() < self.frames_ahead:
            self.read_paused = True
            super().send_receive_event_to_app()
            self.read_paused = False
        else:
            super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # a refusal is complete too; upstream would log it as an error

    def handle_parser_exception(self) -> None:
        # Closing at once would reset the connection, and the peer would never learn why: let it read first.
        assert self.conn.close_sent is not None
        close = self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(OVERSIZE_LINGER_S, self.transport.abort)
        self.data_received = self._ignore  # type: ignore[method-assign]

    def _ignore(self, data: bytes) -> None:
        """What follows a broken frame is noise."""

    def eof_received(self) -> None:
        if self.close_sent and self.close_timer is not None:
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        if self.read_paused:  # its pong may lie unread behind requests that wait for room: no proof of death
            self.pong_timer = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        self.loop.call_later(OVERSIZE_LINGER_S, self.transport.abort)  # its buffer may never drain


def ws_protocol(frames_ahead: int) -> type[DoorWebSocket]:
    """The protocol for a door that reads so many frames ahead."""
    return type("DoorWebSocketAhead", (DoorWebSocket,), {"frames_ahead": frames_ahead})

"""Bounds on what clients may do to the door: how many, how often, how slowly."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MINUTE_S = 60.0
MAX_ADDRESSES = 10_000  # remembered at a time; beyond that the oldest are forgotten
KEEP_ALIVE_S = 5
OVERSIZE_LINGER_S = 1.0


def normalised(host: str) -> str:
    """One name for one address: an IPv4 address that is written as IPv6 is the IPv4 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower()
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


class PerMinute:
    """Counts events by name in windows of a minute."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self.limit = limit
        self._now = now
        self._counts: dict[str, tuple[float, int]] = {}

    def count(self, name: str) -> int:
        """How many there were in this name's window."""
        began, count = self._counts.get(name, (0.0, 0))
        return count if count and self._now() - began < MINUTE_S else 0

    def add(self, name: str) -> None:
        """One more."""
        count = self.count(name)
        began = self._counts[name][0] if count else self._now()
        if name not in self._counts and len(self._counts) >= MAX_ADDRESSES:
            del self._counts[next(iter(self._counts))]
        self._counts[name] = (began, count + 1)

    def exceeded(self, name: str) -> bool:
        """Whether the limit is reached."""
        return self.count(name) >= self.limit


class RequestRate:
    """One client's requests a minute, shared by its connections."""

    __slots__ = ("_began", "_count", "_limit", "_now")

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._began = now()
        self._count = 0

    def allows(self) -> bool:
        """Count one request; whether it is within the limit."""
        self._count += 1
        if self._count <= self._limit:
            return True
        if self._now() - self._began < MINUTE_S:
            return False
        self._began, self._count = self._now(), 1
        return True


class RequestRates:
    """The rate of each client address."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._rates: dict[str, RequestRate] = {}

    def of(self, address: str) -> RequestRate:
        """The rate that all connections of this address share."""
        rate = self._rates.pop(address, None) or RequestRate(self._limit, self._now)
        self._rates[address] = rate
        if len(self._rates) > MAX_ADDRESSES:
            del self._rates[next(iter(self._rates))]
        return rate


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


def http_protocol(patience: Patience) -> type[H11Protocol]:
    """Uvicorn's HTTP protocol with a deadline for each request head."""

    class DoorHttp(H11Protocol):
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


def ws_protocol(queue: int) -> type[WebSocketsSansIOProtocol]:
    """Uvicorn's WebSocket protocol with a queue of a few frames, and an end for peers that do not read."""

    class DoorWebSocket(WebSocketsSansIOProtocol):
        def send_receive_event_to_app(self) -> None:
            # Upstream stops and starts reading for every single frame; a short queue saves those system calls.
            paused = self.read_paused
            if not paused and self.queue.qsize() < queue:
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
            super().keepalive_timeout()
            self.loop.call_later(OVERSIZE_LINGER_S, self.transport.abort)  # its buffer may never drain

    return DoorWebSocket

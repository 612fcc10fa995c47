"""A lean WebSocket client: what is measured is the server, so the client must cost next to nothing.

Sockets and frames by hand, one selector, a mask of zeros (masking with zeros changes no byte), no task per request.
The same code loads every server that is compared; only the text of the requests differs.
"""

from __future__ import annotations

import gc
import itertools
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

TEXT = 0x81
CLOSE = 0x88
READ_BYTES = 1 << 18
PATIENCE_S = 15.0  # for the answers that are still out when a round is over

NUMBER = "7777777"  # stands for the request's number in a template

MakeRequest = Callable[[int], bytes]
Accept = Callable[[bytes], bool]


class Round(msgspec.Struct, frozen=True):
    """What a client saw in one round of load."""

    tasks: int
    seconds: float
    p50_ms: float
    p99_ms: float
    client_cpu_s: float

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return self.tasks / self.seconds


class Answer(msgspec.Struct, gc=False):
    id: int = -1
    result: msgspec.Raw = msgspec.Raw()


_answer = msgspec.json.Decoder(Answer).decode


class Line:
    """One WebSocket connection."""

    def __init__(self, port: int, token: str = "", subprotocol: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self.socket.sendall(_opening(port, token, subprotocol))
        head = self._head()
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(f"no WebSocket: {head[:300]!r}")

    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames that `frame` made."""
        self.socket.sendall(b"".join(frames))

    def receive(self) -> list[bytes]:
        """The text frames that have come; waits for some bytes, perhaps in vain for a whole frame."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        frames, self._rest = split(self._rest + data if self._rest else data)
        return frames

    def ask(self, text: bytes) -> bytes:
        """Send one request on an idle connection and wait for its answer."""
        self.send([frame(text)])
        while True:
            if frames := self.receive():
                return frames[0]

    def close(self) -> None:
        self.socket.close()

    def _head(self) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(READ_BYTES)
            if not data:
                break
            head += data
        head, _, self._rest = head.partition(b"\r\n\r\n")
        return head


def load(lines: Sequence[Line], make: MakeRequest, accept: Accept, *, per_line: int, seconds: float) -> Round:
    """Keep `per_line` requests open on each connection for some seconds; every answer is checked by `accept`."""
    gc.collect()
    gc.disable()
    try:
        return _Load(lines, make, accept).run(per_line, seconds)
    finally:
        gc.enable()


class _Load:
    def __init__(self, lines: Sequence[Line], make: MakeRequest, accept: Accept) -> None:
        self._lines = lines
        self._make = make
        self._accept = accept
        self._sent: dict[int, float] = {}
        self._took: list[float] = []
        self._ids = itertools.count(1)

    def run(self, per_line: int, seconds: float) -> Round:
        with selectors.DefaultSelector() as selector:
            for line in self._lines:
                selector.register(line.socket, selectors.EVENT_READ, line)
            cpu, began = time.process_time(), time.perf_counter()
            self._end = began + seconds
            for line in self._lines:
                line.send([self._next(time.perf_counter()) for _ in range(per_line)])
            self._work(selector)
            took = time.perf_counter() - began
            return _summary(self._took, took, time.process_time() - cpu)

    def _work(self, selector: selectors.BaseSelector) -> None:
        while self._sent:
            ready = selector.select(5)
            if time.perf_counter() > self._end + PATIENCE_S:
                raise TimeoutError(f"{len(self._sent)} answers did not come within {PATIENCE_S:g} s")
            for key, _ in ready:
                self._serve(key.data)

    def _serve(self, line: Line) -> None:
        frames = line.receive()
        now = time.perf_counter()
        more = []
        for each in frames:
            answer = _answer(each)
            if answer.id < 0:
                continue  # a notification
            if not self._accept(each):
                raise RuntimeError(f"not the answer that was wanted: {each[:400]!r}")
            self._took.append(now - self._sent.pop(answer.id))
            if now < self._end:
                more.append(self._next(now))
        if more:
            line.send(more)

    def _next(self, now: float) -> bytes:
        number = next(self._ids)
        self._sent[number] = now
        return frame(self._make(number))


def _summary(took: list[float], seconds: float, cpu_s: float) -> Round:
    took.sort()
    count = len(took)
    return Round(count, seconds, took[count // 2] * 1e3, took[int(count * 0.99)] * 1e3, cpu_s)


def frame(text: bytes) -> bytes:
    """A client's text frame, masked with zeros."""
    size = len(text)
    if size < 126:
        return struct.pack(">BBI", TEXT, 0x80 | size, 0) + text
    if size < 1 << 16:
        return struct.pack(">BBHI", TEXT, 0xFE, size, 0) + text
    return struct.pack(">BBQI", TEXT, 0xFF, size, 0) + text


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The text frames at the start of `data`, and what is left over."""
    texts = []
    at, end = 0, len(data)
    while end - at >= 2:
        size, body = data[at + 1], at + 2
        if size == 126:
            body += 2
        elif size == 127:
            body += 8
        if end < body:
            break
        if size >= 126:
            size = int.from_bytes(data[at + 2 : body])
        if end - body < size:
            break
        if data[at] == TEXT:
            texts.append(data[body : body + size])
        elif data[at] == CLOSE:
            raise ConnectionError(f"the server closed the connection: {data[body : body + size]!r}")
        at = body + size
    return texts, data[at:]


def encoder(template: dict[str, Any]) -> MakeRequest:
    """Makes requests from a template: their number stands as the `id`, and in the text wherever NUMBER stands."""
    text = msgspec.json.encode({**template, "id": int(NUMBER)}).replace(b"%", b"%%").replace(NUMBER.encode(), b"%d")
    places = text.count(b"%d")
    return lambda number: text % ((number,) * places)


def _opening(port: int, token: str, subprotocol: str) -> bytes:
    lines = [
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()

"""A model port that does as it is told: HTTP/1.1 on a free loopback port, one script for each description."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

Script = Callable[["Out"], Awaitable[None]]


class Request(NamedTuple):
    """What one call of the port was."""

    line: str
    headers: dict[str, str]
    body: Any

    @property
    def description(self) -> str:
        return str(self.body["messages"][-1]["content"])


class Out:
    """The answer side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def head(self, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items())]
        await self._send(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def whole(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.head(status, content_type="application/json", content_length=str(len(data)), **headers)
        await self._send(data)

    async def stream(self) -> None:
        await self.head(200, content_type="text/event-stream", transfer_encoding="chunked")

    async def events(self, *events: Any) -> None:
        for each in events:
            await self.line("data: " + (each if isinstance(each, str) else json.dumps(each)) + "\n")

    async def line(self, text: str) -> None:
        data = text.encode() + b"\n"
        await self._send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end(self) -> None:
        await self._send(b"0\r\n\r\n")

    @property
    def is_heard(self) -> bool:
        """Whether the caller is still there."""
        return not self._reader.at_eof()

    async def gone(self) -> None:
        """Wait until the caller has hung up."""
        while await self._reader.read(1024):
            pass

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def text(piece: str, **other: Any) -> dict[str, Any]:
    """One chunk of a chat completion."""
    return {"model": "served-1", "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}], **other}


def ended(reason: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}


def says(*events: Any, complete: bool = True) -> Script:
    """A stream of these events; one that is not complete is cut off in the middle of its body."""

    async def script(out: Out) -> None:
        await out.stream()
        await out.events(*events)
        if complete:
            await out.end()

    return script


def answers(status: int, body: Any, **headers: str) -> Script:
    async def script(out: Out) -> None:
        await out.whole(status, body, **headers)

    return script


class Port:
    """The port, what it was asked, and what it does for each description; `*` for any other."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self.scripts = scripts
        self.requests: list[Request] = []
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._read(reader)
            self.requests.append(request)
            self.asked.set()
            await (self.scripts.get(request.description) or self.scripts["*"])(Out(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.left.set()

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in head[1:] if each)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(head[0], headers, json.loads(body))


@asynccontextmanager
async def port(scripts: dict[str, Script]) -> AsyncIterator[Port]:
    """A port that listens; closed at the end."""
    made = Port(scripts)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()

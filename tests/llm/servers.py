"""A small HTTP server on loopback that does what a script says: answer, be slow, hang, or cut the line."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias


class Asked(NamedTuple):
    """One request as it came in; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Line: TypeAlias = asyncio.StreamWriter
Act: TypeAlias = Callable[[Asked, Line], Awaitable[None]]


class Server:
    """Plays `act` for every request; `asked` are all requests so far, `connections` all that were ever opened."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.asked: list[Asked] = []
        self.connections = 0
        self.url = ""
        self.heard = asyncio.Event()  # at least one request came
        self.left = asyncio.Event()  # at least one client has closed its connection
        self._open: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while True:
                asked = await _read(reader)
                self.asked.append(asked)
                self.heard.set()
                await self.act(asked, writer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            self.left.set()
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # cut, something else than HTTP, or the test is over
        finally:
            self._open.discard(task)
            writer.close()

    async def close(self) -> None:
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, json.loads(raw) if raw else None)


@asynccontextmanager
async def serving(act: Act) -> AsyncIterator[Server]:
    """A server on a free port, for as long as the block lasts."""
    server = Server(act)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = "http://{}:{}".format(*listener.sockets[0].getsockname())
    try:
        yield server
    finally:
        listener.close()
        await server.close()


def answer(status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None) -> Act:
    """Answer at once."""

    async def act(asked: Asked, line: Line) -> None:
        say(line, status, body, headers)

    return act


def say(line: Line, status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
    """Write one whole answer."""
    raw = json.dumps({} if body is None else body).encode()
    lines = {"content-type": "application/json", "content-length": str(len(raw)), **(headers or {})}
    head = [f"HTTP/1.1 {status} So", *(f"{name}: {value}" for name, value in lines.items())]
    line.write("\r\n".join([*head, "", ""]).encode() + raw)


async def hang(asked: Asked, line: Line) -> None:
    """Take the request and never say a word."""
    await asyncio.Event().wait()


async def cut(asked: Asked, line: Line) -> None:
    """Take the request and close the line."""
    line.close()
    raise ConnectionAbortedError


async def half(asked: Asked, line: Line) -> None:
    """Begin an answer and close the line."""
    line.write(b"HTTP/1.1 200")
    await line.drain()
    await cut(asked, line)


async def babble(asked: Asked, line: Line) -> None:
    """Say something that is no HTTP."""
    line.write(b"+OK ready\r\n\r\n")


def slowly(delay_s: float, then: Act) -> Act:
    """Wait first."""

    async def act(asked: Asked, line: Line) -> None:
        await asyncio.sleep(delay_s)
        await then(asked, line)

    return act


def nobody() -> str:
    """The address of a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"

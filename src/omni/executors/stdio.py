"""MCP over the pipes of a child: one JSON-RPC message per line; stderr goes to a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from omni.executors.children import Child
from omni.executors.logfile import LogFile
from omni.executors.wire import MAX_MESSAGE_BYTES, Wire, parse, unparse

EXIT_PATIENCE_S = 0.5
GARBAGE_CHARS = 200
LINE_BYTES = 65_536


@asynccontextmanager
async def open_stdio(spawn: Callable[[], Awaitable[Child]], log: LogFile) -> AsyncIterator[Wire]:
    """Start the child and speak with it; on the way out it is ended with all that it started."""
    child = await spawn()
    to_client, read = anyio.create_memory_object_stream[SessionMessage](0)
    write, from_client = anyio.create_memory_object_stream[SessionMessage](0)
    wire = Wire(read, write, child.pid, child.started_ms)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_read, child, to_client, wire, log)
            group.start_soon(_write, child, from_client, wire)
            group.start_soon(_keep, child, log)
            yield wire
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await child.end()
        for stream in (to_client, read, write, from_client):
            stream.close()


async def _read(child: Child, out: MemoryObjectSendStream[SessionMessage], wire: Wire, log: LogFile) -> None:
    async with out:
        try:
            async for line in _lines(child.stdout):
                message = _message(line, log)
                if message is not None:
                    await out.send(message)
            wire.tell(await _farewell(child, log))
        except ValueError:
            wire.tell(f"the server sent a message larger than {MAX_MESSAGE_BYTES} bytes")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while line := await stream.readline():  # ValueError when a line is longer than the reader's limit
        yield line


def _message(line: bytes, log: LogFile) -> SessionMessage | None:
    """The message of a line; a line that is none is kept in the log, as servers do print to stdout by mistake."""
    try:
        return parse(line)
    except ValueError:
        if line.strip():
            log.write(b"stdout, not JSON-RPC: " + line[:GARBAGE_CHARS].rstrip() + b"\n")
        return None


async def _farewell(child: Child, log: LogFile) -> str:
    if not await child.exited(EXIT_PATIENCE_S):
        return "the server closed its output"
    words = f": {log.last_words}" if log.last_words else ""
    return f"the server ended with exit code {child.exit_code}{words}"


async def _write(child: Child, messages: MemoryObjectReceiveStream[SessionMessage], wire: Wire) -> None:
    async with messages:
        try:
            async for message in messages:
                child.stdin.write(unparse(message).encode() + b"\n")
                await child.stdin.drain()
        except (OSError, RuntimeError):  # the pipe is closed; the reader tells why
            wire.lose()


async def _keep(child: Child, log: LogFile) -> None:
    """Whole lines at a time: half a secret would not be known for one."""
    rest = b""
    try:
        while data := await child.stderr.read(LINE_BYTES):
            whole, end, rest = (rest + data).rpartition(b"\n")
            if len(rest) > LINE_BYTES:
                whole, end, rest = whole + end + rest, b"", b""
            log.write(whole + end)
    finally:
        log.write(rest)

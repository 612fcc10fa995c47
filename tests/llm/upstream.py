"""A scripted HTTP/1.1 server on loopback, written without any HTTP library, so that it can misbehave byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

Play = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]
PHRASE = b"-"


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; header names in lower case. `connection` counts from 0."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def is_call(self) -> bool:
        return self.method == "POST"


@dataclass
class Upstream:
    """Answers each request with the next play; the last one is repeated. A look at its health gets `alive`, if set."""

    plays: list[Play]
    alive: Play | None = None
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    open_connections: int = 0
    connections: int = 0

    async def until(self, condition: Callable[[Upstream], bool]) -> None:
        """Wait for something to become true here; the test itself has the time limit."""
        while not condition(self):  # noqa: ASYNC110 - what is waited for is no event of one loop only
            await asyncio.sleep(0.01)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self.open_connections += 1
        try:
            while (request := await _read(reader, number)) is not None:
                self.seen.append(request)
                play = self.alive if request.path == "/health/liveliness" else None
                play = play or (self.plays.pop(0) if len(self.plays) > 1 else self.plays[0])
                await _while_listened_to(play(writer), reader)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def upstream(*plays: Play) -> AsyncIterator[Upstream]:
    """Serve these plays, on a free port of loopback, until the block ends."""
    script = Upstream(list(plays))
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the block ended; asyncio would log the cancellation of a connection as an error
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _while_listened_to(playing: Coroutine[Any, Any, None], reader: asyncio.StreamReader) -> None:
    """Play until the end, or until the client hangs up."""
    task = asyncio.create_task(playing)
    while not task.done() and not reader.at_eof() and reader.exception() is None:
        await asyncio.wait([task], timeout=0.02)
    if not task.done():
        task.cancel()
        raise ConnectionResetError
    task.result()


async def _read(reader: asyncio.StreamReader, number: int) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Seen(method, path, headers, raw, number)


def says(status: int, body: Any = b"", media: str = "application/json", **headers: str) -> Play:
    """A whole answer. In header names `_` stands for `-`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(_head(status, media, {**headers, "content-length": str(len(content))}) + content)
        await writer.drain()

    return play


def streams(
    *pieces: bytes | asyncio.Event | Play,
    cut: bool = False,
    clean: bool = True,
    status: int = 200,
    media: str = "text/event-stream",
    **headers: str,
) -> Play:
    """A chunked answer, one piece after the other; an event in between is waited for, a play is played.

    `cut` resets the connection at the end; without `clean` it closes before the last chunk.
    """

    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(_head(status, media, {**headers, "transfer-encoding": "chunked"}))
        for piece in pieces:
            if isinstance(piece, bytes):
                writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                await writer.drain()
            elif isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                await piece(writer)
        if cut:
            reset(writer)
        elif clean:
            writer.write(b"0\r\n\r\n")
        else:
            writer.close()

    return play


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    """Close without a word."""
    writer.close()


async def resets(writer: asyncio.StreamWriter) -> None:
    """Reset the connection without a word."""
    reset(writer)


async def is_silent(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def then_hangs_up(play: Play) -> Play:
    """Answer, and close the connection after it without having said so."""

    async def both(writer: asyncio.StreamWriter) -> None:
        await play(writer)
        writer.close()

    return both


def reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def closed_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _head(status: int, media: str, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} ".encode() + PHRASE, f"content-type: {media}".encode()]
    lines += [f"{name.replace('_', '-')}: {value}".encode() for name, value in headers.items()]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chat_events(words: Iterable[str], usage: Any = None, model: str = "m-1", *, done: bool = True) -> list[bytes]:
    """A chat completion as a stream of events."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    chunks: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}]}
        for word in words
    ]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage is not None:
        chunks.append({**base, "choices": [], "usage": usage})
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"] * done


def message_events(
    words: Iterable[str], usage: Any = None, model: str = "claude-1", *, stop: bool = True
) -> list[bytes]:
    """A message as a stream of events."""
    usage = usage or {"input_tokens": 11, "output_tokens": 3}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
    first = {**usage, "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": first}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
    ]
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in words
    ]
    events.append({"type": "content_block_stop", "index": 0})
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}})
    return [event(each) for each in events] + [event({"type": "message_stop"})] * stop


def response_events(words: Iterable[str], usage: Any = None, model: str = "gpt-1", *, done: bool = True) -> list[bytes]:
    """A response as a stream of events."""
    usage = usage or {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14}
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": model, "output": []}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {**response, "status": "in_progress"}}]
    events += [
        {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": word}
        for word in words
    ]
    last = {"type": "response.completed", "response": {**response, "status": "completed", "usage": usage}}
    return [event(each) for each in events] + [event(last)] * done


def event(body: dict[str, Any]) -> bytes:
    """One event with its name, as the Anthropic and Responses dialects write them."""
    return f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode()


def chat_answer(text: str = "hello", usage: Any = None, model: str = "m-1") -> dict[str, Any]:
    """A chat completion in one piece."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = usage or {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def message_answer(text: str = "hello", usage: Any = None, model: str = "claude-1") -> dict[str, Any]:
    """A message in one piece."""
    usage = usage or {"input_tokens": 11, "output_tokens": 3}
    content = [{"type": "text", "text": text}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content}
    return {**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}

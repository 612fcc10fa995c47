"""One request and the head of its answer, so that whoever is cancelled over it leaves no connection behind.

Theory of operation. A pool loses sight of a connection when a cancellation meets it at a bad moment: just opened and
not used yet, in the middle of a TLS handshake, or, with a second cancellation, while it is being closed. Nobody would
ever use such a connection again, or close it. So a request is sent by a task of its own, which is cancelled once only,
and what it has opened is closed with it; closing goes on to its end, whoever asked for it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from omni.config import is_loopback

_closing: set[asyncio.Task[None]] = set()


def is_near(url: str) -> bool:
    """Whether a server is on this machine: then it is reached without any proxy of the environment."""
    return is_loopback(urlsplit(url).hostname or "")


def trust(url: str) -> ssl.SSLContext:
    """Which certificates are believed; where nothing is encrypted none are read, which saves time and memory."""
    return _nobody() if urlsplit(url).scheme == "http" else _everybody()


async def send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """The answer, its body unread: it is owed a `close`. Raises httpx.HTTPError; there is no time limit here."""
    sending = asyncio.create_task(_send(client, request))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        await _to_the_end(_give_up(sending))
        raise


async def close(response: httpx.Response) -> None:
    """Let go of the connection, whether or not the body was read. Safe to repeat."""
    if not response.is_closed:
        await _to_the_end(_close(response))


async def _send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    opened: list[Any] = []

    async def trace(step: str, info: Mapping[str, Any]) -> None:
        if step == "connection.connect_tcp.complete":
            opened.append(info["return_value"])

    request.extensions["trace"] = trace
    try:
        return await client.send(request, stream=True)
    except BaseException:
        for stream in opened:
            await stream.aclose()
        raise


async def _give_up(sending: asyncio.Task[httpx.Response]) -> None:
    """End a sending; an answer that came in the same moment is closed."""
    sending.cancel()
    [answer] = await asyncio.gather(sending, return_exceptions=True)
    if isinstance(answer, httpx.Response):
        await _close(answer)


async def _close(response: httpx.Response) -> None:
    """Also where a reading was cancelled while it let go, after which the response takes itself for closed."""
    await response.aclose()
    stream = response.extensions.get("network_stream")
    if stream is not None:
        await stream.aclose()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    await asyncio.shield(task)


@cache
def _everybody() -> ssl.SSLContext:
    """What this machine trusts; reading it takes some 20 ms, so it is done once."""
    return httpx.create_ssl_context()


@cache
def _nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

"""MCP over Streamable HTTP, through the SDK's transport, with failures that say what happened.

The SDK's transport ends the whole session when one request cannot connect, and forgets the HTTP status of a refusal.
Here each failure becomes the JSON-RPC error of the one request that it belongs to, and says whether it was ever sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
from mcp.client.streamable_http import streamable_http_client

from omni.executors.websocket import LOOPBACK
from omni.executors.wire import MAX_MESSAGE_BYTES, Wire

HTTP_FAILED = -31_901  # our own code, outside the ranges that JSON-RPC and MCP reserve
CONNECT_S = 10.0
WRITE_S = 30.0
# What a refusal proves. A 5xx proves nothing: a gateway may send it after the server has begun.
_REFUSED = {400: "bad_request", 401: "unavailable", 403: "unavailable", 404: "unavailable", 405: "unavailable",
            413: "bad_request", 429: "rate_limited"}  # fmt: skip
PROVEN = frozenset(_REFUSED.values())
UNREACHED = ("cannot connect", "the connection broke")


class Frank(httpx2.AsyncClient):
    """An HTTP client whose failures are answers."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            response = await super().send(request, **options)
            return await _checked(request, response)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol) as error:
            return _answer(request, 502, f"{UNREACHED[0]}: {_words(error)}", "unavailable")
        except httpx2.RequestError as error:
            return _answer(request, 502, f"{UNREACHED[1]}: {_words(error)}", "interrupted")


@asynccontextmanager
async def open_streamable(url: str, headers: Mapping[str, str]) -> AsyncIterator[Wire]:
    """Speak with the server at `url`. There is no connection to lose: a request finds out whether it is there."""
    timeout = httpx2.Timeout(CONNECT_S, read=None, write=WRITE_S)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32)
    loopback = urlsplit(url).hostname in LOOPBACK
    async with (
        Frank(headers=dict(headers), timeout=timeout, limits=limits, trust_env=not loopback) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES) as (read, write),
    ):
        wire = Wire(read, write)
        wire.told.set()  # there is no connection whose end could be told
        yield wire


async def _checked(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    is_json = response.headers.get("content-type", "").lower().startswith("application/json")
    if is_json:
        await response.aread()  # here a break is this request's own; later it would end the session
    if response.status_code < 400 or (is_json and _is_error(response.content)):
        return response
    await response.aclose()
    status = response.status_code
    what = f"HTTP {status} {response.reason_phrase}".strip()
    return _answer(request, status, what, _REFUSED.get(status, "interrupted"))


def _words(error: BaseException) -> str:
    """The system's words where there are any: the client itself says only that all attempts failed."""
    deepest = error
    while beneath := _beneath(deepest):
        deepest = beneath
    if isinstance(deepest, ConnectionRefusedError):
        return "connection refused"
    return (isinstance(deepest, OSError) and deepest.strerror) or str(error) or type(error).__name__


def _beneath(error: BaseException) -> BaseException | None:
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__


def _is_error(body: bytes) -> bool:
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(message, dict) and isinstance(message.get("error"), dict) and "jsonrpc" in message


def _answer(request: httpx2.Request, status: int, message: str, kind: str) -> httpx2.Response:
    error = {"code": HTTP_FAILED, "message": message, "data": {"kind": kind}}
    body = {"jsonrpc": "2.0", "id": None, "error": error}
    return httpx2.Response(status, request=request, json=body)

"""A real web server hears of notices: what it gets, how it can check it, and what its answers mean."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from omni.config import WebhookConfig
from omni.notify.sinks import Gone, NotTold, Told
from omni.notify.webhook import WebhookSink
from omni.runtime.ports import SystemClock

NOTICE = Told("degraded:7:1", "degraded", "Es ist langsam – 慢", 1_700_000_000_123, {"reason": "refused"})


class Receiver:
    """Answers each POST with the next status; `slow` makes it answer never."""

    def __init__(self, *statuses: int, location: str = "") -> None:
        self.statuses = list(statuses)
        self.location = location
        self.slow = False
        self.heard: list[tuple[str, dict[str, str], bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.heard.append((first, headers, body))
        if self.slow:
            await reader.read()  # until the caller has gone
        else:
            extra = f"Location: {self.location}\r\n" if self.location else ""
            writer.write(f"HTTP/1.1 {self.statuses.pop(0)} Said\r\n{extra}Content-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()


@asynccontextmanager
async def served(receiver: Receiver) -> AsyncIterator[str]:
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=b"


def sink(url: str, **other: Any) -> WebhookSink:
    return WebhookSink(WebhookConfig(url=url, secret="s3cret", **other), SystemClock())


async def test_a_notice_is_posted_with_its_key_and_a_signature_that_can_be_checked() -> None:
    receiver = Receiver(204)
    async with served(receiver) as url:
        await sink(url, headers={"X-Room": "7"}).deliver(NOTICE)
    ((first, headers, body),) = receiver.heard
    assert first == "POST /hook?a=b HTTP/1.1"
    assert json.loads(body) == {
        "schema": "omni.notice/1",
        "key": "degraded:7:1",
        "kind": "degraded",
        "text": "Es ist langsam – 慢",
        "at": "2023-11-14T22:13:20.123Z",
        "facts": {"reason": "refused"},
    }
    second = headers["x-omni-timestamp"]
    assert abs(int(second) - SystemClock().wall_ms() / 1000) < 60
    right = hmac.new(b"s3cret", second.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["x-omni-signature"] == f"v1={right}"
    assert (headers["x-omni-key"], headers["x-room"]) == ("degraded:7:1", "7")
    assert headers["content-type"] == "application/json"


async def test_the_same_notice_again_has_the_same_key_and_body() -> None:
    receiver = Receiver(500, 200)
    async with served(receiver) as url:
        hook = sink(url)
        with pytest.raises(NotTold):
            await hook.deliver(NOTICE)
        await hook.deliver(NOTICE)
    one, two = receiver.heard
    assert one[2] == two[2]
    assert one[1]["x-omni-key"] == two[1]["x-omni-key"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_told_is_what_the_receiver_says_it_has(status: int) -> None:
    async with served(Receiver(status)) as url:
        await sink(url).deliver(NOTICE)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 429, 500, 503])
async def test_everything_else_is_for_later(status: int) -> None:
    async with served(Receiver(status)) as url:
        with pytest.raises(NotTold, match=str(status)) as failed:
            await sink(url).deliver(NOTICE)
    assert not isinstance(failed.value, Gone)


async def test_gone_is_for_never() -> None:
    async with served(Receiver(410)) as url:
        with pytest.raises(Gone):
            await sink(url).deliver(NOTICE)


async def test_a_redirect_is_not_followed() -> None:
    elsewhere = Receiver(200)
    async with served(elsewhere) as other, served(Receiver(307, location=other)) as url:
        with pytest.raises(NotTold):
            await sink(url).deliver(NOTICE)
    assert elsewhere.heard == []


async def test_a_proxy_of_the_environment_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = Receiver(200), Receiver(200)
    async with served(proxy) as other, served(receiver) as url:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, other)
        await sink(url).deliver(NOTICE)
    assert (len(receiver.heard), len(proxy.heard)) == (1, 0)


async def test_a_receiver_that_says_nothing_or_is_not_there_is_given_up_in_time() -> None:
    receiver = Receiver()
    receiver.slow = True
    async with served(receiver) as url:
        with pytest.raises(NotTold, match="Timeout"):
            await sink(url, timeout_s=0.2).deliver(NOTICE)
    with pytest.raises(NotTold, match="ConnectError"):
        await sink(url).deliver(NOTICE)

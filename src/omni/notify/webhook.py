"""Any web server, by a signed POST.

    body                {"schema": "omni.notice/1", "key", "kind", "text", "at", "facts"}
    X-Omni-Key          the same key as in the body: a notice that comes twice is the same notice
    X-Omni-Timestamp    seconds since 1970, of this try
    X-Omni-Signature    v1=HMAC-SHA256(secret, timestamp + "." + body), in hexadecimal

2xx: told.  410: this receiver wants it never.  Everything else, redirects too: asked again later, with the same key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib
import ssl
from typing import TYPE_CHECKING

import msgspec

from omni.config import WebhookConfig
from omni.domain.values import NoticeSink
from omni.domain.view import timestamp
from omni.notify.sinks import Gone, NotTold, Told
from omni.runtime.ports import Clock

if TYPE_CHECKING:
    import httpx as httpx_types

NAME = "webhook"
SCHEMA = "omni.notice/1"


class WebhookSink:
    """One address that notices are posted to."""

    spec = NoticeSink(NAME, people=True)

    def __init__(self, config: WebhookConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._trust: ssl.SSLContext | None = None

    async def deliver(self, notice: Told) -> None:
        """Post it; raises unless the receiver says that it has it."""
        body = _body(notice)
        status = await self._post(body, self._headers(notice.key, body))
        if status == 410:
            raise Gone("the receiver answered 410: it wants this notice never")
        if not 200 <= status < 300:
            raise NotTold(f"the receiver answered {status}")

    def _headers(self, key: str, body: bytes) -> dict[str, str]:
        second = str(self._clock.wall_ms() // 1000)
        return {
            **self._config.headers,
            "Content-Type": "application/json",
            "X-Omni-Key": key,
            "X-Omni-Timestamp": second,
            "X-Omni-Signature": signature(self._config.secret, second, body),
        }

    async def _post(self, body: bytes, headers: dict[str, str]) -> int:
        httpx = await asyncio.to_thread(importlib.import_module, "httpx")  # late: it takes a while
        self._trust = self._trust or await asyncio.to_thread(ssl.create_default_context)
        client: httpx_types.AsyncClient = httpx.AsyncClient(
            trust_env=False, verify=self._trust, follow_redirects=False, timeout=self._config.timeout_s
        )
        try:
            async with asyncio.timeout(self._config.timeout_s), client:
                request = client.build_request("POST", self._config.url, content=body, headers=headers)
                answer = await client.send(request, stream=True)  # of the answer only its status is read
                await answer.aclose()
                return answer.status_code
        except (httpx.HTTPError, TimeoutError) as error:
            raise NotTold(f"{type(error).__name__}: {error}".rstrip(": ")) from error


def signature(secret: str, second: str, body: bytes) -> str:
    """What proves that Omni made this body at this time."""
    return "v1=" + hmac.new(secret.encode(), f"{second}.".encode() + body, hashlib.sha256).hexdigest()


def _body(notice: Told) -> bytes:
    fields = {"key": notice.key, "kind": notice.kind, "text": notice.text, "at": timestamp(notice.at)}
    return msgspec.json.encode({"schema": SCHEMA, **fields, "facts": notice.facts})

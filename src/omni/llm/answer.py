"""A model call on its way out, and what comes back: the words that channels and the model port share.

Theory of operation. `Channels.open` returns an `Answer` when the first byte for the caller is at hand, or raises
`UpstreamFailed`; up to there the port may try the next hop, because nothing has been passed on. After that a failure is
`UpstreamFailed` with BROKEN_STREAM out of `Answer.chunks`, and the call is over.

    open ──status, headers, first data──▶ Answer ──chunks──▶ end        meter.finished
      └──────────▶ UpstreamFailed            └──────────────▶ UpstreamFailed(BROKEN_STREAM)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from omni.domain.errors import ModelError
from omni.domain.hops import Hop
from omni.domain.values import Usage
from omni.domain.verdict import Verdict

Dialect: TypeAlias = Literal["messages", "chat", "responses"]


class Call(msgspec.Struct, frozen=True):
    """What a caller asked. `body` is its parsed JSON and is never changed; `headers` are the few worth passing on.

    `id` goes to the proxy as `x-litellm-call-id`. Header names are in lower case. `beta`: it came with `?beta=true`, as
    Anthropic's own clients send it, and goes on so where that dialect is spoken.
    """

    dialect: Dialect
    body: dict[str, Any]
    id: str
    headers: dict[str, str] = {}
    beta: bool = False

    @property
    def streaming(self) -> bool:
        """Whether the caller wants a stream of events."""
        return self.body.get("stream") is True


class UpstreamFailed(ModelError):
    """A hop gave no answer that can be passed on; `message` is short and holds no secret and no prompt.

    `body` and `media_type` are what upstream said, for the caller when the error is its own (CALLER_ERROR). `told`: the
    caller has got upstream's own error event already, in the middle of a stream.
    """

    def __init__(
        self,
        verdict: Verdict,
        detail: str,
        *,
        status: int | None = None,
        retry_after_ms: int | None = None,
        body: bytes = b"",
        media_type: str = "",
        told: bool = False,
    ) -> None:
        super().__init__(detail)
        self.verdict = verdict
        self.detail = detail
        self.status = status
        self.retry_after_ms = retry_after_ms
        self.body = body
        self.media_type = media_type
        self.told = told


class NoEvidence(UpstreamFailed):
    """A hop failed, and that says nothing about the other side: it was not asked, or what it showed is told already."""


class Opens(Protocol):
    """What is asked of all channels together."""

    async def open(self, hop: Hop, call: Call) -> Answer: ...

    async def count(self, hop: Hop, call: Call) -> bytes | None: ...


class Meter(msgspec.Struct):
    """What an answer said about itself; fills while its chunks pass.

    `cost_usd` is the provider's own word, None where it gave none. `finished`: the end came as its dialect ends.
    """

    usage: Usage | None = None
    cost_usd: float | None = None
    model: str = ""
    finished: bool = False


class Answer(Protocol):
    """An answer whose beginning is in and of which nothing has been passed on yet. Loop only."""

    status: int
    media_type: str
    streaming: bool
    meter: Meter

    def chunks(self) -> AsyncIterator[bytes]:
        """Bytes for the caller as they come; once only. Raises UpstreamFailed(BROKEN_STREAM) in the middle."""

    async def aclose(self) -> None:
        """Let go of the connection, read to its end or not. Safe to repeat."""

"""What a caller gets: an answer on its way, or an error in the caller's own dialect that says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from omni.domain.commands import NoteMode, Refusal
from omni.domain.dialects import error_body
from omni.domain.hops import Hop, Plan
from omni.domain.verdict import Verdict
from omni.llm.answer import UpstreamFailed

LONGEST_RETRY_S = 3_600  # some upstreams name absurd times
OFFLINE_RETRY_S = 30  # as often as clouds are asked whether they are back
JSON = "application/json"
REFUSAL = "x-omni-refusal"  # the kind of a refusal of ours: to a status alone, a provider's 402 and a budget look alike

# What a caller is told when no hop brought an answer, by what the last one showed: (status, seconds to wait).
_STATUS: dict[Verdict, tuple[int, int | None]] = {
    Verdict.RATE_LIMITED: (429, 30),
    Verdict.OUT_OF_CREDIT: (402, None),
    Verdict.SLOW: (504, None),
    Verdict.REFUSED: (503, 5),
    Verdict.CLOSED: (503, 5),
    Verdict.HUNG: (503, 5),
    Verdict.NO_ROUTE: (503, OFFLINE_RETRY_S),
    Verdict.ABANDONED: (503, 5),
    Verdict.CALLER_ERROR: (400, None),
}
_DENIED = {"over_budget": 402, "stale_key": 403, "internal": 500}  # anything else passes: the log takes no more, …

_DIRECT_ONLY = "this attempt mends the proxy, so its calls go straight to a cloud, and none can be used: "

Tried = Sequence[tuple[Hop, UpstreamFailed]]


class Events(Protocol):
    """A stream that has begun."""

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class PortAnswer:
    """What the caller gets: `body`, or where `streaming` what `chunks` brings. It is owed an `aclose`, always."""

    def __init__(
        self, status: int, media_type: str, headers: dict[str, str], body: bytes = b"", events: Events | None = None
    ) -> None:
        self.status = status
        self.media_type = media_type
        self.headers = headers
        self.body = body
        self._events = events

    @property
    def streaming(self) -> bool:
        """Whether `chunks` brings events as they come; else `body` is all there is."""
        return self._events is not None

    def chunks(self) -> AsyncIterator[bytes]:
        """Bytes for the caller, as they come; once only."""
        return self._events.chunks() if self._events else _once(self.body)

    async def aclose(self) -> None:
        """Let go of upstream; a stream that is not at its end was abandoned. Safe to repeat."""
        if self._events:
            await self._events.aclose()


def error(dialect: str, status: int, message: str, wait_s: int | None = None) -> PortAnswer:
    """An error of the port's own. Without `wait_s` nothing is gained by asking again soon."""
    headers = {"retry-after": str(wait_s)} if wait_s is not None else {"x-should-retry": "false"}
    return PortAnswer(status, JSON, headers, error_body(dialect, status, message))


def denied(dialect: str, refusal: Refusal) -> PortAnswer:
    """The Router let no call out: a budget, an attempt that is over, or a log that takes no more."""
    status = _DENIED.get(refusal.kind, 503)
    said = f"over budget: {refusal.message}" if refusal.kind == "over_budget" else refusal.message
    text = f"{said}. Next: {refusal.hint}" if refusal.hint else said
    answer = error(dialect, status, text, 5 if status == 503 else None)
    answer.headers[REFUSAL] = refusal.kind
    return answer


def nowhere(dialect: str, mode: NoteMode, route: Plan, *, direct: bool = False) -> PortAnswer:
    """There was no way to begin with; for a `direct` caller perhaps only because the proxy is none for it."""
    if mode.mode == "BRAINSTEM":
        why = f"the cloud is gone ({mode.reason or mode.cause or mode.mode}), and no model on this machine runs tasks"
    else:
        why = _DIRECT_ONLY if direct else "no model channel can be used: "
        why += "; ".join(map(str, route.left_out)) or "none is configured"
        if all(each.for_good for each in route.left_out):
            return error(dialect, 400, f"{why}. Next: omni config check")
    return error(dialect, 503, f"{why}. Next: omni status", OFFLINE_RETRY_S)


def failed(dialect: str, tried: Tried, last: UpstreamFailed) -> PortAnswer:
    """No hop brought an answer. A mistake of the caller's own comes back as upstream put it."""
    if last.verdict is Verdict.CALLER_ERROR and last.body:
        return PortAnswer(last.status or 400, last.media_type or JSON, {"x-should-retry": "false"}, last.body)
    status, wait_s = _STATUS.get(last.verdict, (502, None))
    if last.status and (last.verdict is Verdict.CALLER_ERROR or last.status == 529):
        status = last.status
    if last.retry_after_ms is not None:
        wait_s = min(-(-last.retry_after_ms // 1000), LONGEST_RETRY_S)
    told = "; ".join(f"{hop.channel}{f' ({hop.model})' if hop.model else ''}: {each.detail}" for hop, each in tried)
    return error(dialect, status, f"no model answered. {told or last.detail}. Next: omni status", wait_s)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body

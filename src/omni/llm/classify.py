"""What an exception or an HTTP answer says about whom, as a verdict (`omni.domain.verdict`).

Theory of operation. One `Finding` for each way that a call can fail, from tables. The question behind them is whose
fault it is: a proxy that cannot be reached is the proxy's, a status that a proxy passes on is the cloud's behind it.
LiteLLM shows how far a call came: `x-litellm-call-id` is there once its model routes took the call, `x-litellm-timeout`
once an upstream was tried.

    call-id   timeout   status            whose
    no        –         400 401 404 500   our key or configuration of the proxy
    no        –         502 503 504       whatever stands before the proxy, or the proxy on its way out
    yes       no        4xx               the caller's: refused before anybody was asked
    yes       yes       any               the cloud's, as if it had answered itself

A detail is the status and the peer's own code word, never its sentence: sentences quote keys and prompts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx
import msgspec

from omni.domain.verdict import Verdict
from omni.llm.answer import Dialect, UpstreamFailed
from omni.llm.fresh import explain

MAX_RETRY_AFTER_MS = 3_600_000  # a stale counter of 18 days has been seen; an hour later it is asked again
_CLOSED = re.compile("disconnect|closed")
_WORD = re.compile(r"[\w.:-]{1,60}", re.ASCII)


class Finding(NamedTuple):
    """`detail` is short and holds no secret; `retry_after_ms` is the peer's own wish, bounded."""

    verdict: Verdict
    detail: str
    retry_after_ms: int | None = None

    def failure(self, *, status: int | None = None, body: bytes = b"", media_type: str = "") -> UpstreamFailed:
        """The error to raise for it."""
        verdict, detail, wait = self
        return UpstreamFailed(verdict, detail, status=status, retry_after_ms=wait, body=body, media_type=media_type)


# --- exceptions -----------------------------------------------------------------------------------------------------


def of_exception(error: Exception) -> Finding:
    """What a failed exchange says; for exceptions of httpx, asyncio and the operating system."""
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Finding(Verdict.HUNG, "no connection in time")
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return Finding(Verdict.SLOW, "no answer in time")
    if isinstance(error, httpx.RemoteProtocolError) and not _CLOSED.search(str(error)):
        return Finding(Verdict.BAD_ANSWER, "the answer is not HTTP")
    if isinstance(error, httpx.DecodingError):
        return Finding(Verdict.BAD_ANSWER, "the answer cannot be unpacked")
    return Finding(*explain(error))


# --- answers --------------------------------------------------------------------------------------------------------

_BY_STATUS: dict[int, Verdict] = {
    401: Verdict.KEY_REJECTED,
    402: Verdict.OUT_OF_CREDIT,
    403: Verdict.KEY_REJECTED,
    408: Verdict.SLOW,
    429: Verdict.RATE_LIMITED,
}
_BY_CODE: dict[str, Verdict] = {
    "enforced_spend_limit_reached": Verdict.OUT_OF_CREDIT,
    "insufficient_quota": Verdict.OUT_OF_CREDIT,
    "billing_error": Verdict.OUT_OF_CREDIT,
    "budget_exceeded": Verdict.OUT_OF_CREDIT,
    "moderation": Verdict.CALLER_ERROR,
}
_STATUS_OF: dict[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 529,
}
_NO_CREDIT = "credit balance is too low"  # Anthropic says it with status 400


def of_cloud_answer(status: int, headers: Mapping[str, str], body: bytes) -> Finding:
    """What an unsuccessful answer of a cloud says. Header names in lower case, or a mapping that does not care."""
    error = _error_in(body)
    verdict = _BY_CODE.get(error.code) or _BY_CODE.get(error.kind) or _verdict_of(status)
    if status == 400 and _NO_CREDIT in error.message:
        verdict = Verdict.OUT_OF_CREDIT
    wait = None if verdict is Verdict.OUT_OF_CREDIT else _retry_after_ms(headers, error)
    return Finding(verdict, _detail(status, error), wait)


def _verdict_of(status: int) -> Verdict:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:
        return Verdict.BAD_ANSWER  # a redirect, or a success that is none
    return Verdict.CALLER_ERROR if status < 500 else Verdict.SERVER_ERROR


def of_proxy_answer(status: int, headers: Mapping[str, str], body: bytes) -> Finding:
    """What an unsuccessful answer of the LiteLLM proxy says; see the table above."""
    error = _error_in(body)
    if "x-litellm-timeout" in headers:
        return of_cloud_answer(status, headers, body)
    if error.kind in _OUR_OWN or error.code in _OUR_OWN:
        return Finding(Verdict.MISCONFIGURED, f"the proxy: {_detail(status, error)}")
    if status in (402, 429) or error.kind == "budget_exceeded":
        return of_cloud_answer(status, headers, body)
    known = "x-litellm-call-id" in headers
    verdict = _UNTRIED.get(status) if known else _UNKNOWN_ROUTE.get(status)
    return Finding(verdict or _verdict_of(status), f"the proxy: {_detail(status, error)}")


_OUR_OWN = frozenset({"auth_error", "no_db_connection"})
_UNTRIED: dict[int, Verdict] = {
    401: Verdict.MISCONFIGURED,
    403: Verdict.MISCONFIGURED,
    500: Verdict.MISCONFIGURED,
}
_UNKNOWN_ROUTE: dict[int, Verdict] = {
    **dict.fromkeys((400, 401, 403, 404, 405, 500), Verdict.MISCONFIGURED),
}


def of_error(error: Any) -> Finding:
    """What an error inside a success says: in a JSON body, or in an event of a stream."""
    body = msgspec.json.encode({"error": error})
    known = _error_in(body)
    status = int(known.code) if known.code.isdigit() else _STATUS_OF.get(known.code) or _STATUS_OF.get(known.kind, 500)
    finding = of_cloud_answer(status if 400 <= status <= 599 else 500, {}, body)
    return finding._replace(detail=f"an error inside a success: {finding.detail}")


class _Error(NamedTuple):
    """The words of an error body that a verdict can hang on."""

    kind: str = ""
    code: str = ""
    message: str = ""
    wait_s: float | None = None


def _error_in(body: bytes) -> _Error:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return _Error()
    error = said.get("error", said) if isinstance(said, dict) else said
    if not isinstance(error, dict):
        return _Error(message=error if isinstance(error, str) else "")
    code, wait = error.get("code"), error.get("reset_seconds")
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and ("reasons" in metadata or "flagged_input" in metadata):
        code = "moderation"  # OpenRouter says with 403 that the input was turned down, not the key
    message = error.get("message")
    wait_s = min(wait, MAX_RETRY_AFTER_MS) * 1.0 if isinstance(wait, int | float) else None
    return _Error(_word(error.get("type")), _word(code), message if isinstance(message, str) else "", wait_s)


def _word(value: Any) -> str:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if _WORD.fullmatch(text) else ""


def _detail(status: int, error: _Error) -> str:
    words = dict.fromkeys((f"HTTP {status}", error.kind, error.code))
    return " ".join(word for word in words if word not in ("", str(status)))


def sentence_of(body: bytes) -> str:
    """What an error body says to a person; empty where it says nothing. For the caller only: it may quote anything."""
    return _error_in(body).message


# --- when to come back ----------------------------------------------------------------------------------------------


def _retry_after_ms(headers: Mapping[str, str], error: _Error) -> int | None:
    if error.wait_s is not None:
        return _bounded(error.wait_s * 1000)
    if wait := headers.get("retry-after-ms", ""):
        return _milliseconds(wait, 1)
    for name in ("retry-after", "llm_provider-retry-after"):
        if wait := headers.get(name, ""):
            return _milliseconds(wait, 1000) if wait[0].isdigit() else _until(wait, headers.get("date", ""))
    return None


def _milliseconds(text: str, unit_ms: int) -> int | None:
    try:
        return _bounded(float(text) * unit_ms)
    except ValueError:
        return None


def _until(moment: str, now: str) -> int | None:
    """A date is measured against the peer's own clock: ours may be wrong, and so may theirs."""
    try:
        return _bounded((parsedate_to_datetime(moment) - parsedate_to_datetime(now)).total_seconds() * 1000)
    except (ValueError, TypeError, OverflowError):
        return None


def _bounded(wait_ms: float) -> int | None:
    return int(min(max(wait_ms, 0.0), MAX_RETRY_AFTER_MS)) if not math.isnan(wait_ms) else None


# --- errors in the caller's own words -------------------------------------------------------------------------------


def error_body(dialect: Dialect, status: int, message: str) -> bytes:
    """An error as a server of this dialect would say it."""
    kind = next((kind for kind, code in _STATUS_OF.items() if code == status), "invalid_request_error")
    if dialect == "messages":
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})

"""What a run of Claude Code amounts to, in the terms of the result contract.

| seen | answer |
|---|---|
| `result` without `is_error` | done, also when it was stopped at the same moment; denied permissions are named |
| stopped | `cancelled`; paused or ending: `interrupted`, resumable |
| an account's limit | nothing begun: `rate_limited`, else `interrupted`, resumable; and the executor pauses |
| 429 | the same without a pause |
| 5xx, no connection | nothing begun: `unavailable`, else `interrupted`, resumable |
| 401, 403 | `failed`, with what to do |
| 402 through the port, its own limit of cost | `over_budget` |
| too many turns, any other error | `failed`, in its words |
| silent, killed, no `result` | `interrupted`, resumable; `failed` when it ended by itself and never began |

A limit is an account's when the CLI says so (`usage_limit_reached`), or in its wording. With a key, and so through the
port, the same refusal is an ordinary 429.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from omni.adapters.claude_code.limits import is_limit, limit_of
from omni.adapters.claude_code.run import Ended
from omni.adapters.claude_code.stream import Story, label_of
from omni.adapters.service import Reason, Structured, failed

RATE_LIMIT_S = 60.0  # a 429 without a time
MAX_DENIALS = 50
_LOG_IN = "start `claude` and type /login, or give the entry a key in `env`; then omni task retry ID"
_NOT_LOGGED_IN = "Not logged in"  # no request was made, so there is no status
_TURNED_AWAY = {
    True: "the model port did not take the key of this attempt",
    False: f"Claude Code is not logged in, or its key is not valid: {_LOG_IN}",
}
_UNKNOWN_SESSION = "No conversation found with session ID"
_SESSION_IN_USE = "is already in use"


class Circumstances(msgspec.Struct, frozen=True):
    """What the run itself does not say. `base_usd`: what its session had cost before; None when nobody knows.

    `resumed`: an earlier run of this session may have done something, so nothing is "not begun" any more.
    """

    session: str
    port: bool
    now: datetime
    reason: Reason | None = None
    repair: bool = False
    resumed: bool = False
    base_usd: float | None = 0.0


def knows_not(story: Story, ended: Ended) -> bool:
    """Whether the conversation to go on with does not exist: nothing was done."""
    return not story.acted and _UNKNOWN_SESSION in _all_words(story, ended)


def has_begun(story: Story, ended: Ended) -> bool:
    """Whether the conversation to begin exists already: nothing was done."""
    return not story.acted and _SESSION_IN_USE in ended.said


def verdict(story: Story, ended: Ended, where: Circumstances) -> Structured:
    """The structured answer."""
    result = story.result
    if result is not None and not result.get("is_error"):
        return _done(story, result, where)
    if ended.why == "stopped":
        return {"session": where.session, **stopped(where.reason)}
    if ended.why == "timeout":
        return failed("timeout", "Claude Code did not finish in time; it was stopped")
    if ended.why == "idle":
        return _interrupted("Claude Code was silent for too long; it was interrupted, and its session can go on")
    if result is None:
        return _died(story, ended, where)
    return {"session": where.session, **_erred(story, result, where)}


def total_of(story: Story) -> float | None:
    """What the session has cost so far, at known prices."""
    result = story.result or {}
    total, models = result.get("total_cost_usd"), result.get("modelUsage")
    used = models.values() if isinstance(models, Mapping) else ()
    if any(isinstance(each, Mapping) and each.get("costBasis") == "unknown" for each in used):
        return None
    return float(total) if isinstance(total, int | float) else None


def _done(story: Story, result: Mapping[str, Any], where: Circumstances) -> Structured:
    denials = _denials(result)
    found: Structured = {
        "text": "\n\n".join(
            each for each in (_text(story, result), _denied_line(denials, repair=where.repair)) if each
        ),
        "session": where.session,
        "turns": result.get("num_turns"),
        "end": str(result.get("terminal_reason") or result.get("stop_reason") or "completed"),
        "duration_s": round(float(result.get("duration_ms") or 0) / 1000, 1),
        "denials": denials,
    }
    return {**found, **_spent(story, result, where)}


def _text(story: Story, result: Mapping[str, Any]) -> str:
    said = result.get("result")
    return said if isinstance(said, str) and said else story.said


def _spent(story: Story, result: Mapping[str, Any], where: Circumstances) -> Structured:
    """Cost and usage. Not under the contract's names where the port has metered the calls."""
    usage = _usage(result)
    if where.port:
        return {"tokens": usage} if usage else {}
    found: Structured = {"usage": usage} if usage else {}
    total = total_of(story)
    if total is not None and where.base_usd is not None:
        found["cost_usd"] = round(max(0.0, total - where.base_usd), 6)
    return found


def _usage(result: Mapping[str, Any]) -> dict[str, int]:
    usage = result.get("usage")
    if not isinstance(usage, Mapping):
        return {}
    read = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return {"input_tokens": sum(_count(usage, each) for each in read), "output_tokens": _count(usage, "output_tokens")}


def _count(usage: Mapping[str, Any], name: str) -> int:
    found = usage.get(name)
    return max(0, found) if isinstance(found, int) else 0


def _denials(result: Mapping[str, Any]) -> list[dict[str, str]]:
    found = result.get("permission_denials")
    given = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    return [
        {
            "tool": str(each.get("tool_name", "")),
            "use": label_of(str(each.get("tool_name", "")), each.get("tool_input")),
        }
        for each in given[:MAX_DENIALS]
    ]


def add_line(outcome: Structured, line: str) -> Structured:
    """The answer with one more line for people."""
    if error := outcome.get("error"):
        return {**outcome, "error": {**error, "message": f"{error['message']}\n{line}"}}
    return {**outcome, "text": f"{outcome.get('text', '')}\n\n{line}".strip()}


def _denied_line(denials: list[dict[str, str]], *, repair: bool) -> str:
    if not denials:
        return ""
    uses = "; ".join(dict.fromkeys(each["use"] for each in denials))
    advice = "" if repair else " `allowed_tools` of the executor permits tools."
    return f"[not permitted, so left undone: {uses}.{advice}]"


def stopped(reason: Reason | None) -> Structured:
    """The answer of an attempt that ended because that was wished."""
    if reason == "paused":
        return _interrupted("paused; its session can go on", retry_after_s=0)
    if reason == "cancelled":
        return failed("cancelled", "Claude Code was stopped")
    return _interrupted("the adapter ended while Claude Code ran; its session can go on")


def _interrupted(message: str, **more: Any) -> Structured:
    return {**failed("interrupted", message, **more), "resumable": True}


def _died(story: Story, ended: Ended, where: Circumstances) -> Structured:
    """Without a result. What was killed is not to blame, and what has begun before is not given up."""
    how = f"Claude Code ended without a result (exit code {ended.code})"
    words = f"{how}: {ended.said[-1000:]}" if ended.said else how
    killed = ended.code is None or ended.code < 0
    return _interrupted(words) if story.begun or where.resumed or killed else failed("failed", words)


def _erred(story: Story, result: Mapping[str, Any], where: Circumstances) -> Structured:
    status, words = result.get("api_error_status"), _words(story, result)
    if result.get("api_error") == "usage_limit_reached" or (not where.port and is_limit(words)):
        return _limited(story, words, where)
    if status == 429:
        return _later(story, where, "rate_limited", words, RATE_LIMIT_S)
    if status in {401, 403} or (status is None and words.startswith(_NOT_LOGGED_IN)):
        return failed("failed", f"{_TURNED_AWAY[where.port]} ({words})")
    if result.get("subtype") == "error_max_budget_usd" or (status == 402 and where.port):
        return failed("over_budget", words)
    if _is_outage(result):
        return _later(story, where, "unavailable", words, None)
    return failed("failed", words)


def _is_outage(result: Mapping[str, Any]) -> bool:
    status = result.get("api_error_status")
    if isinstance(status, int):
        return status >= 500 or status == 408
    return result.get("api_error") == "connection_failed"


def _limited(story: Story, words: str, where: Circumstances) -> Structured:
    limit = limit_of(words, story.resets_at_s, where.now)
    guess = "" if limit.stated else "; it did not say until when"
    pause = {"for_s": round(limit.for_s), "reason": f"{words}{guess}"}
    return {**_later(story, where, "rate_limited", words, limit.for_s), "pause": pause}


def _later(story: Story, where: Circumstances, kind: str, words: str, wait_s: float | None) -> Structured:
    """Try again where nothing was begun, else go on from there."""
    more = {} if wait_s is None else {"retry_after_s": round(wait_s)}
    begun = story.acted or where.resumed
    return _interrupted(words, **more) if begun else failed(kind, words, **more)


def _words(story: Story, result: Mapping[str, Any]) -> str:
    errors = result.get("errors")
    listed = "; ".join(str(each) for each in errors) if isinstance(errors, list) else ""
    said = str(result.get("result") or listed or result.get("subtype") or "Claude Code reported an error")
    last = f"\nIts last words: {story.said}" if story.said and story.said not in said else ""
    return f"{said}{last}"


def _all_words(story: Story, ended: Ended) -> str:
    return f"{ended.said}\n{_words(story, story.result or {})}"

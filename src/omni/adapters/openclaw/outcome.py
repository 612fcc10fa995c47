"""What the gateway's answers say about a run, and what Omni is told of it. No IO here.

final frame of `agent` ──┐
`agent.wait` ────────────┼──▶ Ending: done, failed, aborted, or unknown ──▶ the result contract
`tasks.list`, history ───┘

`agent.wait` says `timeout` both for a run that goes on and for one that it has never heard of: that is `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from omni.adapters.openclaw.frames import (
    Json,
    Refused,
    RunTask,
    mapping,
    text_of,
    words_of,
)

ABORTED = frozenset({"aborted", "timeout", "cancelled"})
LOST_WORDS = "process exited before restart"
RECOVERY = "main_session_restart_recovery"  # how the gateway marks its own word to a run that it takes up again
_UNIT_S = {"second": 1, "minute": 60, "hour": 3600}
_WAIT = re.compile(r"retry (?:after|in) (?:about )?(\d+(?:\.\d+)?)\s*(second|minute|hour)", re.IGNORECASE)
_RATE = re.compile(r"rate.?limit|HTTP 429|too many requests|usage limit", re.IGNORECASE)
_ACCOUNT = re.compile(r"temporarily disabled|in cooldown|usage limit|quota", re.IGNORECASE)


class Ending(msgspec.Struct, frozen=True):
    """How a run ended. `words` are the text of one that is done, and the reason of one that failed."""

    kind: Literal["done", "failed", "aborted", "unknown"]
    words: str = ""
    run_id: str = ""
    model: str = ""
    tokens: dict[str, int] | None = None
    cost_usd: float | None = None


UNKNOWN = Ending("unknown")


def of_final(payload: Any) -> Ending:
    """The last frame of a run that was not refused."""
    said = mapping(payload)
    run_id, status = text_of(said.get("runId")), text_of(said.get("status"))
    if status == "ok":
        return _done(said, run_id)
    if status in ABORTED:
        return Ending("aborted", text_of(said.get("summary")) or status, run_id)
    words = _words(mapping(said.get("result"))) or text_of(said.get("summary"))
    return Ending("failed", words or f"the run ended with status {status!r}", run_id)


def of_refusal(refusal: Refused) -> Ending | None:
    """The last frame of a run that failed; None where the request itself was refused, so that nothing ran."""
    said = mapping(refusal.payload)
    if text_of(said.get("status")) != "error":
        return None
    return Ending("failed", refusal.message, text_of(said.get("runId")))


def of_wait(payload: Any) -> Ending:
    """What `agent.wait` knows."""
    said = mapping(payload)
    run_id, status = text_of(said.get("runId")), text_of(said.get("status"))
    if status == "ok":
        return Ending("done", text_of(mapping(said.get("terminalReply")).get("text")), run_id)
    if status == "error":
        if said.get("stopReason") in {"rpc", "aborted"}:
            return Ending("aborted", "aborted", run_id)
        reply = text_of(mapping(said.get("terminalReply")).get("text"))
        return Ending("failed", reply or text_of(said.get("error")) or "the run failed and left no reason", run_id)
    return UNKNOWN


def of_tasks(tasks: Sequence[RunTask]) -> Ending:
    """What the newest run of a session amounts to; unknown while it runs, and where a restart cut it off."""
    if not tasks or tasks[0].runs or LOST_WORDS in tasks[0].error:
        return UNKNOWN
    newest = tasks[0]
    if newest.status in {"completed", "succeeded", "done"}:
        return Ending("done", "", newest.run_id)
    if newest.status == "cancelled":
        return Ending("aborted", newest.error, newest.run_id)
    if newest.status in {"lost", "interrupted"}:
        return UNKNOWN
    return Ending("failed", newest.error or newest.terminal_summary or f"it is {newest.status!r}", newest.run_id)


class Told(msgspec.Struct, frozen=True):
    """What a session's history says about the request with one key: whether it arrived, and the answer to it."""

    arrived: bool = False
    answer: str = ""


def of_history(payload: Any, key: str) -> Told:
    """Read the answer that followed our message, also where the gateway has had to take it up again."""
    arrived, answer = False, ""
    messages = mapping(payload).get("messages")
    for each in messages if isinstance(messages, list) else []:
        message = mapping(each)
        if message.get("role") == "user":
            own = text_of(message.get("idempotencyKey")).removesuffix(":user") == key
            recovery = mapping(message.get("provenance")).get("sourceTool") == RECOVERY
            arrived = own or (arrived and recovery)
            answer = ""
        elif message.get("role") == "assistant" and arrived:
            answer = _finished_words(message) or answer
    return Told(arrived, answer)


def latest_answer(payload: Any) -> str:
    """The answer to the last word of a session, for gateways whose history names no keys."""
    answer = ""
    messages = mapping(payload).get("messages")
    for each in messages if isinstance(messages, list) else []:
        message = mapping(each)
        answer = "" if message.get("role") == "user" else answer
        if message.get("role") == "assistant":
            answer = _finished_words(message) or answer
    return answer


def _finished_words(message: Mapping[str, Any]) -> str:
    return words_of(message.get("content")) if message.get("stopReason") in {"stop", "length"} else ""


def mirrored(payload: Any, key: str) -> bool:
    """Whether a session's history holds a delivered message with this key."""
    messages = mapping(payload).get("messages")
    return any(mapping(each).get("idempotencyKey") == key for each in (messages if isinstance(messages, list) else []))


def structured(ending: Ending, session: str, *, touched: bool) -> Json:
    """The result contract. `touched`: the run has used tools, so it must not pass for one that began nothing."""
    if ending.kind == "done":
        return _succeeded(ending, session)
    if ending.kind == "aborted":
        words = f"OpenClaw's run was stopped by somebody else: {ending.words}"
        return {"error": {"kind": "failed", "message": words}, "session": session}
    return _failure(ending, session, touched=touched)


def _succeeded(ending: Ending, session: str) -> Json:
    said: Json = {"text": ending.words, "session": session, "run_id": ending.run_id}
    if ending.model:
        said["model"] = ending.model
    if ending.tokens:
        said["usage"] = ending.tokens
    if ending.cost_usd is not None:
        said["cost_usd"] = ending.cost_usd
    return said


def _failure(ending: Ending, session: str, *, touched: bool) -> Json:
    words, wait_s = ending.words, _wait_of(ending.words)
    account = bool(_ACCOUNT.search(words))
    if touched or not (_RATE.search(words) or account):
        return {"error": {"kind": "failed", "message": words}, "session": session}
    error: Json = {"kind": "rate_limited", "message": words}
    if wait_s is not None:
        error["retry_after_s"] = wait_s
    said: Json = {"error": error, "session": session}
    if account and wait_s:
        said["pause"] = {"for_s": wait_s, "reason": words}
    return said


def _wait_of(words: str) -> float | None:
    found = _WAIT.search(words)
    return float(found[1]) * _UNIT_S[found[2].lower()] if found else None


def _done(said: Mapping[str, Any], run_id: str) -> Ending:
    result = mapping(said.get("result"))
    meta = mapping(result.get("meta"))
    text = _words(result) or text_of(meta.get("finalAssistantVisibleText"))
    if _only_errors(result):
        return Ending("failed", text, run_id)
    agent = mapping(meta.get("agentMeta"))
    usage = mapping(agent.get("usage"))
    return Ending("done", text, run_id, text_of(agent.get("model")), _tokens(usage), _cost(usage))


def _payloads(result: Mapping[str, Any]) -> list[Json]:
    payloads = result.get("payloads")
    return [mapping(each) for each in payloads] if isinstance(payloads, list) else []


def _words(result: Mapping[str, Any]) -> str:
    return "\n\n".join(text for each in _payloads(result) if (text := text_of(each.get("text"))))


def _only_errors(result: Mapping[str, Any]) -> bool:
    payloads = _payloads(result)
    return bool(payloads) and all(each.get("isError") is True for each in payloads)


def _tokens(usage: Mapping[str, Any]) -> dict[str, int] | None:
    read = sum(_count(usage.get(name)) for name in ("input", "cacheRead", "cacheWrite"))
    counted = {"input_tokens": read, "output_tokens": _count(usage.get("output"))}
    return counted if any(counted.values()) else None


def _cost(usage: Mapping[str, Any]) -> float | None:
    """What the gateway reckons; its 0 for a model without a price is not a price."""
    total = mapping(usage.get("cost")).get("total")
    return float(total) if isinstance(total, int | float) and 0 < total < 1e6 else None


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0

"""*Task*: what one task is, why it went where it went, what was tried, what it cost, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from omni.domain.values import ENDED
from omni.domain.visible import one_line

LONG_CHARS = 1_200  # a longer result is folded, its beginning shown
EVENTS_SHOWN = 500


def view(
    task: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    decision: Mapping[str, Any],
    card: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Everything that the template shows. `card` is the whole story of the decision, where there is one."""
    return {
        "task": task,
        "title": one_line(task["description"]),
        "ended": task["state"] in ENDED,
        "actions": actions(task),
        "decision": decision["decision"],
        "earlier": decision["earlier"],
        "card": card,
        "attempts": [attempt(each) for each in task["attempts"]],
        "calls": calls(events),
        "events": relative(events[-EVENTS_SHOWN:], task["created_at"]),
        "left_out": max(0, len(events) - EVENTS_SHOWN),
        "result": result(task["result"]),
        "by_hand": task["state"] == "completed" and not any(a["state"] == "succeeded" for a in task["attempts"]),
    }


def actions(task: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a person can do about a task as it is: `do` is the action, `decision` what a resolving one decides."""
    held = task["held"] or {}
    chosen = [{"do": "resolve", "decision": each} for each in held.get("options", ())]
    if task["state"] in ENDED:
        return [{"do": "retry", "decision": ""}]
    return [*chosen, *([] if task["cancel_requested"] else [{"do": "cancel", "decision": ""}])]


def attempt(view: Mapping[str, Any]) -> dict[str, Any]:
    """One try, and how long it took; None while it runs."""
    return {**view, "seconds": seconds_between(view["started_at"], view["ended_at"])}


def calls(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The model calls of a task in order: what was reserved, and how each ended; one without an end is open."""
    made: dict[str, dict[str, Any]] = {}
    for event in events:
        body = event["body"]
        if event["type"] == "call.reserved":
            made[body["call"]] = _reserved(event["at"], body)
        elif event["type"] == "call.settled" and body["call"] in made:
            made[body["call"]] |= _settled(body)
        elif event["type"] == "call.refused":
            made[body["call"]] = {
                **_reserved(event["at"], body),
                "verdict": "refused",
                "detail": one_line(body["reason"]),
            }
    return list(made.values())


def _reserved(at: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": at,
        "n": body.get("n", 0),
        "model": body.get("model", ""),
        "channel": body.get("channel", ""),
        "mode": body.get("mode", ""),
        "paid": body.get("paid", False),
        "estimate_usd": body.get("estimate_usd"),
        "verdict": "open",
        "billed_usd": None,
        "imputed_usd": None,
        "kept_usd": None,
        "tokens": None,
        "duration_ms": None,
        "detail": "",
    }


def _settled(body: Mapping[str, Any]) -> dict[str, Any]:
    usage = body.get("usage")
    tokens = usage and {"in": usage.get("input_tokens", 0), "out": usage.get("output_tokens", 0)}
    return {
        **({"model": body["model"]} if body.get("model") else {}),
        "verdict": body["verdict"],
        "billed_usd": body.get("billed_usd"),
        "imputed_usd": body.get("imputed_usd"),
        "kept_usd": body.get("kept_usd"),
        "tokens": tokens,
        "duration_ms": body.get("duration_ms", 0),
        "detail": one_line(body.get("detail", "")),
    }


def relative(events: Sequence[Mapping[str, Any]], began: str) -> list[dict[str, Any]]:
    """Events with how long after the task's creation each came, in seconds."""
    return [{**each, "after_s": seconds_between(began, each["at"])} for each in events]


def result(view: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What came of it: text as the executor wrote it, and how much of it stands before the fold."""
    if view is None:
        return None
    content = view["content"] or ""
    return {
        "content": content,
        "long": len(content) > LONG_CHARS,
        "start": content[:LONG_CHARS],
        "structured": view["structured"],
    }


def seconds_between(began: str | None, ended: str | None) -> float | None:
    """Seconds from one moment to another, both RFC 3339; None where one is missing."""
    if not began or not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()

"""*Task*: what one task is, why it went where it went, what was tried, what it cost, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request

from omni.domain.errors import OmniError
from omni.domain.values import ENDED
from omni.domain.view import task_view
from omni.domain.visible import one_line
from omni.notify.texts import Language
from omni.replay import why
from omni.replay.words import sentence
from omni.web.pages.actions import actions
from omni.web.pages.frame import show
from omni.web.room import Room

LONG_CHARS = 1_200  # of a result; a longer one is folded, its beginning shown
MOST_CHARS = 100_000
EVENTS_SHOWN = 500
FULL_ID = 36
TITLE_CHARS = 200


async def page(request: Request, room: Room) -> str:
    """One task, by its id or any unique beginning of it. Raises NotFound, Ambiguous."""
    task_id = await _full(room, request.path_params["task_id"])
    task = task_view(await room.desk.get(task_id))
    events, card = await room.desk.events(task_id), await _card(room, task_id)
    shown = view(task, events, card, room.language)
    return show(
        "task.html",
        room,
        "tasks",
        (await room.desk.status()).position,
        title=shown["heading"][:60],
        about=task_id,
        **shown,
    )


async def _card(room: Room, task_id: str) -> dict[str, Any]:
    """The whole story of the decision; where the log cannot tell it, what the door says of it."""
    try:
        return await room.read(lambda history: why.card(history, task_id).view())
    except OmniError:
        return await room.desk.explain(task_id)


async def _full(room: Room, given: str) -> str:
    return given if len(given) == FULL_ID else await room.read(lambda history: history.resolve(given))


def view(
    task: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    card: Mapping[str, Any],
    language: Language,
) -> dict[str, Any]:
    """Everything that the template shows. `card` says why: as the door explains it, or with the moment beside it."""
    return {
        "task": task,
        "heading": one_line(task["description"])[:TITLE_CHARS],
        "ended": task["state"] in ENDED,
        "actions": actions(task),
        "decision": card["decision"],
        "earlier": card["earlier"],
        "then": then(card.get("then")),
        "reproduced": card.get("reproduced"),
        "otherwise": card.get("otherwise", []),
        "attempts": [attempt(each) for each in task["attempts"]],
        "calls": calls(events),
        "events": relative(events[-EVENTS_SHOWN:], task["created_at"], language),
        "facts": facts(task),
        "left_out": max(0, len(events) - EVENTS_SHOWN),
        "long_chars": LONG_CHARS,
        "most_chars": MOST_CHARS,
        "result": result(task["result"]),
        "by_hand": task["state"] == "completed" and not any(a["state"] == "succeeded" for a in task["attempts"]),
    }


def then(view: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What was known in the moment before the decision: mode, money, configuration."""
    if view is None or not view["position"]:
        return None
    budget, configuration = view["budget"], view["configuration"]
    return {
        "position": view["position"],
        "mode": view["mode"],
        "spent_usd": budget["billed_usd"] + budget["kept_usd"],
        "cap_usd": budget["caps"]["daily_usd"],
        "threshold": view["complexity_threshold"],
        "configuration": configuration["digest"] if configuration else "",
    }


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


def facts(task: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What else is known of a task, with the group and name of each text; what is not said is left out."""
    said = (
        ("task", "type", task["type"]),
        ("col", "executor", task["executor"]),
        ("task", "tier", task["tier"]),
        ("col", "model", task["model"]),
        ("task", "priority", str(task["priority"])),
        ("task", "labels", ", ".join(task["labels"])),
    )
    return [each for each in said if each[2]]


def relative(events: Sequence[Mapping[str, Any]], began: str, language: Language) -> list[dict[str, Any]]:
    """Events in words, with how long after the task's creation each came, in seconds."""
    return [
        {**each, "after_s": seconds_between(began, each["at"]), "words": sentence(each["type"], each["body"], language)}
        for each in events
    ]


def result(view: Mapping[str, Any] | None) -> dict[str, str] | None:
    """What came of it, as the executor wrote it; `structured` as indented JSON."""
    if view is None:
        return None
    structured = view["structured"]
    plain = b"" if structured is None else msgspec.json.format(msgspec.json.encode(structured), indent=2)
    return {"content": view["content"] or "", "structured": plain.decode()}


def seconds_between(began: str | None, ended: str | None) -> float | None:
    """Seconds from one moment to another, both RFC 3339; None where one is missing."""
    if not began or not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()

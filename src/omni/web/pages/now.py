"""*Now*: the mode and why, what needs a person, what runs, who is well, and today's money."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request

from omni.domain.ledger import DAY_MS
from omni.domain.view import task_view, timestamp
from omni.domain.visible import one_line
from omni.server.views import system_view
from omni.web.pages import owed
from omni.web.pages.actions import actions
from omni.web.pages.frame import show
from omni.web.room import Room

RECENT_MS = DAY_MS  # failures older than a day are history, and stand under Tasks
SHOWN = 5
HELD_SHOWN = 8
LISTED = 50
TEXT_CHARS = 1_000  # of a text that a list shows: to clean all of a long one, a hundred times, would hold up the loop
OPEN_STATES = ("executing", "dispatching", "idle", "waiting", "held")
DISABLED = "disabled in the configuration"
_BAD_COMPONENT = frozenset({"down", "open", "invalid", "cooldown", "drill", "active"})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page is made of, in plain JSON values: views of the API, and what the log says is owed."""

    status: dict[str, Any]
    held: Sequence[dict[str, Any]] = ()
    running: Sequence[dict[str, Any]] = ()
    failed: Sequence[dict[str, Any]] = ()
    progress: Mapping[str, dict[str, Any]] = {}  # by task: `{progress, total, message}`
    notices: Sequence[dict[str, Any]] = ()  # owed and not told yet: `{key, kind, at, facts, tries}`
    since: str = ""  # RFC 3339: failures after it are news


async def page(request: Request, room: Room) -> str:
    """Ask how things are, and show it."""
    report = await room.desk.status()
    held, executing, dispatching, failed, notices = await asyncio.gather(
        *(_tasks(room, state) for state in ("held", "executing", "dispatching", "failed")),
        room.read(lambda history: owed.notices(history, room.language)),
    )
    since = timestamp(room.clock.wall_ms() - RECENT_MS) or ""
    running = [*executing, *dispatching]
    seen = Seen(
        status=system_view(report),
        held=held,
        running=running,
        failed=failed,
        progress=room.progress.look(),
        notices=notices,
        since=since,
    )
    return show("now.html", room, "now", report.position, **view(seen))


async def _tasks(room: Room, state: str) -> list[dict[str, Any]]:
    return [task_view(each) for each in (await room.desk.list(state, LISTED)).tasks]


def view(seen: Seen) -> dict[str, Any]:
    """Everything that the template shows, in the order in which it is shown."""
    status = seen.status
    executors = [executor(each) for each in status["executors"]]
    money = spend(status.get("spend"))
    failed = [task(each) for each in seen.failed if (each["ended_at"] or "") > seen.since][:SHOWN]
    dispatch = status.get("dispatch") or {"state": "open"}
    more = max(0, status["tasks"].get("held", 0) - HELD_SHOWN)
    needs = {
        "paused": dispatch["state"] == "paused",
        "held": [held(each) for each in seen.held[:HELD_SHOWN]],
        "executors": [each for each in executors if each["needs_hand"]],
        "budget": money if money and money["reached"] else None,
        "notices": list(seen.notices),
        "failed": failed,
    }
    return {
        "mode": mode(status),
        "dispatch": dispatch,
        "needs": needs,
        "needs_count": sum(len(each) if isinstance(each, list) else bool(each) for each in needs.values()) + more,
        "held_more": more,
        "running": [running(each, seen.progress.get(each["id"])) for each in seen.running],
        "counts": [{"state": s, "n": n} for s in OPEN_STATES if (n := status["tasks"].get(s, 0))],
        "total": sum(status["tasks"].values()),
        "executors": executors,
        "components": components(status["components"]),
        "spend": money,
    }


def mode(status: Mapping[str, Any]) -> dict[str, Any]:
    """The mode, why, since when, and the observations of whatever is not well."""
    unwell = [each for each in status["components"] if each["state"] in _BAD_COMPONENT]
    said = [
        {"component": f"{each['kind']} {each['name']}".strip(), **seen}
        for each in unwell
        if each["kind"] in {"proxy", "cloud", "network"}
        for seen in each["evidence"]
    ]
    drill = next((each for each in status["components"] if each["kind"] == "drill"), None)
    named = {name: status[name] for name in ("mode", "cause", "reason", "since")}
    return {**named, "evidence": said, "drill": drill}


def held(view: Mapping[str, Any]) -> dict[str, Any]:
    """A task that waits for a person, with the choices there are."""
    waits = view["held"] or {"kind": "", "reason": "", "options": ()}
    alone = waits["kind"] == "no_executor"  # it goes on by itself once an executor can take it
    return {
        **task(view),
        "kind": waits["kind"],
        "reason": waits["reason"],
        "choices": list(waits["options"]),
        "alone": alone,
        "actions": actions(view),
    }


def task(view: Mapping[str, Any]) -> dict[str, Any]:
    """A task as one line of a list."""
    error = view["error"] or {}
    return {
        "id": view["id"],
        "title": one_line(view["description"][:TEXT_CHARS]),
        "state": view["state"],
        "executor": view["executor"],
        "created_at": view["created_at"],
        "ended_at": view["ended_at"],
        "cost_usd": view["cost_usd"],
        "error": one_line(error.get("message", "")[:TEXT_CHARS]),
        "hint": error.get("hint", ""),
    }


def running(view: Mapping[str, Any], progress: Mapping[str, Any] | None) -> dict[str, Any]:
    """A task under way, with its attempt and how far it is, where its executor says so."""
    attempt = view["attempts"][-1] if view["attempts"] else None
    return {
        **task(view),
        "attempt": view["attempt"],
        "started_at": attempt["started_at"] if attempt else view["created_at"],
        "model": view["model"],
        "cancel_requested": view["cancel_requested"],
        "progress": _progress(progress),
    }


def _progress(progress: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not progress:
        return None
    done, total = progress.get("progress") or 0, progress.get("total")
    percent = max(0, min(100, round(100 * done / total))) if total else None
    return {"percent": percent, "message": one_line(progress.get("message") or ""), "done": done}


def executor(view: Mapping[str, Any]) -> dict[str, Any]:
    """One executor; it needs a hand where it failed, and not because somebody switched it off."""
    health = view["health"]
    off = health["reason"] == DISABLED
    return {
        "name": view["name"],
        "state": "off" if off else health["state"],
        "reason": "" if off else one_line(health["reason"] or ""),
        "until": health["until"],
        "since": view.get("since"),
        "does": list(view["types"]),
        "running": view["running"],
        "queued": view["queued"],
        "limit": view.get("max_concurrency"),
        "needs_hand": health["state"] == "failed" and not off,
    }


def components(views: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Proxy, clouds, keys and breakers with the last thing seen of each; drills stand with the mode."""
    return [
        {
            "kind": each["kind"],
            "name": each["name"],
            "state": each["state"],
            "bad": each["state"] in _BAD_COMPONENT,
            "since": each["since"],
            "until": each["until"],
            "reason": one_line(each["reason"] or ""),
            "last": each["evidence"][-1] if each["evidence"] else None,
        }
        for each in views
        if each["kind"] != "drill" and each["state"] != "absent"
    ]


def spend(view: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Today's money against the cap: billed and kept count, reserved may come to count, unknown is only counted."""
    if view is None:
        return None
    cap, counts = view["caps"]["daily_usd"], view["billed_usd"] + view["kept_usd"]
    used = counts + view["reserved_usd"]
    return {
        **view,
        "counts_usd": counts,
        "cap_usd": cap,
        "percent": None if not cap else min(100, round(100 * counts / cap)),
        "reserved_percent": None
        if not cap
        else min(100, round(100 * used / cap)) - min(100, round(100 * counts / cap)),
        "reached": cap is not None and used >= cap,
        "nothing": not (counts or view["reserved_usd"] or view["imputed_usd"] or view["unknown_calls"]),
    }

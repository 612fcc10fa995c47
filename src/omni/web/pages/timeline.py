"""*Timeline*: the newest events, live; or everything up to one position, with the whole state there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace
from starlette.requests import Request

from omni.domain.values import Millis
from omni.notify.texts import Language
from omni.replay.bands import picture
from omni.replay.history import History
from omni.replay.state import state_at
from omni.replay.timeline import EVENT_TYPES, Row, Wanted, timeline
from omni.replay.when import position_of
from omni.web.lanes import lanes
from omni.web.pages.frame import show
from omni.web.pages.now import components, executor, spend, task
from omni.web.render import Words
from omni.web.room import Room
from omni.web.svg import Chart

ROWS = 100
FIRST_LOOK = 4_000  # positions that a filter looks through at first, then four times as many, and so on
MOST_LOOKED = 400_000  # and in all: what lies further back, the next page looks for
OPEN_SHOWN = 20
GROUPS = tuple(dict.fromkeys(name.partition(".")[0] + "." for name in EVENT_TYPES))
_CHARS = 200


class Asked(msgspec.Struct, frozen=True):
    """What the address says: a moment (`at`, as a person writes it), filters, and where a page of rows ends."""

    at: str = ""
    task: str = ""
    executor: str = ""
    event: str = ""
    until: int | None = None

    @property
    def filters(self) -> dict[str, str]:
        """The filters that are set, as they stand in an address."""
        named = {"task": self.task, "executor": self.executor, "event": self.event}
        return {name: value for name, value in named.items() if value}


class Found(msgspec.Struct, frozen=True):
    """Rows, newest first; `older` is the position up to which the next page looks, None when there is nothing more."""

    rows: tuple[Row, ...]
    older: int | None


class Looked(msgspec.Struct, frozen=True):
    """What the log gave for one question."""

    head: int
    at: int | None
    found: Found
    chart: Chart | None
    state: dict[str, Any] | None


def asked(query: Mapping[str, str]) -> Asked:
    """Read an address; what makes no sense in it is left out."""
    text = {name: query.get(name, "").strip()[:_CHARS] for name in ("at", "task", "executor", "event")}
    until = query.get("until", "")
    return Asked(**text, until=int(until) if until.isascii() and until.isdigit() and len(until) < 16 else None)


async def page(request: Request, room: Room) -> str:
    """The rows, their picture, and the state where one is asked for. Raises NoSuchMoment, NotFound, Ambiguous."""
    question = asked(request.query_params)
    report, looked = await asyncio.gather(
        room.desk.status(), room.fold(lambda history: look(history, question, room.language, room.clock.wall_ms()))
    )
    executors = [each.spec.name for each in report.executors]
    return show("timeline.html", room, "timeline", looked.head, **view(question, looked, executors))


def look(history: History, question: Asked, language: Language, now_ms: Millis) -> Looked:
    """Read all that the page shows; blocks."""
    head = history.reader.head.position
    at = position_of(history.reader, question.at, now_ms) if question.at else None
    until = min(each for each in (head, at, question.until) if each is not None)
    events = (question.event,) if question.event else ()
    wanted = Wanted(task=question.task, until=until, executor=question.executor, events=events)
    found = newest(history, wanted, Words(language))
    chart = _drawn(history, found.rows, Words(language))
    state = None if at is None else state_view(state_at(history, at).view(open_limit=OPEN_SHOWN, ended_limit=0))
    return Looked(head, at, found, chart, state)


def _drawn(history: History, rows: Sequence[Row], words: Words) -> Chart | None:
    """Modes and attempts from the oldest row to the newest; None where there is no row."""
    if not rows:
        return None
    return lanes("timeline", picture(history, rows[-1].position - 1, rows[0].position), words)


def newest(history: History, wanted: Wanted, words: Words, limit: int = ROWS) -> Found:
    """The last rows up to `wanted.until`: looks back in growing steps until there are enough, or far enough."""
    until = wanted.until or 0
    rows: list[Row] = []
    low, step = until, until if wanted.task else FIRST_LOOK if wanted.executor or wanted.events else limit
    while low > 0 and len(rows) < limit and until - low < MOST_LOOKED:
        high, low = low, max(0, low - step)
        part = replace(wanted, after=low, until=high)
        rows = [*timeline(history, part, language=words.language, when=words.local), *rows]
        step *= 4
    kept = rows[-limit:]
    more = len(rows) > limit
    older = kept[0].position - 1 if more and kept else low
    return Found(tuple(reversed(kept)), older if older > 0 else None)


def view(question: Asked, looked: Looked, executors: list[str]) -> dict[str, Any]:
    """Everything that the template shows."""
    here = looked.head if looked.at is None else looked.at
    names = {row.executor for row in looked.found.rows if row.executor}
    return {
        "rows": looked.found.rows,
        "chart": looked.chart,
        "state": looked.state,
        "at": looked.at,
        "scrub": {
            "at": here,
            "head": looked.head,
            "before": here - 1 if here > 1 else None,
            "after": here + 1 if looked.at is not None and here < looked.head else None,
        },
        "asked": question,
        "query": urlencode(question.filters),
        "older": _older(question, looked.found.older),
        "executors": sorted({*executors, *names}),
        "events": [*GROUPS, *EVENT_TYPES],
        "live": looked.at is None and question.until is None,
    }


def _older(question: Asked, older: int | None) -> str:
    if older is None:
        return ""
    named = {"at": question.at} if question.at else {}
    return urlencode({**named, **question.filters, "until": older})


def state_view(state: Mapping[str, Any]) -> dict[str, Any]:
    """The whole state at a position, in the shapes that *Now* shows."""
    health, tasks = state["health"], state["tasks"]
    parts = [{**health["proxy"], "kind": "proxy", "name": "proxy"}]
    for kind in ("cloud", "key", "breaker"):
        parts += [{**each, "kind": kind} for each in health[f"{kind}s"]]
    return {
        "position": state["position"],
        "at": state["at"],
        "hash": state["hash"],
        "mode": health["mode"],
        "running": state["system"]["running"],
        "daemon": state["system"]["daemon"],
        "configuration": state["system"]["configuration"],
        "owed": len(state["system"]["outbox"]),
        "counts": [{"state": name, "n": n} for name, n in tasks["counts"].items()],
        "open": [task(each) for each in tasks["open"]],
        "left_out": tasks["open_left_out"],
        "executors": [executor(each) for each in state["router"]["executors"]],
        "components": components([{"until": None, "reason": None, **each} for each in parts]),
        "spend": spend(state["spend"]),
    }

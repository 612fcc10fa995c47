"""*Service levels*: the owner's figures over the last days, each against its bound, and the drills that were held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from omni.domain.drill import WORDS
from omni.replay.levels import WINDOW_DAYS, rolling
from omni.web.pages.frame import show
from omni.web.room import Room
from omni.web.texts import say

WINDOWS = (1, 7, 30, 90)
SHOWN = 20
_SPREADS = (("overhead", ("overhead",)), ("detection", ("failover", "detection")), ("calls", ("failover", "calls")))
_SHARES = ("submission", "path", "completion")


async def page(request: Request, room: Room) -> str:
    """Fold the log over the window that is asked for, and show it."""
    asked = request.query_params.get("days", "")
    days = int(asked) if asked.isdigit() and int(asked) in WINDOWS else WINDOW_DAYS
    now = room.clock.wall_ms()
    position, figures = await room.fold(
        lambda history: (history.reader.head.position, rolling(history, days, now).view())
    )
    title = say(room.language, "levels.title", {})
    return show("levels.html", room, "levels", position, title=title, **view(figures, days))


def view(figures: Mapping[str, Any], days: int) -> dict[str, Any]:
    """Everything that the template shows."""
    return {
        "days": days,
        "windows": WINDOWS,
        "spreads": [{"name": name, **spread(_at(figures, path))} for name, path in _SPREADS],
        "shares": [{"name": name, **share(figures["availability"][name])} for name in _SHARES],
        "counted": figures["tasks"],
        "daemon": figures["daemon"],
        "outages": _newest(each for each in figures["outages"] if each["kind"] != "drill"),
        "drills": _newest(figures["drills"]),
        "drills_held": figures["drills_held"],
        "faults": [*WORDS, "kill"],
        "waited": figures["waited"],
        "unanswered": figures["failover"]["calls"]["unanswered"],
    }


def spread(view: Mapping[str, Any]) -> dict[str, Any]:
    """Durations against a bound: `verdict` is ok, missed, or unmeasured where nothing was measured."""
    return {**view, "verdict": verdict(view["ok"])}


def share(view: Mapping[str, Any]) -> dict[str, Any]:
    """A share in percent, from `least` to `most`; None where there is no whole."""
    least, most = (None if each is None else _percent(each) for each in (view["least"], view["most"]))
    measured = least is not None
    kept = verdict(view["ok"]) if view["ok"] is not None or not measured else "unsure"
    return {"least": least, "most": most, "wanted": _percent(view["wanted"]), "verdict": kept}


def verdict(ok: bool | None) -> str:  # noqa: FBT001 - the three answers of a figure
    """In a word whether a bound held."""
    return "unmeasured" if ok is None else "ok" if ok else "missed"


def _percent(part: float) -> str:
    """With two digits, and never rounded up to a bound that was missed."""
    return f"{int(part * 10_000) / 100:.2f}".rstrip("0").rstrip(".")


def _newest(listed: Any) -> list[dict[str, Any]]:
    return list(listed)[-SHOWN:][::-1]


def _at(figures: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    found: Any = figures
    for name in path:
        found = found[name]
    return found  # type: ignore[no-any-return]

"""*Costs*: day by day and model by model, what is known and what is not apart; today's caps; where it is heading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from omni.domain.ledger import DAY_MS
from omni.replay.cost_table import cost_table
from omni.server.views import system_view
from omni.web.charts import Day, bars
from omni.web.pages.frame import show
from omni.web.pages.now import spend
from omni.web.render import Words
from omni.web.room import Room

WINDOWS = (7, 30, 90)
USUAL_DAYS = 30
KINDS = ("billed", "imputed", "reported")
_NO_LINE: dict[str, Any] = {"unknown": 0}


async def page(request: Request, room: Room) -> str:
    """Fold the model calls of the days that are asked for; show them, and one kind of money in the picture."""
    asked = request.query_params
    days = int(asked["days"]) if asked.get("days", "").isdigit() and int(asked["days"]) in WINDOWS else USUAL_DAYS
    kind = asked["kind"] if asked.get("kind") in KINDS else KINDS[0]
    now = room.clock.wall_ms()
    status = system_view(await room.desk.status())
    table = await room.fold(lambda history: cost_table(history, now - days * DAY_MS, now=now).view())
    shown = view(table, days, kind)
    chart = bars("costs", chart_days(table, kind), Words(room.language)) if shown["days"] else None
    return show("costs.html", room, "costs", status["position"], chart=chart, spend=spend(status["spend"]), **shown)


def view(table: Mapping[str, Any], days: int, kind: str) -> dict[str, Any]:
    """Everything that the template shows but the picture; days newest first, models dearest first."""
    return {
        "days": [
            {"name": day, "line": table["days"][day], "models": _dearest(table["cells"].get(day, {}))}
            for day in sorted(table["days"], reverse=True)
        ],
        "models": _dearest(table["models"]),
        "total": table["total"],
        "projections": [projection(name, table["projection"][name]) for name in ("day", "month")],
        "window": days,
        "windows": WINDOWS,
        "kind": kind,
        "kinds": KINDS,
    }


def projection(name: str, view: Mapping[str, Any]) -> dict[str, Any]:
    """One period: what is known of it so far, and what it comes to by a straight line, None where nobody can say."""
    return {
        "name": name,
        "until": view["until"],
        "so_far_usd": view["so_far"]["billed_usd"],
        "imputed_so_far_usd": view["so_far"]["imputed_usd"],
        "projected_usd": view["projected"]["billed_usd"],
        "imputed_usd": view["projected"]["imputed_usd"],
        "unknown": view["not_in_it"]["unknown"],
        "kept_usd": view["not_in_it"]["kept_usd"],
    }


def chart_days(table: Mapping[str, Any], kind: str) -> list[Day]:
    """The bars of one kind of money; a bill that nobody knows is in no bar, and marked above it."""
    return [
        Day(
            day,
            {model: line[f"{kind}_usd"] for model, line in table["cells"].get(day, {}).items() if line[f"{kind}_usd"]},
            table["days"].get(day, _NO_LINE)["unknown"] if kind == "billed" else 0,
        )
        for day in sorted(table["days"])
    ]


def _dearest(lines: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines with their names, by what is known of the bill, then by what free calls were worth."""

    def rank(name: str) -> tuple[float, float, str]:
        line = lines[name]
        worth = (line["imputed_usd"] or 0.0) + (line["reported_usd"] or 0.0)
        return (-((line["billed_usd"] or 0.0) + line["kept_usd"]), -worth, name)

    return [{"name": name, "line": lines[name]} for name in sorted(lines, key=rank)]

"""The card of a decision in words: what was chosen and why, what was known at that moment, what would have differed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omni.cli.output import Output, clip, local_time, one_line, table
from omni.cli.show import why_lines

REASON_CHARS = 100  # the whole stands in the JSON document
DIGEST = 16  # characters of a digest that tell one from another


def card_lines(out: Output, card: dict[str, Any]) -> list[str]:
    """One card; of a daemon whose log is elsewhere it is the decision alone."""
    told = why_lines(out, card)
    if "then" not in card:
        return told
    return [*told, "", *_moment(card["then"], decided=card["reproduced"] is not None), *_otherwise(card)]


def _moment(then: dict[str, Any], *, decided: bool) -> Iterator[str]:
    when = "when it was decided" if decided else "at that moment"
    yield f"  {when}: position {then['position']:,}, {_time(then['at'])}"
    mode = then["mode"]
    yield f"  mode     {mode['mode']}" + (f": {one_line(mode['reason'])}" if mode["reason"] else "")
    yield f"  budget   {_budget(then['budget'])}"
    if found := then["configuration"]:
        yield f"  config   {found['digest'][:DIGEST]}, in force since position {found['position']:,}"
    rows = [(one_line(each["name"]), f"{each['running']}/{each['slots']}", _health(each)) for each in then["executors"]]
    yield from (f"  {line}" for line in table(("EXECUTOR", "BUSY", "HEALTH"), rows))


def _time(stamp: str | None) -> str:
    return local_time(stamp, exact=True) if stamp else "before the first event"


def _health(executor: dict[str, Any]) -> str:
    if executor["unavailable"]:
        return one_line(executor["unavailable"])
    reason = f": {one_line(executor['reason'])}" if executor["reason"] else ""
    return f"{executor['state']}{reason}"


def _budget(budget: dict[str, Any]) -> str:
    caps = budget["caps"]
    spent = budget["billed_usd"] + budget["kept_usd"]
    day = f"${spent:.2f} spent" + (f" of ${caps['daily_usd']:.2f} a day" if caps["daily_usd"] is not None else "")
    reserved = f", ${budget['reserved_usd']:.2f} reserved" if budget["reserved_usd"] else ""
    unknown = f", {budget['unknown_calls']} calls of unknown cost" if budget["unknown_calls"] else ""
    own = f"; this task ${budget['task_spent_usd']:.2f}"
    cap = min((usd for usd in (caps["task_usd"], budget["task_usd"]) if usd is not None), default=None)
    return day + reserved + unknown + own + (f" of ${cap:.2f}" if cap is not None else "")


def _otherwise(card: dict[str, Any]) -> Iterator[str]:
    if card["reproduced"] is None:
        return
    yield ""
    if not card["reproduced"]:
        yield "  the rules of this version decide otherwise than was decided then, so nothing is said of other cases"
    elif not card["otherwise"]:
        yield "  no single change that was tried would have led elsewhere"
    else:
        yield "  it would have gone elsewhere"
        yield from (f"    {one_line(change['if'])}: {_where(change)}" for change in card["otherwise"])


def _where(change: dict[str, Any]) -> str:
    if not change["executor"]:
        return f"nowhere ({clip(one_line(change['reason']), REASON_CHARS)})"
    tier = f" on {one_line(change['tier'])}" if change["tier"] else ""
    return one_line(f"to {change['executor']}{tier}") + (f", {one_line(change['model'])}" if change["model"] else "")

"""`omni what-if`: another configuration over the recorded history, straight from the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omni.cli.context import Context
from omni.cli.exits import OK, BadUsage
from omni.cli.output import counted, local_time, one_line, table
from omni.domain.errors import ConfigError, NotFound
from omni.domain.view import timestamp
from omni.domain.visible import usd

if TYPE_CHECKING:
    from omni.config import Config
    from omni.replay.history import History
    from omni.replay.what_if import Answer, Change, Latency, Money, Tally

HELP = "omni what-if --help"
SHOWN = 20  # tasks; --json shows all
_HEAD = ("", "RECORDED", "BY THE POLICY", "DIFFERENCE", "LABEL", "UNKNOWN")
_FATES = {
    "refused": "would not have been accepted",
    "held": "would have been held",
    "elsewhere": "another executor",
    "other_model": "another model",
    "let_on": "would not have been held there",
    "unsure": "not known",
    "other_time": "another time",
    "other_price": "its calls go another way",
}


def run(context: Context, since: str | None, to: str | None) -> int:
    """Print what would have been otherwise. Raises ConfigError, NotFound without a log, NoSuchMoment, BadUsage."""
    from omni.config.prices import PriceList
    from omni.replay.what_if import policy_of, what_if
    from omni.replay.when import position_before, position_of
    from omni.runtime.ports import SystemClock

    config, now = tried(context), SystemClock().wall_ms()
    with _history(context) as history:
        after = position_before(history.reader, since, now) if since else 0
        until = position_of(history.reader, to, now) if to else history.reader.head.position
        if until <= after:
            raise BadUsage(f"there is nothing between {since or 'the beginning'} and {to or 'the end'}", hint=HELP)
        count = context.counting("reading the log")
        policy, price = policy_of(config), PriceList(config)
        answer = what_if(history.reader, policy, price=price, after=after, until=until, count=count)
    context.out.redraw("")
    name = str(context.loaded.path or "the built-in defaults")
    context.out.show("what-if", {"config": name, **answer.view()}, lines(name, answer))
    if not context.out.as_json:
        context.out.note(f"next: {_next(answer)}")
    return OK


def tried(context: Context) -> Config:
    """The configuration to try. The daemon may have secrets in variables that this shell lacks: they count as there."""
    from omni.config import load

    absent = dict.fromkeys(context.loaded.absent, "not-set-here")  # nothing is sent: no more is asked than whether
    if not absent:
        return context.loaded.config
    try:
        return load(context.loaded.path, environ={**os.environ, **absent}).config
    except ConfigError:  # one of them has to be something special, an address for instance
        return context.loaded.config


def lines(name: str, answer: Answer) -> list[str]:
    """The answer for people: the figures, the tasks that change, and what nobody can say."""
    read = (
        f"{name} over positions {answer.after + 1} to {answer.until}: "
        f"{counted(answer.tasks, 'task')}, {counted(answer.decisions, 'routing decision')} and "
        f"{counted(answer.asked, 'model call')} put again"
    )
    same = [] if answer.changed else ["", "nothing changes: every recorded decision would have been the same"]
    return [read, "", *_figures(answer), *same, *_changes(answer), *_doubts(answer)]


# --- which log ------------------------------------------------------------------------------------------------------


def _history(context: Context) -> History:
    """The log of today's configuration, for --config names the one to try; without it the log that the file names."""
    from omni.config import log_path
    from omni.replay.history import History

    places = list(dict.fromkeys(_places(context)))
    found = next((place for place in places if log_path(place).exists()), None)
    if found is None:
        looked = ", nor in ".join(str(place) for place in places)
        raise NotFound(
            f"there is no event log in {looked}", hint="omni serve makes one; --data-dir names the one to read"
        )
    return History.open(found)


def _places(context: Context) -> list[Path]:
    """Where the log may be: where the options say, else where today's configuration does, else where the file does."""
    from omni.config import load

    own = context.data_dir
    if context.options.data_dir or not context.options.config:
        return [own]
    try:
        return [Path(load(None).config.data_dir), own]
    except ConfigError:
        return [own]


# --- figures --------------------------------------------------------------------------------------------------------


def _figures(answer: Answer) -> list[str]:
    rows = [
        ("cost", *_money(answer.cost, answer.figure("cost"))),
        ("latency", *_latency(answer.latency, answer.figure("latency"))),
        ("held", *_tally(answer.held, answer.figure("held"))),
        ("failed", *_tally(answer.failed, answer.figure("failed"))),
    ]
    refused = [f"and {counted(answer.refused, 'task')} would not have been accepted"] if answer.refused else []
    return [*table(_HEAD, rows), *refused]


def _money(cost: Money, view: dict[str, Any]) -> tuple[str, ...]:
    parts = [f"{usd(cost.same_usd)} recorded"] if cost.repriced else []
    parts += [f"{usd(cost.repriced_usd)} re-priced"] if cost.repriced else []
    split = f" ({' + '.join(parts)})" if parts else ""
    differs = cost.in_doubt or view["doubts"]  # a bill that nobody knows is the same on both sides
    return (
        f"{usd(cost.recorded_usd)}{_and_more(cost.recorded_unknown)}",
        f"{usd(cost.policy_usd)}{split}{_and_more(not view['whole'])}",
        f"{_signed_usd(view['delta_usd'])}{_and_more(differs)}",
        str(view["label"]),
        _unknown_of(_unknown_money(cost), view),
    )


def _unknown_money(cost: Money) -> str:
    says = (
        (cost.unknown_tasks, counted(cost.unknown_tasks, "task")),
        (cost.unknown, f"{counted(cost.unknown, 'call')} (recorded: {usd(cost.unknown_recorded_usd)})"),
        (cost.recorded_unknown, f"{cost.recorded_unknown:,} bills of the record"),
    )
    return ", ".join(text for number, text in says if number) or "-"


def _latency(latency: Latency, view: dict[str, Any]) -> tuple[str, ...]:
    unknown = f"{counted(latency.unknown, 'task')} (recorded: mean {_mean(latency.unknown_ms, latency.unknown)})"
    more = _and_more(not view["whole"])
    return (
        f"mean {_mean(latency.recorded_ms, latency.recorded)} of {latency.recorded:,}",
        f"mean {_mean(latency.same_ms, latency.same)} of {latency.same:,}{more}",
        f"0 s{more}" if latency.same == latency.recorded else "unknown",  # means of other tasks cannot be compared
        str(view["label"]),
        _unknown_of(unknown if latency.unknown else "-", view),
    )


def _tally(tally: Tally, view: dict[str, Any]) -> tuple[str, ...]:
    unknown = (
        f"{counted(tally.unknown, 'task')}, {tally.unknown_recorded:,} of them in the record" if tally.unknown else "-"
    )
    more = _and_more(not view["whole"])
    return (
        counted(tally.recorded, "task"),
        f"{view['policy']:,}{more}",
        f"{tally.delta:+,}{more}" if tally.delta else f"0{more}",
        str(view["label"]),
        _unknown_of(unknown, view),
    )


def _unknown_of(own: str, view: dict[str, Any]) -> str:
    """What is unknown of a figure: its own parts, and what the last part of the answer says of the whole history."""
    said = [own] if own != "-" else []
    said += ["see below"] if view["doubts"] else []
    return ", ".join(said) or "-"


def _and_more(unknown: object) -> str:
    """No sum with unknown parts looks whole."""
    return " + ?" if unknown else ""


def _mean(total_ms: int, number: int) -> str:
    return f"{total_ms / number / 1000:.2f} s" if number else "-"


def _signed_usd(amount: float) -> str:
    sign = "-" if amount < 0 else "+" if amount > 0 else ""
    return f"{sign}{usd(abs(amount))}"


# --- tasks and doubts -----------------------------------------------------------------------------------------------


def _changes(answer: Answer) -> list[str]:
    if not answer.changes:
        return []
    shown = [line for change in answer.changes[:SHOWN] for line in _change(change)]
    left = len(answer.changes) - SHOWN
    more = [f"and {counted(left, 'more task')}: --json shows all"] if left > 0 else []
    return ["", f"tasks that change ({len(answer.changes):,})", *shown, *more]


def _change(change: Change) -> list[str]:
    means, money = change.means, change.money
    priced = f"{usd(money.recorded_usd)} recorded from there on"
    if money.repriced:
        priced += f", {usd(money.repriced_usd)} re-priced"
    if money.avoided:
        priced += f", {usd(money.avoided_usd)} not spent then"
    if money.unknown:
        priced += f", {counted(money.unknown, 'call')} unknown"
    ended = f"; recorded: {'ran later and ' if change.ran_later else ''}{change.ended or 'not ended'}"
    return [
        f"  {change.task}  {local_time(timestamp(change.at_ms))}  {_FATES[change.fate]}",
        f"    recorded  {_side(change.recorded)}",
        f"    policy    {_side(change.policy)}",
        f"    outcome {means.outcome}, latency {means.latency}, cost {priced}{ended}",
    ]


def _side(side: Any) -> str:
    who = " · ".join(part for part in (side.executor, side.tier, side.model) if part)
    return one_line(f"{who}: {side.reason}" if who else side.reason)


def _doubts(answer: Answer) -> list[str]:
    waiting = sum(change.waits_for_day for change in answer.changes)
    said = [f"  {doubt.what}{f' ({doubt.times:,} times)' if doubt.times else ''}" for doubt in answer.doubts.values()]
    if waiting:
        said.append(f"  {waiting:,} held tasks go on by themselves with the next day: what they come to then")
    if any(change.means.outcome == "unknown" for change in answer.changes):
        said.append("  calls and attempts that never happened: their tokens, their time, their outcome")
    return ["", "what nobody can say", *said] if said else []


def _next(answer: Answer) -> str:
    if answer.changes:
        return f"omni why {answer.changes[0].task} tells how the first of them was decided"
    return "omni config check --config FILE; in the daemon's file, omni config reload takes it up and names what waits"

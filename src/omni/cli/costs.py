"""`omni costs`: what model calls cost, straight from the log, whether the daemon runs or not."""

from __future__ import annotations

from typing import Any

from omni.cli.context import Context
from omni.cli.exits import OK, BadUsage
from omni.cli.output import one_line, table
from omni.domain.values import Millis
from omni.domain.visible import usd

HELP = "omni costs --help"
_HEAD = ("CALLS", "BILLED", "IMPUTED", "REPORTED", "UNKNOWN", "TOKENS IN/OUT")


def run(context: Context, by: str, since: str | None) -> int:
    """Print the bill by model, tier, executor, task, day or channel. Raises NotFound without a log, BadUsage."""
    from omni.replay.costs import bill, ranked
    from omni.runtime.ports import SystemClock

    began = moment(since, SystemClock().wall_ms()) if since else 0
    with context.history() as history:
        read = bill(history.reader, by, began, context.counting("reading the log"))
    context.out.redraw("")
    names = sorted(read.lines) if by == "day" else ranked(read.lines)
    rows = [{"key": name, **read.lines[name].view()} for name in names]
    document = {"by": by, "since": since, "rows": rows, "total": read.total.view()}
    context.out.show("costs", document, lines(by, since, rows, read.total.view()))
    return OK


def lines(by: str, since: str | None, rows: list[dict[str, Any]], total: dict[str, Any]) -> list[str]:
    """The bill for people; sums hold what is known, and what is not is counted beside them."""
    if not rows:
        return [f"nothing was spent{f' since {since}' if since else ' yet'}: no model call is in the log"]
    cells = [(one_line(row["key"]), *_cells(row)) for row in rows]
    shown = table((by.upper(), *_HEAD), [*cells, ("total", *_cells(total))])
    return [*shown, *_remarks(total)]


def moment(text: str, now: Millis) -> Millis:
    """A point in time, as in `omni.replay.when`. Raises BadUsage."""
    from omni.replay.when import NoSuchMoment
    from omni.replay.when import moment as read

    try:
        return read(text, now)
    except NoSuchMoment:
        raise BadUsage(
            f"{text!r} is no point in time: 7d, 12h, 19:31, 2026-01-31 or 2026-01-31T08:00", hint=HELP
        ) from None


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    calls = f"{row['calls']}+{row['open']}" if row["open"] else str(row["calls"])
    unknown = str(row["unknown"]) if row["unknown"] else ""
    tokens = f"{row['input_tokens']:,}/{row['output_tokens']:,}"
    money = (_amount(row[name]) for name in ("billed_usd", "imputed_usd", "reported_usd"))
    return (calls, *money, unknown, tokens)


def _amount(amount: float | None) -> str:
    return "-" if amount is None else usd(amount)


def _remarks(total: dict[str, Any]) -> list[str]:
    kept = f"; {usd(total['kept_usd'])} of estimates count for them against the caps" if total["kept_usd"] else ""
    says = (
        (total["unknown"], f"{total['unknown']} may have been billed, nobody knows how much: in no sum above{kept}"),
        (total["open"], f"{total['open']} not settled yet, {usd(total['reserved_usd'])} reserved for them"),
        (total["imputed_usd"], "imputed: what free calls would have cost"),
        (total["reported_usd"], "reported: what executors say that calls of their own cost; not metered here"),
    )
    told = [text for applies, text in says if applies]
    return ["", *told] if told else []

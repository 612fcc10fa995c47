"""Costs day by day and model by model, and where the day and the month are heading.

A projection is a straight line: what is known so far, over the time in which it was spent, drawn on to the end of the
period. It says nothing of what nobody knows: calls without a bill stand beside it. In the first part of a period,
TOO_EARLY of it, and where nothing has been spent at all, there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import msgspec

from omni.domain.board import STREAMS
from omni.domain.ledger import DAY_MS, day_ends, day_of
from omni.domain.values import Millis
from omni.domain.view import money, timestamp
from omni.replay.costs import BY, EPOCH, Bill, Line, Made
from omni.replay.history import REPORT_EVERY, Count, History, nothing
from omni.replay.state import state_at
from omni.replay.when import position_at

TOO_EARLY = 1 / 24  # an hour of a day, thirty hours of a month
LONGEST_MONTH_MS = 32 * DAY_MS  # of any time zone
_KINDS = ("billed_usd", "imputed_usd", "reported_usd")


class Projection(msgspec.Struct, frozen=True):
    """One period: what is known of it so far, and what it comes to if it goes on like this; None: nobody can say.

    Spending is counted from `counted_from_ms`, the beginning of the period or of the log.
    """

    from_ms: Millis
    until_ms: Millis
    counted_from_ms: Millis
    now_ms: Millis
    so_far: Line
    billed_usd: float | None = None
    imputed_usd: float | None = None
    reported_usd: float | None = None

    def view(self) -> dict[str, Any]:
        """As JSON, marked as what it is."""
        projected = {kind: usd if (usd := getattr(self, kind)) is None else money(usd) for kind in _KINDS}
        return {
            "from": timestamp(self.from_ms),
            "until": timestamp(self.until_ms),
            "counted_from": timestamp(self.counted_from_ms),
            "now": timestamp(self.now_ms),
            "so_far": self.so_far.view(),
            "projected": {"method": "linear", **projected},
            "not_in_it": {"unknown": self.so_far.unknown, "kept_usd": money(self.so_far.kept_usd)},
        }


class CostTable(msgspec.Struct, frozen=True):
    """The cells by day and model, their sums both ways, and the projections."""

    cells: dict[str, dict[str, Line]]
    days: dict[str, Line]
    models: dict[str, Line]
    total: Line
    day: Projection
    month: Projection

    def view(self) -> dict[str, Any]:
        """As JSON, days in order and models by name."""
        return {
            "cells": {day: _views(self.cells[day]) for day in sorted(self.cells)},
            "days": _views(self.days),
            "models": _views(self.models),
            "total": self.total.view(),
            "projection": {"day": self.day.view(), "month": self.month.view()},
        }


def cost_table(
    history: History,
    since: Millis = 0,
    until: Millis | None = None,
    now: Millis | None = None,
    count: Count = nothing,
) -> CostTable:
    """The range is of the table; the projections are of `now`, or of the log's last event.

    Reads the log from the range or the month on, whatever begins earlier, and takes the state before that as given.
    """
    reader = history.reader
    at = now if now is not None else reader.at_ms(reader.head.position) or 0
    table, whole = DayTable(since), _Days()
    begin = position_at(reader, min(since, at - LONGEST_MONTH_MS) - 1)
    if begin:
        board = state_at(history, begin, count).board
        table.begin(board)
        whole.begin(board)
    for done, (_, stream, when, event) in enumerate(reader.facts(begin, STREAMS)):
        if done % REPORT_EVERY == 0:
            count(done)
        table.counting = until is None or when < until
        table.add(stream, event, when)
        if when <= at:
            whole.add(stream, event, when)
    table.close()
    whole.close()
    return CostTable(
        table.cells, table.lines, table.models, table.total, *_projections(whole, reader.at_ms(1) or at, at)
    )


class DayTable(Bill):
    """A bill by day that keeps what is in each day by model, and all days by model."""

    def __init__(self, since: Millis = 0) -> None:
        super().__init__("day", since)
        self.cells: dict[str, dict[str, Line]] = {}
        self.models: dict[str, Line] = {}

    def _lines(self, made: Made) -> Iterable[Line]:
        day, model = BY["day"](made), BY["model"](made)
        cell = self.cells.setdefault(day, {}).setdefault(model, Line())
        return cell, self.models.setdefault(model, Line()), *super()._lines(made)


class _Days(Bill):
    """A bill by day, of all that is read."""

    def __init__(self) -> None:
        super().__init__("day")

    def between(self, first: int, last: int) -> Line:
        """The sum of all days, counted since the epoch, from the first to the last."""
        total = Line()
        for name, line in self.lines.items():
            if first <= date.fromisoformat(name).toordinal() - EPOCH <= last:
                total.take(line)
        return total


def _projections(days: _Days, log_begins: Millis, now: Millis) -> tuple[Projection, Projection]:
    """Of the day and of the month that it is where the owner lives."""
    offset = days.offset
    today = day_of(now, offset)
    here = date.fromordinal(EPOCH + today)
    first = here.replace(day=1).toordinal() - EPOCH
    next_month = date(here.year + here.month // 12, here.month % 12 + 1, 1).toordinal() - EPOCH

    def project(begin: int, end: int) -> Projection:
        span = day_ends(begin, offset) - DAY_MS, day_ends(end, offset)
        return _projected(span, max(span[0], min(log_begins, now)), now, days.between(begin, end))

    return project(today, today), project(first, next_month - 1)


def _projected(span: tuple[Millis, Millis], counted_from: Millis, now: Millis, so_far: Line) -> Projection:
    begin, end = span
    spent_ms = now - counted_from
    known = (getattr(so_far, kind) for kind in _KINDS)
    if spent_ms < TOO_EARLY * (end - begin):
        return Projection(begin, end, counted_from, now, so_far)
    factor = (end - counted_from) / spent_ms
    return Projection(begin, end, counted_from, now, so_far, *(usd if usd is None else usd * factor for usd in known))


def _views(lines: dict[str, Line]) -> dict[str, dict[str, Any]]:
    return {name: lines[name].view() for name in sorted(lines)}

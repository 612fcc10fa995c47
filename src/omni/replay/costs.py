"""What model calls cost, straight from the log: billed, imputed and unknown apart, by whatever is asked for.

A call is booked where and when it was reserved. What an executor says that an attempt cost counts only where none of
that attempt's calls came through the model port, and stands in a column of its own: nobody here has seen the bill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

import msgspec

from omni.domain import events as ev
from omni.domain.board import STREAMS, Board
from omni.domain.ledger import Reservation, day_of, is_unknown
from omni.domain.values import Millis, Route, Usage
from omni.domain.view import money
from omni.eventlog.store import EventReader

REPORT_EVERY = 10_000
EPOCH = date(1970, 1, 1).toordinal()
NO_TASK = "(no task)"
NOT_METERED = "(not metered)"


class Line(msgspec.Struct):
    """One row of the bill. None where nothing is known; `unknown` calls may have been billed and are in no sum."""

    calls: int = 0
    billed_usd: float | None = None
    imputed_usd: float | None = None
    reported_usd: float | None = None
    unknown: int = 0
    kept_usd: float = 0.0
    open: int = 0
    reserved_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0

    def view(self) -> dict[str, Any]:
        """As JSON; sums without the dust of adding floats."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {name: money(value) if isinstance(value, float) else value for name, value in plain.items()}

    def take(self, other: Line) -> None:
        """Add another line to this one."""
        for name in self.__struct_fields__:
            mine, more = getattr(self, name), getattr(other, name)
            setattr(self, name, more if mine is None else mine if more is None else mine + more)

    def use(self, usage: Usage | None) -> None:
        """Add tokens."""
        if usage is not None:
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens


class Made(msgspec.Struct, frozen=True):
    """A call, or an attempt that was not metered, as far as it can be sorted by."""

    model: str
    tier: str
    channel: str
    executor: str
    task: str
    day: int


BY: dict[str, Callable[[Made], str]] = {
    "model": lambda made: made.model or "(unnamed)",
    "tier": lambda made: made.tier or "(none)",
    "executor": lambda made: made.executor,
    "task": lambda made: made.task or NO_TASK,
    "day": lambda made: date.fromordinal(EPOCH + made.day).isoformat(),
    "channel": lambda made: made.channel,
}


class Bill:
    """Folds a log into lines by `by`, one of `BY`; what was reserved before `since` stays out.

    So does what is reserved while `counting` is false: for the sums of a stretch of a log, what came before it must be
    known and not counted. `begin` takes that from the state in which the stretch began.
    """

    def __init__(self, by: str, since: Millis = 0) -> None:
        self.lines: dict[str, Line] = {}
        self.total = Line()
        self.counting = True
        self._name = BY[by]
        self._since = since
        self.offset = 0  # how far the owner's midnight is ahead of UTC's
        self._open: dict[str, tuple[Reservation, Made]] = {}
        self._routes: dict[str, Route] = {}  # of the last attempts of tasks that have not ended
        self._metered: dict[str, int] = {}  # and which attempt of theirs made the last call
        self._book: dict[type[Any], Callable[[str, Any, Millis], None]] = {
            ev.RoutingConfigured: self._configured,
            ev.AttemptPlanned: self._planned,
            ev.AttemptSucceeded: self._succeeded,
            ev.CallReserved: self._reserved,
            ev.CallSettled: self._settled,
            **dict.fromkeys(ev.TASK_ENDS, self._ended),
        }

    def begin(self, board: Board) -> None:
        """Go on from a state: whose the next calls are, and by whose midnight."""
        self.offset = board.settings.budget.utc_offset_ms
        open_tasks = [task for task in board.tasks.values() if not task.ended]
        self._routes = {task.stream: task.last.route for task in open_tasks if task.last}
        self._metered = {task.stream: task.meter.n for task in open_tasks if task.meter.n}

    def add(self, stream: str, event: Any, at: Millis) -> None:
        """Take in one event."""
        book = self._book.get(type(event))
        if book is not None:
            book(stream, event, at)

    def close(self) -> None:
        """Count what is still open."""
        for call, made in self._open.values():
            for line in self._lines(made):
                line.open += 1
                line.reserved_usd += call.charge_usd

    def _configured(self, _: str, event: ev.RoutingConfigured, at: Millis) -> None:
        self.offset = event.settings.budget.utc_offset_ms

    def _planned(self, stream: str, event: ev.AttemptPlanned, at: Millis) -> None:
        self._routes[stream] = event.route

    def _ended(self, stream: str, event: Any, at: Millis) -> None:
        self._routes.pop(stream, None)
        self._metered.pop(stream, None)

    def _reserved(self, stream: str, event: ev.CallReserved, at: Millis) -> None:
        route = self._routes.get(stream)
        task = "" if stream == ev.CALLS_STREAM else stream.removeprefix(ev.TASK_PREFIX)
        self._metered[stream] = event.n
        if at < self._since or not self.counting:
            return
        day = day_of(at, self.offset)
        who = route.executor if route else f"(client {event.client})" if event.client else NO_TASK
        paid, estimate = event.paid, event.estimate_usd
        call = Reservation(
            event.call, day, event.tier, event.channel, event.model, task, paid=paid, estimate_usd=estimate
        )
        self._open[event.call] = call, Made(event.model, event.tier, event.channel, who, task, day)

    def _settled(self, _: str, event: ev.CallSettled, at: Millis) -> None:
        if event.call not in self._open:
            return
        call, made = self._open.pop(event.call)
        made = msgspec.structs.replace(made, model=event.model or made.model)
        unknown = is_unknown(call, event)
        for line in self._lines(made):
            line.calls += 1
            line.billed_usd = _sum(line.billed_usd, event.billed_usd)
            line.imputed_usd = _sum(line.imputed_usd, event.imputed_usd)
            line.unknown += unknown
            line.kept_usd += event.kept_usd
            line.use(event.usage)

    def _succeeded(self, stream: str, event: ev.AttemptSucceeded, at: Millis) -> None:
        route = self._routes.get(stream)
        if self._metered.get(stream) == event.n or route is None or event.cost_usd is None:
            return
        if at < self._since or not self.counting:
            return
        task = stream.removeprefix(ev.TASK_PREFIX)
        day = day_of(at, self.offset)
        for line in self._lines(Made(route.model, route.tier, NOT_METERED, route.executor, task, day)):
            line.reported_usd = _sum(line.reported_usd, event.cost_usd)
            line.use(event.usage)

    def _lines(self, made: Made) -> Iterable[Line]:
        """All lines that something is to be booked in."""
        return self.lines.setdefault(self._name(made), Line()), self.total


def bill(reader: EventReader, by: str, since: Millis, count: Callable[[int], None]) -> Bill:
    """Read the whole log; `count` is told now and then how many events have been read."""
    read = Bill(by, since)
    for done, (_, stream, at, event) in enumerate(reader.facts(0, STREAMS)):
        if done % REPORT_EVERY == 0:
            count(done)
        read.add(stream, event, at)
    read.close()
    return read


def ranked(lines: Mapping[str, Line]) -> list[str]:
    """The names of lines, dearest first."""
    return sorted(lines, key=lambda name: _rank(name, lines[name]))


def _rank(name: str, line: Line) -> tuple[float, float, int, str]:
    known = (line.billed_usd or 0.0) + line.kept_usd
    return (-known, -(line.imputed_usd or 0.0) - (line.reported_usd or 0.0), -line.calls, name)


def _sum(one: float | None, other: float | None) -> float | None:
    return one if other is None else (one or 0.0) + other

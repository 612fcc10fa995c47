"""The rows of a timeline on a terminal, as wide as it is, and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

import msgspec

from omni.cli.context import Context
from omni.cli.output import clip, columns, local_time, one_line
from omni.cli.show import SHORT
from omni.domain.view import timestamp
from omni.domain.visible import JSON_CONTROLS
from omni.replay.timeline import EVENT_TYPES, Row, Wanted
from omni.replay.words import since

ROWS_AT_ONCE = 200
_WORDS_AT_LEAST = 40
_POSITION, _SINCE, _MODE, _LANE, _EVENT = 8, 10, 9, 12, max(map(len, EVENT_TYPES))  # widths of columns
_GAP = 2
_STYLES = {
    "task.completed": "good", "attempt.succeeded": "good", "task.failed": "bad", "attempt.failed": "bad",
    "task.held": "warn", "attempt.interrupted": "warn", "task.suspended": "warn", "attempt.late_outcome": "warn",
    "health.mode_changed": "bold", "system.started": "bold", "system.stopped": "bold", "call.refused": "warn",
}  # fmt: skip


def write_json(context: Context, wanted: Wanted, rows: Iterator[Row]) -> None:
    """One document, row by row: it may be longer than memory."""
    given = {"task_id": wanted.task or None, "executor": wanted.executor or None, "events": list(wanted.events)}
    head = msgspec.json.encode({"schema": "omni.replay/1", "after": wanted.after, "until": wanted.until, **given})
    first = next(rows, None)  # what cannot be read at all is an error, and no beginning of a document
    every = rows if first is None else chain([first], rows)
    context.out.text(head[:-1].decode().translate(JSON_CONTROLS) + ',"rows":[')
    comma = ""
    while lines := [_json(row) for row in islice(every, ROWS_AT_ONCE)]:
        context.out.text(comma + "\n,".join(lines))
        comma = ","
    context.out.text("]}")


def write(context: Context, wanted: Wanted, rows: Iterator[Row], narrowed: str) -> None:
    """Lines for people, as they are found; `narrowed` is what was asked for, to say that nothing fits it."""
    first = next(rows, None)
    context.out.redraw("")
    if first is None:
        context.out.text(f"nothing happened that fits {narrowed}" if narrowed else "the log is empty")
        context.out.note("next: omni replay, with fewer options" if narrowed else "next: omni serve")
        return
    form = _Form(context, one_task=bool(wanted.task))
    context.out.text(f"times count from {local(first.at_ms, exact=True)}\n{form.head()}")
    every = chain([first], rows)
    while lines := [form.line(row) for row in islice(every, ROWS_AT_ONCE)]:
        context.out.redraw("")
        context.out.text("\n".join(lines))


def local(at_ms: int, *, exact: bool = False) -> str:
    """A moment as the clock on the wall showed it."""
    return local_time(timestamp(at_ms), exact=exact)


class _Form:
    """The columns that fit: position, time, mode and lane always, and no other that would leave no room for words."""

    def __init__(self, context: Context, *, one_task: bool) -> None:
        self._out = context.out
        left = columns() - sum((_POSITION, _SINCE, _MODE, _LANE)) - 4 * _GAP
        self._event = left - _EVENT - _GAP >= _WORDS_AT_LEAST
        left -= (_EVENT + _GAP) * self._event
        self._task = not one_task and left - SHORT - _GAP >= _WORDS_AT_LEAST
        self._left = left - (SHORT + _GAP) * self._task

    def head(self) -> str:
        return self._cells("POSITION", "SINCE", "MODE".ljust(_MODE), "LANE", "TASK", "EVENT") + "  WHAT"

    def line(self, row: Row) -> str:
        mode = self._out.state(row.mode, _MODE)
        cells = self._cells(str(row.position), since(row.since_ms), mode, row.lane, row.task_id[:SHORT], row.type)
        words = clip(one_line(row.text), self._left)
        style = _STYLES.get(row.type)
        return f"{cells}  {self._out.style(words, style) if style else words}".rstrip()

    def _cells(self, position: str, at: str, mode: str, lane: str, task: str, event: str) -> str:
        cells = [f"{position:>{_POSITION}}", f"{at:>{_SINCE}}", mode, f"{clip(one_line(lane), _LANE):{_LANE}}"]
        cells += [f"{task:{SHORT}}"] if self._task else []
        cells += [f"{event:{_EVENT}}"] if self._event else []
        return "  ".join(cells)


def _json(row: Row) -> str:
    plain = msgspec.structs.asdict(row)
    absent = {name: plain[name] or None for name in ("task_id", "attempt", "executor")}
    return msgspec.json.encode({"at": timestamp(row.at_ms), **plain, **absent}).decode().translate(JSON_CONTROLS)

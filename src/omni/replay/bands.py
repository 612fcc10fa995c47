"""What to draw over a stretch of the log: the mode as bands, each executor's attempts as bars, and where nobody was.

    band    a mode, from the event that brought it to the one that ended it
    bar     one attempt of one task, in its executor's lane
    gap     no daemon was alive, so nothing could be written; after a crash its beginning is the last thing that was

Nothing is drawn longer than is known. A bar of an attempt that was cut off by a crash ends where somebody took note of
it (`until_ms`), and `sure_until_ms` is the last moment at which it is known to have run. What has not ended in the
stretch has no end at all (`until_ms` is None).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from omni.domain import events as ev
from omni.domain.task import Task
from omni.domain.values import Attempt, AttemptState, Cause, Millis, Mode
from omni.eventlog.store import EventReader, Recorded
from omni.replay.history import REPORT_EVERY, Count, History, nothing
from omni.replay.state import state_at
from omni.replay.timeline import EVENT_TYPES, FIRST_MODE, MODE_EDGE

BARS_KEPT = 20_000
BOOT_EVENTS = 500  # read at a time, in search of the boot before
_ATTEMPTS = tuple(name for name in EVENT_TYPES if name.startswith("attempt."))
_UNCONFIRMED = "the executor never confirmed the stop"

BarState: TypeAlias = Literal["planned", "started", "succeeded", "failed", "cancelled", "interrupted"]


class Band(msgspec.Struct, frozen=True):
    """One mode in force. It begins at or before the stretch; `from_position` 0 stands for the log's beginning."""

    mode: Mode
    from_ms: Millis
    until_ms: Millis | None
    from_position: int
    until_position: int | None
    cause: Cause = ""
    reason: str = ""


class Bar(msgspec.Struct, frozen=True):
    """One attempt, from its plan on; `started_ms` is when its executor had it, `reason` why it ended without a result.

    `late` names an outcome that came after it had been given up; it changed nothing.
    """

    task_id: str
    n: int
    executor: str
    state: BarState
    from_ms: Millis
    until_ms: Millis | None
    from_position: int
    until_position: int | None
    started_ms: Millis | None = None
    sure_until_ms: Millis | None = None
    reason: str = ""
    late: str = ""


class Lane(msgspec.Struct, frozen=True):
    """One executor's bars, in the order of their plans."""

    executor: str
    bars: tuple[Bar, ...]


class Gap(msgspec.Struct, frozen=True):
    """No daemon was alive; `until_ms` is None while none is. `crashed`: the one before it ended without a word."""

    from_ms: Millis
    until_ms: Millis | None
    from_position: int
    until_position: int | None
    crashed: bool


class Picture(msgspec.Struct, frozen=True):
    """All of it over `after < position <= until`; `left_out` bars were too many to keep and are not in the lanes."""

    after: int
    until: int
    from_ms: Millis
    until_ms: Millis
    bands: tuple[Band, ...]
    lanes: tuple[Lane, ...]
    gaps: tuple[Gap, ...]
    left_out: int = 0


def picture(
    history: History, after: int = 0, until: int | None = None, count: Count = nothing, most: int = BARS_KEPT
) -> Picture:
    """Draw a stretch of the log; what had begun before it is found in the state at its beginning.

    Memory: `most` bars; those that began later are counted only.
    """
    reader = history.reader
    until = reader.head.position if until is None else until
    gaps = tuple(_gaps(reader, until))
    bars = _Bars(gaps, most)
    if after:
        bars.begin(state_at(history, after, count).board.tasks.values())
    for position, stream, at_ms, event in reader.facts(after, (), until=until, types=_ATTEMPTS):
        if bars.seen % REPORT_EVERY == 0:
            count(position - after)
        bars.note(position, stream, at_ms, event)
    from_ms = reader.at_ms(min(after + 1, until)) or 0
    until_ms = max(reader.at_ms(until) or 0, from_ms)
    near = tuple(gap for gap in gaps if gap.until_position is None or gap.until_position > after)
    bands = tuple(_bands(reader, after, until)) if until else ()
    return Picture(after, until, from_ms, until_ms, bands, bars.lanes(), near, bars.left_out)


def _bands(reader: EventReader, after: int, until: int) -> Iterator[Band]:
    found = reader.last(ev.HEALTH_STREAM, MODE_EDGE, after)
    band = Band(FIRST_MODE, reader.at_ms(1) or 0, None, 0, None)
    if found is not None:
        band = _band(found.position, found.at_ms, found.event)
    for position, _, at_ms, event in reader.facts(after, (ev.HEALTH_STREAM,), until=until, types=(MODE_EDGE,)):
        yield replace(band, until_ms=at_ms, until_position=position)
        band = _band(position, at_ms, event)
    yield band


def _band(position: int, at_ms: Millis, event: Any) -> Band:
    return Band(event.after, at_ms, None, position, None, event.cause, event.reason)


def _gaps(reader: EventReader, until: int) -> Iterator[Gap]:
    """All of them up to a position: starts and stops of daemons are few, and stand in a stream of their own."""
    gap: Gap | None = None
    known = ("system.started", "system.stopped")
    for position, _, at_ms, event in reader.facts(0, (ev.SYSTEM_STREAM,), until=until, types=known):
        if isinstance(event, ev.DaemonStopped):
            gap = Gap(at_ms, None, position, None, crashed=False)
            continue
        gap = gap or _crash_before(reader, position)
        if gap is not None:
            yield replace(gap, until_ms=at_ms, until_position=position)
        gap = None
    if gap is not None:
        yield gap


def _crash_before(reader: EventReader, started: int) -> Gap | None:
    """The gap that begins with the last word of the boot before; None for the first boot of a log."""
    last = last_word(reader, started)
    return Gap(last.at_ms, None, last.position, None, crashed=True) if last else None


def last_word(reader: EventReader, started: int) -> Recorded | None:
    """The last event of the boot before that of `started`: a new daemon writes much before it says that it is there."""
    boot, until = "", started
    while until > 0:
        near = list(reader.read(after=max(0, until - BOOT_EVENTS), until=until))
        boot = boot or near[-1].boot
        older = [each for each in near if each.boot != boot]
        if older:
            return older[-1]
        until -= BOOT_EVENTS
    return None


class _Bars:
    """Attempts as they go on; a plan opens a bar, and whatever ends it closes it."""

    def __init__(self, gaps: tuple[Gap, ...], most: int) -> None:
        self.seen = 0
        self.left_out = 0
        self._most = most
        self._crashes = [gap for gap in gaps if gap.crashed]
        self._bars: dict[tuple[str, int], Bar] = {}
        self._lost: dict[tuple[str, int], Bar] = {}  # cut off before the stretch: a success may still come in it

    def begin(self, tasks: Iterable[Task]) -> None:
        """Take over the attempts that were open, or whose outcome nobody knew, when the stretch began."""
        for task in tasks:
            last = task.last
            if last is None or task.ended:
                continue
            if last.open:
                self._keep(task.stream, last.n, _bar_of(task, last))
            elif last.state is AttemptState.INTERRUPTED:
                self._lost[task.stream, last.n] = _bar_of(task, last)

    def note(self, position: int, stream: str, at_ms: Millis, event: Any) -> None:
        """Take in one event of an attempt."""
        self.seen += 1
        if isinstance(event, ev.AttemptPlanned):
            task_id = stream.removeprefix(ev.TASK_PREFIX)
            bar = Bar(task_id, event.n, event.route.executor, "planned", at_ms, None, position, None)
            self._keep(stream, event.n, bar)
            return
        lost = self._lost.pop((stream, event.n), None) if isinstance(event, ev.AttemptSucceeded) else None
        known = self._bars.get((stream, event.n)) or lost
        if known is not None:  # else it is left out, or ended before the stretch
            self._bars[stream, event.n] = self._changed(known, position, at_ms, event)

    def lanes(self) -> tuple[Lane, ...]:
        """All bars by executor."""
        lanes: dict[str, list[Bar]] = defaultdict(list)
        for bar in sorted(self._bars.values(), key=lambda bar: bar.from_position):
            lanes[bar.executor].append(bar)
        return tuple(Lane(executor, tuple(lanes[executor])) for executor in sorted(lanes))

    def _keep(self, stream: str, n: int, bar: Bar) -> None:
        if len(self._bars) < self._most:
            self._bars[stream, n] = bar
        else:
            self.left_out += 1

    def _changed(self, bar: Bar, position: int, at_ms: Millis, event: Any) -> Bar:
        if isinstance(event, ev.AttemptStarted):
            return replace(bar, state="started", started_ms=at_ms)
        if isinstance(event, ev.LateOutcomeArrived):
            return replace(bar, late=event.outcome)
        state, why = _ENDS[type(event)]
        sure = self._last_sure(bar, position) if state == "interrupted" else None
        return replace(bar, state=state, until_ms=at_ms, until_position=position, reason=why(event), sure_until_ms=sure)

    def _last_sure(self, bar: Bar, position: int) -> Millis | None:
        """The first crash since its plan: whether it outlived that, nobody saw."""
        return next((g.from_ms for g in self._crashes if bar.from_position <= g.from_position < position), None)


_ENDS: dict[type[Any], tuple[BarState, Callable[[Any], str]]] = {
    ev.AttemptSucceeded: ("succeeded", lambda _: ""),
    ev.AttemptFailed: ("failed", lambda event: str(event.error.message)),
    ev.AttemptInterrupted: ("interrupted", lambda event: str(event.evidence)),
    ev.AttemptCancelled: ("cancelled", lambda event: "" if event.confirmed else _UNCONFIRMED),
}


def _bar_of(task: Task, attempt: Attempt) -> Bar:
    state: BarState = "started" if attempt.started_at is not None else "planned"
    executor, began = attempt.route.executor, attempt.planned_at
    return Bar(task.id, attempt.n, executor, state, began, None, attempt.position, None, attempt.started_at)

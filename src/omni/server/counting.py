"""What each recorded event adds to the figures: a table from the kinds of events to small functions.

What an event does not say itself (whose task, which channel) is kept from an earlier one: of tasks that have not ended
and calls that are not settled, and of nothing else. Every event of every task passes here in the writer's thread, so an
event touches one number where it can, and what follows from others is added up by the scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.task import Task
from omni.domain.values import Millis, Usage
from omni.domain.verdict import Verdict
from omni.eventlog.store import Entry
from omni.server.labels import NONE, Names, known

VERDICTS = frozenset(each.value for each in Verdict)

QUICK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CALL_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
START_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
TASK_S = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0)
MS = 1000

Labels: TypeAlias = tuple[str, ...]


class Buckets:
    """One histogram: how many observations lie under each bound, and their sum. `unit` of them make a second."""

    __slots__ = ("_limits", "bounds", "counts", "total", "unit")

    def __init__(self, bounds: Sequence[float], unit: int = MS) -> None:
        self.bounds = bounds
        self.unit = unit
        self._limits = [each * unit for each in bounds]
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One more; a clock that was set back in between counts as no time at all."""
        if value < 0:  # noqa: PLR1730 - a call to max() costs as much as all the rest
            value = 0
        self.counts[bisect_left(self._limits, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    @property
    def total_s(self) -> float:
        """Their sum in seconds."""
        return self.total / self.unit

    def plus(self, other: Buckets | None = None) -> Buckets:
        """Both together, as a copy that no later observation changes."""
        both = Buckets(self.bounds, self.unit)
        both.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)] if other else list(self.counts)
        both.total = self.total + (other.total if other else 0)
        return both


class Lane:
    """Attempts at one executor; `ended` by outcome."""

    __slots__ = ("ended", "executor", "started", "waited")

    def __init__(self, executor: str) -> None:
        self.executor = executor
        self.waited = Buckets(TASK_S)
        self.started = Buckets(START_S)
        self.ended: dict[str, Buckets] = {outcome: Buckets(TASK_S) for outcome in ev.ATTEMPT_ENDS.values()}


class Way:
    """Tasks of one type that went to one executor; `ended` by outcome."""

    __slots__ = ("ended", "kind", "lane", "routed")

    def __init__(self, kind: str, lane: Lane) -> None:
        self.kind = kind
        self.lane = lane
        self.routed = 0
        self.ended: dict[str, Buckets] = {outcome: Buckets(TASK_S) for outcome in ev.TASK_ENDS.values()}


class _Open:
    """What later events of a task that has not ended will want to know; `planned_at` while an attempt is open."""

    __slots__ = ("created_at", "lane", "planned_at", "tried", "way")

    def __init__(self, created_at: Millis, way: Way) -> None:
        self.created_at = created_at
        self.way = way
        self.lane = way.lane
        self.planned_at: Millis | None = None
        self.tried = False


class Counts:
    """All that was counted. Not safe on several threads."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.events: Counter[type[Any]] = Counter()
        self.lanes: dict[str, Lane] = {}
        self.ways: dict[tuple[str, str], Way] = {}
        self.counters: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, dict[Labels, Buckets]] = {}
        self.tasks: dict[str, _Open] = {}  # by stream
        self.calls: dict[str, Labels] = {}
        self.nowhere = self.way("", "")

    def fold(self, entries: Iterable[Entry]) -> None:
        """Count what was appended."""
        events, handlers = self.events, _HANDLERS
        for entry in entries:
            event = entry.event
            kind = type(event)
            events[kind] += 1
            handle = handlers.get(kind)
            if handle is not None:
                handle(self, entry.stream, event, entry.at_ms)

    def begin(self, board: Board) -> None:
        """Know the tasks and calls that are open on a board."""
        for task in board.tasks.values():
            if not task.ended:
                self.tasks.setdefault(task.stream, self._opened(task))
        for each in board.ledger.open.values():
            self.calls.setdefault(each.call, self.where(each.tier, each.channel, each.model))

    def way(self, kind: str, executor: str) -> Way:
        """The figures of a type at an executor; names that nobody knows share theirs."""
        found = self.ways.get((kind, executor))
        if found is None:
            lane, kind = self.lane(executor), known(kind, self.names.types)
            found = self.ways.setdefault((kind, lane.executor), Way(kind, lane))
        return found

    def lane(self, executor: str) -> Lane:
        """The figures of an executor."""
        found = self.lanes.get(executor)
        if found is None:
            name = known(executor, self.names.executors)
            found = self.lanes.setdefault(name, Lane(name))
        return found

    def count(self, name: str, labels: Labels, by: float = 1) -> None:
        """Add to a counter."""
        counter = self.counters.setdefault(name, {})
        counter[labels] = counter.get(labels, 0) + by

    def observe(self, name: str, labels: Labels, ms: int) -> None:
        """Add to a histogram of model calls."""
        family = self.histograms.setdefault(name, {})
        if labels not in family:
            family[labels] = Buckets(CALL_S)
        family[labels].observe(ms)

    def where(self, tier: str, channel: str, model: str) -> Labels:
        """The labels of a model call."""
        names = self.names
        return known(tier, names.tiers), known(channel, names.channels), known(model, names.models)

    def _opened(self, task: Task) -> _Open:
        found = _Open(task.created_at, self.way(task.kind, task.route.executor if task.route else ""))
        found.tried = bool(task.attempts)
        if attempt := task.open_attempt:
            found.lane, found.planned_at = self.lane(attempt.route.executor), attempt.planned_at
        return found


# --- tasks ------------------------------------------------------------------------------------------------------------


def _created(counts: Counts, stream: str, event: ev.TaskCreated, at: Millis) -> None:
    counts.tasks[stream] = _Open(at, counts.nowhere)


def _routed(counts: Counts, stream: str, event: ev.TaskRouted, at: Millis) -> None:
    task = counts.tasks.get(stream)
    if task is None:
        return  # never: a task is created first, and `begin` knows those of earlier daemons
    task.way = way = counts.way(event.kind, event.route.executor if event.route else "")
    way.routed += 1


def _held(counts: Counts, stream: str, event: ev.TaskHeld, at: Millis) -> None:
    counts.count("omni_tasks_held_total", (event.held.kind,))


def _ended(counts: Counts, stream: str, event: Any, at: Millis) -> None:
    task = counts.tasks.pop(stream, None)
    if task is not None:
        task.way.ended[ev.TASK_ENDS[type(event)]].observe(at - task.created_at)


# --- attempts ---------------------------------------------------------------------------------------------------------


def _planned(counts: Counts, stream: str, event: ev.AttemptPlanned, at: Millis) -> None:
    task = counts.tasks.get(stream)
    if task is None:
        return
    task.lane = lane = counts.lane(event.route.executor)
    task.planned_at = at
    if not task.tried:
        task.tried = True
        lane.waited.observe(at - task.created_at)


def _started(counts: Counts, stream: str, event: ev.AttemptStarted, at: Millis) -> None:
    task = counts.tasks.get(stream)
    if task is not None and task.planned_at is not None:
        task.lane.started.observe(at - task.planned_at)


def _tried(counts: Counts, stream: str, event: Any, at: Millis) -> None:
    task = counts.tasks.get(stream)
    if task is None or task.planned_at is None:
        return  # it had ended already: what really finished wins in the record, and is one attempt all the same
    task.lane.ended[ev.ATTEMPT_ENDS[type(event)]].observe(at - task.planned_at)
    task.planned_at = None


# --- model calls and the mode -----------------------------------------------------------------------------------------


def _reserved(counts: Counts, _: str, event: ev.CallReserved, at: Millis) -> None:
    counts.calls[event.call] = counts.where(event.tier, event.channel, event.model)


def _settled(counts: Counts, _: str, event: ev.CallSettled, at: Millis) -> None:
    where = counts.calls.pop(event.call, None)
    if where is None:
        return  # of a call that was settled already: the log may hold that twice, a bill does not
    _, channel, model = where
    verdict = known(event.verdict, VERDICTS)
    counts.count("omni_model_calls_total", (*where, verdict))
    counts.observe("omni_model_call_duration_seconds", (channel, verdict), event.duration_ms)
    if event.first_byte_ms is not None:
        counts.observe("omni_model_call_first_byte_seconds", (channel,), event.first_byte_ms)
    for kind, usd in _money(event):
        counts.count("omni_model_cost_usd_total", (*where, kind), usd)
    for direction, tokens in _tokens(event.usage):
        counts.count("omni_model_tokens_total", (channel, model, direction), tokens)


def _refused(counts: Counts, _: str, event: ev.CallRefused, at: Millis) -> None:
    counts.count("omni_model_calls_refused_total", (known(event.cap, counts.names.caps),))


def _mode(counts: Counts, _: str, event: ev.ModeChanged, at: Millis) -> None:
    if event.before != event.after:
        counts.count("omni_mode_changes_total", (event.before, event.after, event.cause or NONE))


def _money(event: ev.CallSettled) -> Iterator[tuple[str, float]]:
    for kind, usd in (("billed", event.billed_usd), ("imputed", event.imputed_usd), ("kept", event.kept_usd)):
        if usd:
            yield kind, usd


def _tokens(usage: Usage | None) -> Iterator[tuple[str, int]]:
    if usage is not None:
        yield "input", usage.input_tokens
        yield "output", usage.output_tokens
        yield "cache_read", usage.cache_read_tokens
        yield "cache_write", usage.cache_write_tokens


_HANDLERS: dict[type[Any], Callable[[Counts, str, Any, Millis], None]] = {
    ev.TaskCreated: _created,
    ev.TaskRouted: _routed,
    ev.TaskHeld: _held,
    **dict.fromkeys(ev.TASK_ENDS, _ended),
    ev.AttemptPlanned: _planned,
    ev.AttemptStarted: _started,
    **dict.fromkeys(ev.ATTEMPT_ENDS, _tried),
    ev.CallReserved: _reserved,
    ev.CallSettled: _settled,
    ev.CallRefused: _refused,
    ev.ModeChanged: _mode,
}

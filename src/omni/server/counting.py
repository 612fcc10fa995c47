"""What each recorded event adds to the figures: a table from the kinds of events to small functions.

What an event does not say itself (whose task, which channel) is kept from an earlier one: of tasks that have not ended
and calls that are not settled, and of nothing else.
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
from omni.server.labels import NONE, Names, known

VERDICTS = frozenset(each.value for each in Verdict)

QUICK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CALL_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
START_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
TASK_S = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0)


Labels: TypeAlias = tuple[str, ...]
_ID_STARTS = len(ev.TASK_PREFIX)


class Buckets:
    """One histogram: how many observations fell under each bound, in seconds, and their sum."""

    __slots__ = ("bounds", "counts", "total_s")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """One more; a clock that was set back in between counts as no time at all."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds

    def copy(self) -> Buckets:
        """The same figures, which no later observation changes."""
        other = Buckets(self.bounds)
        other.counts, other.total_s = list(self.counts), self.total_s
        return other


class _Open:
    """What later events of a task that has not ended will want to know."""

    __slots__ = ("created_at", "executor", "kind", "planned", "planned_at", "tried")

    def __init__(self, created_at: Millis, kind: str = "", executor: str = "", *, tried: bool = False) -> None:
        self.created_at = created_at
        self.kind = kind
        self.executor = executor
        self.planned_at: Millis | None = None
        self.planned = ""  # the executor of the attempt under way
        self.tried = tried


class Counts:
    """All that was counted, by metric and labels. Not safe on several threads."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.events: Counter[type[Any]] = Counter()
        self.counters: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, dict[Labels, Buckets]] = {}
        self.tasks: dict[str, _Open] = {}
        self.calls: dict[str, Labels] = {}

    def fold(self, facts: Iterable[tuple[str, Any, Millis]]) -> None:
        """Count recorded events: stream, event and time of each."""
        counts, handlers = self.events, _HANDLERS
        for stream, event, at in facts:
            kind = type(event)
            counts[kind] += 1
            handle = handlers.get(kind)
            if handle is not None:
                handle(self, stream[_ID_STARTS:], event, at)

    def begin(self, board: Board) -> None:
        """Know the tasks and calls that are open on a board."""
        for task in board.tasks.values():
            if not task.ended:
                self.tasks.setdefault(task.id, self._opened(task))
        for each in board.ledger.open.values():
            self.calls.setdefault(each.call, self.where(each.tier, each.channel, each.model))

    def count(self, name: str, labels: Labels, by: float = 1) -> None:
        """Add to a counter."""
        counter = self.counters.setdefault(name, {})
        counter[labels] = counter.get(labels, 0) + by

    def observe(self, name: str, bounds: Sequence[float], labels: Labels, ms: int) -> None:
        """Add to a histogram."""
        family = self.histograms.setdefault(name, {})
        buckets = family.get(labels)
        if buckets is None:
            family[labels] = buckets = Buckets(bounds)
        buckets.observe(ms / 1000)

    def where(self, tier: str, channel: str, model: str) -> Labels:
        """The labels of a model call."""
        names = self.names
        return known(tier, names.tiers), known(channel, names.channels), known(model, names.models)

    def open_task(self, task_id: str, at: Millis) -> _Open:
        """What is known of a task that has not ended."""
        found = self.tasks.get(task_id)
        if found is None:
            self.tasks[task_id] = found = _Open(at)
        return found

    def _opened(self, task: Task) -> _Open:
        names = self.names
        executor = known(task.route.executor, names.executors) if task.route else ""
        found = _Open(task.created_at, known(task.kind, names.types), executor, tried=bool(task.attempts))
        if attempt := task.open_attempt:
            found.planned, found.planned_at = known(attempt.route.executor, names.executors), attempt.planned_at
        return found


# --- tasks ----------------------------------------------------------------------------------------------------


def _created(books: Counts, task_id: str, event: ev.TaskCreated, at: Millis) -> None:
    books.tasks[task_id] = _Open(at)
    books.count("omni_tasks_created_total", ())


def _routed(books: Counts, task_id: str, event: ev.TaskRouted, at: Millis) -> None:
    task = books.open_task(task_id, at)
    task.kind = known(event.kind, books.names.types)
    task.executor = known(event.route.executor, books.names.executors) if event.route else NONE
    books.count("omni_tasks_routed_total", (task.kind, task.executor))


def _held(books: Counts, task_id: str, event: ev.TaskHeld, at: Millis) -> None:
    books.count("omni_tasks_held_total", (event.held.kind,))


def _ended(books: Counts, task_id: str, event: ev.TaskCompleted | ev.TaskFailed | ev.TaskCancelled, at: Millis) -> None:
    task = books.tasks.pop(task_id, None)
    if task is None:
        return  # never: a task ends once, and `begin` knows those of earlier daemons
    executor, outcome = task.executor or NONE, _OUTCOMES[type(event)]
    books.count("omni_tasks_ended_total", (task.kind or NONE, executor, outcome))
    books.observe("omni_task_duration_seconds", TASK_S, (executor, outcome), at - task.created_at)


# --- attempts -------------------------------------------------------------------------------------------------


def _planned(books: Counts, task_id: str, event: ev.AttemptPlanned, at: Millis) -> None:
    task = books.open_task(task_id, at)
    task.executor = task.planned = known(event.route.executor, books.names.executors)
    task.planned_at = at
    if not task.tried:
        task.tried = True
        books.observe("omni_task_queue_wait_seconds", TASK_S, (task.executor,), at - task.created_at)


def _started(books: Counts, task_id: str, event: ev.AttemptStarted, at: Millis) -> None:
    task = books.tasks.get(task_id)
    if task is not None and task.planned_at is not None:
        books.observe("omni_attempt_start_seconds", START_S, (task.planned,), at - task.planned_at)


def _tried(books: Counts, task_id: str, event: Any, at: Millis) -> None:
    task = books.tasks.get(task_id)
    if task is None or task.planned_at is None:
        return  # it had ended already: what really finished wins in the record, and is one attempt all the same
    labels = task.planned, _OUTCOMES[type(event)]
    books.count("omni_attempts_ended_total", labels)
    books.observe("omni_attempt_duration_seconds", TASK_S, labels, at - task.planned_at)
    task.planned_at = None


# --- model calls ----------------------------------------------------------------------------------------------


def _reserved(books: Counts, _: str, event: ev.CallReserved, at: Millis) -> None:
    books.calls[event.call] = books.where(event.tier, event.channel, event.model)


def _settled(books: Counts, _: str, event: ev.CallSettled, at: Millis) -> None:
    where = books.calls.pop(event.call, None)
    if where is None:
        return  # of a call that was settled already: the log may hold that twice, a bill does not
    _, channel, model = where
    verdict = known(event.verdict, VERDICTS)
    books.count("omni_model_calls_total", (*where, verdict))
    books.observe("omni_model_call_duration_seconds", CALL_S, (channel, verdict), event.duration_ms)
    if event.first_byte_ms is not None:
        books.observe("omni_model_call_first_byte_seconds", CALL_S, (channel,), event.first_byte_ms)
    for kind, usd in _money(event):
        books.count("omni_model_cost_usd_total", (*where, kind), usd)
    for direction, tokens in _tokens(event.usage):
        books.count("omni_model_tokens_total", (channel, model, direction), tokens)


def _refused(books: Counts, _: str, event: ev.CallRefused, at: Millis) -> None:
    books.count("omni_model_calls_refused_total", (known(event.cap, books.names.caps),))


# --- the mode -------------------------------------------------------------------------------------------------


def _mode(books: Counts, _: str, event: ev.ModeChanged, at: Millis) -> None:
    if event.before != event.after:
        books.count("omni_mode_changes_total", (event.before, event.after, event.cause or NONE))


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


_OUTCOMES: dict[type[Any], str] = {
    ev.TaskCompleted: "completed",
    ev.TaskFailed: "failed",
    ev.TaskCancelled: "cancelled",
    ev.AttemptSucceeded: "succeeded",
    ev.AttemptFailed: "failed",
    ev.AttemptInterrupted: "interrupted",
    ev.AttemptCancelled: "cancelled",
}
_HANDLERS: dict[type[Any], Callable[[Counts, str, Any, Millis], None]] = {
    ev.TaskCreated: _created,
    ev.TaskRouted: _routed,
    ev.TaskHeld: _held,
    ev.TaskCompleted: _ended,
    ev.TaskFailed: _ended,
    ev.TaskCancelled: _ended,
    ev.AttemptPlanned: _planned,
    ev.AttemptStarted: _started,
    ev.AttemptSucceeded: _tried,
    ev.AttemptFailed: _tried,
    ev.AttemptInterrupted: _tried,
    ev.AttemptCancelled: _tried,
    ev.CallReserved: _reserved,
    ev.CallSettled: _settled,
    ev.CallRefused: _refused,
    ev.ModeChanged: _mode,
}

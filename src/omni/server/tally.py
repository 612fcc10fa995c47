"""Counts of what became durable since this daemon began: a fold over the log, as it is appended.

The store hands over every append once it is durable, so a count here is a fact of the log and survives the death of any
actor. Counts begin at 0 with each start of the daemon, as Prometheus expects of a counter.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec
import structlog

from omni.domain import events as ev
from omni.domain.board import Board, Fact
from omni.eventlog.store import Entry
from omni.server.counting import QUICK_S, Buckets, Counts, Labels
from omni.server.labels import Names

log = structlog.get_logger()

Read: TypeAlias = Callable[[int, int], Iterable[Fact]]  # what the log holds after one position and up to another
Counters: TypeAlias = dict[str, dict[Labels, float]]
Histograms: TypeAlias = dict[str, dict[Labels, Buckets]]


class Counted(msgspec.Struct, frozen=True):
    """Everything as of one position: counters and histograms by metric and labels."""

    position: int
    counters: Counters
    histograms: Histograms


class Tally:
    """The fold, safe on any thread. `take` belongs behind `SqliteEventStore.observe`."""

    def __init__(self, names: Names, position: int, read: Read) -> None:
        self._position = position
        self._read = read
        self._lock = threading.Lock()
        self._counts = Counts(names)
        self._append, self._commit = Buckets(QUICK_S, 1), Buckets(QUICK_S, 1)

    @property
    def names(self) -> Names:
        """The names that may stand in labels."""
        return self._counts.names

    def know(self, names: Names) -> None:
        """The configuration has changed: from here on these names stand in labels."""
        with self._lock:
            self._counts.names = names

    def begin(self, board: Board) -> None:
        """Know the tasks and calls that were open when the daemon began."""
        with self._lock:
            self._counts.begin(board)

    def take(self, position: int, entries: Sequence[Entry], append_s: float, commit_s: float) -> None:
        """Count one append that ends at `position`. Runs in the writer's thread, and never raises."""
        try:
            with self._lock:
                self._append.observe(append_s)
                self._commit.observe(commit_s)
                self._catch_up(position - len(entries))
                self._position = position
                self._counts.fold(entries)
        except Exception:  # figures must stop no work
            log.exception("metrics.failed", position=position)

    def counted(self) -> Counted:
        """All figures, as of one position."""
        with self._lock:
            counts = self._counts
            histograms = {**_kept(counts), **_of_tasks(counts)}
            histograms["omni_log_append_seconds"] = {(): self._append.plus()}
            histograms["omni_log_commit_seconds"] = {(): self._commit.plus()}
            return Counted(self._position, _counters(counts), histograms)

    def _catch_up(self, until: int) -> None:
        """Read what was not handed over: an append whose outcome nobody knew has gone through after all."""
        if self._position < until:
            missed = list(self._read(self._position, until))  # where that fails, the next append tries again
            self._position = until
            self._counts.fold(Entry(stream, 0, event, at, 0, "", "") for _, stream, at, event in missed)


def _counters(counts: Counts) -> Counters:
    """All counters; those of tasks and attempts are added up from their histograms."""
    return {
        **{name: dict(each) for name, each in counts.counters.items()},
        "omni_events_recorded_total": {(ev.type_of(kind),): n for kind, n in counts.events.items()},
        "omni_tasks_created_total": {(): counts.events[ev.TaskCreated]},
        "omni_tasks_routed_total": {
            (way.kind, way.lane.executor): way.routed for way in counts.ways.values() if way.routed
        },
        "omni_tasks_ended_total": dict(_ends(counts)),
        "omni_attempts_ended_total": {
            (lane.executor, outcome): each.count
            for lane in counts.lanes.values()
            for outcome, each in lane.ended.items()
            if each.count
        },
    }


def _ends(counts: Counts) -> Iterator[tuple[Labels, float]]:
    for way in counts.ways.values():
        for outcome, each in way.ended.items():
            if each.count:
                yield (way.kind, way.lane.executor, outcome), each.count


def _kept(counts: Counts) -> Histograms:
    return {
        name: {labels: each.plus() for labels, each in family.items()} for name, family in counts.histograms.items()
    }


def _of_tasks(counts: Counts) -> Histograms:
    found: Histograms = defaultdict(dict)
    for way in counts.ways.values():
        for outcome, each in way.ended.items():
            labels = way.lane.executor, outcome
            durations = found["omni_task_duration_seconds"]
            durations[labels] = each.plus(durations.get(labels))
    for lane in counts.lanes.values():
        found["omni_task_queue_wait_seconds"][lane.executor,] = lane.waited.plus()
        found["omni_attempt_start_seconds"][lane.executor,] = lane.started.plus()
        for outcome, each in lane.ended.items():
            found["omni_attempt_duration_seconds"][lane.executor, outcome] = each.plus()
    return {name: {k: b for k, b in family.items() if b.count} for name, family in found.items()}

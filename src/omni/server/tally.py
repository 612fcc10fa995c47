"""Counts of what became durable since this daemon began: a fold over the log, as it is appended.

The store hands over every append once it is durable, so a count here is a fact of the log and survives the death of any
actor. Counts begin at 0 with each start of the daemon, as Prometheus expects of a counter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
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


class Counted(msgspec.Struct, frozen=True):
    """Everything as of one position: counters and histograms by metric and labels."""

    position: int
    events: dict[str, int]
    counters: dict[str, dict[Labels, float]]
    histograms: dict[str, dict[Labels, Buckets]]


class Tally:
    """The fold, safe on any thread. `take` belongs behind `SqliteEventStore.observe`."""

    def __init__(self, names: Names, position: int, read: Read) -> None:
        self._position = position
        self._read = read
        self._lock = threading.Lock()
        self._counts = Counts(names)
        self._append, self._commit = Buckets(QUICK_S), Buckets(QUICK_S)

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
                self._counts.fold((each.stream, each.event, each.at_ms) for each in entries)
        except Exception:  # figures must stop no work
            log.exception("metrics.failed", position=position)

    def counted(self) -> Counted:
        """All figures, as of one position."""
        with self._lock:
            known = self._counts
            histograms = {name: {k: b.copy() for k, b in each.items()} for name, each in known.histograms.items()}
            histograms["omni_log_append_seconds"] = {(): self._append.copy()}
            histograms["omni_log_commit_seconds"] = {(): self._commit.copy()}
            events = {ev.type_of(kind): n for kind, n in known.events.items()}
            counters = {name: dict(each) for name, each in known.counters.items()}
            return Counted(self._position, events, counters, histograms)

    def _catch_up(self, until: int) -> None:
        """Read what was not handed over: an append whose outcome nobody knew has gone through after all."""
        if self._position < until:
            missed = list(self._read(self._position, until))  # where that fails, the next append tries again
            self._position = until
            self._counts.fold((stream, event, at) for _, stream, at, event in missed)

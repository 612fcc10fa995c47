"""The whole state as of one position: what Router, HealthMonitor and Brainstem would hold had the log ended there.

What their folds leave out because nothing is decided by it (which version ran, what led to the mode) is looked up in
the log. `board_hash` of the board's snapshot names the state.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any, TypeAlias

import msgspec

from omni.domain import budget
from omni.domain import events as ev
from omni.domain.board import BoardSnapshot
from omni.domain.errors import NotFound
from omni.domain.task import Task
from omni.domain.values import Millis, RoutingSettings, TaskState
from omni.domain.view import spend_view, task_view, timestamp
from omni.eventlog.store import Recorded
from omni.replay.checkpoints import Checkpoints, beside
from omni.replay.fold import Folded
from omni.replay.history import Count, History, nothing
from omni.replay.state_views import health_view, router_view, system_view

OPEN_SHOWN = 200
ENDED_SHOWN = 10
PAGE = 50
View: TypeAlias = dict[str, Any]


class StateAt:
    """One moment of a log, for people and programs; nothing in it changes any more."""

    def __init__(self, history: History, folded: Folded) -> None:
        self.position = folded.position
        self.at_ms = folded.at
        self.board = folded.board
        self.health = folded.health
        self.executors = folded.executors
        self.system = folded.system
        self._ended = folded.ended
        self._history = history

    @cached_property
    def hash(self) -> str:
        """Names the Router's state: equal for a live Router, a full replay, and one that began in the middle."""
        return board_hash(self.board.snapshot())

    @property
    def counts(self) -> dict[str, int]:
        """How many tasks there were in each state, those that had left memory included."""
        alive = Counter(str(task.state) for task in self.board.tasks.values() if not task.ended)
        found = alive + self._ended
        return {str(state): found[str(state)] for state in TaskState if found[str(state)]}

    def view(self, open_limit: int | None = OPEN_SHOWN, ended_limit: int | None = ENDED_SHOWN) -> View:
        """Plain JSON values, times RFC 3339, tasks newest first; a limit of None shows all that were in memory."""
        return {
            "position": self.position,
            "at": timestamp(self.at_ms) if self.position else None,
            "hash": self.hash,
            "tasks": self._tasks_view(open_limit, ended_limit),
            "router": router_view(self.board, self.executors, settings_hash(self.board.settings)),
            "health": health_view(self.health, self._last(ev.HEALTH_STREAM, ev.ModeChanged)),
            "system": system_view(
                self.system,
                self._last(ev.SYSTEM_STREAM, ev.DaemonStarted),
                self._last(ev.SYSTEM_STREAM, ev.ConfigLoaded),
                self._last(ev.SYSTEM_STREAM, ev.DrillBegun),
            ),
            "spend": self.spend(),
        }

    def spend(self, at: Millis | None = None) -> View:
        """What had been spent on the day of this moment, or of a later one by which nothing more had happened."""
        return spend_view(budget.as_of(budget.spend(self.board), self.at_ms if at is None else at))

    def task(self, task_id: str) -> Task | None:
        """One task as it was; None when there was none of that id."""
        return self.board.tasks.get(task_id) or self._left_memory(task_id)

    def tasks(self, state: str | None = None, limit: int = PAGE, before: str | None = None) -> View:
        """A page of the tasks of this moment, newest first: `{tasks, next}`; `next` goes on as `before`."""
        found = list(islice((t for t in self._newest(before) if state is None or t.state == state), limit + 1))
        more = found[limit - 1].id if len(found) > limit else None
        return {"tasks": [task_view(each) for each in found[:limit]], "next": more}

    def _newest(self, before: str | None) -> Iterator[Task]:
        """Tasks that had left memory are read from their own streams."""
        return (task for task_id in self._history.ids(before) if (task := self.task(task_id)) is not None)

    def _left_memory(self, task_id: str) -> Task | None:
        try:
            return self._history.folded(task_id, self.position)[0]
        except NotFound:  # never, or later
            return None

    def _tasks_view(self, open_limit: int | None, ended_limit: int | None) -> View:
        alive = [task for task in reversed(self.board.tasks.values()) if not task.ended]
        ended = [self.board.tasks[task_id] for task_id in reversed(self.board.ended)]
        return {
            "counts": self.counts,
            "open": [task_view(task) for task in alive[:open_limit]],
            "open_left_out": len(alive) - len(alive[:open_limit]),
            "ended": [task_view(task) for task in ended[:ended_limit]],
            "ended_left_out": self._ended.total() - len(ended[:ended_limit]),
        }

    def _last(self, stream: str, kind: type[msgspec.Struct]) -> Recorded | None:
        return self._history.reader.last(stream, ev.type_of(kind), self.position)


def state_at(history: History, position: int, count: Count = nothing) -> StateAt:
    """The state after a position; before the first event it is empty, and beyond the end that of the end.

    Raises CorruptLog where the log cannot be folded.
    """
    until = min(max(position, 0), history.reader.head.position)
    return StateAt(history, Checkpoints(history.reader, beside(history.database)).folded(until, count))


def board_hash(snapshot: BoardSnapshot) -> str:
    """The hash of all that a Router durably knows."""
    return hashlib.sha256(_canonical(snapshot)).hexdigest()


def settings_hash(settings: RoutingSettings) -> str:
    """The hash of what decisions depend on."""
    return hashlib.sha256(_canonical(settings)).hexdigest()


def _canonical(value: msgspec.Struct) -> bytes:
    try:
        return msgspec.msgpack.encode(value, order="deterministic")
    except OverflowError:  # MessagePack has no integers beyond 64 bits, and an executor may answer with one
        return msgspec.json.encode(value, order="deterministic")

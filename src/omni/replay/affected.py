"""Which tasks an incident touched, and how: cut off, suspended, failed, held, stopped, or tried again.

Memory: MOST_TASKS tasks with their reasons, and for every further task that was touched its id and how.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.values import Millis, TaskState

MOST_TASKS = 200  # that are told of one by one; all are counted
MOST_REASONS = 8  # of one task
TITLE_CHARS = 400
REASON_CHARS = 4_000
# In which way an event touches its task, and what it says of that; "" where it touches it in no way.
_TOUCHES: dict[type[Any], Callable[[Any], tuple[str, str]]] = {
    ev.TaskSuspended: lambda e: ("suspended", e.reason),
    ev.TaskRestored: lambda _: ("restored", ""),
    ev.TaskHeld: lambda e: ("held", e.held.reason),
    ev.TaskFailed: lambda e: ("failed", e.error.message),
    ev.TaskCancelled: lambda e: ("cancelled", e.by),
    ev.AttemptInterrupted: lambda e: ("paused" if e.orderly else "interrupted", e.evidence),
    ev.AttemptFailed: lambda e: ("attempt_failed", e.error.message),
    ev.AttemptPlanned: lambda e: ("again", e.route.executor) if e.n > 1 else ("", ""),
    ev.LateOutcomeArrived: lambda e: ("late", e.outcome),
    ev.CallRefused: lambda e: ("call_refused", e.reason),
}
_ALONE_NO_NEWS = frozenset({"restored"})  # what only ends another touch, and is no touch by itself


class Happened(msgspec.Struct, frozen=True):
    """One thing that touched a task; `attempt` is 0 where it concerns no attempt."""

    position: int
    at_ms: Millis
    kind: str
    text: str
    attempt: int = 0


class Affected(msgspec.Struct, frozen=True):
    """One task that did not simply go through. `state` is that at the end of the period; `reasons` the first of them,
    `more` how many came after. `executor`, `tier`, `model` and `mode` are those of its last attempt.
    """

    task_id: str
    title: str
    state: str
    attempts: int
    kinds: tuple[str, ...]
    reasons: tuple[Happened, ...]
    more: int = 0
    executor: str = ""
    tier: str = ""
    model: str = ""
    mode: str = ""


class _Touched:
    """What is gathered of one task; title, route and state come from the board."""

    __slots__ = ("attempts", "kinds", "more", "reasons", "route", "state", "title")

    def __init__(self) -> None:
        self.kinds: dict[str, None] = {}
        self.reasons: list[Happened] = []
        self.more = 0
        self.title, self.state, self.attempts = "", "", 0
        self.route: Any = None

    def add(self, happened: Happened) -> None:
        self.kinds[happened.kind] = None
        if len(self.reasons) < MOST_REASONS:
            self.reasons.append(happened)
        else:
            self.more += 1


class AffectedTasks:
    """Takes in the events of a stretch, each after the board has."""

    def __init__(self, board: Board) -> None:
        self.by_kind: Counter[str] = Counter()  # tasks, not events
        self._board = board
        self._touched: dict[str, _Touched] = {}
        self._kinds: dict[str, frozenset[str]] = {}  # of every task that was touched
        self._shared: dict[frozenset[str], frozenset[str]] = {}

    @property
    def tasks(self) -> int:
        """How many were touched."""
        return len(self._kinds)

    def add(self, position: int, task_id: str, at: Millis, event: Any) -> None:
        """One event of a task."""
        touch = _TOUCHES.get(type(event))
        kind, text = touch(event) if touch else ("", "")
        if kind and (kind not in _ALONE_NO_NEWS or task_id in self._touched):
            self._touch(task_id, Happened(position, at, kind, text[:REASON_CHARS], getattr(event, "n", 0)))
        if ended := ev.TASK_ENDS.get(type(event)):
            self._look(task_id, ended)

    def listed(self) -> tuple[Affected, ...]:
        """The first of them, in the order in which they were touched."""
        for task_id in self._touched:
            self._look(task_id)
        return tuple(_affected(task_id, each) for task_id, each in self._touched.items())

    def _touch(self, task_id: str, happened: Happened) -> None:
        before = self._kinds.get(task_id, frozenset())
        if happened.kind not in before:
            self.by_kind[happened.kind] += 1
            # Most tasks share one of few combinations: keep one set for each.
            after = before | {happened.kind}
            self._kinds[task_id] = self._shared.setdefault(after, after)
        if len(self._touched) < MOST_TASKS:
            self._touched.setdefault(task_id, _Touched())
        if task_id in self._touched:
            self._touched[task_id].add(happened)

    def _look(self, task_id: str, ended: TaskState | None = None) -> None:
        """Keep what the board says of a task; ended tasks leave it some time."""
        known, task = self._touched.get(task_id), self._board.tasks.get(task_id)
        if known is None or task is None:
            return
        known.title, known.state = task.spec.description[:TITLE_CHARS], str(ended or task.state)
        known.attempts, known.route = len(task.attempts), task.last.route if task.last else task.route


def _affected(task_id: str, touched: _Touched) -> Affected:
    route = touched.route
    return Affected(
        task_id,
        touched.title,
        touched.state,
        touched.attempts,
        tuple(touched.kinds),
        tuple(touched.reasons),
        touched.more,
        route.executor if route else "",
        route.tier if route else "",
        route.model if route else "",
        route.mode if route else "",
    )

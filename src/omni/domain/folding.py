"""Many recorded events at once, as a start and a check of the log need them.

Theory of operation. Nearly every task of a long log has ended and left memory by its end. So events are kept beside
their task and applied only where somebody asks what it is by then: at the end, while a ramp counts who runs, and to
what comes after an end. Which tasks have ended, and in which order, the events themselves say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from omni.domain import board as boards
from omni.domain import events as ev
from omni.domain import task as tasks
from omni.domain.board import OWN_STREAMS, Board, Fact
from omni.domain.ledger import CALL_EVENTS
from omni.domain.task import Task
from omni.domain.values import ENDED, Millis

_ID_STARTS = len(ev.TASK_PREFIX)

Kept: TypeAlias = list[tuple[Any, Millis, int]]  # event, time, position


def fold(board: Board, facts: Iterable[Fact]) -> None:
    """Apply events as `board.evolve` would one by one. The index of places is built only at the end."""
    Folding(board).apply(facts)


class Folding:
    """Many events on their way to a board: what it says of its tasks in between is true after `catch_up` only."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._kept: dict[str, Kept] = {}
        self._ended = set(board.ended)

    def apply(self, facts: Iterable[Fact]) -> None:
        """Apply all of them, and build the index."""
        board, known = self._board, self._board.tasks
        for position, stream, at, event in facts:
            if stream in OWN_STREAMS:
                boards.evolve(board, stream, event, at, position)
                continue
            if type(event) in CALL_EVENTS:
                board.ledger.evolve(stream, event, at, board.settings.budget.utc_offset_ms)
            task_id = stream[_ID_STARTS:]
            if task_id in known:
                self._take(task_id, event, at, position)
            elif type(event) is ev.TaskCreated:
                known[task_id] = tasks.created(task_id, event, at, position)
        self.catch_up()
        boards.index(board)

    def catch_up(self) -> None:
        """Apply what is kept for the tasks that are left."""
        for task_id in self._kept.keys() & self._board.tasks.keys():
            self._caught_up(task_id)

    def _take(self, task_id: str, event: Any, at: Millis, position: int) -> None:
        """Keep an event for its task, or apply it where that cannot wait."""
        if self._board.ramp or task_id in self._ended:
            self._apply(task_id, event, at, position)
            return
        if task_id in self._kept:
            self._kept[task_id].append((event, at, position))
        else:
            self._kept[task_id] = [(event, at, position)]
        if type(event) in ev.TASK_ENDS:
            self._end(task_id)

    def _apply(self, task_id: str, event: Any, at: Millis, position: int) -> None:
        before = self._caught_up(task_id)
        self._board.tasks[task_id] = after = tasks.evolve(before, event, at, position)
        if self._board.ramp:
            boards.count_ramped(self._board, before, after)
        if after.state not in ENDED:
            self._ended.discard(task_id)
        elif before.state not in ENDED:
            self._end(task_id)

    def _caught_up(self, task_id: str) -> Task:
        task = self._board.tasks[task_id]
        for event, at, position in self._kept.pop(task_id, ()):
            task = tasks.evolve(task, event, at, position)
        self._board.tasks[task_id] = task
        return task

    def _end(self, task_id: str) -> None:
        self._ended.add(task_id)
        self._board.ended.append(task_id)
        for gone in boards.forget_oldest(self._board):
            self._kept.pop(gone, None)
            self._ended.discard(gone)

"""All streams of a log folded together, in its order, by the functions that the actors themselves use.

router, calls, task-*   Board
health                  Health, and the edges of executors
system                  SystemState
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from omni.domain import board as boards
from omni.domain import events as ev
from omni.domain import executor_watch, system
from omni.domain import health as healths
from omni.domain.board import Board, BoardSnapshot, Fact
from omni.domain.errors import CorruptLog
from omni.domain.executor_watch import Executors, Watched
from omni.domain.folding import Folding
from omni.domain.health import Health
from omni.domain.system import SystemSnapshot, SystemState
from omni.domain.values import ExecutorHealth, Millis

_UNAPPLIED = (KeyError, IndexError, AttributeError, TypeError, AssertionError)


class FoldedSnapshot(msgspec.Struct, frozen=True):
    """Everything that `Folded` holds; of executors what is recorded, and since when."""

    position: int
    at: Millis
    board: BoardSnapshot
    health: Health
    executors: dict[str, tuple[ExecutorHealth, Millis]]
    system: SystemSnapshot
    ended: dict[str, int]


class Folded:
    """Everything durable after `position`, whose event was written at `at`; mutable, and only ever moved forward."""

    def __init__(self) -> None:
        self.position = 0
        self.at: Millis = 0
        self.board = Board()
        self.health = Health()
        self.executors: Executors = {}
        self.system = SystemState()
        self._folding: Folding | None = None
        self.ended: Counter[str] = Counter()  # tasks by how they ended, those that have left memory included

    def fold(self, facts: Iterable[Fact]) -> None:
        """Apply events of all streams. Raises CorruptLog at one that fits nothing before it."""
        try:
            self._folding = Folding(self.board)
            self._folding.apply(self._sorted(facts))
        except _UNAPPLIED as error:
            raise CorruptLog(
                f"the event at position {self.position} does not follow from those before it: {error!r}",
                hint="omni verify",
            ) from error

    def _sorted(self, facts: Iterable[Fact]) -> Iterator[Fact]:
        """Apply what belongs to the other actors, and pass on what belongs to the board."""
        for fact in facts:
            position, stream, at, event = fact
            self.position, self.at = position, at
            if stream == ev.HEALTH_STREAM:
                self._healed(event, at)
            elif stream == ev.SYSTEM_STREAM:
                system.evolve(self.system, event, at)
            else:
                if ended := ev.TASK_ENDS.get(type(event)):
                    self.ended[str(ended)] += 1
                yield fact

    def _healed(self, event: Any, at: Millis) -> None:
        if isinstance(event, ev.ExecutorHealthChanged):
            executor_watch.evolve(self.executors, event, at)
        else:
            healths.evolve(self.health, event, at)

    def snapshot(self) -> FoldedSnapshot:
        """What has to be saved so that `restore` gives an equal state; it shares parts with this one."""
        if self._folding is not None:  # it may not be through
            self._folding.catch_up()
        executors = {name: (each.health, each.since) for name, each in self.executors.items()}
        board, ended = self.board.snapshot(), dict(self.ended)
        return FoldedSnapshot(self.position, self.at, board, self.health, executors, self.system.snapshot(), ended)


def restore(snapshot: FoldedSnapshot) -> Folded:
    """Build the state that `snapshot` was taken of."""
    folded = Folded()
    folded.position, folded.at = snapshot.position, snapshot.at
    folded.board = boards.restore(snapshot.board)
    folded.health = snapshot.health
    folded.executors = {name: Watched(health, since) for name, (health, since) in snapshot.executors.items()}
    folded.system = system.restore(snapshot.system)
    folded.ended = Counter(snapshot.ended)
    return folded

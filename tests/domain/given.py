"""Given events, when a command, then events: a Router without threads, time or disk."""

from __future__ import annotations

from typing import Any

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain import dispatch
from omni.domain.board import Board
from omni.domain.effects import Outcome
from omni.domain.task import Task
from omni.domain.values import (
    Budget,
    ExecutorHealth,
    ExecutorSpec,
    Result,
    RoutingSettings,
    TaskError,
    TaskSpec,
    Tier,
)

READY = ExecutorHealth("ready")
TIERS = (Tier("P1", "small", "small-plus"), Tier("P2", "large", "large-plus", paid=True))


class Desk:
    """Feeds messages to the rules and keeps what came out: `events` of the last message, `sends`, and the whole log."""

    def __init__(
        self,
        *executors: ExecutorSpec,
        ready: bool = True,
        tiers: tuple[Tier, ...] = TIERS,
        budget: Budget | None = None,
    ) -> None:
        self.board = Board()
        self.log: list[tuple[str, Any, int, int]] = []
        self.events: list[Any] = []
        self.sends: list[Any] = []
        self.at = 1_000
        self.settings = RoutingSettings(executors, tiers, budget=budget or Budget())
        self.put(cmd.Boot("boot-1", self.settings))
        if ready:
            for executor in executors:
                self.note(executor.name, READY)

    def put(self, message: Any) -> list[Any]:
        """Process one message to the end and return the events that it led to."""
        self.events, self.sends = [], []
        envelope = cmd.Envelope("m", self.at, self.at, "test", message)
        self._apply(dispatch.decide(self.board, envelope))
        while (step := dispatch.settle(self.board, self.at)).events:
            self._apply(step)
        return self.events

    def note(self, executor: str, health: ExecutorHealth) -> list[Any]:
        return self.put(cmd.NoteExecutor(executor, health))

    def create(self, task_id: str, description: str = "say hello", **spec: Any) -> list[Any]:
        return self.put(cmd.CreateTask(f"r-{task_id}", task_id, TaskSpec(description, **spec)))

    def succeed(self, task_id: str, n: int = 1, text: str = "done") -> list[Any]:
        return self.put(cmd.ReportSucceeded(task_id, n, Result(text)))

    def fail(self, task_id: str, kind: str = "failed", n: int = 1) -> list[Any]:
        return self.put(cmd.ReportFailed(task_id, n, TaskError(kind, "it said no")))

    def interrupt(self, task_id: str, n: int = 1, *, resumable: bool = False) -> list[Any]:
        return self.put(cmd.ReportInterrupted(task_id, n, "the connection died", resumable))

    def task(self, task_id: str) -> Task:
        return self.board.tasks[task_id]

    @property
    def started(self) -> list[tuple[str, int]]:
        """(task, attempt) handed to the pool by the last message."""
        return [(s.message.task_id, s.message.n) for s in self.sends if isinstance(s.message, cmd.StartAttempt)]

    @property
    def refusal(self) -> cmd.Refusal | None:
        """The refusal that the last message was answered with."""
        answers = [s.message for s in self.sends if isinstance(s.message, cmd.Answered)]
        return answers[-1].refusal if answers else None

    def replayed(self) -> Board:
        """A board folded from the log alone."""
        board = Board()
        for stream, event, at, position in self.log:
            boards.evolve(board, stream, event, at, position)
        return board

    def _apply(self, outcome: Outcome) -> None:
        for stream, event in outcome.events:
            position = len(self.log) + 1
            boards.evolve(self.board, stream, event, self.at, position)
            self.log.append((stream, event, self.at, position))
            self.events.append(event)
        self.sends += outcome.sends


def names(events: list[Any]) -> list[str]:
    """The log names of events."""
    return [e.__struct_config__.tag for e in events]


def worker(name: str = "worker", **traits: Any) -> ExecutorSpec:
    """An executor for general work, unless `traits` say otherwise."""
    return ExecutorSpec(name, **{"types": ("general", "coding"), **traits})

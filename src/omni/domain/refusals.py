"""What the Router says to a request that it turns down: what is wrong, and the next command to run."""

from __future__ import annotations

from omni.domain import commands as cmd
from omni.domain.board import Board
from omni.domain.task import Task


def not_found(task_id: str) -> cmd.Refusal:
    """No such task."""
    return cmd.Refusal("not_found", f"no task has the id {task_id}", "omni tasks")


def unknown_executor(board: Board, name: str) -> cmd.Refusal:
    """The client named an executor that is not configured."""
    known = ", ".join(board.executors) or "none"
    return cmd.Refusal("unknown_executor", f"no executor is called {name!r}; configured: {known}", "omni status")


def unknown_tier(board: Board, name: str) -> cmd.Refusal:
    """The client named a tier that is not configured."""
    known = ", ".join(t.name for t in board.settings.tiers) or "none"
    return cmd.Refusal("unknown_tier", f"no tier is called {name!r}; configured: {known}", "omni config show")


def conflict(key: str, task_id: str) -> cmd.Refusal:
    """The same idempotency key with another payload."""
    message = f"the idempotency key {key!r} already stands for task {task_id}, which asked for something else"
    return cmd.Refusal("idempotency_conflict", message, f"omni task show {task_id}")


def not_held(task: Task) -> cmd.Refusal:
    """A decision about a task that waits for none."""
    return cmd.Refusal("not_held", f"task {task.id} waits for no decision; it is {task.state}", f"omni why {task.id}")


def not_offered(task: Task, decision: str) -> cmd.Refusal:
    """A decision that this held task does not offer."""
    assert task.held is not None
    offered = ", ".join(task.held.options)
    return cmd.Refusal("invalid", f"{decision!r} is not among the choices: {offered}", f"omni task show {task.id}")

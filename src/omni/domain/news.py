"""What Brainstem hears of tasks: how repairs ended, and what a person should be told."""

from __future__ import annotations

from collections.abc import Iterable

from omni.domain import commands as cmd
from omni.domain.effects import Send
from omni.domain.task import Task
from omni.domain.values import ENDED, Millis, TaskState

BRAINSTEM = "brainstem"
HOUR_MS: Millis = 3_600_000
_TOLD = ENDED | {TaskState.HELD}


def of(tasks: Iterable[Task], *, failures: bool) -> list[Send]:
    """What the new states of these tasks mean to Brainstem, which ignores what it has heard before.

    `failures`: the user wants to hear of every task that failed, too.
    """
    told = (task for task in tasks if task.state in _TOLD)
    return [Send(BRAINSTEM, message) for task in told for message in _of(task, failures=failures)]


def owed(tasks: Iterable[Task]) -> list[Send]:
    """How repairs went and what waits for a person, for a Brainstem that may have missed it."""
    return of((task for task in tasks if task.client == BRAINSTEM or _asks(task)), failures=False)


def of_refusal(task_id: str, client: str, refusal: cmd.Refusal) -> list[Send]:
    """That there is no such repair, for a Brainstem that asked for it or called it off."""
    if client != BRAINSTEM:
        return []
    return [Send(BRAINSTEM, cmd.RepairReported(task_id, "refused", refusal.message))]


def _of(task: Task, *, failures: bool) -> list[cmd.RepairReported | cmd.Tell]:
    if task.state is TaskState.HELD:
        return [_held(task)]
    said = task.error.message if task.error else ""
    if task.client == BRAINSTEM:
        return [cmd.RepairReported(task.id, str(task.state), said)]
    if failures and task.state is TaskState.FAILED:
        return [cmd.Tell("task_failed", {"task": task.id, "reason": said}, f"failed:{task.id}")]
    return []


def _asks(task: Task) -> bool:
    """Whether only a person can move it on; who waits for an executor is looked at anew after each start."""
    return task.held is not None and task.held.kind != "no_executor"


def _held(task: Task) -> cmd.Tell:
    """One notice for a question; one for all who wait for the same executor, and one an hour for a budget."""
    assert task.held is not None
    facts = {"task": task.id, "reason": task.held.reason}
    if task.held.kind == "budget":
        return cmd.Tell(
            "budget_reached",
            {**facts, "cap": task.capped.cap if task.capped else "budget"},
            f"budget:{task.updated_at // HOUR_MS}",
        )
    if task.held.kind == "no_executor":
        return cmd.Tell("task_held", facts, f"nobody:{task.held.reason}")
    return cmd.Tell("task_held", facts, f"held:{task.id}:{task.queued}")

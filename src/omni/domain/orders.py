"""What the Router tells the pool about one attempt."""

from __future__ import annotations

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import Send
from omni.domain.task import Task
from omni.domain.values import Attempt

POOL = "pool"
BRAINSTEM = "brainstem"


def stop(task: Task, attempt: Attempt) -> Send:
    """Wish an attempt ended."""
    return Send(POOL, cmd.CancelAttempt(task.id, attempt.n, attempt.route.executor))


def start(task: Task, attempt: ev.AttemptPlanned | Attempt) -> Send:
    """Hand a planned attempt over."""
    spec = task.spec
    order = cmd.StartAttempt(
        task.id,
        attempt.n,
        attempt.route,
        spec.description,
        attempt.key,
        attempt.handle,
        attempt.timeout_ms,
        attempt.idle_timeout_ms,
        spec.workdir or "",
        attempt.session,
        attempt.resume,
        task.client == BRAINSTEM,
    )
    return Send(POOL, order)


def reconcile(task: Task, attempt: Attempt) -> Send:
    """Ask what became of an attempt that another process began."""
    asked = cmd.ReconcileAttempt(
        task.id, attempt.n, attempt.route.executor, attempt.key, attempt.handle, attempt.pid, attempt.session
    )
    return Send(POOL, asked)


def pause(task: Task, attempt: Attempt) -> Send:
    """Wish an attempt paused while the cloud is gone."""
    return Send(POOL, cmd.PauseAttempt(task.id, attempt.n, attempt.route.executor))

"""One task: its state, and how each event changes it.

Theory of operation. A task is the fold of its own stream. It is created, routed, and then tried: each try is an attempt
that is planned (durable), started, and ended. Only the last attempt can still decide anything; an outcome for an older
one is kept and changes nothing (ADR-0003).

    created ──► IDLE ──planned──► DISPATCHING ──started──► EXECUTING
                 ▲ │                  │                       │
                 │ └──held──► HELD ◄──┴──── interrupted ──────┤      interrupted or failed with `retry_at` ──► IDLE
                 └──resolved──┘                               │
                                   COMPLETED · FAILED · CANCELLED     (terminal, at most one, never left)

WAITING is IDLE, DISPATCHING or EXECUTING while the cloud is gone: `suspended` leads there and `restored` back, to where
the open attempt says. An attempt that ends meanwhile ends as ever, but nothing is planned before the task is restored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from omni.domain import events as ev
from omni.domain.values import (
    ENDED,
    OPEN_ATTEMPT,
    TASK_CAP,
    Attempt,
    AttemptState,
    Capped,
    Held,
    Meter,
    Millis,
    Result,
    Route,
    TaskError,
    TaskSpec,
    TaskState,
    Usage,
)

NO_CALLS = Meter()

# Python 3.11 makes a call of each look at a member of an enum: what every event needs is looked up once.
_IDLE, _DISPATCHING, _EXECUTING = TaskState.IDLE, TaskState.DISPATCHING, TaskState.EXECUTING
_WAITING, _HELD, _COMPLETED = TaskState.WAITING, TaskState.HELD, TaskState.COMPLETED
_PLANNED, _STARTED, _SUCCEEDED = AttemptState.PLANNED, AttemptState.STARTED, AttemptState.SUCCEEDED


class Task(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task as of log position `position`; `queued` is where it last joined its queue, was held, or ended."""

    id: str
    spec: TaskSpec
    created_at: Millis
    updated_at: Millis
    version: int
    position: int
    queued: int
    client: str = ""
    digest: str = ""
    state: TaskState = _IDLE
    kind: str = ""
    complexity: int = 0
    route: Route | None = None
    attempts: tuple[Attempt, ...] = ()
    result: Result | None = None
    error: TaskError | None = None
    held: Held | None = None
    cost_usd: float | None = None
    usage: Usage | None = None
    ended_at: Millis | None = None
    retry_at: Millis | None = None
    resume: bool = False
    cancel_requested: bool = False
    meter: Meter = NO_CALLS
    capped: Capped | None = None
    cancelled_by: str = ""
    held_at: Millis = 0  # the last time

    @property
    def stream(self) -> str:
        """The stream that holds this task's events."""
        return ev.TASK_PREFIX + self.id

    @property
    def ended(self) -> bool:
        """Whether a terminal event has been written."""
        return self.state in ENDED

    @property
    def last(self) -> Attempt | None:
        """The newest attempt: the only one that can still decide anything."""
        return self.attempts[-1] if self.attempts else None

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that an outcome is awaited for."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].state in OPEN_ATTEMPT else None


def created(task_id: str, event: ev.TaskCreated, at: Millis, position: int) -> Task:
    """Begin a task's life."""
    return Task(
        id=task_id,
        spec=event.spec,
        created_at=at,
        updated_at=at,
        version=1,
        position=position,
        queued=position,
        client=event.client,
        digest=event.digest,
        kind=event.spec.type or "",
    )


def evolve(task: Task, event: ev.TaskEvent, at: Millis, position: int) -> Task:
    """Apply one recorded event; never refuses, for what is recorded has happened."""
    changes = _EVOLVE[type(event)](task, event, at, position)
    return replace(task, version=task.version + 1, position=position, updated_at=at, **changes)


Changes = dict[str, Any]
_UNCONFIRMED = TaskError("unconfirmed", "the executor never confirmed the stop; its work may go on")


def _routed(task: Task, event: ev.TaskRouted, at: Millis, position: int) -> Changes:
    back = {"state": _IDLE, "held": None, **_uncapped(task)} if task.state is _HELD else {}
    return {"route": event.route, "kind": event.kind, "complexity": event.complexity, "queued": position, **back}


def _held(task: Task, event: ev.TaskHeld, at: Millis, position: int) -> Changes:
    held: Changes = {"held": event.held, "capped": event.capped, "held_at": at}
    return {"state": _HELD, "retry_at": None, "queued": position, **held}


def _resolved(task: Task, event: ev.TaskResolved, at: Millis, position: int) -> Changes:
    if event.decision != "retry":
        return {}
    back = {"state": _IDLE, "held": None, "queued": position, "retry_at": None, "resume": False}
    if task.capped is None:
        return back
    meter = replace(task.meter, lifted=(*task.meter.lifted, lifting(task.capped.cap, task.capped.day)))
    return {**back, **_uncapped(task), "meter": meter}


def _planned(task: Task, event: ev.AttemptPlanned, at: Millis, position: int) -> Changes:
    attempt = Attempt(
        n=event.n,
        route=event.route,
        key=event.key,
        handle=event.handle,
        state=_PLANNED,
        policy=event.policy,
        planned_at=at,
        timeout_ms=event.timeout_ms,
        idle_timeout_ms=event.idle_timeout_ms,
        position=position,
        session=event.session,
        resume=event.resume,
    )
    planned = {"state": _DISPATCHING, "attempts": (*task.attempts, attempt), "retry_at": None, "resume": False}
    return planned if task.capped is None else {**planned, "capped": None}


def _started(task: Task, event: ev.AttemptStarted, at: Millis, position: int) -> Changes:
    session = event.session or task.attempts[-1].session
    changes = _last(task, _STARTED, started_at=at, pid=event.pid, session=session)
    if task.state is not _WAITING:
        changes["state"] = _EXECUTING
    return changes


def _suspended(task: Task, event: ev.TaskSuspended, at: Millis, position: int) -> Changes:
    return {"state": _WAITING, "queued": position}


def _restored(task: Task, event: ev.TaskRestored, at: Millis, position: int) -> Changes:
    attempt, state = task.open_attempt, _IDLE
    if attempt is not None:
        state = _EXECUTING if attempt.state is _STARTED else _DISPATCHING
    return {"state": state, "queued": position}


def _succeeded(task: Task, event: ev.AttemptSucceeded, at: Millis, position: int) -> Changes:
    last = task.attempts[-1]
    ended = _last(task, _SUCCEEDED, ended_at=at, session=event.session or last.session)
    if task.meter.n == event.n:  # its calls were metered here: that outweighs what the executor counted itself
        return {"result": event.result, **ended}
    usage = _used(task, event.usage)
    return {"result": event.result, **usage, **_cost(task, event.cost_usd), **ended}


def _failed(task: Task, event: ev.AttemptFailed, at: Millis, position: int) -> Changes:
    ended = _last(task, AttemptState.FAILED, ended_at=at, error=event.error)
    return {**ended, **_again(task, event.retry_at, position)}


def _interrupted(task: Task, event: ev.AttemptInterrupted, at: Millis, position: int) -> Changes:
    error = TaskError("interrupted", event.evidence)
    resume = task.attempts[-1].policy == "resume"
    again = {**_again(task, event.retry_at, position), "resume": resume and event.retry_at is not None}
    return {**_last(task, AttemptState.INTERRUPTED, ended_at=at, error=error, orderly=event.orderly), **again}


def _attempt_cancelled(task: Task, event: ev.AttemptCancelled, at: Millis, position: int) -> Changes:
    return _last(task, AttemptState.CANCELLED, ended_at=at, error=None if event.confirmed else _UNCONFIRMED)


def _completed(task: Task, event: ev.TaskCompleted, at: Millis, position: int) -> Changes:
    return {"state": _COMPLETED, **_ended(at, position)}


def _task_failed(task: Task, event: ev.TaskFailed, at: Millis, position: int) -> Changes:
    return {"state": TaskState.FAILED, "error": event.error, **_ended(at, position)}


def _cancelled(task: Task, event: ev.TaskCancelled, at: Millis, position: int) -> Changes:
    by = task.cancelled_by or event.by
    return {"state": TaskState.CANCELLED, "cancelled_by": by, **_ended(at, position)}


def _cancel_requested(task: Task, event: ev.CancelRequested, at: Millis, position: int) -> Changes:
    return {"cancel_requested": True, "cancelled_by": event.by}


def _call_reserved(task: Task, event: ev.CallReserved, at: Millis, position: int) -> Changes:
    return {"meter": replace(task.meter, n=event.n)}


def _call_settled(task: Task, event: ev.CallSettled, at: Millis, position: int) -> Changes:
    meter = replace(task.meter, spent_usd=task.meter.spent_usd + (event.billed_usd or 0.0) + event.kept_usd)
    return {"meter": meter, **_cost(task, event.billed_usd), **_used(task, event.usage)}


def _call_refused(task: Task, event: ev.CallRefused, at: Millis, position: int) -> Changes:
    stopped = event.capped is not None and event.capped.at_cap != "degrade"
    return {"capped": event.capped} if stopped else {}


def _nothing(task: Task, event: ev.LateOutcomeArrived, at: Millis, position: int) -> Changes:
    return {}


def _ended(at: Millis, position: int) -> Changes:
    return {"ended_at": at, "held": None, "retry_at": None, "queued": position}


def _last(task: Task, state: AttemptState, **changes: Any) -> Changes:
    return {"attempts": (*task.attempts[:-1], replace(task.attempts[-1], state=state, **changes))}


def _again(task: Task, retry_at: Millis | None, position: int) -> Changes:
    if retry_at is None:
        return {}
    state = task.state if task.state is _WAITING else _IDLE
    return {"state": state, "retry_at": retry_at, "queued": position}


def lifting(cap: str, day: int) -> str:
    """How `Meter.lifted` names a cap that was raised: a task's for good, any other for that day."""
    return cap if cap == TASK_CAP else f"{cap}@{day}"


def _uncapped(task: Task) -> Changes:
    """Let a task that a budget had stopped go on where its executor can."""
    if task.capped is None:
        return {}
    last = task.last
    return {"capped": None, "resume": last is not None and last.policy == "resume" and bool(last.session)}


def _used(task: Task, usage: Usage | None) -> Changes:
    if usage is None or task.usage is None:
        return {} if usage is None else {"usage": usage}
    before = task.usage
    together = Usage(before.input_tokens + usage.input_tokens, before.output_tokens + usage.output_tokens)
    return {"usage": together}


def _cost(task: Task, cost_usd: float | None) -> Changes:
    return {} if cost_usd is None else {"cost_usd": (task.cost_usd or 0.0) + cost_usd}


_EVOLVE: dict[type[Any], Callable[..., Changes]] = {
    ev.TaskRouted: _routed,
    ev.TaskHeld: _held,
    ev.TaskResolved: _resolved,
    ev.CancelRequested: _cancel_requested,
    ev.TaskSuspended: _suspended,
    ev.TaskRestored: _restored,
    ev.TaskCompleted: _completed,
    ev.TaskFailed: _task_failed,
    ev.TaskCancelled: _cancelled,
    ev.AttemptPlanned: _planned,
    ev.AttemptStarted: _started,
    ev.AttemptSucceeded: _succeeded,
    ev.AttemptFailed: _failed,
    ev.AttemptInterrupted: _interrupted,
    ev.AttemptCancelled: _attempt_cancelled,
    ev.LateOutcomeArrived: _nothing,
    ev.CallReserved: _call_reserved,
    ev.CallSettled: _call_settled,
    ev.CallRefused: _call_refused,
}

"""Facts, in the past tense. Every one is appended to the log before its effect leaves the process.

A type's tag is its name in the log; `schema` goes up with every change of shape, and an upcaster for the old shape goes
into `omni.eventlog.upcasters` in the same commit.

    stream       written by      holds
    task-<id>    Router          the life of one task
    router       Router          what the Router was told and decides by: settings, executor health, boots
    health       HealthMonitor   component health at each edge, with the evidence
    system       Brainstem       starts and stops of the daemon, configuration
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import msgspec

from omni.domain.values import (
    Candidate,
    Decision,
    ExecutorHealth,
    Held,
    Millis,
    OnCrash,
    Result,
    Route,
    RoutingSettings,
    TaskError,
    TaskSpec,
    Usage,
)

TASK_PREFIX = "task-"
ROUTER_STREAM = "router"
HEALTH_STREAM = "health"
SYSTEM_STREAM = "system"


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="event"):
    """Root of all events."""

    schema: ClassVar[int] = 1


# --- the life of one task -------------------------------------------------------------------------------------------


class TaskCreated(Event, frozen=True, tag="task.created"):
    """The task is accepted; `digest` identifies the payload for its idempotency key."""

    spec: TaskSpec
    client: str
    digest: str


class TaskRouted(Event, frozen=True, tag="task.routed"):
    """Who shall do it, and every reason for that choice; `route` is null when nobody can."""

    kind: str
    complexity: int
    route: Route | None
    reason: str
    candidates: tuple[Candidate, ...]
    signals: tuple[str, ...] = ()


class TaskHeld(Event, frozen=True, tag="task.held"):
    """The task waits for a person, or for an executor to come back."""

    held: Held


class TaskResolved(Event, frozen=True, tag="task.resolved"):
    """A person decided about a held task."""

    decision: Decision
    by: str


class CancelRequested(Event, frozen=True, tag="task.cancel_requested"):
    """A person asked to stop it; the executor has yet to answer."""

    by: str


class TaskCompleted(Event, frozen=True, tag="task.completed"):
    """Terminal: done. The result is that of the attempt; a task accepted by hand has none."""

    attempt: int
    by: str = ""


class TaskFailed(Event, frozen=True, tag="task.failed"):
    """Terminal: given up."""

    error: TaskError


class TaskCancelled(Event, frozen=True, tag="task.cancelled"):
    """Terminal: stopped on request."""

    by: str


class AttemptPlanned(Event, frozen=True, tag="attempt.planned"):
    """Durable before anything is started: whatever runs under `key` and `handle` is this attempt."""

    n: int
    route: Route
    key: str
    handle: str
    policy: OnCrash
    timeout_ms: int
    idle_timeout_ms: int
    session: str = ""
    resume: bool = False


class AttemptStarted(Event, frozen=True, tag="attempt.started"):
    """The executor has it; `pid` and `pid_started_ms` name the process where there is one of ours."""

    n: int
    pid: int | None = None
    pid_started_ms: Millis | None = None
    session: str = ""


class AttemptSucceeded(Event, frozen=True, tag="attempt.succeeded"):
    """The executor answered; cost is the provider's figure or null, never invented."""

    n: int
    result: Result
    session: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None


class AttemptFailed(Event, frozen=True, tag="attempt.failed"):
    """The attempt ended without a result; `retry_at` is set when another one follows by itself."""

    n: int
    error: TaskError
    retry_at: Millis | None = None


class AttemptInterrupted(Event, frozen=True, tag="attempt.interrupted"):
    """The outcome cannot be known (crash, lost connection); `retry_at` is set when its policy tries again."""

    n: int
    evidence: str
    retry_at: Millis | None = None


class AttemptCancelled(Event, frozen=True, tag="attempt.cancelled"):
    """The attempt was stopped on request; `confirmed` is false when the executor never answered the stop."""

    n: int
    confirmed: bool = True


class LateOutcomeArrived(Event, frozen=True, tag="attempt.late_outcome"):
    """An outcome for an attempt that had already ended: kept, and it changes nothing."""

    n: int
    outcome: str
    detail: str = ""
    result: Result | None = None


# --- what the Router decides by -------------------------------------------------------------------------------------


class RouterStarted(Event, frozen=True, tag="router.started"):
    """A new boot: what was known of executors' health is void."""

    boot: str


class RoutingConfigured(Event, frozen=True, tag="router.configured"):
    """The settings that decisions from here on depend on."""

    settings: RoutingSettings


class ExecutorNoted(Event, frozen=True, tag="router.executor_noted"):
    """The Router learnt of an executor's health."""

    executor: str
    health: ExecutorHealth


# --- health and system ----------------------------------------------------------------------------------------------


class ExecutorHealthChanged(Event, frozen=True, tag="health.executor_changed"):
    """An edge in an executor's health, with the observations that led to it."""

    executor: str
    health: ExecutorHealth
    evidence: tuple[str, ...] = ()


class DaemonStarted(Event, frozen=True, tag="system.started"):
    """A daemon took the log."""

    version: str
    pid: int
    boot: str


class DaemonStopped(Event, frozen=True, tag="system.stopped"):
    """A daemon let go of the log in good order; a crash leaves none."""

    reason: str


class ConfigLoaded(Event, frozen=True, tag="system.config_loaded"):
    """The configuration in force, redacted; `digest` covers the secrets too."""

    digest: str
    body: dict[str, Any]


class LossAccepted(Event, frozen=True, tag="system.loss_accepted"):
    """A person started the daemon although acknowledged events were missing."""

    events: int


TaskEvent: TypeAlias = (
    TaskCreated
    | TaskRouted
    | TaskHeld
    | TaskResolved
    | CancelRequested
    | TaskCompleted
    | TaskFailed
    | TaskCancelled
    | AttemptPlanned
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | AttemptInterrupted
    | AttemptCancelled
    | LateOutcomeArrived
)
RouterEvent: TypeAlias = RouterStarted | RoutingConfigured | ExecutorNoted
HealthEvent: TypeAlias = ExecutorHealthChanged
SystemEvent: TypeAlias = DaemonStarted | DaemonStopped | ConfigLoaded | LossAccepted
AnyEvent: TypeAlias = TaskEvent | RouterEvent | HealthEvent | SystemEvent

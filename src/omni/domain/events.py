"""Facts, in the past tense. Every one is appended to the log before its effect leaves the process.

A type's tag is its name in the log; `schema` goes up with every change of shape, and an upcaster for the old shape goes
into `omni.eventlog.upcasters` in the same commit.

    stream       written by      holds
    task-<id>    Router          the life of one task
    router       Router          what the Router was told and decides by: settings, executor health, mode, boots
    calls        Router          model calls that belong to no task
    health       HealthMonitor   component health and the mode at each edge, with the evidence
    system       Brainstem       starts and stops, configuration, suspensions, notices, repairs, the local model
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import msgspec

from omni.domain.values import (
    AttemptState,
    BreakerState,
    Candidate,
    Capped,
    Cause,
    ComponentState,
    CostSource,
    Decision,
    Evidence,
    ExecutorHealth,
    HealthSettings,
    Held,
    KeyRole,
    KeyState,
    Millis,
    Mode,
    OnCrash,
    RepairSettings,
    Result,
    Route,
    RoutingSettings,
    TaskError,
    TaskSpec,
    TaskState,
    Telling,
    Usage,
)

TASK_PREFIX = "task-"
ROUTER_STREAM = "router"
CALLS_STREAM = "calls"
HEALTH_STREAM = "health"
SYSTEM_STREAM = "system"


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="event"):
    """Root of all events."""

    schema: ClassVar[int] = 1


def type_of(event: msgspec.Struct | type[msgspec.Struct]) -> str:
    """The name of an event, or of a kind of events, in the log."""
    return str(event.__struct_config__.tag)


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
    """The task waits for a person, or for an executor to come back, or for a budget (`capped`)."""

    held: Held
    capped: Capped | None = None


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


class TaskSuspended(Event, frozen=True, tag="task.suspended"):
    """The cloud is gone, and the task needs it: it waits. An attempt that runs may still finish, and that counts."""

    reason: str


class TaskRestored(Event, frozen=True, tag="task.restored"):
    """The cloud is back and it is this task's turn to go on."""


class CallReserved(Event, frozen=True, tag="call.reserved"):
    """Durable before a model call leaves: what it may cost. `n` and `client` say for whom; null cost: not known."""

    call: str
    channel: str
    model: str
    mode: Mode
    n: int = 0
    client: str = ""
    paid: bool = False
    estimate_usd: float | None = None
    tier: str = ""


class CallSettled(Event, frozen=True, tag="call.settled"):
    """How a reserved call ended. Billed is what the provider or its price list says; imputed is what a free or prepaid
    call would have cost. Null is not known, never zero. Times in milliseconds from the reservation.

    `kept_usd` is what counts against budgets where nobody knows the bill: the estimate of the reservation.
    """

    call: str
    verdict: str
    billed_usd: float | None = None
    imputed_usd: float | None = None
    source: CostSource = "unknown"
    usage: Usage | None = None
    model: str = ""
    first_byte_ms: int | None = None
    duration_ms: int = 0
    detail: str = ""
    kept_usd: float = 0.0


class CallRefused(Event, frozen=True, tag="call.refused"):
    """A call that would have gone over a budget was not made; the caps are named as in `Capped`."""

    call: str
    cap: str
    reason: str
    n: int = 0
    client: str = ""
    capped: Capped | None = None


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
    """The executor has it; `pid` and `pid_started_ms` name the process where there is one of ours.

    `notes` is how many texts of the memory went along.
    """

    n: int
    pid: int | None = None
    pid_started_ms: Millis | None = None
    session: str = ""
    notes: int = 0


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
    """The outcome cannot be known (crash, lost connection); `retry_at` is set when its policy tries again.

    `orderly`: the executor stopped it itself, and can go on from where it was.
    """

    n: int
    evidence: str
    retry_at: Millis | None = None
    orderly: bool = False


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
    """A new boot: what was known of executors' health is void.

    `starts`: when this one and those before it began that no stop in good order took back, as far as they are recent.
    """

    boot: str
    starts: tuple[Millis, ...] = ()


class RouterStopped(Event, frozen=True, tag="router.stopped"):
    """Somebody asked the daemon to stop: nothing more begins in this boot, and its starts count no more."""


class DispatchPaused(Event, frozen=True, tag="router.dispatch_paused"):
    """Too many starts in a short time: nothing begins before a person says so, or this boot lives until `until_ms`."""

    starts: int
    since_ms: Millis
    until_ms: Millis


class DispatchResumed(Event, frozen=True, tag="router.dispatch_resumed"):
    """Attempts begin again: by a person's word, or by nobody's because this boot has lived long enough."""

    by: str = ""


class RoutingConfigured(Event, frozen=True, tag="router.configured"):
    """The settings that decisions from here on depend on.

    `anew`: executors that are connected anew, within a boot; what was known of their health is void.
    """

    settings: RoutingSettings
    anew: tuple[str, ...] = ()


class ExecutorNoted(Event, frozen=True, tag="router.executor_noted"):
    """The Router learnt of an executor's health."""

    executor: str
    health: ExecutorHealth


class ModeNoted(Event, frozen=True, tag="router.mode_noted"):
    """The Router learnt of the mode; until it is `cleared`, the first round of probes of this boot is not done."""

    mode: Mode
    cleared: bool
    reason: str = ""


class RampMoved(Event, frozen=True, tag="router.ramp_moved"):
    """After a suspension: how many restored tasks may run at once, and none before `until_ms`; 0 ends the ramp."""

    window: int
    until_ms: Millis | None = None


# --- health and system ----------------------------------------------------------------------------------------------


class ExecutorHealthChanged(Event, frozen=True, tag="health.executor_changed"):
    """An edge in an executor's health, with the observations that led to it."""

    executor: str
    health: ExecutorHealth
    evidence: tuple[str, ...] = ()


class HealthStarted(Event, frozen=True, tag="health.started"):
    """A new boot: what was observed before is void, what was known of components is not."""

    boot: str


class HealthConfigured(Event, frozen=True, tag="health.configured"):
    """What is watched from here on, and the thresholds."""

    settings: HealthSettings


class ProxyChanged(Event, frozen=True, tag="health.proxy_changed"):
    """The LiteLLM proxy went down or came up."""

    state: ComponentState
    evidence: tuple[Evidence, ...] = ()


class CloudChanged(Event, frozen=True, tag="health.cloud_changed"):
    """A cloud went out of reach or came back; `network`: every failure was this machine's own (no route, no DNS)."""

    cloud: str
    state: ComponentState
    network: bool = False
    evidence: tuple[Evidence, ...] = ()


class KeyChanged(Event, frozen=True, tag="health.key_changed"):
    """A key was accepted, refused, or is out of credit until `until_ms`."""

    cloud: str
    key: KeyRole
    state: KeyState
    until_ms: Millis | None = None
    evidence: tuple[Evidence, ...] = ()


class BreakerChanged(Event, frozen=True, tag="health.breaker_changed"):
    """A model on a channel is left alone until `until_ms` (limited, or failing too often), or is used again."""

    channel: str
    model: str
    state: BreakerState
    reason: str = ""
    until_ms: Millis | None = None
    evidence: tuple[Evidence, ...] = ()


class ClockJumped(Event, frozen=True, tag="health.clock_jumped"):
    """Wall clock and monotonic clock went apart (sleep, clock set): observations before it are void."""

    by_ms: int


class ModeForced(Event, frozen=True, tag="health.mode_forced"):
    """A person asked for BRAINSTEM, or gave the decision back."""

    brainstem: bool
    by: str


class ModeChanged(Event, frozen=True, tag="health.mode_changed"):
    """The mode as it follows from health, with what led to it."""

    before: Mode
    after: Mode
    cause: Cause
    reason: str
    evidence: tuple[Evidence, ...] = ()


class DaemonStarted(Event, frozen=True, tag="system.started"):
    """A daemon took the log; `repair` is how it will have the proxy repaired, `telling` whom it owes notices."""

    version: str
    pid: int
    boot: str
    repair: RepairSettings = RepairSettings()
    telling: Telling = Telling()


class DaemonStopped(Event, frozen=True, tag="system.stopped"):
    """A daemon let go of the log in good order; a crash leaves none."""

    reason: str


class ConfigLoaded(Event, frozen=True, tag="system.config_loaded"):
    """The configuration in force, redacted; `digest` covers the secrets too.

    Loaded anew within a boot it brings `repair` and `telling`, which a start tells in its own event.
    """

    digest: str
    body: dict[str, Any]
    repair: RepairSettings | None = None
    telling: Telling | None = None


class LossAccepted(Event, frozen=True, tag="system.loss_accepted"):
    """A person started the daemon although acknowledged events were missing."""

    events: int


class ModeFollowed(Event, frozen=True, tag="system.mode_followed"):
    """Brainstem learnt of a new mode, and does from here on what it asks."""

    mode: Mode
    reason: str = ""


class Suspended(Event, frozen=True, tag="system.suspended"):
    """BRAINSTEM began: what needs the cloud waits."""

    reason: str


class Restored(Event, frozen=True, tag="system.restored"):
    """BRAINSTEM is over."""

    mode: Mode


class LocalModelChanged(Event, frozen=True, tag="system.local_model_changed"):
    """The local model was asked for, is loaded and checked, failed, or is gone from memory again."""

    state: str
    detail: str = ""


class NoticeQueued(Event, frozen=True, tag="system.notice_queued"):
    """Something that the user is to be told; `key` tells one notice from another wherever it is delivered.

    `dedup` is the word of whoever asked for it: while it is remembered, the same word makes no second notice. With `to`
    it is owed to that one address, else to every sink of the boot. `about` is the log position of what it tells of.
    """

    key: str
    kind: str
    facts: dict[str, str] = {}
    dedup: str = ""
    to: str = ""
    about: int = 0


class NoticeDelivered(Event, frozen=True, tag="system.notice_delivered"):
    """A sink took it for good; without a name, every sink did."""

    key: str
    sink: str = ""


class NoticeDelayed(Event, frozen=True, tag="system.notice_delayed"):
    """The sink did not take it; it is tried again, under the same key."""

    key: str
    detail: str
    retry_at: Millis
    sink: str = ""


class NoticeDropped(Event, frozen=True, tag="system.notice_dropped"):
    """It is owed to this sink no more, and why; without a name, to none."""

    key: str
    detail: str
    sink: str = ""


class RepairStarted(Event, frozen=True, tag="system.repair_started"):
    """A task was made that repairs the proxy; the `n`-th of this outage."""

    n: int
    task_id: str


class RepairEnded(Event, frozen=True, tag="system.repair_ended"):
    """The repair task ended, or is not wanted any more. Its word is evidence only: probes decide."""

    task_id: str
    outcome: str
    next_at: Millis | None = None


class DrillBegun(Event, frozen=True, tag="system.drill_begun"):
    """A fault was made on purpose, until then at the latest: what follows from it is no outage."""

    fault: str
    until_ms: Millis


class RepairGivenUp(Event, frozen=True, tag="system.repair_given_up"):
    """The last repair of this outage failed; a person has to look."""

    attempts: int


# The events that end a task or an attempt, and what it is then.
TASK_ENDS: dict[type[Any], TaskState] = {
    TaskCompleted: TaskState.COMPLETED,
    TaskFailed: TaskState.FAILED,
    TaskCancelled: TaskState.CANCELLED,
}
ATTEMPT_ENDS: dict[type[Any], AttemptState] = {
    AttemptSucceeded: AttemptState.SUCCEEDED,
    AttemptFailed: AttemptState.FAILED,
    AttemptInterrupted: AttemptState.INTERRUPTED,
    AttemptCancelled: AttemptState.CANCELLED,
}

TaskEvent: TypeAlias = (
    TaskCreated
    | TaskRouted
    | TaskHeld
    | TaskResolved
    | TaskSuspended
    | TaskRestored
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
    | CallReserved
    | CallSettled
    | CallRefused
)
CallEvent: TypeAlias = CallReserved | CallSettled | CallRefused
RouterEvent: TypeAlias = (
    RouterStarted
    | RouterStopped
    | DispatchPaused
    | DispatchResumed
    | RoutingConfigured
    | ExecutorNoted
    | ModeNoted
    | RampMoved
)
HealthEvent: TypeAlias = (
    ExecutorHealthChanged
    | HealthStarted
    | HealthConfigured
    | ProxyChanged
    | CloudChanged
    | KeyChanged
    | BreakerChanged
    | ClockJumped
    | ModeForced
    | ModeChanged
)
SystemEvent: TypeAlias = (
    DaemonStarted
    | DaemonStopped
    | ConfigLoaded
    | LossAccepted
    | ModeFollowed
    | Suspended
    | Restored
    | LocalModelChanged
    | NoticeQueued
    | NoticeDelivered
    | NoticeDelayed
    | NoticeDropped
    | RepairStarted
    | RepairEnded
    | RepairGivenUp
    | DrillBegun
)
AnyEvent: TypeAlias = TaskEvent | RouterEvent | HealthEvent | SystemEvent

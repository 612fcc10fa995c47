"""Messages between actors: requests that may be refused, reports, and answers.

Every message is a frozen, tagged struct, so that the input of a decision can be written beside the events it led to and
decided again. `request` names the caller's open question; an answer carries it back.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from omni.domain.task import Task
from omni.domain.values import (
    Budget,
    Cause,
    CostSource,
    Decision,
    Evidence,
    ExecutorHealth,
    ExecutorSpec,
    HealthSettings,
    KeyRole,
    Millis,
    Mode,
    RepairSettings,
    Result,
    Route,
    RoutingSettings,
    StartGuard,
    TaskError,
    TaskSpec,
    Telling,
    Usage,
)


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=True):
    """Root of all messages."""


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A message as a behaviour sees it: stamped with time and id by the shell, so that the domain never asks."""

    id: str
    at: Millis
    mono: Millis
    sender: str
    message: Any


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A request that the rules turn down; `kind` is stable, `hint` names the next command."""

    kind: str
    message: str
    hint: str = ""


# --- to the Router: about one task ----------------------------------------------------------------------------------


class CreateTask(Message, frozen=True):
    """Accept a task. `task_id` is made by the door (UUIDv7)."""

    request: str
    task_id: str
    spec: TaskSpec
    client: str = ""
    repeat_within_ms: int = 0  # the same payload from the same client within this time is the same task


class CancelTask(Message, frozen=True):
    request: str
    task_id: str
    by: str = ""


class ResolveTask(Message, frozen=True):
    """Decide about a held task."""

    request: str
    task_id: str
    decision: Decision
    by: str = ""


class RetryTask(Message, frozen=True):
    """Try again: a held task goes on; an ended one is submitted anew as `new_id` (ADR-0004)."""

    request: str
    task_id: str
    new_id: str
    by: str = ""


# --- to the Router: reports about one attempt -----------------------------------------------------------------------


class ReportStarted(Message, frozen=True):
    task_id: str
    n: int
    pid: int | None = None
    pid_started_ms: Millis | None = None
    session: str = ""
    notes: int = 0


class ReportSucceeded(Message, frozen=True):
    task_id: str
    n: int
    result: Result
    session: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None


class ReportFailed(Message, frozen=True):
    """`error.kind` decides what follows; the table stands in `omni.domain.attempt`.

    `retry_after_ms` is how long the executor asks to be left alone, for kinds that are tried again.
    """

    task_id: str
    n: int
    error: TaskError
    retry_after_ms: int = 0


class ReportInterrupted(Message, frozen=True):
    """Nobody can say how the attempt ended; `resumable` when the executor can go on from its handle.

    With `orderly` the executor itself stopped it at a point that it knows, and can go on after `retry_after_ms`.
    """

    task_id: str
    n: int
    evidence: str
    resumable: bool = False
    orderly: bool = False
    retry_after_ms: int = 0


class ReportCancelled(Message, frozen=True):
    task_id: str
    n: int
    confirmed: bool = True


# --- to the Router: the world ---------------------------------------------------------------------------------------


class Boot(Message, frozen=True):
    """The daemon has started: take the settings, and settle what the last one left behind."""

    boot: str
    settings: RoutingSettings
    guard: StartGuard = StartGuard(0)


class ResumeDispatch(Message, frozen=True):
    """To the Router: a person says that attempts may begin again after a crash loop."""

    by: str = ""


class DispatchReport(Message, frozen=True):
    """The Router's word to the door on whether attempts begin; the rest says about a pause since when and why."""

    state: Literal["open", "paused", "stopping"] = "open"
    since: Millis = 0
    until: Millis = 0
    starts: int = 0


class Reconfigure(Message, frozen=True):
    """Within a boot: other settings hold from here on. Answered with a bare `Reply` once that is written down.

    `anew`: executors that are about to be connected anew; nothing is planned for them until they are seen.
    """

    request: str
    settings: RoutingSettings
    anew: tuple[str, ...] = ()


class NoteExecutor(Message, frozen=True):
    executor: str
    health: ExecutorHealth


class NoteMode(Message, frozen=True):
    """HealthMonitor's word on the mode, to Router, Brainstem and Gateway; `cleared` once the first probes are in."""

    mode: Mode
    cause: Cause = ""
    reason: str = ""
    cleared: bool = False
    since: Millis = 0


# --- to the Router: model calls -------------------------------------------------------------------------------------


class ReserveCall(Message, frozen=True):
    """Ask whether a model call may be made, before it is. A client with a key of its own has no `task_id` and `n`.

    `estimate_usd` is the most that it should cost, null when nobody can say; `channel` and `model` are where it goes.
    """

    request: str
    call: str
    channel: str
    model: str
    mode: Mode
    task_id: str = ""
    n: int = 0
    client: str = ""
    paid: bool = False
    estimate_usd: float | None = None
    tier: str = ""


class SettleCall(Message, frozen=True):
    """Say how a reserved call ended; the fields are those of `CallSettled`."""

    call: str
    verdict: str
    task_id: str = ""
    billed_usd: float | None = None
    imputed_usd: float | None = None
    source: CostSource = "unknown"
    usage: Usage | None = None
    model: str = ""
    first_byte_ms: int | None = None
    duration_ms: int = 0
    detail: str = ""


class CallAnswered(Message, frozen=True):
    """To the model port: the call may go out, or not; with `degrade` a free one may."""

    request: str
    refusal: Refusal | None = None
    degrade: bool = False


# --- to HealthMonitor -----------------------------------------------------------------------------------------------


class StartWatch(Message, frozen=True):
    """What to watch: at a new boot, or from here on within one.

    `anew`: executors that are about to be connected anew; what was observed of them is void.
    """

    boot: str
    settings: HealthSettings
    anew: tuple[str, ...] = ()


class Observed(Message, frozen=True):
    """What one probe, ping or real call showed. `target` is "proxy" or a cloud; `verdict` a word of `domain.verdict`.

    `key` says with which of the cloud's keys it was made, and `model` on which model, where that is known.
    """

    target: str
    source: str
    verdict: str
    detail: str = ""
    key: KeyRole | None = None
    model: str = ""
    retry_after_ms: int | None = None


class ForceMode(Message, frozen=True):
    """A person wants BRAINSTEM (`brainstem`), or the derived mode again."""

    request: str
    brainstem: bool
    by: str = ""


class Probe(Message, frozen=True):
    """To the probes: look at "proxy" or a cloud once, and answer `Observed` within `timeout_ms`, always."""

    target: str
    timeout_ms: int


class ComponentReport(msgspec.Struct, frozen=True):
    """One component as it is now. `kind`: proxy, cloud, key (`name` is "cloud/role") or breaker ("channel/model")."""

    kind: str
    name: str
    state: str
    since: Millis = 0
    until: Millis | None = None
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()


class HealthReported(Message, frozen=True):
    """All components and the mode, to Gateway and model port, whenever something changed."""

    mode: NoteMode
    components: tuple[ComponentReport, ...] = ()


# --- to Brainstem and its adapters ----------------------------------------------------------------------------------


class WakeLocal(Message, frozen=True):
    """To the local model: load it, let it say something, and answer `LocalObserved`."""


class SleepLocal(Message, frozen=True):
    """To the local model: unload it, see that it is gone, and answer `LocalObserved`."""


class LocalObserved(Message, frozen=True):
    """`state`: checked (loaded, and it answered), unloaded (and seen to be), failed."""

    state: str
    detail: str = ""


class Deliver(Message, frozen=True):
    """To the notifier: tell it at this sink, and answer `Delivered`. The same `key` is the same notice.

    `to` is the one address ("channel:target") that it is meant for; empty: whomever the sink tells.
    """

    key: str
    kind: str
    facts: dict[str, str]
    at: Millis
    sink: str = ""
    to: str = ""


class Delivered(Message, frozen=True):
    """Whether the sink took the notice; `gone`: it did not and never will."""

    key: str
    ok: bool
    detail: str = ""
    sink: str = ""
    gone: bool = False


class Tell(Message, frozen=True):
    """To Brainstem: the user should hear of this. The same `dedup`, where there is one, makes one notice only.

    With `to` ("channel:target") it is an answer for whoever asked there: only that address hears it, at any hour.
    `about` is the log position of what it tells of, 0 where it stands in no log; these come in order of it.
    """

    kind: str
    facts: dict[str, str] = {}
    dedup: str = ""
    to: str = ""
    about: int = 0


class DrillNoted(Message, frozen=True):
    """To Brainstem: a fault is being made on purpose, until then at the latest."""

    fault: str
    until: Millis


class RepairReported(Message, frozen=True):
    """The Router's word on a repair task that ended."""

    task_id: str
    state: str
    detail: str = ""


class ActorRestarted(Message, frozen=True):
    """An actor lost what it had only in memory: whoever told it something tells it again."""

    actor: str


class TimerFired(Message, frozen=True):
    """The time that was asked for has come."""

    key: str = ""


# --- to the ExecutorPool --------------------------------------------------------------------------------------------


class StartAttempt(Message, frozen=True):
    """Hand one attempt to its executor; at most once for each (task_id, n) in the life of a process."""

    task_id: str
    n: int
    route: Route
    description: str
    key: str
    handle: str
    timeout_ms: int
    idle_timeout_ms: int
    workdir: str = ""
    session: str = ""
    resume: bool = False
    repair: bool = False  # asked for by Brainstem: to mend the proxy, and so never through it


class CancelAttempt(Message, frozen=True):
    task_id: str
    n: int
    executor: str


class PauseAttempt(Message, frozen=True):
    """The cloud is gone: an executor that can pause should; one that cannot goes on, and its outcome counts."""

    task_id: str
    n: int
    executor: str


class ReconcileAttempt(Message, frozen=True):
    """After a restart: find out what became of an attempt that has no outcome."""

    task_id: str
    n: int
    executor: str
    key: str
    handle: str
    pid: int | None = None
    session: str = ""


class ExecutorObserved(Message, frozen=True):
    """The hands saw a connection come up, go down or refuse."""

    executor: str
    ok: bool
    detail: str = ""
    tools: tuple[str, ...] = ()


class ExecutorPaused(Message, frozen=True):
    """An executor said that it can take nothing at all for so long: an account's limit, for one."""

    executor: str
    for_ms: int
    reason: str


class StaffChanged(Message, frozen=True):
    """Other executors: to the pool its dry runs with their arguments, and from there on to the hands.

    The hands were told before what to change, and do it now: all that was planned by the old settings is with them.
    """

    dry_runs: dict[str, Any] = {}


class ProgressMade(Message, frozen=True):
    """An executor reported progress; passed on to callers who asked, never written to the log."""

    task_id: str
    n: int
    progress: float
    total: float | None = None
    message: str = ""


# --- to the Gateway -------------------------------------------------------------------------------------------------


class TasksChanged(Message, frozen=True):
    """Durable changes of one turn, in order; `forgotten` ids left memory for the archive."""

    tasks: tuple[Task, ...]
    forgotten: tuple[str, ...] = ()


class Answered(Message, frozen=True):
    """The Router's answer to a request: the task that it concerns (its state came just before), or a refusal."""

    request: str
    task_id: str = ""
    refusal: Refusal | None = None


class Submit(Message, frozen=True):
    """A client's request to accept a task."""

    request: str
    task_id: str
    spec: TaskSpec
    client: str = ""
    until_end: bool = False
    repeat_within_ms: int = 0


class GetTask(Message, frozen=True):
    """Answer with the task; with `until_end` only when it has ended (or is held)."""

    request: str
    task_id: str
    until_end: bool = False


class Spend(Message, frozen=True):
    """What the model calls of the newest day with calls came to, and the caps; that day ends at `until`.

    `kept_usd` are estimates that stand for bills nobody knows, `unknown` the number of calls without a known bill.
    """

    until: Millis
    billed_usd: float = 0.0
    imputed_usd: float = 0.0
    reserved_usd: float = 0.0
    kept_usd: float = 0.0
    unknown: int = 0
    budget: Budget = Budget()


class ListTasks(Message, frozen=True):
    """A page of tasks, newest first; `before` is the id to go on from."""

    request: str
    state: str = ""
    limit: int = 50
    before: str = ""


class Admit(Message, frozen=True):
    """How many tasks may be open at a time from here on."""

    open_tasks: int


class Forget(Message, frozen=True):
    """The caller no longer waits."""

    request: str


class Follow(Message, frozen=True):
    """Send updates and progress of a task (all tasks when empty) to the door under `request`, until Forget."""

    request: str
    task_id: str = ""


class GetStatus(Message, frozen=True):
    request: str


class ExecutorStatus(Message, frozen=True):
    """HealthMonitor's word on one executor, for status and listing."""

    executor: str
    health: ExecutorHealth
    tools: tuple[str, ...] = ()
    since: Millis = 0


class TaskPage(msgspec.Struct, frozen=True):
    """Newest first; `next` is the id to pass as `before` for the page that follows, empty at the end."""

    tasks: tuple[Task, ...]
    next: str = ""


class ExecutorReport(msgspec.Struct, frozen=True):
    """One executor as it is now."""

    spec: ExecutorSpec
    health: ExecutorHealth
    tools: tuple[str, ...] = ()
    since: Millis = 0
    running: int = 0
    queued: int = 0


class SystemReport(msgspec.Struct, frozen=True):
    """The system as it is now; `counts` by task state."""

    health: HealthReported
    executors: tuple[ExecutorReport, ...]
    counts: dict[str, int]
    position: int = 0
    spend: Spend | None = None
    dispatch: DispatchReport = DispatchReport()


# --- to the door ----------------------------------------------------------------------------------------------------


class Reply(Message, frozen=True):
    """The answer to a request: a task, a page, a status, or a refusal."""

    request: str
    payload: Any


class Update(Message, frozen=True):
    """News for a follower; a task or `ProgressMade`."""

    request: str
    payload: Any


# --- to the timers --------------------------------------------------------------------------------------------------


class WakeAt(Message, frozen=True):
    """Post `TimerFired(key)` to `actor` at `at`; a later call for the same actor and key replaces it."""

    actor: str
    at: Millis
    key: str = ""


class WakeIn(Message, frozen=True):
    """Post `TimerFired(key)` to `actor` after `delay_ms` of running time, whatever the wall clock does meanwhile."""

    actor: str
    delay_ms: int
    key: str = ""


class ConfigChanged(Message, frozen=True):
    """To Brainstem: another configuration within a boot. Answered with a bare `Reply` once that is written down."""

    request: str
    config_digest: str
    config_body: dict[str, Any]
    repair: RepairSettings = RepairSettings()
    telling: Telling = Telling()


class DaemonUp(Message, frozen=True):
    """To Brainstem: this daemon holds the log now."""

    version: str
    pid: int
    boot: str
    config_digest: str
    config_body: dict[str, Any]
    accepted_loss: int = 0
    repair: RepairSettings = RepairSettings()
    telling: Telling = Telling()


class DaemonDown(Message, frozen=True):
    """To Brainstem at the end, and before it to the Router where somebody asked for the stop.

    The Router sends it on over the pool to the hands: behind all attempts that it planned before.
    """

    reason: str

"""Messages between actors: requests that may be refused, reports, and answers.

Every message is a frozen, tagged struct, so that the input of a decision can be written beside the events it led to and
decided again. `request` names the caller's open question; an answer carries it back.
"""

from __future__ import annotations

from typing import Any

import msgspec

from omni.domain.task import Task
from omni.domain.values import (
    Decision,
    ExecutorHealth,
    ExecutorSpec,
    Millis,
    Mode,
    Result,
    Route,
    RoutingSettings,
    TaskError,
    TaskSpec,
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


class ReportSucceeded(Message, frozen=True):
    task_id: str
    n: int
    result: Result
    session: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None


class ReportFailed(Message, frozen=True):
    """`error.kind` decides what follows; the table stands in `omni.domain.attempt`."""

    task_id: str
    n: int
    error: TaskError


class ReportInterrupted(Message, frozen=True):
    """Nobody can say how the attempt ended; `resumable` when the executor can go on from its handle."""

    task_id: str
    n: int
    evidence: str
    resumable: bool = False


class ReportCancelled(Message, frozen=True):
    task_id: str
    n: int
    confirmed: bool = True


# --- to the Router: the world ---------------------------------------------------------------------------------------


class Boot(Message, frozen=True):
    """The daemon has started: take the settings, and settle what the last one left behind."""

    boot: str
    settings: RoutingSettings


class NoteExecutor(Message, frozen=True):
    executor: str
    health: ExecutorHealth


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


class CancelAttempt(Message, frozen=True):
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


class GetTask(Message, frozen=True):
    """Answer with the task; with `until_end` only when it has ended (or is held)."""

    request: str
    task_id: str
    until_end: bool = False


class ListTasks(Message, frozen=True):
    """A page of tasks, newest first; `before` is the id to go on from."""

    request: str
    state: str = ""
    limit: int = 50
    before: str = ""


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

    mode: Mode
    executors: tuple[ExecutorReport, ...]
    counts: dict[str, int]
    position: int = 0


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


class DaemonUp(Message, frozen=True):
    """To Brainstem: this daemon holds the log now."""

    version: str
    pid: int
    boot: str
    config_digest: str
    config_body: dict[str, Any]
    accepted_loss: int = 0


class DaemonDown(Message, frozen=True):
    reason: str

"""Gateway: admits requests, knows who waits for what, and answers questions from the tasks that the Router told it of.

It owns nothing durable: tasks here are the Router's own frozen records, passed on after each commit. A caller that
goes away is forgotten; the task it asked for goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import nlargest
from typing import Any

import msgspec

from omni.actors.soft import Quiet
from omni.domain import commands as cmd
from omni.domain.budget import as_of
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.task import Task
from omni.domain.values import RUNNING, ExecutorHealth, Millis, RoutingSettings, TaskState

NAME = "gateway"
ROUTER = "router"
HEALTH = "health"
DOOR = "door"
JOURNAL = "journal"
PAGE_MAX = 500


class GatewayState:
    """Who waits, and what is known; all of it can be asked for again."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.counts: Counter[TaskState] = Counter()
        self.asked: dict[str, bool] = {}  # request → whether it waits for the end; the Router has yet to answer
        self.waiting: dict[str, list[str]] = {}  # task → requests that wait for its end
        self.followed: dict[str, list[str]] = {}  # task, or "" for all → requests that get updates
        self.executors: dict[str, cmd.ExecutorStatus] = {}
        self.settings = RoutingSettings()
        self.health = cmd.HealthReported(cmd.NoteMode("NORMAL"))
        self.spend = cmd.Spend(0)
        self.at: Millis = 0  # of the message in hand

    @property
    def open_tasks(self) -> int:
        """Tasks that have not ended, and those on their way to being accepted."""
        ended = self.counts[TaskState.COMPLETED] + self.counts[TaskState.FAILED] + self.counts[TaskState.CANCELLED]
        return len(self.tasks) - ended + len(self.asked)


class Gateway(Quiet):
    """Behaviour between the door and the Router; `open_limit` bounds the tasks that have not ended."""

    name = NAME

    def __init__(self, open_limit: int) -> None:
        self._open_limit = open_limit
        self._handlers: dict[type[Any], Callable[[GatewayState, Any], list[Send]]] = {
            cmd.Submit: self._submit,
            cmd.Answered: _answered,
            cmd.TasksChanged: _changed,
            cmd.GetTask: _get,
            cmd.ListTasks: _list,
            cmd.CancelTask: _forward,
            cmd.ResolveTask: _forward,
            cmd.RetryTask: self._retry,
            cmd.ForceMode: _force,
            cmd.Follow: _follow,
            cmd.Forget: _forget,
            cmd.GetStatus: _status,
            cmd.ProgressMade: _progress,
            cmd.ExecutorStatus: _executor,
            cmd.HealthReported: _health,
            cmd.Spend: _spend,
            cmd.Boot: _boot,
            cmd.Admit: self._admit,
        }

    def initial(self) -> GatewayState:
        return GatewayState()

    def handle(self, state: GatewayState, envelope: cmd.Envelope) -> Outcome:
        state.at = envelope.at
        handler = self._handlers.get(type(envelope.message))
        return Outcome((), handler(state, envelope.message)) if handler else NOTHING

    def refuse(self, message: Any, refusal: cmd.Refusal) -> list[Send]:
        request = getattr(message, "request", None)
        return [_reply(request, refusal)] if request else []

    def _submit(self, state: GatewayState, submit: cmd.Submit) -> list[Send]:
        if state.open_tasks >= self._open_limit:
            return [self._overloaded(submit.request)]
        state.asked[submit.request] = submit.until_end
        create = cmd.CreateTask(submit.request, submit.task_id, submit.spec, submit.client, submit.repeat_within_ms)
        return [Send(ROUTER, create)]

    def _retry(self, state: GatewayState, retry: cmd.RetryTask) -> list[Send]:
        task = state.tasks.get(retry.task_id)
        if task is not None and task.ended and state.open_tasks >= self._open_limit:
            return [self._overloaded(retry.request)]  # it would become a new task; a held one is open already
        return _forward(state, retry)

    def _admit(self, state: GatewayState, bounds: cmd.Admit) -> list[Send]:
        """Another bound; it outlives a restart of this actor, as the first one does."""
        self._open_limit = bounds.open_tasks
        return []

    def _overloaded(self, request: str) -> Send:
        message = f"{self._open_limit} tasks are open, and no more are admitted until some of them end"
        return _reply(request, cmd.Refusal("overloaded", message, "try again in a few seconds; omni status"))


# --- from the Router ------------------------------------------------------------------------------------------------


def _answered(state: GatewayState, answer: cmd.Answered) -> list[Send]:
    if not answer.request:
        return []  # Brainstem asked, and learns what it needs from the task
    until_end = state.asked.pop(answer.request, False)
    if answer.refusal is not None:
        return [_reply(answer.request, answer.refusal)]
    return _when(state, answer.request, answer.task_id, until_end=until_end)


def _changed(state: GatewayState, changed: cmd.TasksChanged) -> list[Send]:
    sends: list[Send] = []
    for task in changed.tasks:
        before = state.tasks.get(task.id)
        if before is not None and before.position > task.position:
            continue  # what is said at a boot may be older than what the same turn has already announced
        if before is not None:
            state.counts[before.state] -= 1
        state.counts[task.state] += 1
        state.tasks[task.id] = task
        if state.waiting and _settled(task):
            sends += [_reply(r, task) for r in state.waiting.pop(task.id, ())]
        if state.followed:
            sends += _updates(state, task.id, task)
        if task.ended and before is not None and not before.ended:
            sends.append(Send(JOURNAL, task))
    for task_id in changed.forgotten:
        gone = state.tasks.pop(task_id, None)
        if gone is not None:
            state.counts[gone.state] -= 1
    return sends


def _settled(task: Task) -> bool:
    """Whether a caller who waits for the end has waited long enough: it has ended, or needs a person."""
    return task.ended or task.state is TaskState.HELD


def _when(state: GatewayState, request: str, task_id: str, *, until_end: bool) -> list[Send]:
    task = state.tasks.get(task_id)
    if task is None:
        refusal = cmd.Refusal("not_found", f"no task has the id {task_id}", "omni tasks")
        return [_reply(request, refusal)]
    if until_end and not _settled(task):
        state.waiting.setdefault(task_id, []).append(request)
        return []
    return [_reply(request, task)]


# --- from the door --------------------------------------------------------------------------------------------------


def _get(state: GatewayState, get: cmd.GetTask) -> list[Send]:
    return _when(state, get.request, get.task_id, until_end=get.until_end)


def _forward(state: GatewayState, message: cmd.CancelTask | cmd.ResolveTask | cmd.RetryTask) -> list[Send]:
    return [Send(ROUTER, message)]


def _force(state: GatewayState, wish: cmd.ForceMode) -> list[Send]:
    """Whoever gives the decision back wants work to go on, also where a crash loop has paused it."""
    go_on = [] if wish.brainstem else [Send(ROUTER, cmd.ResumeDispatch(wish.by))]
    return [*go_on, Send(HEALTH, wish)]


def _list(state: GatewayState, query: cmd.ListTasks) -> list[Send]:
    limit = max(1, min(query.limit, PAGE_MAX))
    wanted = (
        task
        for task in state.tasks.values()
        if (not query.before or task.id < query.before) and (not query.state or task.state == query.state)
    )
    found = nlargest(limit + 1, wanted, key=lambda task: task.id)  # ids are UUIDv7: they sort by time
    following = found[limit - 1].id if len(found) > limit else ""
    return [_reply(query.request, cmd.TaskPage(tuple(found[:limit]), following))]


def _follow(state: GatewayState, follow: cmd.Follow) -> list[Send]:
    state.followed.setdefault(follow.task_id, []).append(follow.request)
    task = state.tasks.get(follow.task_id)
    return [Send(DOOR, cmd.Update(follow.request, task))] if task else []


def _forget(state: GatewayState, forget: cmd.Forget) -> list[Send]:
    for book in (state.waiting, state.followed):
        for key in [k for k, requests in book.items() if forget.request in requests]:
            book[key].remove(forget.request)
            if not book[key]:
                del book[key]
    if forget.request in state.asked:
        state.asked[forget.request] = False
    return []


def _status(state: GatewayState, query: cmd.GetStatus) -> list[Send]:
    running: Counter[str] = Counter()
    queued: Counter[str] = Counter()
    for task in state.tasks.values():
        if task.route is None:
            continue
        if task.state in RUNNING:
            running[task.route.executor] += 1
        elif task.state is TaskState.IDLE:
            queued[task.route.executor] += 1
    reports = []
    for spec in state.settings.executors:
        seen = state.executors.get(spec.name, cmd.ExecutorStatus(spec.name, ExecutorHealth()))
        health = ExecutorHealth("failed", spec.unavailable) if spec.unavailable else seen.health
        reports.append(cmd.ExecutorReport(spec, health, seen.tools, seen.since, running[spec.name], queued[spec.name]))
    counts = {str(s): state.counts[s] for s in TaskState}
    position = max((t.position for t in state.tasks.values()), default=0)
    spend = as_of(state.spend, state.at)
    return [_reply(query.request, cmd.SystemReport(state.health, tuple(reports), counts, position, spend))]


# --- from the others ------------------------------------------------------------------------------------------------


def _progress(state: GatewayState, progress: cmd.ProgressMade) -> list[Send]:
    return _updates(state, progress.task_id, progress)


def _executor(state: GatewayState, status: cmd.ExecutorStatus) -> list[Send]:
    state.executors[status.executor] = status
    return []


def _health(state: GatewayState, reported: cmd.HealthReported) -> list[Send]:
    state.health = reported
    return []


def _spend(state: GatewayState, spend: cmd.Spend) -> list[Send]:
    state.spend = spend
    return []


def _boot(state: GatewayState, boot: cmd.Boot) -> list[Send]:
    state.settings = boot.settings
    return []


def _updates(state: GatewayState, task_id: str, payload: msgspec.Struct) -> list[Send]:
    followers = (*state.followed.get(task_id, ()), *state.followed.get("", ()))
    return [Send(DOOR, cmd.Update(request, payload)) for request in followers]


def _reply(request: str, payload: Any) -> Send:
    return Send(DOOR, cmd.Reply(request, payload))

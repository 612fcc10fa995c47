"""The tools: name, arguments, shape of the answer, hints for the caller, and what each one asks of the desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Protocol, TypeAlias

import msgspec

from omni.domain.commands import ProgressMade
from omni.domain.task import Task
from omni.domain.values import TaskState
from omni.domain.view import task_view
from omni.server import requests as rq
from omni.server import schemas as sh
from omni.server.desk import Desk, News, settled
from omni.server.requests import Reader, SpecMaker
from omni.server.rights import Rights
from omni.server.views import executor_view, page_view, system_view

REPEATED = (
    "It was made by an earlier call, and nothing was started anew; for new work use retry_task, or an idempotency_key "
    "of your own."
)
PROGRESS_STEP = 0.001  # a change of state moves progress by this much: it has to grow with every message


class Progress(Protocol):
    """Tells a caller how far its request is; None instead when the caller did not ask."""

    async def __call__(self, progress: float, total: float | None, message: str) -> None: ...


class Call(msgspec.Struct, frozen=True):
    """Who calls, and where progress goes."""

    desk: Desk
    make_spec: SpecMaker
    client: str
    progress: Progress | None = None


class Said(msgspec.Struct, frozen=True):
    """An answer: a sentence for people and the values for programs."""

    sentence: str
    view: dict[str, Any]


Handler: TypeAlias = Callable[[Call, Any], Awaitable[Said]]


class Tool(msgspec.Struct, frozen=True):
    """One tool.

    `reads`: changes nothing; `submits`: hands in work and changes none that is there; `destroys`: ends work;
    `repeats`: a second call adds nothing.
    """

    name: str
    title: str
    description: str
    arguments: Reader[Any]
    answer: type[msgspec.Struct]
    handle: Handler
    reads: bool = False
    destroys: bool = False
    repeats: bool = True
    submits: bool = False

    @property
    def needs(self) -> Rights:
        """What a caller must be allowed to."""
        if self.reads:
            return Rights.READ
        return Rights.SUBMIT if self.submits else Rights.ADMIN


# --- tasks ----------------------------------------------------------------------------------------------------------


async def _create_task(call: Call, asked: rq.CreateTask) -> Said:
    task, repeated = await hand_in(call, asked)
    if asked.wait_s and not task.spec.reply_to and not settled(task):
        task = await _watched(call, task.id, asked.wait_s)
    said = _task_said(task)
    return Said(f"{said.sentence} {REPEATED}", {**said.view, "repeated": True}) if repeated else said


async def hand_in(call: Call, asked: rq.CreateTask) -> tuple[Task, bool]:
    """Accept the task that is asked for; True when an earlier call has made it."""
    spec = call.make_spec(asked, call.client)
    return await call.desk.hand_in(spec, call.client, call.make_spec.intake.window_ms(call.client))


async def _get_task_status(call: Call, asked: rq.OneTask) -> Said:
    return _task_said(await call.desk.get(asked.task_id))


async def _wait_task(call: Call, asked: rq.WaitTask) -> Said:
    return _task_said(await _watched(call, asked.task_id, asked.wait_s))


async def _list_tasks(call: Call, asked: rq.ListTasks) -> Said:
    page = await call.desk.list(str(asked.state or ""), asked.limit, asked.cursor or "")
    more = "; there are more" if page.next else ""
    return Said(f"{len(page.tasks)} task(s){more}.", page_view(page))


async def _cancel_task(call: Call, asked: rq.OneTask) -> Said:
    return _task_said(await call.desk.cancel(asked.task_id, call.client))


async def _retry_task(call: Call, asked: rq.OneTask) -> Said:
    return _task_said(await call.desk.retry(asked.task_id, call.client))


async def _resolve_task(call: Call, asked: rq.ResolveTask) -> Said:
    return _task_said(await call.desk.resolve(asked.task_id, asked.decision, call.client))


async def _explain_task(call: Call, asked: rq.OneTask) -> Said:
    view = await call.desk.explain(asked.task_id)
    decision = view["decision"]
    if decision is None:
        return Said(f"Task {asked.task_id} has not been routed.", view)
    return Said(f"{decision['executor'] or 'Nobody'} does it: {decision['reason']}", view)


async def _task_events(call: Call, asked: rq.TaskEvents) -> Said:
    events = await call.desk.events(asked.task_id, asked.after)
    return Said(f"{len(events)} event(s).", {"task_id": asked.task_id, "events": events})


# --- the system -----------------------------------------------------------------------------------------------------


async def _system_status(call: Call, asked: rq.Nothing) -> Said:
    view = system_view(await call.desk.status())
    ready = sum(each["health"]["state"] == "ready" for each in view["executors"])
    return Said(f"Mode {view['mode']}; {ready} of {len(view['executors'])} executors ready.", view)


async def _list_executors(call: Call, asked: rq.Nothing) -> Said:
    report = await call.desk.status()
    executors = [executor_view(each) for each in report.executors]
    names = ", ".join(f"{each['name']} ({each['health']['state']})" for each in executors)
    return Said(f"Executors: {names or 'none'}.", {"executors": executors})


# --- saying and watching --------------------------------------------------------------------------------------------


def _task_said(task: Task) -> Said:
    return Said(" ".join((task_sentence(task), *_answered_elsewhere(task))), task_view(task))


def _answered_elsewhere(task: Task) -> list[str]:
    """Keeps a model from saying a second time what the conversation hears from us."""
    to = task.spec.reply_to
    if not to:
        return []
    if settled(task):
        return [f"Omni sends this to {to} itself: do not repeat it there."]
    return [f"How it ends goes to {to} by itself: you need not wait."]


def task_sentence(task: Task) -> str:
    """How a task stands, in a sentence."""
    where = f" on {task.route.executor}" if task.route else ""
    if task.held is not None:
        choices = f" Choices: {', '.join(task.held.options)}." if task.held.options else ""
        return f"Task {task.id} is held: {task.held.reason}.{choices}"
    if task.state is TaskState.WAITING:
        return f"Task {task.id} waits{where} for the cloud, and goes on by itself when the cloud is back."
    why = f": {task.error.message}" if task.error else ""
    return f"Task {task.id} is {task.state}{where}{why}."


async def _watched(call: Call, task_id: str, wait_s: float) -> Task:
    if call.progress is None:
        return await call.desk.wait(task_id, wait_s)
    await call.desk.get(task_id)  # an unknown id is an error at once
    watching = asyncio.create_task(_tell(call.desk.follow(task_id), call.progress))
    try:
        return await call.desk.wait(task_id, wait_s)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _tell(news: AsyncGenerator[News, None], progress: Progress) -> None:
    reached, state = 0.0, ""
    async with aclosing(news) as following:
        async for each in following:
            if isinstance(each, ProgressMade):
                reached = max(each.progress, reached + PROGRESS_STEP)
                await progress(reached, each.total, each.message)
            elif str(each.state) != state:
                state, reached = str(each.state), reached + PROGRESS_STEP
                await progress(reached, None, task_sentence(each))


_TASK = "The task: state, executor, attempts, result, error."

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "create_task",
            "Create a task",
            "Hand over work. Answers as soon as the task is stored durably, or after wait_s seconds with the state "
            "reached by then; the work goes on in any case. Send an idempotency_key, and asking again is safe. When "
            "somebody in a chat asked for it, give reply_to (the chat's channel and id, as telegram:42): the answer "
            "goes there by itself when the task ends, so say that it is under way, and do not wait or ask again.",
            Reader(rq.CreateTask),
            sh.CreatedShape,
            _create_task,
            repeats=False,
            submits=True,
        ),
        Tool(
            "get_task_status",
            "Look at a task",
            f"{_TASK} Answers at once.",
            Reader(rq.OneTask),
            sh.TaskShape,
            _get_task_status,
            reads=True,
        ),
        Tool(
            "wait_task",
            "Wait for a task",
            f"{_TASK} Answers at its end, or when wait_s is up; call again to go on waiting.",
            Reader(rq.WaitTask),
            sh.TaskShape,
            _wait_task,
            reads=True,
        ),
        Tool(
            "list_tasks",
            "List tasks",
            "A page of tasks, newest first.",
            Reader(rq.ListTasks),
            sh.TaskListShape,
            _list_tasks,
            reads=True,
        ),
        Tool(
            "cancel_task",
            "Cancel a task",
            "Stop a task. One that runs ends when its executor has answered.",
            Reader(rq.OneTask),
            sh.TaskShape,
            _cancel_task,
            destroys=True,
        ),
        Tool(
            "retry_task",
            "Try a task again",
            "A held task goes on; an ended one is created anew, and the new one is given.",
            Reader(rq.OneTask),
            sh.TaskShape,
            _retry_task,
            repeats=False,
        ),
        Tool(
            "resolve_task",
            "Decide about a held task",
            "For a task that waits for a person: retry, accept as done, or fail.",
            Reader(rq.ResolveTask),
            sh.TaskShape,
            _resolve_task,
            destroys=True,
            repeats=False,
        ),
        Tool(
            "explain_task",
            "Why this executor",
            "The routing decision: candidates, scores, and why the others were rejected.",
            Reader(rq.OneTask),
            sh.ExplanationShape,
            _explain_task,
            reads=True,
        ),
        Tool(
            "task_events",
            "A task's events",
            "What was recorded about a task, oldest first.",
            Reader(rq.TaskEvents),
            sh.EventListShape,
            _task_events,
            reads=True,
        ),
        Tool(
            "system_status",
            "The system",
            "Mode, executors with their health and queues, tasks by state.",
            Reader(rq.Nothing),
            sh.SystemShape,
            _system_status,
            reads=True,
        ),
        Tool(
            "list_executors",
            "List executors",
            "Who can do work, with health and tools.",
            Reader(rq.Nothing),
            sh.ExecutorListShape,
            _list_executors,
            reads=True,
        ),
    )
}

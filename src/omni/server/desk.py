"""The loop's side of the Gateway: a question goes out by post, its answer comes back to whoever waits for it.

Lives on the asyncio loop. Waiting is all that a caller owns: when it stops waiting, the task goes on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from omni.domain.commands import (
    CancelTask,
    ComponentReport,
    DispatchReport,
    Follow,
    ForceMode,
    Forget,
    GetStatus,
    GetTask,
    ListTasks,
    NoteMode,
    ProgressMade,
    Refusal,
    Reply,
    ResolveTask,
    RetryTask,
    Submit,
    SystemReport,
    TaskPage,
    Update,
)
from omni.domain.drill import Drill, Fault
from omni.domain.errors import NotFound
from omni.domain.task import Task
from omni.domain.values import Decision, TaskSpec, TaskState
from omni.domain.view import decision_view, event_view
from omni.eventlog.store import Recorded
from omni.runtime.ports import Clock, Ids
from omni.runtime.post import Post
from omni.server.refusals import TurnedDown, as_error, not_found

ANSWER_WITHIN_S = 30.0  # longer than a restart of the actors behind the post takes
FOLLOWER_BACKLOG = 1024
GATEWAY, DOOR = "gateway", "door"

Adopt: TypeAlias = Callable[[str, str], None]  # a task's id, and the trace that its client came with
TRACEPARENT: ContextVar[str] = ContextVar("traceparent", default="")  # of the call that is being answered

News: TypeAlias = Task | ProgressMade
EventViews: TypeAlias = list[dict[str, Any]]


class Archive(Protocol):
    """The log, read-only, for tasks that have left memory. Its methods block and run on a thread."""

    def task(self, task_id: str) -> Task | None: ...

    def events(self, task_id: str) -> list[Recorded]: ...


class Drills(Protocol):
    """Faults made on purpose; `omni.llm.faults.Faults` is one."""

    @property
    def report(self) -> ComponentReport | None: ...

    def inject(self, fault: Fault, seconds: float) -> Drill: ...

    def clear(self) -> None: ...


class Reloads(Protocol):
    """The configuration in force, and the way to another one; `omni.reloading.Reloader` is one."""

    async def reload(self, *, dry_run: bool = False) -> dict[str, Any]: ...

    async def view(self) -> dict[str, Any]: ...


class TimeUp(msgspec.Struct, frozen=True):
    """In place of an answer: the caller's time was up first."""


TIME_UP = TimeUp()


class Pending:
    """A question whose answer has not come; `future` holds the bare payload, a Refusal or TIME_UP."""

    __slots__ = ("future", "request", "task_id", "timer")

    def __init__(self, request: str, task_id: str, future: asyncio.Future[Any]) -> None:
        self.request = request
        self.task_id = task_id
        self.future = future
        self.timer: asyncio.TimerHandle | None = None


def settled(task: Task) -> bool:
    """Whether waiting longer can bring nothing without a person: ended or held."""
    return task.ended or task.state is TaskState.HELD


class Desk:
    """Asks the Gateway, for every dialect. All methods run on the loop; refusals are raised as Refused or NotFound."""

    adopt: Adopt | None = None  # where traces are wanted

    def __init__(self, post: Post, ids: Ids, clock: Clock, archive: Archive, drills: Drills | None = None) -> None:
        self._post = post
        self._drills = drills
        self.reloads: Reloads | None = None  # where there is a file to read again
        self._ids = ids
        self.clock = clock
        self._archive = archive
        self._open: dict[str, Pending] = {}
        self._followers: dict[str, asyncio.Queue[News]] = {}
        self._count = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: list[Any] = []
        self.dispatch = DispatchReport()  # whether attempts begin: the Router's last word

    # --- what comes by post ---------------------------------------------------------------------------------------

    def receive(self, message: Reply | Update | DispatchReport) -> None:
        """Hand an answer or news to whoever asked; nobody: it came too late."""
        if isinstance(message, DispatchReport):
            self.dispatch = message
        elif isinstance(message, Update):
            if queue := self._followers.get(message.request):
                _put(queue, message.payload)
        elif pending := self._open.pop(message.request, None):
            self._settle(pending, message.payload)

    async def calm(self, within_s: float) -> None:
        """Return once all who wait have their answer, or the time is up."""
        if waiting := [each.future for each in self._open.values()]:
            await asyncio.wait(waiting, timeout=within_s)

    # --- what callers ask -----------------------------------------------------------------------------------------

    async def submit(self, spec: TaskSpec, *, client: str, wait_s: float | None) -> Task:
        """Accept a task. `wait_s` None: as soon as it is durable; else when it has ended or is held, or time is up."""
        if not wait_s or spec.idempotency_key:  # a key may stand for another task: learn its id before waiting
            task: Task = await self.outcome(self.begin_submit(spec, client, 0))
            return await self.wait(task.id, wait_s) if wait_s and not settled(task) else task
        return await self.outcome(self.begin_submit(spec, client, wait_s))

    async def hand_in(self, spec: TaskSpec, client: str, repeat_within_ms: int) -> tuple[Task, bool]:
        """Accept a task as soon as it is durable; True when it is one that an earlier call has made."""
        pending = self.begin_submit(spec, client, 0, repeat_within_ms)
        task = await self.outcome(pending)
        return task, task.id != pending.task_id

    def begin_submit(self, spec: TaskSpec, client: str, wait_s: float, repeat_within_ms: int = 0) -> Pending:
        """Post the task and return at once; the quick path of the plain dialect."""
        request, task_id = self._request(), self._ids.task_id()
        if self.adopt is not None and (given := TRACEPARENT.get()):
            self.adopt(task_id, given)
        submit = Submit(request, task_id, spec, client, wait_s > 0, repeat_within_ms)
        return self._ask(submit, task_id, wait_s or ANSWER_WITHIN_S)

    async def outcome(self, pending: Pending) -> Task:
        """The answer to a submission or to waiting; at TIME_UP the task as it is by then."""
        payload = await self._payload(pending)
        if payload is not TIME_UP:
            return payload  # type: ignore[no-any-return]
        try:
            return await self.get(pending.task_id)
        except NotFound:
            message = f"task {pending.task_id} was handed over, but is not recorded yet"
            raise TurnedDown(
                "storage_unavailable", message, hint=f"omni task show {pending.task_id}, then omni status"
            ) from None

    async def get(self, task_id: str) -> Task:
        """The task as it is now, from memory or else from the log."""
        try:
            return await self._answer(GetTask(self._request(), task_id))  # type: ignore[no-any-return]
        except NotFound:
            return await self._archived(task_id)

    async def wait(self, task_id: str, wait_s: float) -> Task:
        """The task at its end (or when held), or as it is after `wait_s`."""
        if wait_s <= 0:
            return await self.get(task_id)
        try:
            return await self.outcome(self._ask(GetTask(self._request(), task_id, until_end=True), task_id, wait_s))
        except NotFound:
            return await self._archived(task_id)

    async def list(self, state: str = "", limit: int = 50, before: str = "") -> TaskPage:
        """A page of the tasks in memory, newest first."""
        return await self._answer(ListTasks(self._request(), state, limit, before))  # type: ignore[no-any-return]

    async def cancel(self, task_id: str, by: str) -> Task:
        """Stop a task; a running one ends when its executor has answered."""
        return await self._change(CancelTask(self._request(), task_id, by))

    async def resolve(self, task_id: str, decision: Decision, by: str) -> Task:
        """Decide about a held task."""
        return await self._change(ResolveTask(self._request(), task_id, decision, by))

    async def retry(self, task_id: str, by: str) -> Task:
        """Try again: a held task goes on, an ended one is submitted anew."""
        try:
            return await self._answer(  # type: ignore[no-any-return]
                RetryTask(self._request(), task_id, self._ids.task_id(), by)
            )
        except NotFound:
            old = await self._archived(task_id)
            spec = replace(old.spec, retry_of=old.id, idempotency_key=None)
            return await self.submit(spec, client=by, wait_s=None)

    async def status(self) -> SystemReport:
        """The system as it is now."""
        asked: SystemReport = await self._answer(GetStatus(self._request()))
        report = replace(asked, dispatch=self.dispatch)
        drill = self._drills.report if self._drills else None
        if drill is None:
            return report
        return replace(report, health=replace(report.health, components=(*report.health.components, drill)))

    def drill(self, fault: Fault | None, seconds: float) -> Drill | None:
        """Begin a fault on purpose, or end the one under way (None). Raises Refused while another is under way."""
        if self._drills is None:
            raise TurnedDown("unsupported", "this daemon can hold no drills", hint="omni version")
        if fault is None:
            self._drills.clear()
            return None
        if running := self._drills.report:
            text = f"a drill is under way: {running.name}; it ends by itself"
            raise TurnedDown("conflict", text, hint="omni drill none --live, to end it now")
        return self._drills.inject(fault, seconds)

    async def reload(self, *, dry_run: bool) -> dict[str, Any]:
        """Take up the configuration that stands on disk now, or say what that would change."""
        if self.reloads is None:
            raise TurnedDown("unsupported", "this daemon has no configuration to read again", hint="omni version")
        return await self.reloads.reload(dry_run=dry_run)

    async def force_mode(self, *, brainstem: bool, by: str) -> NoteMode:
        """Ask for BRAINSTEM, or give the decision back to what is observed; the mode that follows."""
        return await self._answer(ForceMode(self._request(), brainstem, by))  # type: ignore[no-any-return]

    async def explain(self, task_id: str) -> dict[str, Any]:
        """Why this executor, tier and mode: the newest routing decision, candidates and rejections with reasons."""
        task = await self.get(task_id)
        recorded = await asyncio.to_thread(self._archive.events, task.id)
        return decision_view(task, recorded)

    async def events(self, task_id: str, after: int = 0) -> EventViews:
        """The task's events after a log position, oldest first."""
        recorded = await asyncio.to_thread(self._archive.events, task_id)
        if not recorded:
            raise not_found(task_id)
        return [event_view(each) for each in recorded if each.position > after]

    async def follow(self, task_id: str = "") -> AsyncGenerator[News, None]:
        """Changes and progress of one task (of all when empty) from now on, until the caller stops.

        A caller that reads too slowly loses the oldest news first; the newest state always arrives.
        """
        request = self._request()
        queue: asyncio.Queue[News] = asyncio.Queue(FOLLOWER_BACKLOG)
        self._followers[request] = queue
        self._say(Follow(request, task_id))
        try:
            while True:
                yield await queue.get()
        finally:
            del self._followers[request]
            self._say(Forget(request))

    def abandon(self, pending: Pending) -> None:
        """Nobody waits for this any more; the task goes on."""
        if self._open.pop(pending.request, None):
            self._settle(pending, TIME_UP)
            self._say(Forget(pending.request))

    @property
    def open_questions(self) -> int:
        """How many callers wait for an answer."""
        return len(self._open)

    @property
    def followers(self) -> int:
        """How many follow tasks."""
        return len(self._followers)

    # --- within ---------------------------------------------------------------------------------------------------

    def _request(self) -> str:
        return f"d{next(self._count)}"

    def _ask(self, message: Any, task_id: str, within_s: float) -> Pending:
        loop = self._loop or self._find_loop()
        pending = Pending(message.request, task_id, loop.create_future())
        pending.timer = loop.call_later(within_s, self.abandon, pending)
        self._open[message.request] = pending
        self._say(message)
        return pending

    def _say(self, message: Any) -> None:
        """Post what one round of the loop has to say together: a larger turn makes fewer commits."""
        self._outbox.append(message)
        if len(self._outbox) == 1:
            (self._loop or self._find_loop()).call_soon(self._flush)

    def _flush(self) -> None:
        messages, self._outbox = self._outbox, []
        self._post.send(GATEWAY, DOOR, messages)

    def _find_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        return self._loop

    def _settle(self, pending: Pending, payload: Any) -> None:
        if pending.timer:
            pending.timer.cancel()
        if not pending.future.done():
            pending.future.set_result(payload)

    async def _payload(self, pending: Pending) -> Any:
        try:
            payload = await pending.future
        finally:
            self.abandon(pending)
        if isinstance(payload, Refusal):
            raise as_error(payload)
        return payload

    async def _answer(self, message: Any) -> Any:
        payload = await self._payload(self._ask(message, "", ANSWER_WITHIN_S))
        if payload is TIME_UP:
            raise TurnedDown("storage_unavailable", "the daemon took too long to answer", hint="omni status")
        return payload

    async def _change(self, message: CancelTask | ResolveTask) -> Task:
        try:
            return await self._answer(message)  # type: ignore[no-any-return]
        except NotFound:
            task = await self._archived(message.task_id)
            text = f"task {task.id} has already ended: {task.state}"
            raise TurnedDown("already_ended", text, hint=f"omni task retry {task.id}") from None

    async def _archived(self, task_id: str) -> Task:
        task = await asyncio.to_thread(self._archive.task, task_id)
        if task is None:
            raise not_found(task_id)
        return task


def _put(queue: asyncio.Queue[News], news: News) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(news)

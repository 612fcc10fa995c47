"""The Router's rules: what each message leads to, and who goes next.

Theory of operation. `decide` answers one message from the board as it is and changes nothing. `settle` is asked after
every message until it has nothing more to say: it alone starts attempts, from the state alone, so that a new task, a
freed slot, an executor that came back, a backoff that ran out and a restart all lead to dispatch by the same few
lines. `owed` lists what a restarted Router must say again; its receivers ignore what they have heard before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from omni.domain import attempt as attempts
from omni.domain import budget, calls, intent, news, orders, refusals, routing, starts, suspension
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.board import Board, known_health
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.task import Task
from omni.domain.values import (
    ExecutorHealth,
    Held,
    Millis,
    Mode,
    RoutingSettings,
    TaskError,
    TaskSpec,
    TaskState,
)

GATEWAY = "gateway"
ROUTER = "router"
TIMERS = "timers"
RELOAD = "reload"
LOOK_AGAIN_MS = 60_000
_DELAYED = ("delayed",)


def decide(board: Board, envelope: cmd.Envelope) -> Outcome:
    """Choose what one message leads to; the board stays as it is."""
    return _DECIDE[type(envelope.message)](board, envelope.message, envelope.at)


def settle(board: Board, at: Millis) -> Outcome:
    """Take the next step that follows from the state alone; nothing when all is settled."""
    if board.holds_back and (newcomers := suspension.newcomers(board)):
        return Outcome(newcomers)
    if board.places.get(_DELAYED) and (step := _settle_delayed(board, at)).events:
        return step  # these have waited longest: behind a queue that never empties they would wait for ever
    if board.ramp and (step := _bring_back(board, at)).events:
        return step
    waiting = board.waiting
    for executor in board.executors:  # in the order of the configuration, so that replay decides in the same order
        if executor not in waiting or not waiting[executor]:
            continue
        if _gone(board, executor):
            return _reroute(board, board.next_in_queue(executor))
        if _can_take(board, executor, at):
            return _plan(board, board.next_in_queue(executor), at)
    return NOTHING


def owed(board: Board, boot: str) -> list[Send]:
    """Say again what a Router that lost its memory may not have said: attempts, wishes to stop them, and timers.

    An attempt that another process planned is asked about and never started, for it may have run.
    """
    since = board.booted if board.boot == boot else None
    flights = [send for t in board.tasks.values() for send in _in_flight(t, since)]
    return flights + _owed_timers(board) + starts.owed(board)


def digest(spec: TaskSpec) -> str:
    """Identify a payload, so that an idempotency key cannot silently stand for two different tasks."""
    body = msgspec.json.encode(msgspec.structs.replace(spec, idempotency_key=None), order="sorted")
    return hashlib.sha256(body).hexdigest()


# --- requests -------------------------------------------------------------------------------------------------------


def _create(board: Board, message: cmd.CreateTask, at: Millis) -> Outcome:
    spec = message.spec
    if message.task_id in board.tasks:  # the same message twice: the first one's answer
        return _answer(message.request, message.task_id)
    if spec.executor and spec.executor not in board.executors:
        return _turn_down(message, message.client, refusals.unknown_executor(board, spec.executor))
    if spec.tier and board.settings.tiers and spec.tier not in {t.name for t in board.settings.tiers}:
        return _refuse(message.request, refusals.unknown_tier(board, spec.tier))
    fingerprint = digest(spec) if spec.idempotency_key or message.repeat_within_ms else ""
    known = board.tasks.get(board.keys.get(spec.idempotency_key or "", ""))
    if known is not None:
        if known.digest == fingerprint:
            return _answer(message.request, known.id)
        return _refuse(message.request, refusals.conflict(spec.idempotency_key or "", known.id))
    if (earlier := _repeated(board, message, fingerprint, at)) is not None:
        return _answer(message.request, earlier.id)
    stream = ev.TASK_PREFIX + message.task_id
    routing_events = _routing(spec, board.settings, board.health, board.mode)
    events = [ev.TaskCreated(spec, message.client, fingerprint), *routing_events]
    return Outcome([(stream, e) for e in events], [Send(GATEWAY, cmd.Answered(message.request, message.task_id))])


def _repeated(board: Board, message: cmd.CreateTask, fingerprint: str, at: Millis) -> Task | None:
    """The task that a client which repeats itself has asked for already, unless that was in vain."""
    if not message.repeat_within_ms or message.spec.own_key:
        return None
    earlier = board.newest_asked(message.client, fingerprint)
    if earlier is not None and _in_vain(earlier):
        earlier = board.newest_retry(earlier)
    if earlier is None or _in_vain(earlier):
        return None
    recent = abs(at - earlier.created_at) <= message.repeat_within_ms  # abs: clocks are set back, too
    return earlier if recent else None


def _in_vain(task: Task) -> bool:
    """Whether nothing comes of it any more. What is held may yet, and may have done its work: only a person knows."""
    if task.state is TaskState.COMPLETED:
        return False
    return task.ended or task.cancel_requested


def _cancel(board: Board, message: cmd.CancelTask, at: Millis) -> Outcome:
    task = board.tasks.get(message.task_id)
    if task is None:
        return _turn_down(message, message.by, refusals.not_found(message.task_id))
    answer = [Send(GATEWAY, cmd.Answered(message.request, task.id))]
    if task.ended or task.cancel_requested:
        return Outcome((), answer)
    attempt = task.open_attempt
    if attempt is None:
        return Outcome([(task.stream, ev.TaskCancelled(message.by))], answer)
    return Outcome([(task.stream, ev.CancelRequested(message.by))], [*answer, orders.stop(task, attempt)])


def _resolve(board: Board, message: cmd.ResolveTask, at: Millis) -> Outcome:
    task = board.tasks.get(message.task_id)
    if task is None:
        return _refuse(message.request, refusals.not_found(message.task_id))
    if task.held is None:
        return _refuse(message.request, refusals.not_held(task))
    if message.decision not in task.held.options:
        return _refuse(message.request, refusals.not_offered(task, message.decision))
    resolved: list[Any] = [ev.TaskResolved(message.decision, message.by)]
    resolved += _after_decision(board, task, message)
    return Outcome([(task.stream, e) for e in resolved], [Send(GATEWAY, cmd.Answered(message.request, task.id))])


def _after_decision(board: Board, task: Task, message: cmd.ResolveTask) -> list[Any]:
    if message.decision == "accept":
        return [ev.TaskCompleted(len(task.attempts), message.by)]
    if message.decision == "fail":
        return [ev.TaskFailed(TaskError("given_up", f"given up by {message.by or 'a person'}: {_reason(task)}"))]
    return _routing(task.spec, board.settings, board.health, board.mode)


def _retry(board: Board, message: cmd.RetryTask, at: Millis) -> Outcome:
    task = board.tasks.get(message.task_id)
    if task is None:
        return _refuse(message.request, refusals.not_found(message.task_id))
    if task.held is not None:
        return _resolve(board, cmd.ResolveTask(message.request, task.id, "retry", message.by), at)
    if not task.ended:
        return _answer(message.request, task.id)  # it is on its way already
    again = msgspec.structs.replace(task.spec, idempotency_key=None, retry_of=task.id)
    client = task.client if task.client == orders.BRAINSTEM else message.by  # a repair stays one: it may do no more
    return _create(board, cmd.CreateTask(message.request, message.new_id, again, client), at)


# --- reports --------------------------------------------------------------------------------------------------------


def _report(rule: Callable[..., list[ev.TaskEvent]], *, dated: bool = False) -> Callable[..., Outcome]:
    def decide_report(board: Board, message: Any, at: Millis) -> Outcome:
        task = board.tasks.get(message.task_id)
        if task is None:
            return NOTHING
        events = rule(task, message, at) if dated else rule(task, message)
        if task.capped is not None:
            events = budget.stopped(task, events)
        ramp = suspension.moved(board, task, events, at) if board.ramp else NOTHING
        stream = task.stream
        facts: list[tuple[str, Any]] = [(stream, e) for e in events]
        return Outcome([*facts, *ramp.events], [*_timers(board, task, events), *ramp.sends])

    return decide_report


def _timers(board: Board, task: Task, events: list[ev.TaskEvent]) -> list[Send]:
    due = [e.retry_at for e in events if isinstance(e, ev.AttemptFailed | ev.AttemptInterrupted)]
    timers = [Send(TIMERS, cmd.WakeAt(ROUTER, at, task.id)) for at in due if at is not None]
    if task.capped is None:
        return timers
    held = (e.capped for e in events if isinstance(e, ev.TaskHeld) and e.capped)
    return timers + budget.wakes(board.settings.budget, held)


# --- the world ------------------------------------------------------------------------------------------------------


def _boot(board: Board, message: cmd.Boot, at: Millis) -> Outcome:
    start = starts.begun(board, message, at)
    events: list[tuple[str, Any]] = list(start.events)
    if message.settings != board.settings:
        events.append((ev.ROUTER_STREAM, ev.RoutingConfigured(message.settings)))
    events += calls.left_behind(board) + _taken_up(board, message.settings, {}, at)
    flights = [send for t in board.tasks.values() for send in _in_flight(t, None)]
    timers = _owed_timers(board)
    known = Send(GATEWAY, cmd.TasksChanged(tuple(board.tasks.values())))
    return Outcome(events, [known, *start.sends, *news.owed(board.tasks.values()), *flights, *timers])


def _reconfigure(board: Board, message: cmd.Reconfigure, at: Millis) -> Outcome:
    """Take other settings within a boot: what runs goes on, and all others go by the new ones from here on."""
    settings, anew = message.settings, message.anew
    answer = Send(RELOAD, cmd.Reply(message.request, None))
    if settings == board.settings and not anew:
        return Outcome((), [answer])
    health = known_health(board.health, settings, anew)
    events: list[tuple[str, Any]] = [(ev.ROUTER_STREAM, ev.RoutingConfigured(settings, anew))]
    events += _taken_up(board, settings, health, at)
    spend = msgspec.structs.replace(budget.spend(board), budget=settings.budget)
    told = [Send(GATEWAY, cmd.Boot(board.boot, settings)), Send(GATEWAY, spend)]
    return Outcome(events, [*told, answer])


def _taken_up(
    board: Board, settings: RoutingSettings, health: Mapping[str, ExecutorHealth], at: Millis
) -> list[tuple[str, Any]]:
    """What other settings mean for those who wait: for an executor, behind one that is gone, or for money."""
    moved = _release(board, settings, health) + _move_on(board, settings, health)
    return moved + _let_on(board, budget.released(board, settings, at), settings, health)


def _note(board: Board, message: cmd.NoteExecutor, at: Millis) -> Outcome:
    if board.health.get(message.executor, ExecutorHealth()) == message.health:
        return NOTHING
    events: list[tuple[str, Any]] = [(ev.ROUTER_STREAM, ev.ExecutorNoted(message.executor, message.health))]
    if message.health.state == "ready":
        events += _release(board, board.settings, {**board.health, message.executor: message.health})
    return Outcome(events)


def _release(board: Board, settings: RoutingSettings, health: Mapping[str, ExecutorHealth]) -> list[tuple[str, Any]]:
    """Route the stranded again, where somebody can take them now."""
    released = []
    for task_id in board.at("stranded"):
        task = board.tasks[task_id]
        choice = choose(task.spec, settings, health, board.mode)
        if choice.route is not None:
            released.append((task.stream, _routed(choice)))
    return released


def _move_on(board: Board, settings: RoutingSettings, health: Mapping[str, ExecutorHealth]) -> list[tuple[str, Any]]:
    """Route again whoever waits for an executor that the configuration no longer names."""
    names = {e.name for e in settings.executors}
    queued = [i for name in board.waiting if name not in names for i in board.queued(name)]
    delayed = [i for i in board.at("delayed") if (r := board.tasks[i].route) is not None and r.executor not in names]
    left = suspension.in_line(board, (*queued, *delayed))
    return [(task.stream, e) for task in left for e in _elsewhere(task, settings, health, board.mode)]


def _ring(board: Board, message: cmd.TimerFired, at: Millis) -> Outcome:
    """Leave dispatch to `settle`, and look again while the task waits: the clock may be set back before it can go."""
    if message.key == budget.NEXT_DAY:
        return _next_day(board, at)
    if message.key == suspension.RAMP_TIMER:
        return suspension.rung(board, at)
    if message.key == starts.TIMER:
        return starts.rung(board, at)
    task = board.tasks.get(message.key)
    if task is None or task.retry_at is None:
        return NOTHING
    return Outcome((), [Send(TIMERS, cmd.WakeAt(ROUTER, max(task.retry_at, at + LOOK_AGAIN_MS), task.id))])


def _next_day(board: Board, at: Millis) -> Outcome:
    """Let those go on who waited for a day with money left; the others wait for the next one."""
    tasks = budget.released(board, board.settings, at)
    events = _let_on(board, tasks, board.settings, board.health)
    left = len(board.at("capped")) > len(tasks)
    return Outcome(events, [budget.midnight(board.settings.budget, at)] if left else ())


def _settle_call(board: Board, message: cmd.SettleCall, at: Millis) -> Outcome:
    """Book a call; where it left room, a task that waits for some goes on."""
    settled = calls.settle(board, message)
    if settled is None:
        return NOTHING
    booked: list[tuple[str, Any]] = [(calls.stream_of(board, board.ledger.open[settled.call]), settled)]
    freed = budget.freed(board, settled, at)
    return Outcome(booked + _let_on(board, freed, board.settings, board.health))


def _let_on(
    board: Board, tasks: list[Task], settings: RoutingSettings, health: Mapping[str, ExecutorHealth]
) -> list[tuple[str, Any]]:
    return [(task.stream, e) for task in tasks for e in _routing(task.spec, settings, health, board.mode)]


def _tell_again(board: Board, message: cmd.ActorRestarted, at: Millis) -> Outcome:
    if message.actor != GATEWAY:
        return NOTHING
    known = cmd.TasksChanged(tuple(board.tasks.values()))
    again = [cmd.Boot(board.boot, board.settings), known, budget.spend(board)]
    return Outcome((), [Send(GATEWAY, each) for each in again])


# --- who goes next --------------------------------------------------------------------------------------------------


def _settle_delayed(board: Board, at: Millis) -> Outcome:
    """Send those whose backoff has run out."""
    for task_id in board.at("delayed"):
        task = board.tasks[task_id]
        if (task.retry_at or 0) > at or task.route is None:
            continue
        executor = task.route.executor
        if attempts.uncertain(task) and attempts.too_old(task, at):
            return _ask(task, "it waited so long for its next attempt that the world has moved on")
        if _gone(board, executor) and not _comes_back_for(board, task):
            return _reroute(board, task)
        if _can_take(board, executor, at):
            return _plan(board, task, at)
    return NOTHING


def _bring_back(board: Board, at: Millis) -> Outcome:
    """Restore whose turn it is, and all who wait when the ramp is over."""
    if suspension.is_through(board):
        return suspension.all_back(board)
    if not suspension.may_restore(board, at):
        return NOTHING
    task = suspension.next_back(board, lambda task: _can_move(board, task, at))
    if task is not None:
        step = _go_on(board, task, at)
        return Outcome([(task.stream, ev.TaskRestored()), *step.events], step.sends)
    return suspension.all_back(board) if board.ramp > board.cloud_slots else NOTHING


def _can_move(board: Board, task: Task, at: Millis) -> bool:
    executor = task.route.executor if task.route else ""
    return _gone(board, executor) or _can_take(board, executor, at)


def _go_on(board: Board, task: Task, at: Millis) -> Outcome:
    if task.route is None or _gone(board, task.route.executor):
        return _reroute(board, task)
    return _plan(board, task, at)


def _plan(board: Board, task: Task, at: Millis) -> Outcome:
    assert task.route is not None
    if (over := budget.at_dispatch(board, task, at)) is not None:
        return _over_budget(board, task, over, at)
    executor = board.executors[task.route.executor]
    n = len(task.attempts) + 1
    earlier = task.last if task.resume else None
    planned = ev.AttemptPlanned(
        n,
        task.route if task.route.mode == board.mode else msgspec.structs.replace(task.route, mode=board.mode),
        task.last.key if task.last and attempts.uncertain(task) else attempts.key(task.id, n),
        earlier.handle if earlier else attempts.handle(task.id, n),
        executor.on_crash,
        int(task.spec.timeout_s * 1000) if task.spec.timeout_s else executor.timeout_ms,
        executor.idle_timeout_ms,
        (earlier.session if earlier else "") or task.spec.session or "",
        task.resume,
    )
    return Outcome([(task.stream, planned)], [orders.start(task, planned)])


def _over_budget(board: Board, task: Task, over: ev.TaskHeld | ev.TaskRouted, at: Millis) -> Outcome:
    """Hold a task that there is no money for, or plan it on the tier that costs none."""
    if isinstance(over, ev.TaskHeld):
        return Outcome([(task.stream, over)], budget.wakes(board.settings.budget, [over.capped] if over.capped else []))
    step = _plan(board, msgspec.structs.replace(task, route=over.route), at)
    return Outcome([(task.stream, over), *step.events], step.sends)


def _comes_back_for(board: Board, task: Task) -> bool:
    """Whether to wait for an executor that is down: what it may have done already, only it can resume or repeat."""
    spec = board.executors.get(task.route.executor) if task.route else None
    return attempts.uncertain(task) and spec is not None and not spec.unavailable


def _reroute(board: Board, task: Task) -> Outcome:
    return Outcome([(task.stream, e) for e in _elsewhere(task, board.settings, board.health, board.mode)])


def _elsewhere(
    task: Task, settings: RoutingSettings, health: Mapping[str, ExecutorHealth], mode: Mode
) -> list[ev.TaskEvent]:
    """Route a task whose executor is gone, unless it may have done the work: another one would do it twice."""
    if attempts.uncertain(task) and task.last is not None:
        return [ev.TaskHeld(attempts.question(task.last, "only it could go on, and it is no longer there"))]
    return _routing(task.spec, settings, health, mode)


def _ask(task: Task, evidence: str) -> Outcome:
    assert task.last is not None
    return Outcome([(task.stream, ev.TaskHeld(attempts.question(task.last, evidence)))])


def _routing(
    spec: TaskSpec, settings: RoutingSettings, health: Mapping[str, ExecutorHealth], mode: Mode
) -> list[ev.TaskEvent]:
    choice = choose(spec, settings, health, mode)
    if choice.route is not None:
        return [_routed(choice)]
    return [_routed(choice), ev.TaskHeld(Held("no_executor", choice.reason, ("retry", "fail")))]


def choose(
    spec: TaskSpec, settings: RoutingSettings, health: Mapping[str, ExecutorHealth], mode: Mode
) -> routing.Choice:
    """Without the cloud whoever can do without it, and if nobody can, whoever will take it when the cloud is back."""
    described = _intent(spec)
    choice = routing.choose(spec, described, settings, health, mode)
    if choice.route is None and mode == "BRAINSTEM":
        return routing.choose(spec, described, settings, health)
    return choice


def _routed(choice: routing.Choice) -> ev.TaskRouted:
    return ev.TaskRouted(choice.kind, choice.complexity, choice.route, choice.reason, choice.candidates, choice.signals)


def _intent(spec: TaskSpec) -> intent.Intent:
    return intent.classify(spec.description)


def _can_take(board: Board, executor: str, at: Millis) -> bool:
    """Whether an executor may be given an attempt now."""
    if board.pause or board.stopping or not _ready(board, executor) or board.free_slots(executor) <= 0:
        return False
    return suspension.may_plan(board, at) or not board.needs_cloud(executor)


def _owed_timers(board: Board) -> list[Send]:
    ramp = [suspension.wake()] if board.ramp else []
    return [Send(TIMERS, _wake(board.tasks[i])) for i in board.at("delayed")] + ramp + budget.owed(board)


def _ready(board: Board, executor: str) -> bool:
    health = board.health.get(executor)
    return health is not None and health.state == "ready"


def _gone(board: Board, executor: str) -> bool:
    spec = board.executors.get(executor)
    return spec is None or bool(routing.unusable(spec, board.health.get(executor)))


def _in_flight(task: Task, since: int | None) -> list[Send]:
    """Start or ask about a task's open attempt; `since` is where this process's own plans begin in the log."""
    attempt = task.open_attempt
    if attempt is None:
        return []
    ours = since is not None and attempt.position > since
    first = orders.start(task, attempt) if ours else orders.reconcile(task, attempt)
    return [first, orders.stop(task, attempt)] if task.cancel_requested or task.capped is not None else [first]


def _wake(task: Task) -> cmd.WakeAt:
    return cmd.WakeAt(ROUTER, task.retry_at or 0, task.id)


# --- refusals -------------------------------------------------------------------------------------------------------


def _answer(request: str, task_id: str) -> Outcome:
    return Outcome((), [Send(GATEWAY, cmd.Answered(request, task_id))])


def _refuse(request: str, refusal: cmd.Refusal) -> Outcome:
    return Outcome((), [Send(GATEWAY, cmd.Answered(request, "", refusal))])


def _turn_down(message: cmd.CreateTask | cmd.CancelTask, client: str, refusal: cmd.Refusal) -> Outcome:
    """Refuse; Brainstem, which waits for each of its repairs to end, is told that there is none."""
    answer = _refuse(message.request, refusal)
    return Outcome((), [*answer.sends, *news.of_refusal(message.task_id, client, refusal)])


def _reason(task: Task) -> str:
    return task.held.reason if task.held else ""


_DECIDE: dict[type[Any], Callable[..., Outcome]] = {
    cmd.CreateTask: _create,
    cmd.CancelTask: _cancel,
    cmd.ResolveTask: _resolve,
    cmd.RetryTask: _retry,
    cmd.ReserveCall: calls.reserve,
    cmd.SettleCall: _settle_call,
    cmd.ReportStarted: _report(attempts.started),
    cmd.ReportSucceeded: _report(attempts.succeeded),
    cmd.ReportFailed: _report(attempts.failed, dated=True),
    cmd.ReportInterrupted: _report(attempts.interrupted, dated=True),
    cmd.ReportCancelled: _report(attempts.cancelled),
    cmd.Boot: _boot,
    cmd.Reconfigure: _reconfigure,
    cmd.NoteExecutor: _note,
    cmd.NoteMode: suspension.noted,
    cmd.ResumeDispatch: starts.resumed,
    cmd.DaemonDown: starts.stopping,
    cmd.ActorRestarted: _tell_again,
    cmd.TimerFired: _ring,
}

TAKES: tuple[type[Any], ...] = tuple(_DECIDE)  # every message that the Router decides about

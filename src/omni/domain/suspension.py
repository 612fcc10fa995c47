"""What the Router does when the cloud goes, and when it comes back.

Theory of operation. The mode comes from HealthMonitor and is written down before anything follows from it.

    BRAINSTEM   running tasks that need the cloud are suspended where they stand, and their executors asked to pause;
                what stands in a queue is suspended by the next `settle`, and so is every newcomer. Nothing is planned
                for an executor that needs the cloud, and nothing fails: an outcome that still arrives counts, and an
                attempt that breaks is an interrupted one.
    ramp        the cloud is back: attempts that still run go on, backoffs run out as ever, the others come back in
                their old order. One works at first, twice as many after each success, and after each while in which
                none of them failed. A failure sets the ramp back to one, after a pause. What comes in meanwhile joins
                the end of the line. Wider than all slots it bounds nothing, and all who still wait come back.
    otherwise   nobody waits.

Before the first round of probes of a boot, nothing that needs the cloud is planned either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import orders
from omni.domain.board import TOP, Board
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.task import Task
from omni.domain.values import Millis

ROUTER = "router"
TIMERS = "timers"
RAMP_PAUSE_MS = 30_000
RAMP_TIMER = "ramp"
REASON = "the cloud is offline"

_Events = list[tuple[str, ev.TaskEvent | ev.RouterEvent]]


def noted(board: Board, message: cmd.NoteMode, at: Millis) -> Outcome:
    """Take note of the mode; suspend or bring back what runs. A word before the first probes is none yet."""
    if not message.cleared or (board.cleared and board.mode == message.mode):
        return NOTHING
    note: _Events = [(ev.ROUTER_STREAM, ev.ModeNoted(message.mode, message.cleared, message.reason))]
    if message.mode == "BRAINSTEM":
        running = in_line(board, (i for name in board.spots("running") for i in board.at("running", name)))
        cut_off = [task for task in running if board.needs_cloud(task.attempts[-1].route.executor)]
        suspended: _Events = [(task.stream, ev.TaskSuspended(message.reason or REASON)) for task in cut_off]
        return Outcome([*note, *suspended], [orders.pause(task, task.attempts[-1]) for task in cut_off])
    back = _back(board) if board.mode == "BRAINSTEM" else NOTHING
    return Outcome([*note, *back.events], back.sends)


def newcomers(board: Board) -> list[tuple[str, ev.TaskSuspended]]:
    """Suspend whoever stands in a queue, or in a backoff without the cloud, for an executor that needs it."""
    queued = [i for name in board.waiting if board.needs_cloud(name) for i in board.queued(name)]
    delayed = _delayed(board) if board.mode == "BRAINSTEM" else ()
    return [(task.stream, ev.TaskSuspended(REASON)) for task in in_line(board, (*queued, *delayed))]


def next_back(board: Board, can_move: Callable[[Task], bool]) -> Task | None:
    """The suspended task whose turn it is: highest priority, then longest in line, among those that can move."""
    first = (board.tasks[next(board.waiting_for(name))] for name in board.spots("waiting"))
    movable = [task for task in first if can_move(task)]
    return min(movable, key=lambda task: (TOP - task.spec.priority, task.queued), default=None)


def may_restore(board: Board, at: Millis) -> bool:
    """Whether the cloud is known to be there, and no failure has just paused the ramp."""
    there = board.mode != "BRAINSTEM" and (board.cleared or not board.settings.watched)
    return there and not 0 < board.ramp_until - at <= RAMP_PAUSE_MS


def may_plan(board: Board, at: Millis) -> bool:
    """Whether one more attempt may be made that needs the cloud."""
    return may_restore(board, at) and (not board.ramp or len(board.ramped) < board.ramp)


def is_through(board: Board) -> bool:
    """Whether nobody waits any more, nor may come back from a backoff."""
    return not board.spots("waiting") and not any(_delayed(board))


def all_back(board: Board) -> Outcome:
    """End the ramp: whoever still waits goes back to the queue."""
    return Outcome([*_restored(_waiting(board)), (ev.ROUTER_STREAM, ev.RampMoved(0))])


def moved(board: Board, task: Task, events: list[ev.TaskEvent], at: Millis) -> Outcome:
    """Widen the ramp after a success of a restored task; narrow it and pause after a failure."""
    if task.id not in board.ramped:
        return NOTHING
    kinds = {type(event) for event in events}
    if ev.AttemptSucceeded in kinds:
        return Outcome(_widened(board))
    if kinds & {ev.AttemptFailed, ev.AttemptInterrupted}:
        return Outcome([(ev.ROUTER_STREAM, ev.RampMoved(1, at + RAMP_PAUSE_MS))], [wake()])
    return NOTHING


def rung(board: Board, at: Millis) -> Outcome:
    """Look at the ramp again: once a pause is over, and widen it where work has gone on for a while and none failed."""
    if not board.ramp:
        return NOTHING
    left = board.ramp_until - at
    if 0 < left <= RAMP_PAUSE_MS:
        return Outcome((), [wake(left)])
    return Outcome(_widened(board) if board.ramped else (), [wake()])


def wake(delay_ms: int = RAMP_PAUSE_MS) -> Send:
    """Look at the ramp again, by a clock that nobody sets."""
    return Send(TIMERS, cmd.WakeIn(ROUTER, delay_ms, RAMP_TIMER))


def _widened(board: Board) -> _Events:
    """Twice as many, unless there are not even as many slots."""
    if board.ramp > board.cloud_slots:
        return []
    return [(ev.ROUTER_STREAM, ev.RampMoved(board.ramp * 2, board.ramp_until or None))]


def _back(board: Board) -> Outcome:
    """Let go on what still runs, and backoffs run out; begin the ramp."""
    running = [board.tasks[i] for name in board.spots("suspended") for i in board.at("suspended", name)]
    waiting = _waiting(board)
    delayed = [task for task in waiting if task.retry_at is not None]
    ramp: _Events = [(ev.ROUTER_STREAM, ev.RampMoved(1))] if waiting else []
    timers = [Send(TIMERS, cmd.WakeAt(ROUTER, task.retry_at or 0, task.id)) for task in delayed]
    return Outcome([*_restored([*running, *delayed]), *ramp], [*timers, *([wake()] if waiting else ())])


def _delayed(board: Board) -> Iterator[str]:
    routes = ((i, board.tasks[i].route) for i in board.at("delayed"))
    return (i for i, route in routes if route is not None and board.needs_cloud(route.executor))


def _waiting(board: Board) -> list[Task]:
    return [board.tasks[i] for name in board.spots("waiting") for i in board.waiting_for(name)]


def _restored(tasks: list[Task]) -> _Events:
    return [(task.stream, ev.TaskRestored()) for task in sorted(tasks, key=_queued)]


def in_line(board: Board, ids: Iterable[str]) -> list[Task]:
    """The tasks in the order in which they joined: it follows from the log alone, and the order of places does not."""
    return sorted((board.tasks[i] for i in ids), key=_queued)


def _queued(task: Task) -> int:
    return task.queued

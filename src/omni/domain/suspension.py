"""What the Router does when the cloud goes, and when it comes back.

Theory of operation. The mode comes from HealthMonitor and is written down before anything follows from it.

    BRAINSTEM   running tasks that need the cloud are suspended where they stand, and their executors asked to pause;
                what stands in a queue is suspended by the next `settle`, and so is every newcomer. Nothing is planned
                for an executor that needs the cloud, and nothing fails: an outcome that still arrives counts, and an
                attempt that breaks is an interrupted one.
    ramp        the cloud is back: attempts that still run go on; the others come back in their old order, one at
                first, twice as many after each success. A failure sets the ramp back to one, after a pause.
                What comes in meanwhile joins the end of the line.
    otherwise   nobody waits.

Before the first round of probes of a boot, nothing that needs the cloud is planned either.
"""

from __future__ import annotations

from collections.abc import Callable

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.board import TOP, Board
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.task import Task
from omni.domain.values import Millis

POOL = "pool"
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
        running = [board.tasks[i] for name in board.spots("running") for i in board.at("running", name)]
        cut_off = [task for task in running if board.needs_cloud(task.attempts[-1].route.executor)]
        suspended: _Events = [(task.stream, ev.TaskSuspended(message.reason or REASON)) for task in cut_off]
        return Outcome([*note, *suspended], [_pause(task) for task in cut_off])
    return Outcome([*note, *(_back(board) if board.mode == "BRAINSTEM" else ())])


def newcomers(board: Board) -> list[tuple[str, ev.TaskSuspended]]:
    """Suspend whoever stands in a queue, or in a backoff, for an executor that needs the cloud."""
    queued = [i for name in board.waiting if board.needs_cloud(name) for i in board.queued(name)]
    delayed = [i for i in board.at("delayed") if (r := board.tasks[i].route) and board.needs_cloud(r.executor)]
    inline = sorted((board.tasks[i] for i in (*queued, *delayed)), key=lambda task: task.queued)
    return [(task.stream, ev.TaskSuspended(REASON)) for task in inline]


def next_back(board: Board, at: Millis, can_move: Callable[[Task], bool]) -> Task | None:
    """The suspended task whose turn it is: highest priority, then longest in line, among those that can move."""
    if not may_plan(board) or 0 < board.ramp_until - at <= RAMP_PAUSE_MS:
        return None
    first = (board.tasks[next(board.waiting_for(name))] for name in board.spots("waiting"))
    movable = [task for task in first if can_move(task)]
    return min(movable, key=lambda task: (TOP - task.spec.priority, task.queued), default=None)


def may_plan(board: Board) -> bool:
    """Whether the cloud is known to be there."""
    return board.mode != "BRAINSTEM" and (board.cleared or not board.settings.watched)


def moved(board: Board, task: Task, events: list[ev.TaskEvent], at: Millis) -> Outcome:
    """Widen the ramp after a success of a restored task; narrow it and pause after a failure."""
    if task.id not in board.ramped:
        return NOTHING
    kinds = {type(event) for event in events}
    if ev.AttemptSucceeded in kinds:
        return Outcome([(ev.ROUTER_STREAM, ev.RampMoved(board.ramp * 2, board.ramp_until or None))])
    if kinds & {ev.AttemptFailed, ev.AttemptInterrupted}:
        until = at + RAMP_PAUSE_MS
        return Outcome([(ev.ROUTER_STREAM, ev.RampMoved(1, until))], [wake(until)])
    return NOTHING


def wake(until: Millis) -> Send:
    """Look at the ramp again when its pause is over."""
    return Send(TIMERS, cmd.WakeAt(ROUTER, until, RAMP_TIMER))


def _back(board: Board) -> _Events:
    """Let go on what still runs, and begin the ramp for the others."""
    running = [board.tasks[i] for name in board.spots("suspended") for i in board.at("suspended", name)]
    restored: _Events = [(task.stream, ev.TaskRestored()) for task in running]
    ramp: _Events = [(ev.ROUTER_STREAM, ev.RampMoved(1))] if board.spots("waiting") else []
    return restored + ramp


def _pause(task: Task) -> Send:
    attempt = task.attempts[-1]
    return Send(POOL, cmd.PauseAttempt(task.id, attempt.n, attempt.route.executor))

"""Whether attempts may begin: not in a crash loop, and not while the daemon is being stopped.

Theory of operation. Each start is counted by the Router until a stop in good order takes the count back. What is
paused is dispatch alone: requests are answered, tasks are stored, routed and called off, outcomes count, and attempts
that were open are asked about.

    open ──more than `most` starts within `within_ms`──▶ paused ──a person's word, or `within_ms` of life──▶ open
    open, paused ──asked to stop──▶ stopping ──the next start: the count begins anew──▶ open

A start by which the loop goes on leaves it paused; the pause is the same one, and its end moves on (ADR-0054).
"""

from __future__ import annotations

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.orders import POOL
from omni.domain.values import Millis, StartGuard

ROUTER, TIMERS, DOOR, BRAINSTEM = "router", "timers", "door", "brainstem"
TIMER = "starts"
COUNTED = 101  # one more than can be allowed; more than these tell nothing
MINUTE_MS = 60_000


def begun(board: Board, message: cmd.Boot, at: Millis) -> Outcome:
    """Count this start; pause where there were too many."""
    starts = _counted(board.starts, message.guard, at)
    started = ev.RouterStarted(message.boot, starts)
    if len(starts) <= message.guard.most:
        return Outcome([(ev.ROUTER_STREAM, started)])  # the door takes it as open while nobody says otherwise
    since = board.pause.since_ms if board.pause else at
    pause = ev.DispatchPaused(len(starts), since, at + message.guard.within_ms)
    facts = {"starts": str(len(starts)), "minutes": str(message.guard.within_ms // MINUTE_MS)}
    told = Send(BRAINSTEM, cmd.Tell("crash_loop", facts, f"crash_loop:{since}"))
    paused = [(ev.ROUTER_STREAM, event) for event in (started, pause)]
    return Outcome(paused, [Send(DOOR, _paused(pause)), told, _wake(message.guard.within_ms)])


def stopping(board: Board, message: cmd.DaemonDown, at: Millis) -> Outcome:
    """Begin nothing more: somebody asked the daemon to stop."""
    if board.stopping:
        return NOTHING
    told = [Send(DOOR, cmd.DispatchReport("stopping")), Send(POOL, message)]
    return Outcome([(ev.ROUTER_STREAM, ev.RouterStopped())], told)


def resumed(board: Board, message: cmd.ResumeDispatch, at: Millis) -> Outcome:
    """Go on by a person's word. The starts still count: should it end again at once, it is paused again at once."""
    return _resume(message.by) if board.pause and not board.stopping else NOTHING


def rung(board: Board, at: Millis) -> Outcome:
    """Go on where it has lived long enough; a time that is further away than any pause lasts: the clock was set."""
    if board.pause is None or board.stopping:
        return NOTHING
    left, whole = board.pause.until_ms - at, board.pause.until_ms - board.starts[-1]
    return Outcome((), [_wake(left)]) if 0 < left <= whole else _resume("")


def owed(board: Board) -> list[Send]:
    """What the door shows, what a stop waits for, and what ends the pause, for a Router that lost its memory."""
    stop = [Send(POOL, cmd.DaemonDown(""))] if board.stopping else []
    return [Send(DOOR, report(board)), *stop, *([_wake(0)] if board.pause else ())]


def report(board: Board) -> cmd.DispatchReport:
    """Whether attempts begin, for those who look."""
    if board.stopping:
        return cmd.DispatchReport("stopping")
    return _paused(board.pause) if board.pause else cmd.DispatchReport()


def _counted(starts: tuple[Millis, ...], guard: StartGuard, at: Millis) -> tuple[Millis, ...]:
    if not guard.most:
        return ()
    recent = (each for each in starts if abs(at - each) < guard.within_ms)  # abs: clocks are set back, too
    return (*recent, at)[-COUNTED:]


def _resume(by: str) -> Outcome:
    return Outcome([(ev.ROUTER_STREAM, ev.DispatchResumed(by))], [Send(DOOR, cmd.DispatchReport())])


def _paused(pause: ev.DispatchPaused) -> cmd.DispatchReport:
    return cmd.DispatchReport("paused", pause.since_ms, pause.until_ms, pause.starts)


def _wake(left_ms: Millis) -> Send:
    """Look again, by a clock that nobody sets, and often: a machine that sleeps stops that one."""
    return Send(TIMERS, cmd.WakeIn(ROUTER, min(left_ms, MINUTE_MS), TIMER))

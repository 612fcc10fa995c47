"""What follows from the mode besides dispatch: the user is told, the local model is woken, the proxy repaired.

Theory of operation. The state is the fold of the stream `system`. The mode comes from HealthMonitor and counts once it
is `cleared`; the same word twice is no news. Everything that was sent and may be lost with the process is owed again
at the next start, and whoever receives it twice knows it by its key or id.

    mode      NORMAL ◀─▶ DEGRADED ◀─▶ BRAINSTEM ◀─▶ NORMAL
    outbox    every notice is owed to every sink: `omni.domain.outbox`
    repair    in DEGRADED only, one at a time: started ──reported──▶ ended ──60 s, 120 s … 10 min──▶ started
              none while a drill is held, nor for a minute after it
              its word is evidence, never health;  the last one ended ──▶ given up;  NORMAL begins a new count
    local     BRAINSTEM: asked ──▶ checked, or failed ──60 s──▶ asked again
              after it:  asleep is confirmed ──▶ unloaded, or failed ──30 s──▶ once more, at most 20 times
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from omni.domain import commands as cmd
from omni.domain import draft as drafts
from omni.domain import events as ev
from omni.domain import outbox, repairs
from omni.domain.draft import Draft, brief
from omni.domain.drill import LONGEST_S
from omni.domain.effects import Outcome, Send
from omni.domain.system import NOT_WANTED, SystemState, evolve
from omni.domain.values import Millis, Mode

NAME = drafts.NAME
ROUTER = "router"
TIMERS = drafts.TIMERS
LOCAL = "local"
RELOAD = "reload"

REPAIR_TIMER, LOCAL_TIMER = "repair", "local"

RECHECK_MS = 20_000  # longer than the first round of probes: by then the mode is confirmed, or another
AFTER_DRILL_MS = 60_000  # by then a proxy that is well has been found to be well
WAKE_AGAIN_MS = 60_000
SLEEP_AGAIN_MS = 30_000
SLEEP_TRIES = 20

# What is told at which edge. A way out of BRAINSTEM that ends in DEGRADED is two pieces of news.
_TOLD: dict[tuple[Mode, Mode], tuple[str, ...]] = {
    ("NORMAL", "DEGRADED"): ("degraded",),
    ("NORMAL", "BRAINSTEM"): ("cloud_offline",),
    ("DEGRADED", "BRAINSTEM"): ("cloud_offline",),
    ("DEGRADED", "NORMAL"): ("recovered",),
    ("BRAINSTEM", "NORMAL"): ("cloud_restored",),
    ("BRAINSTEM", "DEGRADED"): ("cloud_restored", "degraded"),
}


def decide(state: SystemState, envelope: cmd.Envelope) -> Outcome:
    """Choose what one message leads to; the state is not changed."""
    rule = _DECIDE.get(type(envelope.message))
    draft = Draft(state, envelope)
    if rule:
        rule(state, envelope.message, draft)
    return Outcome([(ev.SYSTEM_STREAM, event) for event in draft.events], draft.sends)


def owed(state: SystemState) -> Iterator[Send]:
    """What must be said again when it may have been lost with a process or an actor."""
    yield from outbox.owed(state)
    for task_id in state.unwanted:
        yield Send(ROUTER, cmd.CancelTask("", task_id, NAME))
    if state.repair:
        yield Send(ROUTER, _repair_task(state, state.repair, state.reason))
    elif state.mode == "DEGRADED":
        yield Send(TIMERS, cmd.WakeIn(NAME, RECHECK_MS, REPAIR_TIMER))
    if state.mode == "BRAINSTEM":
        yield Send(LOCAL, cmd.WakeLocal())
    elif state.lingering and state.sleep_tries < SLEEP_TRIES:
        yield Send(LOCAL, cmd.SleepLocal())


# --- starts and stops -----------------------------------------------------------------------------------------------


def _up(state: SystemState, up: cmd.DaemonUp, draft: Draft) -> None:
    if up.boot == state.boot:
        return  # said twice, because nobody knew whether the first time was written
    draft.note(ev.DaemonStarted(up.version, up.pid, up.boot, up.repair, up.telling))
    if up.accepted_loss:
        draft.note(ev.LossAccepted(up.accepted_loss))
    if up.config_digest != state.config_digest:
        draft.note(ev.ConfigLoaded(up.config_digest, up.config_body))
    _up_with_these_sinks(draft, {"version": up.version} if state.running else None)


def _up_with_these_sinks(draft: Draft, crashed: dict[str, str] | None) -> None:
    """What the start leads to once it is written down: whom notices are owed to may have changed by it."""
    after = copy.deepcopy(draft.state)
    for event in draft.events:
        evolve(after, event, draft.at)
    draft.state = after
    draft.note(*outbox.unserved(after))
    if crashed:
        outbox.tell(draft, cmd.Tell("restarted_after_crash", crashed))
    draft.sends += owed(after)


def _config_changed(state: SystemState, changed: cmd.ConfigChanged, draft: Draft) -> None:
    """As at a start, within a boot: write it down, drop what is owed to sinks that are gone, say the rest again."""
    if changed.config_digest != state.config_digest:
        told = ev.ConfigLoaded(changed.config_digest, changed.config_body, changed.repair, changed.telling)
        draft.note(told)
        _up_with_these_sinks(draft, None)
    draft.send(RELOAD, cmd.Reply(changed.request, None))


def _down(state: SystemState, down: cmd.DaemonDown, draft: Draft) -> None:
    draft.note(ev.DaemonStopped(down.reason))


# --- the mode -------------------------------------------------------------------------------------------------------


def _noted(state: SystemState, note: cmd.NoteMode, draft: Draft) -> None:
    if not note.cleared:
        return
    news = note.mode != state.mode
    if news:
        _follow(state, note, draft)
    if note.mode == "DEGRADED":
        _pursue(state, note.reason if news else state.reason, draft)


def _follow(state: SystemState, note: cmd.NoteMode, draft: Draft) -> None:
    before, after = state.mode, note.mode
    if state.repair:
        draft.note(ev.RepairEnded(state.repair, NOT_WANTED, draft.at + _backoff_ms(state)))
        draft.send(ROUTER, cmd.CancelTask("", state.repair, NAME))
    draft.note(ev.ModeFollowed(after, note.reason))
    if before == "BRAINSTEM":
        draft.note(ev.Restored(after))
        draft.send(LOCAL, cmd.SleepLocal())
    if after == "BRAINSTEM":
        draft.note(ev.Suspended(note.reason), ev.LocalModelChanged("asked"))
        draft.send(LOCAL, cmd.WakeLocal())
    for kind in _TOLD[before, after]:
        outbox.tell(
            draft, cmd.Tell(kind, {"mode": after, "before": before, "cause": note.cause, "reason": note.reason})
        )


# --- notices ----------------------------------------------------------------------------------------------------------


def _tell(state: SystemState, wish: cmd.Tell, draft: Draft) -> None:
    outbox.tell(draft, wish)


def _executor_noted(state: SystemState, note: cmd.NoteExecutor, draft: Draft) -> None:
    if note.health.state == "ready":
        outbox.back(state, note.executor, draft)


def _delivered(state: SystemState, answer: cmd.Delivered, draft: Draft) -> None:
    outbox.answered(state, answer, draft)


# --- repairs --------------------------------------------------------------------------------------------------------


def _pursue(state: SystemState, reason: str, draft: Draft) -> None:
    """While DEGRADED: start the next repair when it is due, unless one is open or none may be made."""
    settings = state.settings
    if state.repair or not settings.attempts:
        return
    if wait_ms := _drill_ms(state, draft.at):
        draft.wake_in(wait_ms, REPAIR_TIMER)
    elif not settings.executor:
        if not state.nobody_told:
            outbox.tell(draft, cmd.Tell("no_repair", {"reason": reason}))
    elif state.repairs >= settings.attempts:
        _give_up(state, draft)
    elif wait_ms := _wait_ms(state, draft.at):
        draft.wake_in(wait_ms, REPAIR_TIMER)
    else:
        task_id = repairs.task_id(draft.seed, draft.at)
        draft.note(ev.RepairStarted(state.repairs + 1, task_id))
        draft.send(ROUTER, _repair_task(state, task_id, reason))


def _drill_ms(state: SystemState, at: Millis) -> int:
    """How long a drill, and the time after it, forbid repairs; a longer time means that the clock was set."""
    left = state.drill_until + AFTER_DRILL_MS - at
    return left if 0 < left <= LONGEST_S * 1000 + AFTER_DRILL_MS else 0


def _drill_noted(state: SystemState, drill: cmd.DrillNoted, draft: Draft) -> None:
    draft.note(ev.DrillBegun(drill.fault, drill.until))


def _repair_reported(state: SystemState, report: cmd.RepairReported, draft: Draft) -> None:
    outcome = brief(f"{report.state}: {report.detail}" if report.detail else report.state)
    if report.task_id in state.unwanted:
        draft.note(ev.RepairEnded(report.task_id, outcome))
    elif report.task_id == state.repair:  # else it is said again, after a restart
        _repair_ended(state, outcome, draft)


def _repair_ended(state: SystemState, outcome: str, draft: Draft) -> None:
    last = state.repairs >= state.settings.attempts
    delay_ms = _backoff_ms(state)
    draft.note(ev.RepairEnded(state.repair, outcome, None if last else draft.at + delay_ms))
    if last:
        _give_up(state, draft)
    else:
        draft.wake_in(delay_ms, REPAIR_TIMER)


def _give_up(state: SystemState, draft: Draft) -> None:
    if not state.given_up:
        draft.note(ev.RepairGivenUp(state.repairs))
        outbox.tell(draft, cmd.Tell("repair_given_up", {"attempts": str(state.repairs), "reason": state.reason}))


def _wait_ms(state: SystemState, at: Millis) -> int:
    """How long until the next repair is due; a time further away than any backoff means that the clock was set."""
    left = state.repair_at - at
    return left if 0 < left <= state.settings.backoff_cap_ms else 0


def _backoff_ms(state: SystemState) -> int:
    return min(state.settings.backoff_cap_ms, state.settings.backoff_ms << min(max(0, state.repairs - 1), 16))


def _repair_task(state: SystemState, task_id: str, reason: str) -> cmd.CreateTask:
    return repairs.task(state.settings, task_id, reason, state.last_outcome, NAME)


# --- the local model ------------------------------------------------------------------------------------------------


def _local_observed(state: SystemState, seen: cmd.LocalObserved, draft: Draft) -> None:
    if state.mode == "BRAINSTEM":
        _while_woken(state, seen, draft)
    elif state.lingering and seen.state != "checked":  # a check that ended too late says nothing new
        _while_leaving(state, seen, draft)


def _while_woken(state: SystemState, seen: cmd.LocalObserved, draft: Draft) -> None:
    if seen.state == "unloaded":
        return  # of the sleep before this wake
    if seen.state != state.local:
        draft.note(ev.LocalModelChanged(seen.state, brief(seen.detail)))
    if seen.state == "failed":
        draft.wake_in(WAKE_AGAIN_MS, LOCAL_TIMER)


def _while_leaving(state: SystemState, seen: cmd.LocalObserved, draft: Draft) -> None:
    if state.sleep_tries >= SLEEP_TRIES and seen.state == "failed":
        return
    draft.note(ev.LocalModelChanged(seen.state, brief(seen.detail)))
    if seen.state == "unloaded":
        return
    if state.sleep_tries + 1 < SLEEP_TRIES:
        draft.wake_in(SLEEP_AGAIN_MS, LOCAL_TIMER)
    else:
        outbox.tell(draft, cmd.Tell("local_model_stays", {"detail": seen.detail}))


# --- timers ---------------------------------------------------------------------------------------------------------


def _timer(state: SystemState, timer: cmd.TimerFired, draft: Draft) -> None:
    name, _, address = timer.key.partition(":")
    if name == outbox.TIMER:
        outbox.ring(state, address, draft)
    elif ring := _RINGS.get(name):
        ring(state, draft)


def _ring_repair(state: SystemState, draft: Draft) -> None:
    if state.mode == "DEGRADED":
        _pursue(state, state.reason, draft)


def _ring_local(state: SystemState, draft: Draft) -> None:
    if state.mode == "BRAINSTEM":
        if state.local == "failed":
            draft.send(LOCAL, cmd.WakeLocal())
    elif state.lingering and state.sleep_tries < SLEEP_TRIES:
        draft.send(LOCAL, cmd.SleepLocal())


_RINGS: dict[str, Callable[[SystemState, Draft], None]] = {
    REPAIR_TIMER: _ring_repair,
    LOCAL_TIMER: _ring_local,
}

_DECIDE: dict[type[Any], Callable[[SystemState, Any, Draft], None]] = {
    cmd.DaemonUp: _up,
    cmd.DaemonDown: _down,
    cmd.ConfigChanged: _config_changed,
    cmd.NoteMode: _noted,
    cmd.Tell: _tell,
    cmd.Delivered: _delivered,
    cmd.NoteExecutor: _executor_noted,
    cmd.RepairReported: _repair_reported,
    cmd.DrillNoted: _drill_noted,
    cmd.LocalObserved: _local_observed,
    cmd.TimerFired: _timer,
}

TAKES: tuple[type[Any], ...] = tuple(_DECIDE)  # every message that Brainstem decides about

"""Brainstem: the writer of the system stream: starts, stops and configuration.

Suspending and restoring when the cloud goes come with failover.
"""

from __future__ import annotations

from typing import Any

from omni.actors.soft import Quiet
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import NOTHING, Outcome
from omni.domain.values import Millis

NAME = "brainstem"


class SystemState:
    """What the system stream says so far."""

    def __init__(self) -> None:
        self.version = 0
        self.config_digest = ""


class Brainstem(Quiet):
    """Behaviour over the system stream."""

    name = NAME
    prefixes: tuple[str, ...] = (ev.SYSTEM_STREAM,)

    def initial(self) -> SystemState:
        return SystemState()

    def handle(self, state: SystemState, envelope: cmd.Envelope) -> Outcome:
        match envelope.message:
            case cmd.DaemonUp() as up:
                return Outcome([(ev.SYSTEM_STREAM, e) for e in _up(state, up)])
            case cmd.DaemonDown(reason):
                return Outcome([(ev.SYSTEM_STREAM, ev.DaemonStopped(reason))])
        return NOTHING

    def evolve(self, state: SystemState, stream: str, event: Any, at: Millis, position: int) -> None:
        state.version += 1
        if isinstance(event, ev.ConfigLoaded):
            state.config_digest = event.digest

    def version(self, state: SystemState, stream: str) -> int:
        return state.version


def _up(state: SystemState, up: cmd.DaemonUp) -> list[ev.SystemEvent]:
    events: list[ev.SystemEvent] = [ev.DaemonStarted(up.version, up.pid, up.boot)]
    if up.accepted_loss:
        events.append(ev.LossAccepted(up.accepted_loss))
    if up.config_digest != state.config_digest:
        events.append(ev.ConfigLoaded(up.config_digest, up.config_body))
    return events

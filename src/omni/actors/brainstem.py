"""Brainstem: the only writer of the system stream. Its rules stand in `omni.domain.brainstem`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omni.actors.soft import Quiet
from omni.domain import brainstem as rules
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import Outcome, Send
from omni.domain.system import SystemState, evolve, initial
from omni.domain.values import Millis

NAME = rules.NAME


class Brainstem(Quiet):
    """Behaviour over the system stream."""

    name = NAME
    prefixes: tuple[str, ...] = (ev.SYSTEM_STREAM,)

    def initial(self) -> SystemState:
        return initial()

    def handle(self, state: SystemState, envelope: cmd.Envelope) -> Outcome:
        return rules.decide(state, envelope)

    def evolve(self, state: SystemState, stream: str, event: Any, at: Millis, position: int) -> None:
        evolve(state, event, at)

    def version(self, state: SystemState, stream: str) -> int:
        return state.version

    def refuse(self, message: Any, refusal: cmd.Refusal) -> Sequence[Send]:
        """A configuration that cannot be written down is not taken."""
        if not isinstance(message, cmd.ConfigChanged):
            return []
        return [Send(rules.RELOAD, cmd.Reply(message.request, refusal))]

    def owed(self, state: SystemState, boot: str) -> Sequence[Send]:
        return list(rules.owed(state))

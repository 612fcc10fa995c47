"""What one message to Brainstem leads to, while it is put together."""

from __future__ import annotations

from collections import Counter

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import Send
from omni.domain.system import Lane, SystemState

NAME = "brainstem"
TIMERS = "timers"
WORDS = 500  # characters of what others said that are kept


class Draft:
    """Events and sends, on top of a state that does not change meanwhile."""

    def __init__(self, state: SystemState, envelope: cmd.Envelope) -> None:
        self.at = envelope.at
        self.seed = f"{state.version}:{envelope.id}:{envelope.at}"
        self.version = state.version
        self.state = state
        self.events: list[ev.SystemEvent] = []
        self.sends: list[Send] = []
        self.queued: Counter[Lane] = Counter()  # notices by this very message
        self.begun: set[Lane] = set()  # one of them is on its way

    def note(self, *events: ev.SystemEvent) -> None:
        self.events += events

    def send(self, to: str, message: cmd.Message) -> None:
        self.sends.append(Send(to, message))

    def wake_in(self, delay_ms: int, key: str) -> None:
        self.send(TIMERS, cmd.WakeIn(NAME, delay_ms, key))


def brief(text: str, limit: int = WORDS) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"

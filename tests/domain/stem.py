"""Brainstem's rules without threads, time or disk."""

from __future__ import annotations

from typing import Any

from omni.domain import brainstem as rules
from omni.domain import commands as cmd
from omni.domain import outbox
from omni.domain.effects import Send
from omni.domain.system import SystemState, evolve, initial
from omni.domain.values import Millis, Mode, RepairSettings, Telling

HOUR = 3_600_000
REPAIR = RepairSettings("fixer", where="http://127.0.0.1:4000", budget_usd=1.5)


class Stem:
    """Feeds messages to the rules; keeps the events and sends of the last one, and the whole log."""

    def __init__(self, repair: RepairSettings = REPAIR, telling: Telling = Telling()) -> None:  # noqa: B008 - frozen
        self.telling = telling
        self.at: Millis = 1_700_000_000_000
        self.log: list[tuple[Any, Millis]] = []
        self.state = initial()
        self.events: list[Any] = []
        self.sends: list[Send] = []
        self.boots = self.messages = 0
        self.start(repair)

    def put(self, message: Any) -> list[Any]:
        self.messages += 1
        envelope = cmd.Envelope(f"brainstem:{self.messages}", self.at, self.at, "test", message)
        outcome = rules.decide(self.state, envelope)
        self.events, self.sends = [event for _, event in outcome.events], list(outcome.sends)
        for event in self.events:
            evolve(self.state, event, self.at)
            self.log.append((event, self.at))
        return self.events

    def start(self, repair: RepairSettings = REPAIR, telling: Telling | None = None) -> list[Any]:
        """A new process on the same log; its sinks are those of the last one unless said otherwise."""
        self.telling = telling or self.telling
        self.state = replayed(self.log)
        self.boots += 1
        self.messages = 0
        return self.put(cmd.DaemonUp("0.1", 7, f"boot-{self.boots}", "digest", {}, repair=repair, telling=self.telling))

    def turn(self, mode: Mode, reason: str = "as observed") -> list[Any]:
        return self.put(cmd.NoteMode(mode, reason=reason, cleared=True))

    def told(self) -> list[str]:
        """Deliver everything that waits; the kinds in the order they were told."""
        kinds = []
        while self.state.outbox:
            lane = next(iter(self.state.lanes))
            (notice,) = self.to("notifier") or [outbox.due(self.state, lane, self.at)]
            kinds.append(notice.kind)
            self.put(cmd.Delivered(notice.key, ok=True))
        return kinds

    def to(self, receiver: str) -> list[Any]:
        """What the last message sent to one receiver."""
        return [send.message for send in self.sends if send.to == receiver]


def replayed(log: list[tuple[Any, Millis]]) -> SystemState:
    state = initial()
    for event, at in log:
        evolve(state, event, at)
    return state

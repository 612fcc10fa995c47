"""HealthMonitor: folds what is observed of the world into component health, and writes down every edge.

Executors so far: one that connects and offers its tool is ready; one that fails FAILURES times in a row is failed.
Single observations are soft state; the event at an edge carries those that led to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from omni.actors.soft import Quiet
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.values import ExecutorHealth, Millis

NAME = "health"
ROUTER = "router"
GATEWAY = "gateway"

FAILURES = 2  # consecutive, for one that was ready: a server that restarts within a second is no news
EVIDENCE_KEPT = 5


class Watched(msgspec.Struct):
    """One executor: its health as recorded, and the observations since."""

    health: ExecutorHealth = ExecutorHealth()
    since: Millis = 0
    seen: bool = False  # in this life of the daemon
    seen_up: bool = False  # in this life of the daemon; what an earlier one saw earns no patience
    tools: tuple[str, ...] = ()
    failures: int = 0
    evidence: tuple[str, ...] = ()


class HealthState:
    """All watched executors; `version` counts the events of the health stream."""

    def __init__(self) -> None:
        self.executors: dict[str, Watched] = {}
        self.version = 0


class HealthMonitor(Quiet):
    """Behaviour over the health stream."""

    name = NAME
    prefixes: tuple[str, ...] = (ev.HEALTH_STREAM,)

    def initial(self) -> HealthState:
        return HealthState()

    def handle(self, state: HealthState, envelope: cmd.Envelope) -> Outcome:
        if isinstance(envelope.message, cmd.ExecutorObserved):
            return _observe(state, envelope.message, envelope.at)
        if envelope.message == cmd.ActorRestarted(GATEWAY):
            return Outcome((), [send for send in self.owed(state, "") if send.to == GATEWAY])
        return NOTHING

    def evolve(self, state: HealthState, stream: str, event: Any, at: Millis, position: int) -> None:
        state.version += 1
        if isinstance(event, ev.ExecutorHealthChanged):
            watched = state.executors.setdefault(event.executor, Watched())
            watched.health, watched.since = event.health, at

    def version(self, state: HealthState, stream: str) -> int:
        return state.version

    def owed(self, state: HealthState, boot: str) -> Sequence[Send]:
        told = state.executors.items()
        return [send for name, seen in told for send in _tell(name, seen.health, seen.health, seen, seen.since)]


def _observe(state: HealthState, seen: cmd.ExecutorObserved, at: Millis) -> Outcome:
    watched = state.executors.setdefault(seen.executor, Watched())
    watched.failures = 0 if seen.ok else watched.failures + 1
    watched.seen_up = watched.seen_up or seen.ok
    watched.tools = seen.tools or watched.tools
    watched.evidence = (*watched.evidence, seen.detail or ("connected" if seen.ok else "failed"))[-EVIDENCE_KEPT:]
    health = _judge(watched, seen)
    first, watched.seen = not watched.seen, True
    if health == watched.health or (health.state == watched.health.state and not first):
        # The Router forgets health at each boot, so it is told even without an edge. Other words for the same state go
        # to people only: a failure that reads differently at each try would fill the log.
        return Outcome((), _tell(seen.executor, watched.health, health, watched, watched.since))
    changed = ev.ExecutorHealthChanged(seen.executor, health, watched.evidence)
    return Outcome([(ev.HEALTH_STREAM, changed)], _tell(seen.executor, health, health, watched, at))


def _judge(watched: Watched, seen: cmd.ExecutorObserved) -> ExecutorHealth:
    if seen.ok:
        return ExecutorHealth("ready")
    if watched.health.state == "ready" and watched.seen_up and watched.failures < FAILURES:
        return watched.health
    return ExecutorHealth("failed", seen.detail)


def _tell(
    executor: str, recorded: ExecutorHealth, shown: ExecutorHealth, watched: Watched, since: Millis
) -> list[Send]:
    status = cmd.ExecutorStatus(executor, shown, watched.tools, since)
    return [Send(ROUTER, cmd.NoteExecutor(executor, recorded)), Send(GATEWAY, status)]

"""Executors' health: one that connects and offers its tool is ready; one that fails FAILURES times in a row is failed.

Single observations are soft state; the event at an edge carries those that led to it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import Outcome, Send
from omni.domain.values import ExecutorHealth, Millis

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


Executors = dict[str, Watched]


def evolve(executors: Executors, event: ev.ExecutorHealthChanged, at: Millis) -> None:
    """Apply one recorded edge."""
    watched = executors.setdefault(event.executor, Watched())
    watched.health, watched.since = event.health, at


def observe(executors: Executors, seen: cmd.ExecutorObserved, at: Millis) -> Outcome:
    """Add one observation; the edge that follows, and what others are told."""
    watched = executors.setdefault(seen.executor, Watched())
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


def tell_all(executors: Executors) -> Iterator[Send]:
    """What Router and Gateway know of all executors."""
    for name, seen in executors.items():
        yield from _tell(name, seen.health, seen.health, seen, seen.since)


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

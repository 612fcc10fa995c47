"""Executors' health: one that connects and offers its tool is ready; one that fails FAILURES times in a row is failed.

Theory of operation. Single observations are soft state; the event at an edge carries those that led to it. An executor
that said it can take nothing for a while (an account's limit) rests: what is observed meanwhile changes nothing, and
when the time is over its health is again what was observed last.

    unknown ─▶ ready ⇄ failed       ready, failed ──pause──▶ paused ──until_ms──▶ ready, failed, or unknown
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.values import ExecutorHealth, Millis
from omni.domain.view import timestamp

ROUTER = "router"
GATEWAY = "gateway"
BRAINSTEM = "brainstem"
TIMERS = "timers"
HEALTH = "health"

FAILURES = 2  # consecutive, for one that was ready: a server that restarts within a second is no news
EVIDENCE_KEPT = 5
PAUSE_TIMER = "pause:"  # before the executor's name
LONGEST_PAUSE_MS = 691_200_000  # eight days: limits by the week are the longest that are known
CONNECTING = ExecutorHealth("unknown", "it is connected anew: its configuration has changed")
SAME_PAUSE_MS = 60_000  # tasks that ran side by side hear of one limit one after the other


class Watched(msgspec.Struct):
    """One executor: its health as recorded, and the observations since."""

    health: ExecutorHealth = ExecutorHealth()
    since: Millis = 0
    seen: bool = False  # in this life of the daemon
    seen_up: bool = False  # in this life of the daemon; what an earlier one saw earns no patience
    last: cmd.ExecutorObserved | None = None
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
    watched.last = seen
    watched.failures = 0 if seen.ok else watched.failures + 1
    watched.seen_up = watched.seen_up or seen.ok
    watched.tools = seen.tools or watched.tools
    watched.evidence = (*watched.evidence, seen.detail or ("connected" if seen.ok else "failed"))[-EVIDENCE_KEPT:]
    resting = _rests(watched.health, at)
    health = watched.health if resting else _judge(watched, seen)
    first, watched.seen = not watched.seen, True
    if resting or health == watched.health or (health.state == watched.health.state and not first):
        # The Router forgets health at each boot, so it is told even without an edge. Other words for the same state go
        # to people only: a failure that reads differently at each try would fill the log.
        rest = _follows(seen.executor, health) if resting and first else []
        return Outcome((), [*_tell(seen.executor, watched.health, health, watched, watched.since), *rest])
    changed = ev.ExecutorHealthChanged(seen.executor, health, watched.evidence)
    told = _tell(seen.executor, health, health, watched, at)
    return Outcome([(ev.HEALTH_STREAM, changed)], [*told, Send(BRAINSTEM, cmd.NoteExecutor(seen.executor, health))])


def begin_anew(executors: Executors, names: Iterable[str]) -> list[Send]:
    """These are connected anew: what is recorded of them stays, what was observed earns no patience any more."""
    for name in names:
        if watched := executors.get(name):
            executors[name] = Watched(watched.health, watched.since)
    return [Send(GATEWAY, cmd.ExecutorStatus(name, CONNECTING)) for name in names]


def pause(executors: Executors, said: cmd.ExecutorPaused, at: Millis) -> Outcome:
    """Let an executor rest; one that rests already does so only for longer."""
    watched = executors.setdefault(said.executor, Watched())
    until = at + min(max(said.for_ms, 0), LONGEST_PAUSE_MS)
    if _rests(watched.health, at) and until <= (watched.health.until_ms or 0) + SAME_PAUSE_MS:
        return NOTHING
    health = ExecutorHealth("paused", said.reason + _until(until), until)
    changed = ev.ExecutorHealthChanged(said.executor, health, (said.reason,))
    told = _tell(said.executor, health, health, watched, at)
    return Outcome([(ev.HEALTH_STREAM, changed)], [*told, *_follows(said.executor, health)])


def rung(executors: Executors, executor: str, at: Millis) -> Outcome:
    """The time of a pause is over: go by what was observed last. Rung early, it waits on."""
    watched = executors.get(executor)
    if watched is None or watched.health.state != "paused":
        return NOTHING
    if _rests(watched.health, at):
        return Outcome((), [_wake(executor, watched.health.until_ms or at)])
    health = _judge(watched, watched.last) if watched.last else ExecutorHealth()
    changed = ev.ExecutorHealthChanged(executor, health, watched.evidence)
    return Outcome([(ev.HEALTH_STREAM, changed)], _tell(executor, health, health, watched, at))


def owed(executors: Executors) -> list[Send]:
    """What follows from all pauses: it may have been lost with the process."""
    paused = ((name, each.health) for name, each in executors.items() if each.health.state == "paused")
    return [send for name, health in paused for send in _follows(name, health)]


def jumped(executors: Executors, at: Millis) -> list[Send]:
    """The clock was set: end the pauses whose end it has moved out of reach, at once and by a clock nobody sets."""
    void = (name for name, each in executors.items() if each.health.state == "paused" and not _rests(each.health, at))
    return [Send(TIMERS, cmd.WakeIn(HEALTH, 0, f"{PAUSE_TIMER}{name}")) for name in void]


def _rests(health: ExecutorHealth, at: Millis) -> bool:
    """Whether a pause is on; one that ends further away than any lasts was begun before the clock was set."""
    return health.state == "paused" and 0 < (health.until_ms or 0) - at <= LONGEST_PAUSE_MS


def _follows(executor: str, health: ExecutorHealth) -> list[Send]:
    """A timer ends the pause, and the user hears of it; whoever hears it again knows it by its name."""
    until = health.until_ms or 0
    reason = health.reason.removesuffix(_until(until))
    facts = {"executor": executor, "until": timestamp(until) or "", "reason": reason}
    news = cmd.Tell("executor_paused", facts, f"paused:{executor}:{until}")
    return [_wake(executor, until), Send(BRAINSTEM, news)]


def _until(until: Millis) -> str:
    return f" (until {timestamp(until)})"


def _wake(executor: str, until: Millis) -> Send:
    return Send(TIMERS, cmd.WakeAt(HEALTH, until, f"{PAUSE_TIMER}{executor}"))


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

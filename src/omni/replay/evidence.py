"""HealthMonitor's decisions again, as far as they can be: its streaks are nowhere written down, their ends are.

Theory of operation. What was observed before an edge stands in the edge's evidence. From that the streak is put
together again as it must have been just before the last observation, and the rules are asked what that observation
makes of it. So an edge follows from its own evidence and the thresholds in force, or it does not. Where a streak may
have been one of several, any of them may have led to the edge; where none did, the edge is a divergence.

    what a start, a person, a pause or a key's word changes, and the mode     exact, from what is recorded
    proxy, cloud, breaker, executor                                           from the evidence
    an edge that should have been and was not                                 cannot be known: no observation is kept
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import Any

from msgspec.structs import replace

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import executor_watch, mode, symptoms
from omni.domain.executor_watch import Executors, Watched
from omni.domain.health import Health
from omni.domain.symptoms import EVIDENCE_KEPT, Look, Streak, Symptoms, Window
from omni.domain.values import PROXY, Evidence, ExecutorHealth, Millis
from omni.domain.verdict import MEANING, Verdict

TAKES = (
    cmd.StartWatch,
    cmd.Observed,
    cmd.TimerFired,
    cmd.ForceMode,
    cmd.ExecutorObserved,
    cmd.ExecutorPaused,
    cmd.ActorRestarted,
)
MANY = 1_000_000  # outcomes of a streak of which only the first and the last ones were kept
CLOCK_MOVED = "the wall clock may have been moved a little while it was observed"
FORGOTTEN = "its actor may have been started anew while it was observed"

Events = list[ev.HealthEvent]


class Undecided(Exception):
    """Nobody can say; the argument says why."""


def decide(health: Health, executors: Executors, envelope: cmd.Envelope, recorded: Sequence[Any]) -> Events:
    """What one message led to, where what was observed before it is taken from what is recorded. Raises Undecided."""
    rest = [event for event in recorded if not isinstance(event, ev.ModeChanged)]
    jump: Events = [each for each in rest[:1] if _may_jump(health, each)]
    rule = _RULES[type(envelope.message)]
    return [*jump, *rule(health, executors, envelope, rest[len(jump) :], jumped=bool(jump))]


def settle(health: Health, at: Millis) -> Events:
    """The mode that has to be written down now, if it is another."""
    changed = mode.change(health, at) if health.boot else None
    return [changed] if changed else []


def _may_jump(health: Health, event: Any) -> bool:
    far = isinstance(event, ev.ClockJumped) and abs(event.by_ms) > health.settings.thresholds.jump_ms
    return far and bool(health.boot)


# --- what needs no memory -------------------------------------------------------------------------------------------


def _started(health: Health, _: Executors, envelope: cmd.Envelope, recorded: Sequence[Any], *, jumped: bool) -> Events:
    return symptoms.start(health, envelope.message.boot, envelope.message.settings)


def _forced(health: Health, _: Executors, envelope: cmd.Envelope, recorded: Sequence[Any], *, jumped: bool) -> Events:
    wish: cmd.ForceMode = envelope.message
    return symptoms.force(health, wish.by, brainstem=wish.brainstem) if health.boot else []


def _paused(_: Health, known: Executors, envelope: cmd.Envelope, recorded: Sequence[Any], *, jumped: bool) -> Events:
    said: cmd.ExecutorPaused = envelope.message
    return _edges(executor_watch.pause(_with(known, said.executor), said, envelope.at))


def _restarted(_: Health, known: Executors, envelope: cmd.Envelope, recorded: Sequence[Any], *, jumped: bool) -> Events:
    return []


# --- proxy, clouds, keys, breakers ----------------------------------------------------------------------------------


def _observed(health: Health, _: Executors, envelope: cmd.Envelope, recorded: Sequence[Any], *, jumped: bool) -> Events:
    if jumped:  # an observation that a jump of the clock runs through is void
        return []
    seen: cmd.Observed = envelope.message
    at, mono = envelope.at, envelope.mono
    found = [symptoms.observe(health, each, seen, at, mono) for each in _before(seen, recorded, at, mono)]
    if list(recorded) in found:
        return list(recorded)
    slack_ms = health.settings.thresholds.jump_ms
    for each in _before(seen, recorded, at, mono, slack_ms):
        if symptoms.observe(health, each, seen, at, mono) == list(recorded):
            raise Undecided(CLOCK_MOVED)
    return found[0]


def _before(
    seen: cmd.Observed, recorded: Sequence[Any], at: Millis, mono: Millis, slack_ms: int = 0
) -> Iterator[Symptoms]:
    """What may have been observed before, the likeliest first."""
    edge = next((e for e in recorded if isinstance(e, ev.ProxyChanged | ev.CloudChanged)), None)
    breaker = next((e for e in recorded if isinstance(e, ev.BreakerChanged)), None)
    streaks = _streaks(edge, at, mono - slack_ms)
    models = [_window(breaker.evidence, _good_call)] if breaker else [Window(), _all_good(at)]
    for graced, (streak, window), model in itertools.product((False, True), streaks, models):
        before = Symptoms()
        before.grace_until = mono + 1 if graced else None
        before.proxy, before.window = (streak, window) if seen.target == PROXY else (Streak(), Window())
        before.clouds = {seen.target: streak}
        before.models[seen.target, seen.model] = model
        yield before


def _streaks(edge: ev.ProxyChanged | ev.CloudChanged | None, at: Millis, mono: Millis) -> list[tuple[Streak, Window]]:
    """Failures or successes in a row, or too many failures among the last outcomes."""
    if edge is None:
        return [(Streak(), Window()), (Streak(), _all_good(at))]
    in_a_row = Streak()
    for each in edge.evidence[:-1]:
        verdict = Verdict(each.verdict)
        in_a_row = in_a_row.add(Look(verdict, MEANING[verdict].alive, each, mono - (at - each.at)))
    if len(edge.evidence) >= EVIDENCE_KEPT and in_a_row.count >= EVIDENCE_KEPT - 1:
        network = in_a_row.network and not (isinstance(edge, ev.CloudChanged) and not edge.network)
        in_a_row = replace(in_a_row, count=MANY, network=network)
    return [(in_a_row, Window()), (Streak(), _window(edge.evidence, _alive))]


def _window(evidence: tuple[Evidence, ...], good: Callable[[Evidence], bool]) -> Window:
    return Window(tuple((good(each), each) for each in evidence[:-1]))


def _all_good(at: Millis) -> Window:
    return Window(((True, Evidence(at, "call", Verdict.OK.value)),) * EVIDENCE_KEPT * 2)


def _alive(each: Evidence) -> bool:
    return bool(MEANING[Verdict(each.verdict)].alive)


def _good_call(each: Evidence) -> bool:
    return each.verdict == Verdict.OK.value


# --- executors ------------------------------------------------------------------------------------------------------


def _connected(_: Health, known: Executors, envelope: cmd.Envelope, recorded: Sequence[Any], *, jumped: bool) -> Events:
    """One that was ready in this boot fails only after as many failures as the rules ask for."""
    seen: cmd.ExecutorObserved = envelope.message
    evidence = _evidence(recorded)
    patient = Watched(seen=True, seen_up=True, failures=len(evidence) - 1, evidence=evidence[:-1])
    anew = [Watched(evidence=evidence[:-1]), Watched(seen=True, evidence=evidence[:-1])]
    decided = [_edges(executor_watch.observe(_with(known, seen.executor, each), seen, envelope.at)) for each in anew]
    now = _edges(executor_watch.observe(_with(known, seen.executor, patient), seen, envelope.at))
    if now == list(recorded):
        return now
    if list(recorded) not in decided:
        return now
    if _state(known, seen.executor) == "ready" and not seen.ok:
        raise Undecided(FORGOTTEN)
    return list(recorded)


def _rung(_: Health, known: Executors, envelope: cmd.Envelope, recorded: Sequence[Any], *, jumped: bool) -> Events:
    """The end of a pause goes by what was observed last."""
    name = str(envelope.message.key)
    if not name.startswith(executor_watch.PAUSE_TIMER):
        return []
    executor, evidence = name.removeprefix(executor_watch.PAUSE_TIMER), _evidence(recorded)
    found = []
    for last in _last_seen(executor, evidence, recorded):
        told = executor_watch.rung(_with(known, executor, Watched(last=last, evidence=evidence)), executor, envelope.at)
        found.append(_edges(told))
    return list(recorded) if list(recorded) in found else found[0]


def _last_seen(
    executor: str, evidence: tuple[str, ...], recorded: Sequence[Any]
) -> Iterable[cmd.ExecutorObserved | None]:
    if not evidence:
        return (None,)
    up = cmd.ExecutorObserved(executor, ok=True)
    downs = (cmd.ExecutorObserved(executor, ok=False, detail=each) for each in (evidence[-1], ""))
    return (up, *downs)


def _evidence(recorded: Sequence[Any]) -> tuple[str, ...]:
    edge = next((each for each in recorded if isinstance(each, ev.ExecutorHealthChanged)), None)
    return edge.evidence if edge else ()


def _with(known: Executors, executor: str, soft: Watched | None = None) -> Executors:
    """The executors with one that has observed this; the recorded part of it stays as it is."""
    durable = known.get(executor, Watched())
    watched = copy(soft) if soft else Watched()
    watched.health, watched.since = durable.health, durable.since
    return {**known, executor: watched}


def _state(known: Executors, executor: str) -> str:
    return known[executor].health.state if executor in known else ExecutorHealth().state


def _edges(outcome: Any) -> Events:
    return [event for _, event in outcome.events]


_RULES: dict[type[Any], Callable[..., Events]] = {
    cmd.StartWatch: _started,
    cmd.Observed: _observed,
    cmd.TimerFired: _rung,
    cmd.ForceMode: _forced,
    cmd.ExecutorObserved: _connected,
    cmd.ExecutorPaused: _paused,
    cmd.ActorRestarted: _restarted,
}

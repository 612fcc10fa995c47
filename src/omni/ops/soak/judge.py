"""The verdict on a soak: figures against their bounds, from everybody's ledger. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from omni.domain.values import Millis
from omni.ops.figures import Figure, Tasks, at_least, below, exactly
from omni.ops.load import WORKER, Called
from omni.ops.record import Change, History, Journey, count
from omni.ops.soak.clients import HAND, Try, Wish
from omni.ops.soak.ledger import Line
from omni.ops.soak.reckoning import (
    Share,
    Times,
    by_client,
    by_time,
    by_try,
    completion,
    doubles,
    gaps_of,
    in_mode,
    times,
)
from omni.ops.soak.report import SoakReport, Struck
from omni.ops.soak.storm import Blow
from omni.ops.stage import Asked

AVAILABLE_PERCENT = 99
FAILOVER_S = 5.0
KILLS_AND_WORKS = {"hand-kill": HAND, "worker-kill": WORKER, "hand-freeze": HAND, "worker-freeze": WORKER}


class Evidence(msgspec.Struct, frozen=True):
    """What everybody wrote down. `_s` is the loop's clock, `_ms` the wall's; `ends`: exit codes nobody asked for."""

    began_s: float
    began_ms: Millis
    lasted_s: float
    wishes: Sequence[Wish]
    tries: Sequence[Try]
    calls: dict[str, int]
    called: Sequence[Called]
    histories: Mapping[str, History]
    changes: Sequence[Change]
    journeys: Sequence[Journey]
    asked: Sequence[Asked]
    lines: Sequence[Line]
    blows: Sequence[Blow]
    ends: Sequence[int]
    findings: int


def judged(evidence: Evidence, seed: int, settings: dict[str, float], stopped: bool) -> SoakReport:  # noqa: FBT001
    """The whole report."""
    tasks = tasks_of(evidence)
    shares, spans = tuple(shares_of(evidence)), tuple(times_of(evidence))
    return SoakReport(
        seed=seed,
        lasted_s=round(evidence.lasted_s, 1),
        stopped=stopped,
        settings=settings,
        figures=tuple(figures_of(evidence, tasks, shares, spans)),
        shares=shares,
        times=spans,
        tasks=tasks,
        held=sum(each.held for each in evidence.histories.values()),
        calls=evidence.calls,
        faults=tuple(_struck(evidence, at) for at in range(len(evidence.blows))),
    )


def tasks_of(evidence: Evidence) -> Tasks:
    """What became of the tasks: the drills' count, and the ledger of the executor that leaves marks."""
    accepted = {wish.task_id for wish in evidence.wishes if wish.task_id}
    counted = count(evidence.histories, accepted, evidence.asked)
    held = sum(each.held for each in evidence.histories.values())
    twice = doubles(evidence.lines, evidence.histories, HAND).twice
    return msgspec.structs.replace(counted, open=counted.open - held, twice=counted.twice + twice)


def shares_of(evidence: Evidence) -> Iterator[Share]:
    """Availability in every view."""
    end_s = evidence.began_s + evidence.lasted_s
    tries = [each for each in evidence.tries if each.began_s >= evidence.began_s]
    yield by_client(wish for wish in evidence.wishes if wish.began_s >= evidence.began_s)
    gaps, whole = gaps_of(tries, end_s), (evidence.began_s, end_s)
    yield by_time(gaps, whole)
    if full := [(blow.began_s, blow.ended_s) for blow in evidence.blows if blow.kind == "disk-full"]:
        yield by_time(gaps, whole, full)
    yield by_try(tries)
    since = {name: each for name, each in evidence.histories.items() if each.created_ms >= evidence.began_ms}
    end_ms = max((each.ended_ms for each in since.values()), default=evidence.began_ms)
    brainstem = in_mode(evidence.changes, "BRAINSTEM", end_ms)
    yield completion(since.values(), brainstem, {WORKER})
    yield completion(since.values(), brainstem, set())


def times_of(evidence: Evidence) -> Iterator[Times]:
    """Failover and recovery."""
    yield times("failover: first new call after a fault", (b.failover_s for b in evidence.blows if b.moved))
    moved = (each.took_ms / 1000 for each in evidence.journeys if each.ok and each.hops > 1)
    yield times("failover: every call that took more than one way", moved)
    kills = [blow for blow in evidence.blows if blow.kind == "kill"]
    yield times("after kill -9: ready", (blow.ready_s for blow in kills))
    yield times("after kill -9: first task accepted", (_accepted_after(evidence, b.began_s) for b in kills))
    yield times("after kill -9: first call answered", (_answered_after(evidence, b.began_s) for b in kills))
    struck = [b for b in evidence.blows if b.kind in KILLS_AND_WORKS and not b.note]
    dead = [b for b in struck if b.kind.endswith("kill")]
    yield times("after an executor's kill: a new task done", (_works_after(evidence, b, b.began_ms) for b in dead))
    frozen = [b for b in struck if b.kind.endswith("freeze")]
    yield times("after an executor's thaw: a new task done", (_works_after(evidence, b, b.ended_ms) for b in frozen))
    gaps = gaps_of(evidence.tries, evidence.began_s + evidence.lasted_s)
    yield times("a gap in which no submission was accepted", (until - since for since, until in gaps))
    yield times("a submission, first try to answer", (w.ended_s - w.began_s for w in evidence.wishes if w.ended_s))


def figures_of(evidence: Evidence, tasks: Tasks, shares: Sequence[Share], spans: Sequence[Times]) -> Iterator[Figure]:
    """What must hold."""
    judged_shares = {"submission, by client", "completion, by rule"}
    for share in shares:
        if share.name in judged_shares:
            yield Figure(share.name, share.percent, "at least", AVAILABLE_PERCENT, "%")
    for each in spans[:2]:
        missing = each.missing and "never"
        yield below(f"{each.name}, p99", None if missing else each.p99_s, FAILOVER_S)
    yield at_least("faults made", len(evidence.blows))
    yield exactly("tasks lost", tasks.lost)
    yield exactly("tasks done twice", tasks.twice)
    yield exactly("tasks called completed that nobody did", doubles(evidence.lines, evidence.histories, HAND).unfounded)
    yield exactly("tasks without an end", tasks.open)
    yield exactly("ends of the daemon that nobody had asked for", len(evidence.ends))
    yield exactly("findings of omni verify", evidence.findings)


# --- one fault --------------------------------------------------------------------------------------------------------


def _struck(evidence: Evidence, at: int) -> Struck:
    blow = evidence.blows[at]
    effects = tuple(_effects(evidence, blow, _next_ms(evidence.blows, at)))
    return Struck(round(blow.began_s - evidence.began_s, 1), blow.kind, round(blow.ended_s - blow.began_s, 1), effects)


def _next_ms(blows: Sequence[Blow], at: int) -> Millis:
    """When the next fault begins that is not a second blow within this one."""
    return next((each.began_ms for each in blows[at + 1 :] if each.began_ms >= blows[at].ended_ms), 1 << 62)


def _effects(evidence: Evidence, blow: Blow, until_ms: Millis) -> Iterator[str]:
    if blow.note:
        yield blow.note
    if blow.moved:
        took = f"after {blow.failover_s:.2f} s" if blow.failover_s is not None else "never"
        yield f"first call another way {took}"
    for change in evidence.changes:
        if blow.began_ms <= change.at < until_ms:
            yield f"{change.mode} after {(change.at - blow.began_ms) / 1000:.1f} s"
    if blow.ready_s is not None:
        yield f"ready after {blow.ready_s:.2f} s"
    if blow.kind in {"kill", "disk-full"}:
        yield _turned_away(evidence, blow)
    if blow.kind in KILLS_AND_WORKS and not blow.note:
        took_s = _works_after(evidence, blow, blow.began_ms)
        yield "no new task of its executor was done" if took_s is None else f"a new task done after {took_s:.2f} s"


def _turned_away(evidence: Evidence, blow: Blow) -> str:
    end_s = evidence.began_s + evidence.lasted_s
    every = gaps_of(evidence.tries, end_s)
    gone = [(since, until) for since, until in every if since <= blow.ended_s and until >= blow.began_s]
    if not gone:
        return "no submission was turned away"
    return f"submissions turned away for {sum(until - since for since, until in gone):.2f} s"


def _accepted_after(evidence: Evidence, began_s: float) -> float | None:
    ends = [each.ended_s for each in evidence.tries if each.began_s >= began_s and not each.why]
    return min(ends) - began_s if ends else None


def _answered_after(evidence: Evidence, began_s: float) -> float | None:
    ends = [each.began_s + each.took_s for each in evidence.called if each.began_s >= began_s and each.ok]
    return min(ends) - began_s if ends else None


def _works_after(evidence: Evidence, blow: Blow, from_ms: Millis) -> float | None:
    """Seconds from a moment until the first task of the executor was done that was handed in after the blow."""
    executor = KILLS_AND_WORKS[blow.kind]
    ends = [
        each.ended_ms
        for each in evidence.histories.values()
        if each.executor == executor and each.completed and each.created_ms >= blow.began_ms
        if each.ended_ms >= from_ms
    ]
    return (min(ends) - from_ms) / 1000 if ends else None

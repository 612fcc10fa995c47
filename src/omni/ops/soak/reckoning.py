"""What a soak comes to: shares and times, from the clients' ledger, the event log and the executor's ledger. Pure.

Each share is given in every honest view, because they answer different questions:

    submission   by client   of all wishes, those acknowledged within the client's 10 s, over as many tries as it took
                 by try      of all requests, those acknowledged; a client that comes again at once counts again
                 by time     of all the time, that outside the gaps; a gap reaches from the beginning of a failed try
                             to the end of the first good one that began after it. How often a daemon is killed is the
                             soak's choice, and what is down while a disk is full is meant to be: no verdict hangs on it
    completion   by rule     of all tasks, those completed within 30 s of acceptance; time in BRAINSTEM is not counted
                             for a task that needs the cloud, for then it waits by the owner's rule
                 raw         the same, every second counted
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from omni.domain.values import Millis
from omni.ops.record import Change, History
from omni.ops.soak.clients import WITHIN_S, Try, Wish
from omni.ops.soak.ledger import Line

DONE_WITHIN_S = 30.0


class Share(msgspec.Struct, frozen=True):
    """A part of a whole; `unit` is empty for a count."""

    name: str
    part: float
    whole: float
    unit: str = ""

    @property
    def percent(self) -> float | None:
        """In hundredths, to a thousandth; None where there was nothing."""
        return round(100 * self.part / self.whole, 3) if self.whole else None


class Times(msgspec.Struct, frozen=True):
    """Durations in seconds; `missing` is how many never came to an end."""

    name: str
    count: int
    p50_s: float | None
    p99_s: float | None
    max_s: float | None
    missing: int = 0


class Doubles(NamedTuple):
    """What the executor's ledger says against the log."""

    twice: int  # tasks whose effect is there more than once
    unfounded: int  # tasks that the log calls completed, without any effect


def times(name: str, samples: Iterable[float | None]) -> Times:
    """The usual three of a sample; the 99th of a hundred is the one that one in a hundred is above."""
    every = list(samples)
    known = sorted(each for each in every if each is not None)
    if not known:
        return Times(name, 0, None, None, None, len(every))
    p50, p99 = (round(_quantile(known, part), 3) for part in (0.5, 0.99))
    return Times(name, len(known), p50, p99, round(known[-1], 3), len(every) - len(known))


def _quantile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that so large a part does not exceed."""
    at = -(-len(ordered) * round(part * 1000) // 1000)
    return ordered[max(0, at - 1)]


# --- submission -------------------------------------------------------------------------------------------------------


def by_client(wishes: Iterable[Wish]) -> Share:
    """Of all wishes that had their time."""
    over = [wish for wish in wishes if wish.ended_s is not None]
    good = sum(bool(wish.task_id) and (wish.ended_s or 0) - wish.began_s <= WITHIN_S for wish in over)
    return Share("submission, by client", good, len(over))


def by_try(tries: Iterable[Try]) -> Share:
    """Of all requests."""
    good = Counter(not each.why for each in tries)
    return Share("submission, by try", good[True], good.total())


Span: TypeAlias = tuple[float, float]


def by_time(gaps: Iterable[Span], whole: Span, apart: Sequence[Span] = ()) -> Share:
    """Of all the time in `whole`; `gaps` is when nothing was taken, and `apart` what is left out of both."""
    inside = [_within(gap, whole) for gap in gaps]
    down = _length(inside) - sum(_length(_within(gap, each) for each in apart) for gap in inside)
    counted = _length([whole]) - _length(_within(each, whole) for each in apart)
    name = "submission, by time, full disks apart" if apart else "submission, by time"
    return Share(name, round(counted - down, 3), round(counted, 3), "s")


def _within(span: Span, other: Span) -> Span:
    return max(span[0], other[0]), min(span[1], other[1])


def _length(spans: Iterable[Span]) -> float:
    return sum(max(0.0, until - since) for since, until in spans)


def gaps_of(tries: Iterable[Try], end_s: float) -> list[Span]:
    """When nothing was taken: from a failed try to the end of the first good one that began after it."""
    found: list[Span] = []
    since: float | None = None
    for each in sorted(tries):
        if each.why and since is None:
            since = each.began_s
        elif not each.why and since is not None:
            found.append((since, each.ended_s))
            since = None
    return found if since is None else [*found, (since, end_s)]


# --- completion -------------------------------------------------------------------------------------------------------


def completion(histories: Iterable[History], brainstem: Sequence[tuple[Millis, Millis]], cloud: set[str]) -> Share:
    """Those completed in time; for executors in `cloud` the time in BRAINSTEM is not counted."""
    every = [history for history in histories if history.created_ms]
    good = sum(_in_time(each, brainstem if each.executor in cloud else ()) for each in every)
    return Share("completion, by rule" if cloud else "completion, raw", good, len(every))


def _in_time(history: History, excused: Sequence[tuple[Millis, Millis]]) -> bool:
    if not history.completed:
        return False
    since, until = history.created_ms, history.ended_ms
    waited = sum(max(0, min(end, until) - max(begin, since)) for begin, end in excused)
    return until - since - waited <= DONE_WITHIN_S * 1000


def in_mode(changes: Iterable[Change], mode: str, end_ms: Millis) -> list[tuple[Millis, Millis]]:
    """The stays in a mode, up to `end_ms`."""
    found: list[tuple[Millis, Millis]] = []
    since: Millis | None = None
    for change in changes:
        if since is not None:
            found.append((since, change.at))
        since = change.at if change.mode == mode else None
    return found if since is None else [*found, (since, end_ms)]


# --- what was done ----------------------------------------------------------------------------------------------------


def doubles(lines: Iterable[Line], histories: Mapping[str, History], executor: str) -> Doubles:
    """The effects of the executor that leaves marks, against the tasks that the log gave it."""
    effects: dict[str, int] = defaultdict(int)
    for line in lines:
        effects[line.task_id] += line.word == "done"
    done = {name for name, each in histories.items() if each.executor == executor and each.completed}
    return Doubles(sum(count > 1 for count in effects.values()), sum(not effects[name] for name in done))

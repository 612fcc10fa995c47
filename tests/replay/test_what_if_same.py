"""The same policy changes nothing, whatever the history; checked again for many more of them by the torture run."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from tests.replay.chronicle import Chronicle, price

from omni.domain import board as boards
from omni.domain import events as ev
from omni.domain.board import Board
from omni.replay.costs import Bill
from omni.replay.what_if import Answer, Policy, SecondReading

FREQUENT = (
    "TaskHeld",
    "CallRefused",
    "AttemptInterrupted",
    "TaskSuspended",
    "TaskRestored",
    "ProxyChanged",
    "degraded",
    "released",
)
HISTORIES = 300 * int(os.environ.get("OMNI_TORTURE") or 1)


def second(chronicle: Chronicle, policy: Policy | None, after: int = 0) -> Answer:
    reading = SecondReading(policy, price, after, len(chronicle.log))
    for row in chronicle.log:
        reading.take(*row)
    return reading.close()


def own_policy(chronicle: Chronicle) -> Policy:
    return Policy(chronicle.settings, chronicle.watched)


def check_nothing_changes(seed: int) -> Counter[str]:
    """Read one history again by its own policy; gives what happened in it."""
    reconfigured = seed % 4 == 0
    chronicle = Chronicle(seed, reconfigured=reconfigured)
    answer = second(chronicle, None if reconfigured else own_policy(chronicle))
    assert not answer.changed, (seed, answer.view())
    assert answer.cost.same_usd == answer.cost.recorded_usd
    for tally in (answer.held, answer.failed):
        assert (tally.same, tally.delta, tally.unknown) == (tally.recorded, 0, 0), seed
    assert (answer.latency.same, answer.latency.same_ms) == (answer.latency.recorded, answer.latency.recorded_ms)
    check_against_the_bill(chronicle, answer)
    return Counter(_what(event) for *_, event in chronicle.log) + Counter(released=_released(chronicle))


def _what(event: Any) -> str:
    degraded = isinstance(event, ev.TaskRouted) and event.route is not None and not event.candidates
    return "degraded" if degraded else type(event).__name__


def _released(chronicle: Chronicle) -> int:
    """How often a task that a day's cap held went on by itself."""
    board, times = Board(), 0
    for position, stream, at, event in chronicle.log:
        task = board.tasks.get(stream.removeprefix(ev.TASK_PREFIX))
        alone = task is not None and task.capped is not None and task.capped.alone
        times += alone and isinstance(event, ev.TaskRouted)
        if stream != ev.HEALTH_STREAM:
            boards.evolve(board, stream, event, at, position)
    return times


def check_against_the_bill(chronicle: Chronicle, answer: Answer) -> None:
    """`omni costs` adds up the same log by other code."""
    bill = Bill("day")
    for _, stream, at, event in chronicle.log:
        bill.add(stream, event, at)
    bill.close()
    known = (bill.total.billed_usd or 0.0) + (bill.total.reported_usd or 0.0)
    assert answer.cost.recorded_usd == pytest.approx(known, abs=1e-9)


def check_range(seed: int) -> None:
    """From a point in the middle on, too, nothing changes."""
    chronicle = Chronicle(seed)
    answer = second(chronicle, own_policy(chronicle), after=len(chronicle.log) // 2)
    assert not answer.changed, (seed, answer.view())


@pytest.mark.timeout(0)
def test_the_same_policy_changes_nothing_over_random_histories() -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        seen += check_nothing_changes(seed)
        if seed % 10 == 0:
            check_range(seed)
    for each in FREQUENT:
        assert seen[each] > HISTORIES // 30, (each, seen)

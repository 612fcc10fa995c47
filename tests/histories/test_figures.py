"""The figures of whole histories against the states that the domain itself makes of the same events."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from tests.histories.conftest import OpenGolden
from tests.histories.make import LOGS

from omni.domain import events as ev
from omni.domain.board import STREAMS, Board
from omni.domain.folding import fold
from omni.domain.values import AttemptState
from omni.replay.history import History
from omni.server.labels import Names
from omni.server.tally import Tally

# Each as it was recorded: whole, and begun in the middle by a daemon that knows the board of that moment.
NAMES = sorted(file.stem for file in LOGS.glob("*.jsonl") if file.stem != "damaged")
BEGINNINGS = (0.0, 0.3, 0.7)


def board_at(history: History, position: int) -> Board:
    board = Board()
    fold(board, history.reader.facts(0, STREAMS, until=position))
    return board


def labels_of(board: Board) -> Names:
    return Names(
        executors=frozenset(board.executors) | {t.route.executor for t in board.tasks.values() if t.route},
        types=frozenset(task.kind for task in board.tasks.values()),
    )


def ended(board: Board) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for task in board.tasks.values():
        if task.ended:
            found[task.kind or "none", task.route.executor if task.route else "none", task.state.value] += 1
    return found


def tried(board: Board) -> Counter[str]:
    over = (AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.CANCELLED, AttemptState.INTERRUPTED)
    return Counter(a.route.executor for t in board.tasks.values() for a in t.attempts if a.state in over)


def counted(history: History, begun: int, names: Names) -> Any:
    tally = Tally(names, begun, lambda after, until: history.reader.facts(after, (), until=until))
    tally.begin(board_at(history, begun))
    tally._catch_up(history.reader.head.position)
    return tally.counted()


@pytest.mark.parametrize("share", BEGINNINGS)
@pytest.mark.parametrize("name", NAMES)
def test_figures_are_the_difference_of_two_boards(golden: OpenGolden, name: str, share: float) -> None:
    history = golden(name)
    head = history.reader.head.position
    begun = int(head * share)
    before, after = board_at(history, begun), board_at(history, head)
    figures = counted(history, begun, labels_of(after))
    assert figures.counters["omni_tasks_ended_total"] == dict(ended(after) - ended(before))
    attempts: Counter[str] = Counter()
    for (executor, _), count in figures.counters["omni_attempts_ended_total"].items():
        attempts[executor] += int(count)
    assert attempts == tried(after) - tried(before)
    assert figures.counters["omni_tasks_created_total"] == {(): len(after.tasks) - len(before.tasks)}


@pytest.mark.parametrize("name", NAMES)
def test_calls_tokens_and_money_are_those_of_the_ledger(golden: OpenGolden, name: str) -> None:
    history = golden(name)
    board = board_at(history, history.reader.head.position)
    counters = counted(history, 0, labels_of(board)).counters
    booked = [each for day in board.ledger.days.values() for each in day.values()]
    assert sum(counters.get("omni_model_calls_total", {}).values()) == sum(each.calls for each in booked)
    cost = counters.get("omni_model_cost_usd_total", {})
    for kind, of in (("billed", "billed_usd"), ("imputed", "imputed_usd"), ("kept", "kept_usd")):
        mine = sum(usd for labels, usd in cost.items() if labels[-1] == kind)
        assert mine == pytest.approx(sum(getattr(each, of) for each in booked))


def test_some_history_has_what_is_compared(golden: OpenGolden) -> None:
    names = Counter(type(row.event) for name in NAMES for row in golden(name).reader.read())
    for kind in (ev.TaskFailed, ev.AttemptInterrupted, ev.CallSettled, ev.TaskHeld, ev.ModeChanged, ev.CallRefused):
        assert names[kind], kind

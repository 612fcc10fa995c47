"""Applied all at once, events lead to the same board as one by one: wherever the fold stops, and wherever it began."""

import shutil
from collections.abc import Iterator

import pytest
from tests.replay.lived import eventful
from tests.sim.conftest import make_scratch

from omni.actors.router import Router
from omni.domain import board as boards
from omni.domain import events as ev
from omni.domain.board import Board, Fact
from omni.domain.folding import fold
from omni.domain.values import TaskError


@pytest.fixture(scope="module")
def day() -> Iterator[list[Fact]]:
    directory = make_scratch()
    world = eventful(directory)
    yield list(world.store.facts(0, Router.prefixes))
    world.close()
    shutil.rmtree(directory)


def one_by_one(board: Board, facts: list[Fact]) -> Board:
    for position, stream, at, event in facts:
        boards.evolve(board, stream, event, at, position)
    return board


def at_once(board: Board, facts: list[Fact]) -> Board:
    fold(board, facts)
    return board


def same(one: Board, other: Board) -> bool:
    return one.snapshot() == other.snapshot() and (one.keys, one.asked) == (other.keys, other.asked)


@pytest.mark.parametrize("kept", [2, 10_000])
def test_a_fold_may_stop_and_go_on_anywhere(day: list[Fact], monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(boards, "KEEP_ENDED", kept)
    assert any(isinstance(event, ev.RampMoved) for *_, event in day), "nothing ran while a ramp counted"
    whole = one_by_one(Board(), day)
    for cut in range(0, len(day), 3):
        first = at_once(Board(), day[:cut])
        assert same(first, one_by_one(Board(), day[:cut])), f"up to {cut}"
        assert same(at_once(first, day[cut:]), whole), f"from {cut}"
        assert same(at_once(boards.restore(one_by_one(Board(), day[:cut]).snapshot()), day[cut:]), whole)


def test_what_comes_after_an_end_counts_as_it_does_one_by_one(day: list[Fact]) -> None:
    ends = [fact for fact in day if isinstance(fact[3], ev.TaskCompleted)]
    head = day[-1][0]
    late: list[Fact] = [
        (head + 1, ends[0][1], 1, ev.LateOutcomeArrived(1, "failed", "too late")),
        (head + 2, ends[-1][1], 2, ev.TaskFailed(TaskError("late", "a second end"))),
    ]
    assert same(at_once(Board(), [*day, *late]), one_by_one(Board(), [*day, *late]))

"""What differs between two moments is said where it differs, and nowhere else."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.replay.logs import beginning, completed_life, created, held_life, life, planned, routed, task_id, write

from omni.domain import events as ev
from omni.domain.values import ExecutorHealth
from omni.replay.diff import Difference, between, differences
from omni.replay.history import History
from omni.replay.state import state_at

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=12,
)
Named = st.lists(
    st.builds(lambda n, v: {"name": n, "v": v}, st.sampled_from("abcd"), JSON), unique_by=lambda t: t["name"]
)


def test_fields_are_named_by_their_path() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "same": True}
    after = {"a": {"b": 2, "c": [2, 1]}, "same": True, "new.er": "x"}
    assert differences(before, after) == [
        Difference("a.b", 1, 2), Difference("a.c", [1, 2], [2, 1]), Difference('["new.er"]', None, "x"),
    ]  # fmt: skip


def test_a_thing_that_comes_first_moves_no_other() -> None:
    one, two = {"name": "one", "state": "up"}, {"name": "two", "state": "up"}
    after = [{"name": "zero", "state": "up"}, one, {"name": "two", "state": "down"}]
    assert differences({"c": [one, two]}, {"c": after}) == [
        Difference("c[two].state", "up", "down"), Difference("c[zero]", None, after[0]),
    ]  # fmt: skip


def test_things_without_names_of_their_own_are_compared_as_a_whole() -> None:
    twice = [{"name": "a", "v": 1}, {"name": "a", "v": 2}]
    assert differences(twice, twice[:1]) == [Difference("", twice, twice[:1])]


@pytest.mark.parametrize(("one", "other"), [(True, 1), (None, 0), ("", None), ([True], [1]), ([], {}), (0, False)])
def test_what_only_looks_alike_differs(one: Any, other: Any) -> None:
    assert differences({"v": one}, {"v": other}) == [Difference("v", one, other)]


@given(one=JSON, other=JSON)
def test_the_way_back_is_the_way_turned_round(one: Any, other: Any) -> None:
    there = {(d.path, str(d.before), str(d.after)) for d in differences(one, other)}
    back = {(d.path, str(d.after), str(d.before)) for d in differences(other, one)}
    assert there == back
    assert differences(one, one) == []


@given(one=JSON, other=JSON)
def test_nothing_that_differs_goes_unsaid(one: Any, other: Any) -> None:
    def bare(value: Any) -> Any:  # what is absent counts as null
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if bare(v) is not None}
        return [bare(v) for v in value] if isinstance(value, list) else value

    if msgspec.json.encode(bare(one), order="sorted") != msgspec.json.encode(bare(other), order="sorted"):
        assert differences(one, other)


@given(things=Named, data=st.data())
def test_the_order_of_named_things_does_not_matter(things: list[Any], data: st.DataObject) -> None:
    assert differences(things, data.draw(st.permutations(things))) == []


def test_a_task_that_ends_is_the_same_task(tmp_path: Path) -> None:
    write(tmp_path, *beginning(), *completed_life(1), *held_life(2), *life(3, created(), routed(), planned(3)))
    with History.open(tmp_path) as history:
        found = {d.path: (d.before, d.after) for d in between(state_at(history, 7), state_at(history, 9))}
        later = between(state_at(history, 9), state_at(history, 11))
    one = f"tasks[{task_id(1)}]"
    assert found[f"{one}.state"] == ("executing", "completed")
    assert found[f"{one}.attempts[1].state"] == ("started", "succeeded")
    assert found["counts.completed"] == (None, 1)
    assert found["router.executors[echo].running"] == (1, 0)
    assert not [path for path in found if path.startswith("tasks") and not path.startswith(one)]
    assert [d.path for d in later] == ["counts.held", f"tasks[{task_id(2)}]"]


def test_what_left_memory_is_compared_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni.domain.board.KEEP_ENDED", 1)
    write(tmp_path, *beginning(), *(each for n in range(1, 5) for each in completed_life(n)))
    with History.open(tmp_path) as history:
        found = {d.path: d.after for d in between(state_at(history, 7), state_at(history, 27))}
        again = between(state_at(history, 9), state_at(history, 27))
    assert found[f"tasks[{task_id(1)}].state"] == "completed", "open before, and long gone after"
    assert not [d for d in again if task_id(1) in d.path], "it had ended, and nothing more happened to it"


def test_the_health_of_an_executor_shows_where_it_changed(tmp_path: Path) -> None:
    noted = ev.ExecutorNoted("echo", ExecutorHealth("failed", "gone"))
    write(tmp_path, *beginning(), (ev.ROUTER_STREAM, noted))
    with History.open(tmp_path) as history:
        assert between(state_at(history, 3), state_at(history, 4)) == [
            Difference("router.executors[echo].noted.state", "unknown", "failed"),
            Difference("router.executors[echo].noted.reason", "", "gone"),
        ]

"""Rows of a timeline: exact on a small history, alike from wherever they begin, and quick to find."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace
from tests.replay.logs import (
    AT_MS,
    beginning,
    completed_life,
    created,
    held_life,
    life,
    planned,
    routed,
    succeeded,
    task_id,
    write,
)

from omni.domain import events as ev
from omni.domain.errors import NotFound
from omni.domain.values import ExecutorHealth, Result, Route
from omni.replay import timeline as module
from omni.replay.history import Ambiguous, History
from omni.replay.timeline import EVENT_TYPES, Row, Wanted, mode_at, timeline

ONE, TWO = task_id(1), task_id(2)
OTHER = Route("absent", "P2", "large")


def mode(before: Any, after: Any, reason: str) -> tuple[str, Any]:
    return ev.HEALTH_STREAM, ev.ModeChanged(before, after, "proxy", reason)


def reserved(call: str, n: int) -> ev.CallReserved:
    return ev.CallReserved(call, "proxy", "small", "NORMAL", n)


def moved(n: int) -> ev.AttemptPlanned:
    """The second attempt goes to another executor."""
    return ev.AttemptPlanned(n, OTHER, "key", "handle", "resume", 1, 1)


STORY = [
    *beginning(),  # 1 to 3
    *life(1, created(), routed(), planned(1), ev.AttemptStarted(1, 7), reserved("a", 1)),  # 4 to 8
    mode("NORMAL", "DEGRADED", "the proxy is down"),  # 9
    *life(1, ev.AttemptInterrupted(1, "no word", 5), moved(2), reserved("b", 2), ev.CallSettled("a", "closed")),  # 13
    mode("DEGRADED", "NORMAL", "the proxy is back"),  # 14
    *life(1, ev.CallSettled("b", "ok", 0.25), succeeded(2), ev.TaskCompleted(2)),  # 15 to 17
    *life(1, ev.LateOutcomeArrived(1, "succeeded", "", Result("late"))),  # 18
    (ev.ROUTER_STREAM, ev.ExecutorNoted("absent", ExecutorHealth("failed", "gone"))),  # 19
    (ev.SYSTEM_STREAM, ev.RepairStarted(1, TWO)),  # 20
    *held_life(2),  # 21, 22
]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(write(tmp_path / "data", *STORY)) as opened:
        yield opened


def rows(history: History, **wanted: Any) -> list[Row]:
    return list(timeline(history, Wanted(**wanted)))


def seen(found: list[Row]) -> list[int]:
    return [row.position for row in found]


def test_the_rows_of_a_task_are_exact(history: History) -> None:
    echo = f"task-{ONE}", ONE, 1, "echo"
    stream = echo[:2]
    told: list[tuple[Any, ...]] = [
        (4, 0, "NORMAL", "tasks", *stream, 0, "", "task.created", "“say hello” from test"),
        (5, 1, "NORMAL", "echo", *stream, 0, "echo", "task.routed", "goes to echo: takes general work (small)"),
        (6, 2, "NORMAL", "echo", *echo, "attempt.planned", "attempt 1 by echo"),
        (7, 3, "NORMAL", "echo", *echo, "attempt.started", "attempt 1 began, process 7"),
        (8, 4, "NORMAL", "echo", *echo, "call.reserved", "model call: small at proxy, free"),
        (10, 6, "DEGRADED", "echo", *echo, "attempt.interrupted",
         "attempt 1 was cut off: no word; another try follows"),
        (11, 7, "DEGRADED", "absent", *stream, 2, "absent", "attempt.planned", "attempt 2 by absent"),
        (12, 8, "DEGRADED", "absent", *stream, 2, "absent", "call.reserved", "model call: small at proxy, free"),
        (13, 9, "DEGRADED", "echo", *echo, "call.settled", "model call ended: closed"),
        (15, 11, "NORMAL", "absent", *stream, 2, "absent", "call.settled", "model call ended: ok, 0.25 USD billed"),
        (16, 12, "NORMAL", "absent", *stream, 2, "absent", "attempt.succeeded", "attempt 2 succeeded: hello"),
        (17, 13, "NORMAL", "absent", *stream, 2, "absent", "task.completed", "done"),
        (18, 14, "NORMAL", "echo", *echo, "attempt.late_outcome",
         "attempt 1 succeeded after it was given up; nothing changes"),
    ]  # fmt: skip
    expected = [Row(position, AT_MS + position - 1, *more) for position, *more in told]
    assert rows(history, task=ONE) == expected
    assert rows(history, task=ONE[:-1] + "1") == expected


def test_the_task_by_index_and_the_walk_over_everything_tell_the_same(history: History) -> None:
    for after in range(23):
        for until in (None, *range(after, 23)):
            walked = [row for row in rows(history, after=after, until=until) if row.stream == f"task-{ONE}"]
            by_index = rows(history, task=ONE, after=after, until=until)
            assert [replace(row, since_ms=0) for row in by_index] == [replace(row, since_ms=0) for row in walked]


def test_whoever_begins_in_the_middle_sees_the_same_rows(history: History) -> None:
    whole = rows(history)
    assert seen(whole) == list(range(1, 23))
    for after in range(23):
        rest = rows(history, after=after)
        since = [row.since_ms for row in rest]
        assert since == list(range(22 - after))
        assert [(r.mode, r.attempt, r.executor, r.lane, r.text) for r in rest] == [
            (r.mode, r.attempt, r.executor, r.lane, r.text) for r in whole[after:]
        ]


def test_a_walk_that_remembers_no_task_looks_each_one_up(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(history)
    monkeypatch.setattr(module, "LIVES_KEPT", 0)
    assert rows(history) == whole


@pytest.mark.parametrize(
    ("wanted", "positions"),
    [
        ({"executor": "echo"}, [5, 6, 7, 8, 10, 13, 18]),
        ({"executor": "absent"}, [11, 12, 15, 16, 17, 19]),
        ({"executor": "nobody"}, []),
        ({"events": ("attempt",)}, [6, 7, 10, 11, 16, 18]),
        ({"events": ("task.", "health.mode")}, [4, 5, 9, 14, 17, 21, 22]),
        ({"events": ("task.created",), "after": 4}, [21]),
        ({"events": ("no.such",)}, []),
        ({"events": ("router.", "system.")}, [1, 2, 3, 19, 20]),
        ({"events": ("router.executor",), "executor": "absent"}, [19]),
        ({"events": ("call.settled",), "executor": "echo"}, [13]),
        ({"task": ONE, "events": ("call.",), "after": 8, "until": 13}, [12, 13]),
        ({"task": TWO}, [21, 22]),
        ({"after": 22}, []),
        ({"until": 0}, []),
    ],
)
def test_filters_leave_exactly_what_is_wanted(history: History, wanted: Any, positions: list[int]) -> None:
    found = rows(history, **wanted)
    assert seen(found) == positions
    whole = {row.position: row for row in rows(history)}
    for row in found:
        assert (row.mode, row.executor, row.attempt) == (
            whole[row.position].mode, whole[row.position].executor, whole[row.position].attempt
        )  # fmt: skip


def test_relative_times_count_from_the_first_row_that_is_shown(history: History) -> None:
    assert [row.since_ms for row in rows(history, events=("health.",))] == [0, 5]


def test_an_event_outside_of_its_stream_names_its_task_and_every_keeper_has_a_lane(history: History) -> None:
    lanes = {row.position: (row.lane, row.task_id) for row in rows(history)}
    assert lanes[20] == ("system", TWO)
    assert lanes[19] == ("absent", "")
    assert lanes[3] == ("router", "")
    assert lanes[9] == ("health", "")


def test_events_that_are_found_without_a_walk_know_the_mode_too(tmp_path: Path) -> None:
    noted = (ev.ROUTER_STREAM, ev.ExecutorNoted("echo", ExecutorHealth("ready")))
    told = [noted, mode("NORMAL", "DEGRADED", "down"), noted, mode("DEGRADED", "NORMAL", "back"), noted]
    with History.open(write(tmp_path / "data", *told)) as history:
        for after in range(6):
            found = [row.mode for row in rows(history, events=("router.",), after=after)]
            assert found == ["NORMAL", "DEGRADED", "NORMAL"][(after + 1) // 2 :]


def test_the_mode_is_known_at_every_position(history: History) -> None:
    modes = [mode_at(history.reader, position) for position in range(23)]
    assert modes == ["NORMAL"] * 9 + ["DEGRADED"] * 5 + ["NORMAL"] * 9


def test_a_task_that_is_not_there_is_not_found_and_a_short_id_is_ambiguous(history: History) -> None:
    with pytest.raises(NotFound):
        rows(history, task="ffffffff")
    with pytest.raises(Ambiguous):
        rows(history, task=ONE[:10])


def test_words_are_told_in_the_language_that_is_asked_for(history: History) -> None:
    told = [row.text for row in timeline(history, Wanted(events=("health.mode", "task.completed")), language="zh")]
    assert told == ["NORMAL → DEGRADED：the proxy is down", "DEGRADED → NORMAL：the proxy is back", "完成"]


def test_the_streams_that_are_named_like_their_events_hold_no_others() -> None:
    """A walk over these streams alone is only sound as long as their events stand nowhere else."""
    for own in (ev.RouterEvent, ev.HealthEvent, ev.SystemEvent):
        assert len({kind.__struct_config__.tag.partition(".")[0] for kind in get_args(own)}) == 1


def test_every_type_of_event_can_be_asked_for() -> None:
    assert Wanted(events=tuple(EVENT_TYPES)).types == EVENT_TYPES
    assert Wanted().types == ()


def test_progress_is_told_while_a_long_log_is_walked(tmp_path: Path) -> None:
    many = [event for n in range(1, 4_001) for event in completed_life(n)]
    said: list[int] = []
    with History.open(write(tmp_path / "data", *beginning(), *many)) as history:
        walked = sum(1 for _ in timeline(history, Wanted(), said.append))
        assert said == [10_000, 20_000]
        one = [row.position for row in timeline(history, Wanted(task=task_id(3_999)))]
    assert walked == 24_003
    assert one == list(range(23_992, 23_998))

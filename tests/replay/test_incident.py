"""An incident's figures against what was written, by hand."""

from pathlib import Path
from typing import Any

import pytest
from tests.histories.make import unpack
from tests.replay.logs import AT_MS, ROUTE, beginning, completed_life, created, life, planned, routed, write, write_at

from omni.domain import events as ev
from omni.domain.values import Evidence, Held, Result, Route, TaskError
from omni.replay.affected import MOST_REASONS, MOST_TASKS
from omni.replay.cost_table import DayTable
from omni.replay.history import History
from omni.replay.incident import RAW_EVENTS, Incident, incident


def told(data_dir: Path, after: int = 0, until: int | None = None) -> Incident:
    with History.open(data_dir) as history:
        return incident(history, after, until)


def seen(at: int, verdict: str = "refused") -> Evidence:
    return Evidence(AT_MS + at, "probe", verdict)


def outage(*between: tuple[int, str, Any]) -> list[tuple[int, str, Any]]:
    """NORMAL is lost after 10 s and back after 40 s; what happens besides comes in between."""
    changed = ev.ModeChanged("NORMAL", "BRAINSTEM", "cloud", "all gone", (seen(8_000, "ok"), seen(8_500), seen(9_900)))
    back = ev.ModeChanged("BRAINSTEM", "NORMAL", "", "back", (seen(8_500), seen(39_000, "ok")))
    rows = [
        *((at, stream, event) for at, (stream, event) in enumerate(beginning())),
        (10_000, ev.HEALTH_STREAM, changed),
        *between,
        (40_000, ev.HEALTH_STREAM, back),
        (60_000, ev.ROUTER_STREAM, ev.RampMoved(0)),
    ]
    return [(AT_MS + at, stream, event) for at, stream, event in rows]


def task(number: int, *events: tuple[int, Any]) -> list[tuple[int, str, Any]]:
    (stream, _), *_ = life(number, created())
    return [(at, stream, event) for at, event in events]


def test_modes_say_how_long_they_lasted_and_how_soon_they_were_noticed(tmp_path: Path) -> None:
    found = told(write_at(tmp_path, *outage()))
    lost, back = found.changes
    assert (lost.before, lost.after, lost.noticed_ms, lost.lasted_ms) == ("NORMAL", "BRAINSTEM", 1_500, 30_000)
    assert (back.noticed_ms, back.lasted_ms) == (None, None)  # a way back is not noticed, and it lasts on
    assert found.mode_ms == {"NORMAL": 30_000, "BRAINSTEM": 30_000}


def test_a_change_that_a_drill_made_says_so(tmp_path: Path) -> None:
    made_up = Evidence(AT_MS, "probe", "refused", "drill: connection refused")
    rows = [
        (ev.HEALTH_STREAM, ev.ModeChanged("NORMAL", "DEGRADED", "proxy", "down", (made_up,))),
        (ev.HEALTH_STREAM, ev.ModeChanged("DEGRADED", "NORMAL", "", "up", (seen(1, "ok"),))),
        (ev.HEALTH_STREAM, ev.ModeChanged("NORMAL", "DEGRADED", "proxy", "down", (seen(2),))),
    ]
    write(tmp_path, *beginning(), *rows)
    assert [each.drill for each in told(tmp_path).changes] == [True, False, False]


def test_what_falls_into_a_mode_is_counted_with_it(tmp_path: Path) -> None:
    hit = task(
        1,
        (11_000, created()),
        (11_001, routed()),
        (11_002, planned(1)),
        (11_003, ev.TaskSuspended("all gone")),
        (11_004, ev.AttemptInterrupted(1, "paused", orderly=True)),
    )
    lost, back = told(write_at(tmp_path, *outage(*hit))).changes
    assert (lost.suspended, lost.interrupted) == (1, 1)
    assert (back.suspended, back.interrupted) == (0, 0)


def test_a_task_is_affected_by_what_happened_to_it_in_that_order(tmp_path: Path) -> None:
    again = ev.AttemptPlanned(2, Route("echo", "P2", "large", "DEGRADED"), "k", "h", "resume", 1, 1)
    steps = (
        created("do it"),
        routed(),
        planned(1),
        ev.AttemptFailed(1, TaskError("failed", "it said no"), AT_MS + 5),
        again,
        ev.AttemptSucceeded(2, Result("done")),
        ev.TaskCompleted(2),
    )
    write(tmp_path, *beginning(), *life(1, *steps), *completed_life(2))
    found = told(tmp_path)
    (only,) = found.affected
    assert (only.title, only.state, only.attempts, only.kinds) == ("do it", "completed", 2, ("attempt_failed", "again"))
    assert (only.tier, only.model, only.mode) == ("P2", "large", "DEGRADED")
    assert [(each.kind, each.text, each.attempt) for each in only.reasons] == [
        ("attempt_failed", "it said no", 1),
        ("again", "echo", 2),
    ]
    assert (found.affected_tasks, found.affected_by) == (1, {"attempt_failed": 1, "again": 1})


def test_the_state_of_an_affected_task_is_that_at_the_end_of_the_stretch(tmp_path: Path) -> None:
    held = ev.TaskHeld(Held("ask", "may it?", ("retry", "fail")))
    write(tmp_path, *beginning(), *life(1, created(), held, ev.TaskResolved("fail", "owner"), ev.TaskCancelled("me")))
    assert [told(tmp_path, 0, until).affected[0].state for until in (5, 7)] == ["held", "cancelled"]


def test_only_the_stretch_is_counted_but_what_was_open_before_it_is_known(tmp_path: Path) -> None:
    write(tmp_path, *beginning(), *life(1, created("early"), routed(), planned(1)), *completed_life(2))
    succeeded = (ev.AttemptSucceeded(1, Result("late")), ev.TaskCompleted(1))
    write(tmp_path, *life(1, *succeeded), *life(3, created("open")))
    found = told(tmp_path, 12)
    assert (found.open_before, found.counts["created"], found.counts["completed"]) == (1, 1, 1)
    assert (found.open, found.tasks_open, found.events) == ({"idle": 1}, 1, 3)
    assert (found.after, found.until, found.head) == (12, 15, 15)


def test_a_call_is_billed_to_the_stretch_in_which_it_was_reserved(tmp_path: Path) -> None:
    calls = [
        (ev.CALLS_STREAM, ev.CallReserved("one", "openrouter", "large", "NORMAL", client="me", paid=True)),
        (ev.CALLS_STREAM, ev.CallReserved("two", "openrouter", "large", "NORMAL", client="me", paid=True)),
        (ev.CALLS_STREAM, ev.CallSettled("one", "ok", 0.25)),
        (ev.CALLS_STREAM, ev.CallSettled("two", "ok", 0.5)),
    ]
    write(tmp_path, *beginning(), *calls)
    assert [told(tmp_path, *each).costs.billed_usd for each in ((0, None), (0, 4), (4, None), (5, None))] == [
        0.75,
        None,
        0.5,
        None,
    ]
    first = told(tmp_path, 0, 6)
    assert (first.costs.billed_usd, first.costs.open) == (0.25, 1)
    assert {day: set(models) for day, models in first.costs_by_day.items()} == {"2026-09-21": {"large"}}


def test_decisions_that_are_alike_stand_together(tmp_path: Path) -> None:
    nobody = ev.TaskRouted("gpu", 90, None, "nobody can", routed().candidates)
    lives = [event for n in range(1, 4) for event in completed_life(n)]
    write(tmp_path, *beginning(), *lives, *life(4, created(), nobody))
    many, none = told(tmp_path).choices
    assert (many.executor, many.tier, many.tasks, many.rejected) == (
        ROUTE.executor,
        "P1",
        3,
        (("absent", "disabled in the configuration"),),
    )
    assert (none.executor, none.tasks, none.reason) == ("", 1, "nobody can")


def test_lists_are_bounded_and_what_is_beyond_is_counted(tmp_path: Path) -> None:
    failing = [ev.CallRefused(f"c{n}", "day", "no money", 1) for n in range(MOST_REASONS + 3)]
    lives = [event for n in range(1, MOST_TASKS + 6) for event in life(n, created(), ev.TaskSuspended("gone"))]
    write(tmp_path, *beginning(), *life(999, created(), *failing), *lives)
    found = told(tmp_path)
    assert (len(found.affected), found.affected_tasks) == (MOST_TASKS, MOST_TASKS + 6)
    assert (len(found.affected[0].reasons), found.affected[0].more) == (MOST_REASONS, 3)
    assert found.affected_by == {"call_refused": 1, "suspended": MOST_TASKS + 5}
    assert (len(found.raw), found.events) == (RAW_EVENTS, found.head)


def test_an_answer_to_a_chat_is_a_notice_but_no_part_of_the_story(tmp_path: Path) -> None:
    notices = [ev.NoticeQueued("k1", "degraded"), ev.NoticeQueued("k2", "task_answer", to="telegram:1")]
    write(tmp_path, *beginning(), *((ev.SYSTEM_STREAM, each) for each in notices))
    found = told(tmp_path)
    assert found.notices == {"degraded": 1, "task_answer": 1}
    assert [each.type for each in found.moments] == ["system.started", "system.notice_queued"]


def test_the_verdict_is_of_the_whole_log(tmp_path: Path) -> None:
    write(tmp_path, *beginning(), *life(1, created(), ev.TaskCompleted(1), ev.TaskCompleted(1)), *completed_life(2))
    found = told(tmp_path, 6)
    assert found.verdict is not None
    assert found.verdict.events == 12
    assert [each.rule for each in found.verdict.findings][:1] == ["task.second_end"]


@pytest.mark.parametrize("name", ["quiet-day", "litellm-killed", "daemon-killed", "budget-hit"])
def test_a_stretch_costs_the_same_whether_its_beginning_is_read_or_known(tmp_path: Path, name: str) -> None:
    with History.open(unpack(name, tmp_path / name)) as history:
        facts = list(history.reader.facts(0, ()))
        for after in range(0, len(facts), 7):
            read = DayTable()
            for position, stream, at, event in facts:
                read.counting = position > after
                read.add(stream, event, at)
            read.close()
            found = incident(history, after, None, check=False)
            assert (found.costs_by_day, found.costs) == (read.cells, read.total), after


def test_a_crash_loop_is_part_of_the_story(tmp_path: Path) -> None:
    paused, resumed = ev.DispatchPaused(6, AT_MS, AT_MS + 600_000), ev.DispatchResumed("owner")
    rows = [(ev.ROUTER_STREAM, event) for event in (ev.RouterStarted("b"), paused, resumed)]
    found = told(write(tmp_path, *beginning(), *rows))
    kinds = [each.type for each in found.moments]
    assert [kind for kind in kinds if kind.startswith("router.")] == [
        "router.dispatch_paused",
        "router.dispatch_resumed",
    ]

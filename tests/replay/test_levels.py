"""Service levels where the golden logs have no example: written event by event, one millisecond apart."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.replay.logs import (
    AT_MS,
    beginning,
    codec,
    completed_life,
    created,
    failed_life,
    life,
    planned,
    routed,
    write,
)

from omni.domain import events as ev
from omni.domain.drill import MARK
from omni.domain.values import Evidence, Result
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry
from omni.replay.history import History
from omni.replay.level_figures import Levels, Share, Spread
from omni.replay.levels import levels
from omni.replay.trips import REMEMBERED, Trips


def read(tmp_path: Path, *streams: tuple[str, Any]) -> Levels:
    with History.open(write(tmp_path / "data", *streams)) as history:
        return levels(history)


def health(*events: Any) -> list[tuple[str, Any]]:
    return [(ev.HEALTH_STREAM, event) for event in events]


def system(*events: Any) -> list[tuple[str, Any]]:
    return [(ev.SYSTEM_STREAM, event) for event in events]


def lost(detail: str = "refused", **more: Any) -> ev.ModeChanged:
    return ev.ModeChanged("NORMAL", "DEGRADED", "proxy", "gone", (Evidence(AT_MS, "probe", "refused", detail),), **more)


BACK = ev.ModeChanged("DEGRADED", "NORMAL", "", "back")
DRILL_END = AT_MS + 6


def reserved(call: str, channel: str = "proxy") -> ev.CallReserved:
    return ev.CallReserved(call, channel, "large", "NORMAL", client="app")


# --- calls on their way ---------------------------------------------------------------------------------------------


def travel(*steps: Any, since: int = 0) -> tuple[list[int], int]:
    """What calls that moved took, and how many were never answered; each step is 100 ms after the one before."""
    trips, took = Trips(since), []
    for n, step in enumerate(steps):
        if isinstance(step, ev.CallReserved):
            trips.reserved(step, n * 100)
        elif (ms := trips.settled(step)) is not None:
            took.append(ms)
    return took, trips.unanswered


def test_a_call_that_finds_the_proxy_dead_is_moved_and_timed_to_its_first_byte() -> None:
    steps = (reserved("a/1"), ev.CallSettled("a/1", "refused"), reserved("a/2", "anthropic"))
    assert travel(*steps, ev.CallSettled("a/2", "ok", first_byte_ms=40, duration_ms=900)) == ([240], 0)
    assert travel(*steps, ev.CallSettled("a/2", "ok", duration_ms=900)) == ([1_100], 0)


def test_a_call_that_nobody_answers_after_the_proxy_is_unanswered() -> None:
    steps = (reserved("a/1"), ev.CallSettled("a/1", "hung"))
    assert travel(*steps) == ([], 1)
    assert travel(*steps, reserved("a/2", "anthropic"), ev.CallSettled("a/2", "refused")) == ([], 1)
    assert travel(*steps, since=1) == ([], 0)


def test_a_call_that_is_still_under_way_is_not_unanswered() -> None:
    assert travel(reserved("a/1"), ev.CallSettled("a/1", "refused"), reserved("a/2", "anthropic")) == ([], 0)


@pytest.mark.parametrize("verdict", ["rate_limited", "server_error", "out_of_credit"])
def test_going_on_to_another_tier_is_no_failover(verdict: str) -> None:
    steps = (reserved("a/1"), ev.CallSettled("a/1", verdict), reserved("a/2"), ev.CallSettled("a/2", "ok"))
    assert travel(*steps) == ([], 0)
    assert travel(*steps[:2]) == ([], 0)


def test_a_cloud_that_cannot_be_reached_is_no_failover_of_the_proxy() -> None:
    steps = (reserved("a/1", "anthropic"), ev.CallSettled("a/1", "refused"), reserved("a/2", "openrouter"))
    assert travel(*steps, ev.CallSettled("a/2", "ok", first_byte_ms=5)) == ([], 0)


def test_what_a_drill_made_up_is_no_failover() -> None:
    steps = (reserved("a/1"), ev.CallSettled("a/1", "refused", detail=f"{MARK}refused"), reserved("a/2", "anthropic"))
    assert travel(*steps, ev.CallSettled("a/2", "ok", first_byte_ms=5)) == ([], 0)


def test_words_of_other_versions_and_calls_of_unknown_beginning_are_passed_over() -> None:
    assert travel(reserved("a/1"), ev.CallSettled("a/1", "vanished")) == ([], 0)
    assert travel(ev.CallSettled("b/1", "refused"), reserved("whole"), ev.CallSettled("whole", "ok")) == ([], 0)


def test_calls_that_were_given_up_long_ago_leave_memory_and_stay_counted() -> None:
    steps = [s for n in range(REMEMBERED + 5) for s in (reserved(f"{n}/1"), ev.CallSettled(f"{n}/1", "refused"))]
    trips = Trips(0)
    for step in steps:
        trips.reserved(step, 0) if isinstance(step, ev.CallReserved) else trips.settled(step)
    assert len(trips._trips) == REMEMBERED
    assert trips.unanswered == REMEMBERED + 5


# --- modes, drills, tasks -------------------------------------------------------------------------------------------


def test_a_mode_that_a_person_asked_for_is_no_outage(tmp_path: Path) -> None:
    asked = ev.ModeChanged("NORMAL", "BRAINSTEM", "operator", "asked for by me")
    found = read(tmp_path, *beginning(), *health(asked), *health(ev.ModeChanged("BRAINSTEM", "NORMAL", "", "back")))
    assert [each.kind for each in found.outages] == ["asked"]
    assert found.modes["asked"]["BRAINSTEM"].times == 1
    assert (found.path, found.outages[0].detected_ms) == (Share(1.0, 1.0), None)


def test_a_fault_that_happens_during_a_drill_is_an_outage(tmp_path: Path) -> None:
    drill = system(ev.DrillBegun("proxy-down", DRILL_END))
    found = read(tmp_path, *beginning(), *drill, *health(lost(), BACK), *completed_life(1))
    assert [each.kind for each in found.outages] == ["outage"]
    assert found.drills[0].mode == ""


def test_another_reason_for_the_same_mode_is_no_further_outage(tmp_path: Path) -> None:
    again = ev.ModeChanged("DEGRADED", "DEGRADED", "proxy", "another reason")
    found = read(tmp_path, *beginning(), *health(lost(), again, BACK))
    assert found.modes["outage"]["DEGRADED"].times == 1
    assert found.modes["outage"]["DEGRADED"].total_ms == 2


@pytest.mark.parametrize(
    ("fault", "events", "ok"),
    [
        ("rate-limit", (), True),  # nothing is what it has to lead to
        ("proxy-down", (), False),
        ("proxy-down", (lost(f"{MARK}refused"),), None),
        ("rate-limit", (lost(f"{MARK}refused"), BACK), False),
    ],
)
def test_a_drill_is_judged_by_what_its_fault_has_to_lead_to(
    tmp_path: Path, fault: str, events: tuple[Any, ...], ok: bool | None
) -> None:
    drill = system(ev.DrillBegun(fault, AT_MS + 4))
    found = read(tmp_path, *beginning(), *drill, *health(*events), *completed_life(1))
    assert found.drills[0].ok is ok


def test_a_task_that_failed_in_a_drill_spoils_it(tmp_path: Path) -> None:
    drill = system(ev.DrillBegun("proxy-down", AT_MS + 12))
    steps = (*drill, *health(lost(f"{MARK}refused")), *failed_life(1), *completed_life(2), *health(BACK))
    found = read(tmp_path, *beginning(), *steps)
    assert (found.drills[0].tasks_failed, found.drills[0].back_ms, found.drills[0].ok) == (1, 5, False)


def test_a_second_end_of_a_task_is_counted(tmp_path: Path) -> None:
    found = read(tmp_path, *beginning(), *completed_life(1), *life(1, ev.TaskCompleted(1)))
    assert (found.completed, found.doubled) == (1, 1)


def test_only_the_first_start_counts_as_overhead_and_a_dry_run_starts_with_its_answer(tmp_path: Path) -> None:
    cut_off = (ev.AttemptStarted(1), ev.AttemptInterrupted(1, "gone", AT_MS))
    twice = life(1, created(), routed(), planned(1), *cut_off, planned(1, 2), ev.AttemptStarted(2))
    dry = life(2, created(), routed(), planned(2), ev.AttemptSucceeded(1, Result("dry run")), ev.TaskCompleted(1))
    found = read(tmp_path, *beginning(), *twice, *dry)
    assert (found.overhead.count, found.overhead.total_ms) == (2, 2)


def test_a_stop_in_good_order_at_the_end_is_known_to_be_down(tmp_path: Path) -> None:
    found = read(tmp_path, *beginning(), *system(ev.DaemonStopped("SIGTERM")), *beginning()[:1])
    assert (found.up_ms, found.stopped_ms, found.unclear_ms) == (3, 1, 0)
    assert found.submission == Share(0.75, 0.75)


def test_an_empty_log_has_no_levels(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.submission, found.completion) == (Share(None, None), Share(None, None))
    assert found.overhead.ok is found.submission.ok is None


def test_a_bound_must_be_stayed_below_and_a_share_be_exceeded() -> None:
    spread = Spread(2_000)
    spread.add(1_999)
    assert spread.ok
    spread.add(2_000)
    assert (spread.over, spread.ok) == (1, False)
    assert Share(0.99, 0.99).ok is False
    assert Share(0.991, 1.0).ok is True
    assert Share(0.5, 1.0).ok is None


def test_tasks_that_left_memory_are_not_lost(tmp_path: Path) -> None:
    lives = [event for n in range(30) for event in completed_life(n)]
    found = read(tmp_path, *beginning(), *lives, *life(99, created()))
    assert (found.created, found.completed, found.open, found.lost) == (31, 30, 1, 0)


def test_a_clock_that_was_set_back_takes_no_time_away(tmp_path: Path) -> None:
    with closing(SqliteEventStore.open(tmp_path / "omni.db", codec())) as store:
        at = (AT_MS, AT_MS + 9_000, AT_MS + 2_000, AT_MS + 10_000)
        started, stopped = ev.DaemonStarted("0.1.0", 1, "boot-1"), ev.DaemonStopped("SIGTERM")
        store.append([
            Entry(ev.SYSTEM_STREAM, 1, started, at[0], 0, "brainstem", "m1"),
            Entry(ev.HEALTH_STREAM, 1, lost(), at[1], 1, "health", "m2"),
            Entry(ev.HEALTH_STREAM, 2, BACK, at[2], 2, "health", "m3"),
            Entry(ev.SYSTEM_STREAM, 2, stopped, at[3], 3, "brainstem", "m4"),
        ])  # fmt: skip
    with History.at(tmp_path / "omni.db") as history:
        found = levels(history)
    assert (found.up_ms, found.modes["outage"]["DEGRADED"].total_ms) == (10_000, 0)


# --- a killed daemon ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [1, 700])
def test_what_a_new_daemon_writes_before_it_says_so_is_no_word_of_the_dead_one(tmp_path: Path, before: int) -> None:
    write(tmp_path / "data", *beginning(), *completed_life(1))  # 1 to 9
    found = read(
        tmp_path,
        *[(ev.ROUTER_STREAM, ev.RouterStarted("boot-2"))] * before,
        *system(ev.DaemonStarted("0.1.0", 2, "boot-2")),
    )
    assert (found.crashes, found.unclear_ms) == (1, before + 1)
    assert found.submission == Share(8 / (9 + before), 1.0)

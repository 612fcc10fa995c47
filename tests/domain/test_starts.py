"""Crash loops: too many starts without a stop in good order pause dispatch, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.domain.given import READY, Desk

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import starts
from omni.domain.values import ExecutorSpec, StartGuard, TaskState

MINUTE = 60_000
GUARD = StartGuard()
DOWN = cmd.DaemonDown("SIGTERM")


@pytest.fixture
def desk() -> Desk:
    return Desk(ExecutorSpec("dry", ("general",)))


def boot(desk: Desk, name: str, *, after_ms: int = MINUTE, guard: StartGuard = GUARD) -> list[Any]:
    """Another start, whose executor is there at once; the events of the start itself."""
    desk.at += after_ms
    events = desk.put(cmd.Boot(name, desk.settings, guard))
    said = desk.sends
    desk.note("dry", READY)
    desk.sends = said
    return events


def looping(desk: Desk, starts_made: int = 6, *, after_ms: int = MINUTE) -> None:
    for n in range(starts_made):
        boot(desk, f"b-{n}", after_ms=after_ms)


def sent(desk: Desk, kind: type[Any]) -> list[Any]:
    return [send.message for send in desk.sends if isinstance(send.message, kind)]


def test_five_starts_within_ten_minutes_are_no_loop_and_the_sixth_is(desk: Desk) -> None:
    looping(desk, 5)
    assert not sent(desk, cmd.DispatchReport)
    events = boot(desk, "b-6")
    assert [type(each) for each in events[:2]] == [ev.RouterStarted, ev.DispatchPaused]
    assert desk.board.pause == ev.DispatchPaused(6, desk.at, desk.at + 10 * MINUTE)
    assert sent(desk, cmd.DispatchReport) == [cmd.DispatchReport("paused", desk.at, desk.at + 10 * MINUTE, 6)]
    (told,) = sent(desk, cmd.Tell)
    assert (told.kind, told.facts) == ("crash_loop", {"starts": "6", "minutes": "10"})


def test_starts_that_are_further_apart_never_count_together(desk: Desk) -> None:
    looping(desk, 40, after_ms=2 * MINUTE)
    assert desk.board.pause is None
    assert len(desk.board.starts) == 5


def test_the_highest_number_that_can_be_configured_is_no_switch(desk: Desk) -> None:
    for n in range(101):
        assert desk.board.pause is None
        boot(desk, f"b-{n}", after_ms=1, guard=StartGuard(100))
    assert desk.board.pause is not None


def test_a_stop_in_good_order_takes_all_starts_back(desk: Desk) -> None:
    for n in range(20):
        boot(desk, f"b-{n}", after_ms=1)
        assert desk.put(DOWN) == [ev.RouterStopped()]
    assert desk.board.starts == ()
    assert desk.board.pause is None


def test_a_pause_begins_nothing_and_stores_routes_and_calls_off_all_the_same(desk: Desk) -> None:
    looping(desk)
    assert [type(each) for each in desk.create("a")] == [ev.TaskCreated, ev.TaskRouted]
    desk.create("b")
    assert desk.task("a").state is TaskState.IDLE
    assert desk.put(cmd.CancelTask("r", "b", "owner")) == [ev.TaskCancelled("owner")]
    assert desk.started == []


def test_what_was_open_is_asked_about_and_its_outcome_counts(desk: Desk) -> None:
    desk.create("a")
    for n in range(6):
        boot(desk, f"b-{n}")
        assert [each.task_id for each in sent(desk, cmd.ReconcileAttempt)] == ["a"]
    desk.succeed("a")
    assert desk.task("a").state is TaskState.COMPLETED


def test_what_fails_in_a_pause_is_tried_again_only_after_it(desk: Desk) -> None:
    desk.create("a")
    looping(desk)
    desk.interrupt("a", resumable=True)
    desk.at += MINUTE
    desk.put(cmd.TimerFired("a"))
    assert desk.started == []
    desk.put(cmd.ResumeDispatch("owner"))
    assert desk.started == [("a", 2)]


def test_a_persons_word_lets_it_go_on_at_once(desk: Desk) -> None:
    looping(desk)
    desk.create("a")
    events = desk.put(cmd.ResumeDispatch("owner"))
    assert events[0] == ev.DispatchResumed("owner")
    assert desk.started == [("a", 1)]
    assert sent(desk, cmd.DispatchReport) == [cmd.DispatchReport()]
    assert desk.put(cmd.ResumeDispatch("owner")) == []


def test_it_is_paused_again_at_once_when_it_ends_again_after_that_word(desk: Desk) -> None:
    looping(desk)
    desk.put(cmd.ResumeDispatch("owner"))
    boot(desk, "again")
    assert desk.board.pause is not None


def test_the_pause_ends_by_itself_after_ten_minutes_of_life(desk: Desk) -> None:
    looping(desk)
    desk.create("a")
    woken, ends = live_on(desk, cmd.WakeIn("router", 0, starts.TIMER), lambda ran_ms: ran_ms)
    assert (ends, woken) == (10 * MINUTE, 11)
    assert desk.started == [("a", 1)]


@pytest.mark.parametrize("back_ms", [MINUTE, 9 * MINUTE, 600 * MINUTE])
@pytest.mark.parametrize("more", [0, 40])
def test_a_clock_that_was_set_back_ends_the_pause_or_prolongs_it_by_no_more_than_one(
    desk: Desk, back_ms: int, more: int
) -> None:
    looping(desk, 6 + more)
    (wake,) = sent(desk, cmd.WakeIn)  # by running time: nothing that waits for a time of day would ring now
    _, ends = live_on(desk, wake, lambda ran_ms: ran_ms - back_ms if ran_ms > 3 * MINUTE else ran_ms)
    assert ends <= 20 * MINUTE


def test_a_machine_that_slept_through_the_pause_goes_on_within_a_minute(desk: Desk) -> None:
    looping(desk)
    (wake,) = sent(desk, cmd.WakeIn)
    _, ends = live_on(desk, wake, lambda ran_ms: ran_ms + (60 * MINUTE if ran_ms > 3 * MINUTE else 0))
    assert ends <= 4 * MINUTE


def live_on(desk: Desk, wake: Any, shown: Callable[[int], int]) -> tuple[int, int]:
    """How often it is woken until the pause ends, and after how much running time; `shown` is what the clock adds."""
    began, ran_ms = desk.at, 0
    for woken in range(1, 100):
        ran_ms += wake.delay_ms
        desk.at = began + shown(ran_ms)
        if desk.put(cmd.TimerFired(starts.TIMER)):
            return woken, ran_ms
        (wake,) = sent(desk, cmd.WakeIn)
    raise AssertionError("it never ends")


def test_a_loop_that_goes_on_is_one_pause_and_one_notice(desk: Desk) -> None:
    looping(desk)
    since = desk.board.pause.since_ms if desk.board.pause else 0
    keys = set()
    for n in range(20):
        boot(desk, f"more-{n}", after_ms=90_000)
        keys |= {each.dedup for each in sent(desk, cmd.Tell)}
        assert desk.board.pause is not None
        assert desk.board.pause.since_ms == since
        assert desk.board.pause.until_ms == desk.at + 10 * MINUTE
    assert keys == {f"crash_loop:{since}"}


def test_a_stop_begins_nothing_more_and_the_next_start_does(desk: Desk) -> None:
    desk.put(DOWN)
    desk.create("a")
    assert desk.started == []
    assert desk.put(DOWN) == []
    boot(desk, "next")
    assert desk.task("a").state is TaskState.DISPATCHING


def test_the_word_of_a_stop_goes_the_way_of_all_that_was_planned_before_it(desk: Desk) -> None:
    desk.put(DOWN)
    assert [send.to for send in desk.sends if send.message == DOWN] == ["pool"]
    assert [send.to for send in starts.owed(desk.board) if send.message == cmd.DaemonDown("")] == ["pool"]


def test_a_pause_that_ends_while_it_is_being_stopped_opens_nothing(desk: Desk) -> None:
    looping(desk)
    desk.put(DOWN)
    desk.at += 10 * MINUTE
    for message in (cmd.TimerFired(starts.TIMER), cmd.ResumeDispatch("owner")):
        assert desk.put(message) == []
        assert desk.sends == []
    assert starts.report(desk.board).state == "stopping"


def test_a_guard_that_is_off_counts_nothing(desk: Desk) -> None:
    for n in range(50):
        assert boot(desk, f"b-{n}", after_ms=1, guard=StartGuard(0))[0] == ev.RouterStarted(f"b-{n}")
    assert desk.board.starts == ()


def test_a_log_that_knew_no_guard_means_what_it_meant(desk: Desk) -> None:
    assert cmd.Boot("b", desk.settings).guard.most == 0
    assert ev.RouterStarted("b").starts == ()


def test_a_board_from_a_snapshot_or_from_the_log_is_paused_alike(desk: Desk) -> None:
    looping(desk)
    restored = boards.restore(desk.board.snapshot())
    for board in (restored, desk.replayed()):
        assert (board.pause, board.starts, board.stopping) == (desk.board.pause, desk.board.starts, False)
    desk.put(DOWN)
    assert boards.restore(desk.board.snapshot()).stopping


def test_a_router_that_lost_its_memory_shows_again_whether_anything_begins_and_looks_at_the_pause(desk: Desk) -> None:
    assert [each.message for each in starts.owed(desk.board)] == [cmd.DispatchReport()]  # the door may show a pause
    looping(desk)
    again = [each.message for each in starts.owed(desk.board)]
    assert again == [starts.report(desk.board), cmd.WakeIn("router", 0, starts.TIMER)]

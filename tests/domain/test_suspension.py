"""The Router without the cloud: who waits, who goes on, and how all come back."""

from __future__ import annotations

import pytest
from tests.domain.given import READY, Desk, names, worker

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain import suspension
from omni.domain.values import ExecutorHealth, Mode, RoutingSettings, TaskError, TaskState

LOCAL = worker("local", types=("runbook",), needs_cloud=False)


def desk_with(*executors: object, watched: bool = False) -> Desk:
    desk = Desk(*(executors or (worker(max_concurrency=4),)))  # type: ignore[arg-type]
    if watched:
        desk.put(cmd.Boot("boot-2", RoutingSettings(desk.settings.executors, desk.settings.tiers, watched=True)))
        for executor in desk.settings.executors:
            desk.note(executor.name, READY)
    return desk


def mode(desk: Desk, mode: Mode, *, cleared: bool = True) -> list[str]:
    return names(desk.put(cmd.NoteMode(mode, reason="as observed", cleared=cleared)))


def states(desk: Desk) -> dict[str, TaskState]:
    return {task.id: task.state for task in desk.board.tasks.values()}


def is_woken_in(desk: Desk, delay_ms: int) -> bool:
    """Whether the Router has asked to be woken for its ramp, by a clock that nobody can set."""
    return cmd.WakeIn("router", delay_ms, "ramp") in [s.message for s in desk.sends]


def lose_the_cloud_with(desk: Desk, tasks: str) -> None:
    mode(desk, "BRAINSTEM")
    for name in tasks:
        desk.create(name)


def test_what_runs_is_suspended_and_its_executor_asked_to_pause() -> None:
    desk = desk_with()
    desk.create("a")
    assert mode(desk, "BRAINSTEM") == ["router.mode_noted", "task.suspended"]
    assert desk.task("a").state is TaskState.WAITING
    assert [s.message for s in desk.sends] == [cmd.PauseAttempt("a", 1, "worker")]


def test_what_its_executor_paused_goes_on_when_the_cloud_is_back_however_long_that_took() -> None:
    desk = desk_with(worker(on_crash="resume"))
    desk.create("a")
    mode(desk, "BRAINSTEM")
    desk.put(cmd.ReportInterrupted("a", 1, "it paused", resumable=True, orderly=True))
    assert desk.task("a").state is TaskState.WAITING
    desk.at += 5 * 3_600_000
    mode(desk, "NORMAL")
    assert desk.started == [("a", 2)]
    assert desk.task("a").attempts[-1].handle == desk.task("a").attempts[0].handle


def test_what_stands_in_a_queue_or_a_backoff_waits_too() -> None:
    desk = desk_with(worker(max_concurrency=1))
    desk.create("a")
    desk.create("b")
    desk.fail("a", "unavailable")
    mode(desk, "BRAINSTEM")
    assert set(states(desk).values()) == {TaskState.WAITING}


def test_a_newcomer_waits_with_a_route_for_later() -> None:
    desk = desk_with()
    mode(desk, "BRAINSTEM")
    assert names(desk.create("a")) == ["task.created", "task.routed", "task.suspended"]
    assert desk.task("a").route is not None


def test_a_local_executor_goes_on_and_takes_what_it_can() -> None:
    desk = desk_with(worker(), LOCAL)
    mode(desk, "BRAINSTEM")
    assert names(desk.create("a", type="runbook")) == ["task.created", "task.routed", "attempt.planned"]
    assert desk.task("a").attempts[0].route.mode == "BRAINSTEM"


def test_a_task_that_a_local_stand_in_can_do_does_not_wait() -> None:
    desk = desk_with(worker(), worker("spare", needs_cloud=False))
    mode(desk, "BRAINSTEM")
    desk.create("a")
    assert desk.started == [("a", 1)]
    assert desk.task("a").attempts[0].route.executor == "spare"


def test_a_finished_outcome_wins_while_the_task_waits() -> None:
    desk = desk_with()
    desk.create("a")
    mode(desk, "BRAINSTEM")
    assert names(desk.succeed("a")) == ["attempt.succeeded", "task.completed"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("retry", TaskState.WAITING), ("ask", TaskState.HELD), ("fail", TaskState.HELD), ("resume", TaskState.HELD)],
)
def test_nothing_fails_without_the_cloud(policy: str, expected: TaskState) -> None:
    desk = desk_with(worker(on_crash=policy))
    desk.create("a")
    mode(desk, "BRAINSTEM")
    desk.fail("a")
    assert desk.task("a").state is expected


def test_an_interrupted_attempt_that_can_be_resumed_waits() -> None:
    desk = desk_with(worker(on_crash="resume"))
    desk.create("a")
    mode(desk, "BRAINSTEM")
    desk.interrupt("a", resumable=True)
    assert desk.task("a").state is TaskState.WAITING
    desk.at += 120_000
    mode(desk, "NORMAL")
    assert desk.started == [("a", 2)]
    assert desk.task("a").attempts[1].resume


def test_an_attempt_that_still_runs_goes_on_and_is_not_started_again() -> None:
    desk = desk_with()
    desk.create("a")
    desk.put(cmd.ReportStarted("a", 1))
    mode(desk, "BRAINSTEM")
    assert mode(desk, "NORMAL") == ["router.mode_noted", "task.restored"]
    assert desk.task("a").state is TaskState.EXECUTING
    assert desk.started == []


def test_a_suspended_task_can_be_cancelled() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "a")
    assert names(desk.put(cmd.CancelTask("r", "a", "owner"))) == ["task.cancelled"]


def test_the_ramp_doubles_with_each_success_and_keeps_the_order() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "abcdefg")
    mode(desk, "NORMAL")
    assert desk.started == [("a", 1)]
    desk.succeed("a")
    assert desk.started == [("b", 1), ("c", 1)]
    desk.succeed("b")
    assert desk.started == [("d", 1), ("e", 1), ("f", 1)]  # four may run now, as many as there are slots


def test_a_higher_priority_comes_back_first() -> None:
    desk = desk_with()
    mode(desk, "BRAINSTEM")
    desk.create("a")
    desk.create("b", priority=9)
    mode(desk, "NORMAL")
    assert desk.started == [("b", 1)]


def test_a_failure_narrows_the_ramp_and_pauses_it() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "abcd")
    mode(desk, "NORMAL")
    assert names(desk.fail("a")) == ["attempt.failed", "task.failed", "router.ramp_moved"]
    assert is_woken_in(desk, suspension.RAMP_PAUSE_MS)
    desk.at += suspension.RAMP_PAUSE_MS
    desk.put(cmd.TimerFired("ramp"))
    assert desk.started == [("b", 1)]


def test_a_pause_that_is_not_quite_over_is_waited_for() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "ab")
    mode(desk, "NORMAL")
    desk.fail("a")
    desk.at += suspension.RAMP_PAUSE_MS - 1
    desk.put(cmd.TimerFired("ramp"))
    assert desk.started == []
    assert is_woken_in(desk, 1)


def test_a_restart_does_not_forget_the_ramp() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "ab")
    mode(desk, "NORMAL")
    desk.put(cmd.Boot("boot-3", desk.board.settings))
    assert is_woken_in(desk, suspension.RAMP_PAUSE_MS)


def test_a_ramp_widens_with_time_where_work_takes_long_and_does_not_fail() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "abc")
    mode(desk, "NORMAL")
    assert is_woken_in(desk, suspension.RAMP_PAUSE_MS)
    desk.at += suspension.RAMP_PAUSE_MS
    desk.put(cmd.TimerFired("ramp"))
    assert desk.started == [("b", 1)]
    assert is_woken_in(desk, suspension.RAMP_PAUSE_MS)


def test_time_alone_says_nothing_of_the_cloud_while_nobody_works() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "ab")
    desk.note("worker", ExecutorHealth("unknown"))
    mode(desk, "NORMAL")
    desk.put(cmd.TimerFired("ramp"))
    assert desk.board.ramp == 1
    assert is_woken_in(desk, suspension.RAMP_PAUSE_MS)


def test_a_ramp_wider_than_all_slots_is_over_and_a_failure_is_that_of_its_task_alone() -> None:
    desk = desk_with(worker(max_concurrency=2))
    lose_the_cloud_with(desk, "abcdefg")
    mode(desk, "NORMAL")
    desk.succeed("a")
    assert "router.ramp_moved" in names(desk.succeed("b"))
    assert desk.board.ramp == 0
    assert states(desk)["g"] is TaskState.IDLE
    assert names(desk.create("late")) == ["task.created", "task.routed"]
    desk.fail("c")
    assert desk.started == [("e", 1)]
    assert desk.replayed().snapshot() == desk.board.snapshot()


def test_what_waits_for_nobody_at_the_end_of_the_ramp_is_held() -> None:
    desk = desk_with(worker(max_concurrency=1))
    lose_the_cloud_with(desk, "abc")
    desk.put(cmd.Boot("boot-2", RoutingSettings((worker("other", types=("gpu",)),))))
    desk.note("other", READY)
    mode(desk, "NORMAL")
    assert set(states(desk).values()) == {TaskState.HELD}
    assert desk.board.ramp == 0


def test_a_backoff_is_kept_in_the_ramp() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "ab")
    mode(desk, "NORMAL")
    busy = TaskError("rate_limited", "come back later")
    desk.put(cmd.ReportFailed("a", 1, busy, retry_after_ms=300_000))
    desk.at += suspension.RAMP_PAUSE_MS
    desk.put(cmd.TimerFired("ramp"))
    assert desk.started == [("b", 1)]
    desk.succeed("b")
    assert desk.started == []
    desk.at += 300_000
    desk.put(cmd.TimerFired("a"))
    assert desk.started == [("a", 2)]


def test_a_backoff_from_before_goes_on_after_the_cloud_is_back() -> None:
    desk = desk_with()
    desk.create("a")
    desk.put(cmd.ReportFailed("a", 1, TaskError("rate_limited", "come back later"), retry_after_ms=300_000))
    mode(desk, "BRAINSTEM")
    mode(desk, "NORMAL")
    assert desk.started == []
    due = desk.task("a").retry_at
    assert due == desk.at + 300_000
    assert cmd.WakeAt("router", due, "a") in [s.message for s in desk.sends]
    desk.at = due
    desk.put(cmd.TimerFired("a"))
    assert desk.started == [("a", 2)]


def test_who_waits_for_one_executor_only_does_not_keep_others_from_going_elsewhere() -> None:
    desk = desk_with(worker("first", on_crash="retry", max_concurrency=1), worker("second"))
    desk.create("a")
    mode(desk, "BRAINSTEM")
    desk.interrupt("a")
    desk.create("b")
    desk.note("first", ExecutorHealth("failed", "it broke"))
    desk.at += 60_000
    mode(desk, "NORMAL")
    assert desk.started == [("b", 1)]
    assert desk.task("b").attempts[0].route.executor == "second"
    desk.note("first", READY)
    desk.succeed("b")
    assert desk.started == [("a", 2)]


def test_what_is_interrupted_without_the_cloud_comes_back_in_a_ramp_too() -> None:
    desk = desk_with(worker(on_crash="retry", max_concurrency=4))
    for name in "abc":
        desk.create(name)
    mode(desk, "BRAINSTEM")
    for name in "abc":
        desk.interrupt(name)
    desk.at += 60_000
    mode(desk, "NORMAL")
    assert desk.started == [("a", 2)]
    desk.succeed("a", n=2)
    assert desk.started == [("b", 2), ("c", 2)]


def test_running_tasks_are_suspended_in_the_order_that_the_log_alone_gives() -> None:
    desk = desk_with()
    for name in "ab":
        desk.create(name)
    for name in "ba":
        desk.put(cmd.ReportStarted(name, 1))
    mode(desk, "BRAINSTEM")
    suspended = [stream for stream, *_ in desk.log[-2:]]
    assert suspended == ["task-a", "task-b"]


def test_a_pause_ends_although_the_clock_was_set_back() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "ab")
    mode(desk, "NORMAL")
    desk.fail("a")
    desk.at -= 10 * suspension.RAMP_PAUSE_MS
    desk.put(cmd.TimerFired("ramp"))
    assert desk.started == [("b", 1)]


def test_who_comes_during_the_ramp_joins_the_end_of_the_line() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "ab")
    mode(desk, "NORMAL")
    assert names(desk.create("late")) == ["task.created", "task.routed", "task.suspended"]
    desk.succeed("a")
    assert desk.started == [("b", 1), ("late", 1)]


def test_the_ramp_ends_with_the_last_who_waited() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "a")
    assert mode(desk, "NORMAL")[-1] == "router.ramp_moved"
    assert desk.board.ramp == 0
    desk.create("b")
    desk.create("c")
    assert desk.task("c").state is TaskState.DISPATCHING


def test_a_new_outage_ends_the_ramp() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "abc")
    mode(desk, "NORMAL")
    mode(desk, "BRAINSTEM")
    assert desk.board.ramp == 0
    assert set(states(desk).values()) == {TaskState.WAITING}


def test_a_suspended_task_whose_executor_is_gone_goes_elsewhere() -> None:
    desk = desk_with(worker("first"), worker("second"))
    lose_the_cloud_with(desk, "a")
    desk.note("first", ExecutorHealth("failed", "it broke"))
    mode(desk, "NORMAL")
    assert desk.started == [("a", 1)]
    assert desk.task("a").attempts[0].route.executor == "second"


def test_nothing_that_needs_the_cloud_goes_before_the_first_probes() -> None:
    desk = desk_with(worker(), LOCAL, watched=True)
    desk.create("a")
    desk.create("b", type="runbook")
    assert states(desk) == {"a": TaskState.IDLE, "b": TaskState.DISPATCHING}
    assert mode(desk, "NORMAL", cleared=False) == []
    mode(desk, "DEGRADED")
    assert desk.task("a").attempts[0].route.mode == "DEGRADED"


def test_a_restart_keeps_the_suspension_until_the_probes_say_otherwise() -> None:
    desk = desk_with(watched=True)
    lose_the_cloud_with(desk, "ab")
    desk.put(cmd.Boot("boot-3", desk.board.settings))
    desk.note("worker", READY)
    assert set(states(desk).values()) == {TaskState.WAITING}
    mode(desk, "NORMAL")
    assert desk.started == [("a", 1)]


def test_the_same_mode_twice_is_no_news() -> None:
    desk = desk_with()
    mode(desk, "BRAINSTEM")
    assert mode(desk, "BRAINSTEM") == []


def test_a_call_that_ends_meanwhile_moves_nobody_in_the_line() -> None:
    desk = desk_with()
    for name in "ab":
        desk.create(name)
    desk.put(cmd.ReserveCall("r", "call", "cloud", "large", "NORMAL", task_id="a", n=1))
    mode(desk, "BRAINSTEM")
    desk.put(cmd.SettleCall("call", "broken_stream"))
    assert list(desk.board.at("suspended", "worker")) == ["a", "b"]


def test_a_backoff_that_the_next_outage_cuts_off_joins_the_end_of_the_line_in_memory_and_in_the_log() -> None:
    desk = desk_with(worker(max_concurrency=1, on_crash="retry"))
    desk.create("a")
    mode(desk, "BRAINSTEM")
    desk.interrupt("a")
    desk.create("b")
    mode(desk, "NORMAL")
    desk.create("c")
    mode(desk, "BRAINSTEM")
    line = list(desk.board.waiting_for("worker"))
    assert line == list(boards.restore(desk.board.snapshot()).waiting_for("worker"))
    assert line[-1] == "a"


def test_the_log_alone_gives_the_same_board_in_the_middle_of_a_ramp() -> None:
    desk = desk_with()
    lose_the_cloud_with(desk, "abcdef")
    mode(desk, "NORMAL")
    desk.succeed("a")
    desk.fail("b")
    assert desk.replayed().snapshot() == desk.board.snapshot()
    assert desk.board.ramp == 1

"""The honest crash protocol: what follows from every way in which an attempt can end."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from tests.domain.given import Desk, names, worker

from omni.domain import attempt
from omni.domain import commands as cmd
from omni.domain.values import ExecutorHealth, Result, TaskError, TaskState
from omni.domain.view import decision_view, timestamp


def running(**traits: Any) -> Desk:
    """A desk with task `a` on its first attempt."""
    desk = Desk(worker(**traits))
    desk.create("a")
    return desk


def test_what_the_executor_says_failed_fails_the_task_and_is_not_repeated() -> None:
    desk = running(on_crash="retry")
    assert names(desk.fail("a")) == ["attempt.failed", "task.failed"]
    assert desk.task("a").error.message == "it said no"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("policy", "events", "state"),
    [
        ("retry", ["attempt.interrupted"], TaskState.IDLE),
        ("ask", ["attempt.interrupted", "task.held"], TaskState.HELD),
        ("fail", ["attempt.interrupted", "task.failed"], TaskState.FAILED),
        ("resume", ["attempt.interrupted", "task.held"], TaskState.HELD),
    ],
)
def test_an_unknown_outcome_follows_the_policy(policy: str, events: list[str], state: TaskState) -> None:
    desk = running(on_crash=policy)
    assert names(desk.interrupt("a")) == events
    assert desk.task("a").state is state


def test_a_resumable_attempt_goes_on_under_its_old_handle() -> None:
    desk = running(on_crash="resume")
    handle = desk.task("a").attempts[0].handle
    desk.put(cmd.ReportStarted("a", 1, session="s-1"))
    assert names(desk.interrupt("a", resumable=True)) == ["attempt.interrupted"]
    desk.at = desk.task("a").retry_at or 0
    desk.put(cmd.TimerFired("a"))
    start = next(s.message for s in desk.sends if isinstance(s.message, cmd.StartAttempt))
    assert (start.n, start.handle, start.session, start.resume) == (2, handle, "s-1", True)


def test_crashes_count_and_after_three_attempts_a_person_is_asked() -> None:
    desk = running(on_crash="retry")
    for n in (1, 2):
        assert names(desk.interrupt("a", n)) == ["attempt.interrupted"]
        desk.at = desk.task("a").retry_at or 0
        desk.put(cmd.TimerFired("a"))
    assert names(desk.interrupt("a", 3)) == ["attempt.interrupted", "task.held"]
    assert desk.task("a").held.options == ("retry", "accept", "fail")  # type: ignore[union-attr]


def test_work_interrupted_long_ago_is_not_repeated_unasked() -> None:
    desk = running(on_crash="retry")
    desk.at += attempt.ASK_AFTER_MS + 1
    assert names(desk.interrupt("a")) == ["attempt.interrupted", "task.held"]


def test_a_result_that_arrives_after_the_attempt_was_given_up_wins() -> None:
    desk = running(on_crash="ask")
    desk.interrupt("a")
    assert names(desk.succeed("a")) == ["attempt.succeeded", "task.completed"]
    assert desk.task("a").held is None


def test_a_late_result_of_an_older_attempt_is_kept_and_changes_nothing() -> None:
    desk = running(on_crash="retry")
    desk.interrupt("a")
    desk.at = desk.task("a").retry_at or 0
    desk.put(cmd.TimerFired("a"))
    before = desk.task("a")
    assert names(desk.succeed("a", 1)) == ["attempt.late_outcome"]
    after = desk.task("a")
    assert (after.state, after.attempts, after.result) == (before.state, before.attempts, before.result)


def test_a_second_result_for_an_ended_task_is_no_second_end() -> None:
    desk = running()
    desk.succeed("a")
    assert desk.succeed("a") == []
    assert names(desk.fail("a")) == ["attempt.late_outcome"]
    assert desk.task("a").state is TaskState.COMPLETED


def test_reports_for_attempts_that_never_were_change_nothing() -> None:
    desk = running()
    assert desk.succeed("a", 7) == []
    assert desk.interrupt("a", 7) == []
    assert desk.put(cmd.ReportStarted("a", 7)) == []
    assert desk.succeed("nobody") == []


def test_a_start_is_noted_once() -> None:
    desk = running()
    assert names(desk.put(cmd.ReportStarted("a", 1, 42))) == ["attempt.started"]
    assert desk.put(cmd.ReportStarted("a", 1, 42)) == []
    assert desk.task("a").state is TaskState.EXECUTING


def test_an_interrupted_task_that_was_to_be_cancelled_is_cancelled() -> None:
    desk = running(on_crash="retry")
    desk.put(cmd.CancelTask("r", "a"))
    assert names(desk.interrupt("a")) == ["attempt.cancelled", "task.cancelled"]


def test_accepting_a_held_task_completes_it_by_hand() -> None:
    desk = running(on_crash="ask")
    desk.interrupt("a")
    assert names(desk.put(cmd.ResolveTask("r", "a", "accept", "owner"))) == ["task.resolved", "task.completed"]


def test_retrying_a_held_task_starts_a_new_attempt_with_its_own_handle() -> None:
    desk = running(on_crash="ask")
    first = desk.task("a").attempts[0].handle
    desk.interrupt("a")
    assert names(desk.put(cmd.ResolveTask("r", "a", "retry"))) == ["task.resolved", "task.routed", "attempt.planned"]
    assert desk.task("a").attempts[1].handle != first


def test_cost_adds_up_over_attempts_and_stays_null_when_nobody_named_it() -> None:
    desk = running()
    desk.put(cmd.ReportSucceeded("a", 1, Result("x"), cost_usd=0.25))
    assert desk.task("a").cost_usd == 0.25
    desk.create("b")
    desk.succeed("b")
    assert desk.task("b").cost_usd is None


def test_a_handle_is_a_uuid_of_version_five_and_differs_for_each_attempt() -> None:
    names = uuid.UUID("5f0c9d0e-5a1b-5c86-9f0e-3d8a1c7b2e4f")
    assert attempt.handle("t", 1) == str(uuid.uuid5(names, "t:1"))
    assert len({attempt.handle(task, n) for task in "abc" for n in range(4)}) == 12


def test_backoff_doubles_is_capped_and_the_same_each_time() -> None:
    waits = [attempt.backoff_ms("task", n) for n in range(1, 12)]
    assert waits == [attempt.backoff_ms("task", n) for n in range(1, 12)]
    assert all(750 * 2 ** (n - 1) <= w <= 1250 * 2 ** (n - 1) for n, w in enumerate(waits[:5], start=1))
    assert max(waits) <= attempt.BACKOFF_CAP_MS * 1.25


def delayed(**traits: Any) -> Desk:
    """A desk with task `a` interrupted under `retry` and waiting for its second attempt, and another executor free."""
    desk = Desk(worker(on_crash="retry", **traits), worker("other"))
    desk.create("a", executor="worker")
    desk.interrupt("a")
    return desk


def test_what_may_have_run_is_repeated_by_its_own_executor_only() -> None:
    desk = delayed()
    desk.note("worker", ExecutorHealth("failed", "gone"))
    desk.at = desk.task("a").retry_at or 0
    assert desk.put(cmd.TimerFired("a")) == []
    assert names(desk.note("worker", ExecutorHealth("ready"))) == ["router.executor_noted", "attempt.planned"]


def test_a_repetition_has_the_key_of_what_it_repeats_so_that_an_executor_can_recognise_it() -> None:
    desk = delayed()
    desk.at = desk.task("a").retry_at or 0
    desk.put(cmd.TimerFired("a"))
    first, second = desk.task("a").attempts
    assert second.key == first.key
    assert second.handle != first.handle


def test_what_may_have_run_is_a_question_when_its_executor_left_the_configuration() -> None:
    desk = delayed()
    desk.settings = Desk(worker("other"), ready=False).settings
    events = desk.put(cmd.Boot("boot-2", desk.settings))
    assert names(events) == ["router.started", "router.configured", "task.held"]


def test_what_waited_too_long_for_its_repetition_becomes_a_question() -> None:
    desk = delayed()
    desk.at += attempt.ASK_AFTER_MS + 1
    assert names(desk.put(cmd.TimerFired("a"))) == ["task.held"]
    assert desk.task("a").held.options == ("retry", "accept", "fail")  # type: ignore[union-attr]


def test_a_repetition_that_is_due_does_not_starve_behind_a_queue() -> None:
    desk = delayed(max_concurrency=1)
    for name in "bcd":
        desk.create(name, executor="worker")
    desk.at = desk.task("a").retry_at or 0
    desk.succeed("b")
    assert desk.started == [("a", 2)]


@pytest.mark.parametrize(
    ("asked_ms", "least", "most"), [(0, 700, 1_300), (30_000, 30_000, 30_000), (10**9, 600_000, 600_000)]
)
def test_an_executor_that_asks_for_time_gets_it_within_bounds(asked_ms: int, least: int, most: int) -> None:
    desk = running()
    desk.put(cmd.ReportFailed("a", 1, TaskError("rate_limited", "slow down"), asked_ms))
    assert least <= (desk.task("a").retry_at or 0) - desk.at <= most


def rest(desk: Desk, n: int = 1, for_ms: int = 0) -> list[str]:
    """Its executor stops the attempt in order, to go on after a while."""
    report = cmd.ReportInterrupted(
        "a", n, "the account's limit is reached", resumable=True, orderly=True, retry_after_ms=for_ms
    )
    return names(desk.put(report))


def go_on(desk: Desk) -> cmd.StartAttempt:
    desk.at = desk.task("a").retry_at or 0
    desk.put(cmd.TimerFired("a"))
    return next(s.message for s in desk.sends if isinstance(s.message, cmd.StartAttempt))


def test_an_attempt_that_its_executor_stopped_in_order_goes_on_at_the_stated_time() -> None:
    desk = running(on_crash="resume")
    handle = desk.task("a").attempts[0].handle
    assert rest(desk, for_ms=5 * 3_600_000) == ["attempt.interrupted"]
    assert desk.task("a").retry_at == desk.at + 5 * 3_600_000
    start = go_on(desk)
    assert (start.n, start.handle, start.key, start.resume) == (2, handle, "a:1", True)


def test_why_it_waits_is_that_it_was_stopped_and_until_when() -> None:
    desk = running(on_crash="resume")
    rest(desk, for_ms=5 * 3_600_000)
    seen = decision_view(desk.task("a"), [])
    assert seen["attempts"][-1]["error"]["message"] == "the account's limit is reached"
    assert seen["retry_at"] == timestamp(desk.at + 5 * 3_600_000)


def test_stops_in_order_use_up_no_attempt() -> None:
    desk = running(on_crash="resume")
    for n in range(1, 6):
        assert rest(desk, n) == ["attempt.interrupted"]
        go_on(desk)
    assert names(desk.interrupt("a", 6, resumable=True)) == ["attempt.interrupted"]


def test_an_executor_that_stops_in_order_without_end_is_a_question_at_last() -> None:
    desk = running(on_crash="resume")
    for n in range(1, attempt.MAX_PAUSES + 1):
        assert rest(desk, n) == ["attempt.interrupted"]
        go_on(desk)
    for n in (1, 2):
        assert rest(desk, attempt.MAX_PAUSES + n) == ["attempt.interrupted"]
        assert not desk.task("a").attempts[-1].orderly, "from here on these count as any interruption does"
        go_on(desk)
    assert rest(desk, attempt.MAX_PAUSES + 3) == ["attempt.interrupted", "task.held"]


@pytest.mark.parametrize("policy", ["retry", "ask", "fail"])
def test_only_an_executor_that_resumes_can_stop_in_order(policy: str) -> None:
    desk = running(on_crash=policy)
    rest(desk, for_ms=5 * 3_600_000)
    assert not desk.task("a").attempts[-1].orderly


def test_a_stated_time_weeks_ahead_is_not_believed() -> None:
    desk = running(on_crash="resume")
    rest(desk, for_ms=90 * 86_400_000)
    assert (desk.task("a").retry_at or 0) - desk.at == attempt.PAUSE_CAP_MS


def test_a_second_pause_that_is_longer_than_the_first_is_no_question() -> None:
    """The limit of five hours is over, and before this task's turn another one ran into that of the week."""
    desk = running(on_crash="resume")
    rest(desk, for_ms=3_600_000)
    desk.note("worker", ExecutorHealth("paused", "its account's limit of the week"))
    desk.at = (desk.task("a").retry_at or 0) + 3 * 86_400_000
    assert desk.put(cmd.TimerFired("a")) == []
    assert names(desk.note("worker", ExecutorHealth("ready"))) == ["router.executor_noted", "attempt.planned"]
    assert desk.task("a").attempts[-1].resume


def test_what_waits_longer_than_any_pause_beyond_the_stated_time_becomes_a_question() -> None:
    desk = running(on_crash="resume")
    rest(desk, for_ms=3_600_000)
    desk.note("worker", ExecutorHealth("paused", "its account's limit"))
    desk.at = (desk.task("a").retry_at or 0) + attempt.PAUSE_CAP_MS + 1
    assert names(desk.put(cmd.TimerFired("a"))) == ["task.held"]

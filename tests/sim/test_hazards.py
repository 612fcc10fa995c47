"""One history for each known hazard. The world checks itself after every step; a test says what else must be true."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.world import EXECUTORS, World

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain.values import Decision, Result, RoutingSettings, TaskError

HOUR_MS = 3_600_000


def state(world: World, task_id: str) -> str:
    life = world.judge.lives[task_id]
    return life.terminal or life.state


def running(world: World, kind: str = "general") -> str:
    """A task whose first attempt has begun."""
    task_id = world.submit(kind)
    world.settle()
    world.does(task_id, "begin")
    return task_id


def cancel(world: World, task_id: str) -> None:
    world.ask(cmd.CancelTask(world.new_name("r"), task_id, "owner"))
    world.settle()


def resolve(world: World, task_id: str, decision: Decision) -> str:
    request = world.ask(cmd.ResolveTask(world.new_name("r"), task_id, decision, "owner"))
    world.settle()
    return request


def retry(world: World, task_id: str) -> str:
    new_id = world.new_name("t")
    world.ask(cmd.RetryTask(world.new_name("r"), task_id, new_id, "owner"))
    world.settle()
    return new_id


def later(world: World, ms: int = 5_000) -> None:
    world.clock.run(ms)
    world.fire()
    world.settle()


def fail_next(world: World, fault: str) -> None:
    """The next append that comes runs into a fault; nothing more has happened yet."""
    world.failpoints.arm(fault)
    while world.failpoints.pending(fault):
        assert world.step(0)


def recover(world: World) -> None:
    world.everyone_ready()
    world.settle()


# --- attempts and crashes -------------------------------------------------------------------------------------------


def test_a_crash_between_the_plan_and_its_dispatch_asks_and_never_starts_it(world: World) -> None:
    task_id = world.submit()
    world.failpoints.arm("after append")
    world.settle()
    recover(world)
    assert world.lives == 1
    assert [c.state for c in world.hands.calls] == ["reconciling"]
    world.does(task_id, "interrupted")
    assert state(world, task_id) == "held"
    assert world.ledger.work == {}
    world.calm()


def test_a_crash_before_the_plan_leaves_no_task(world: World) -> None:
    task_id = world.submit()
    world.failpoints.arm("before append")
    world.settle()
    assert task_id not in world.judge.lives
    assert task_id not in world.client.acknowledged


def test_work_that_finished_unheard_is_fetched_after_the_crash(world: World) -> None:
    task_id = running(world)
    world.hands.act(0, 0)  # it succeeds, and nobody has read the report yet
    world.crash()
    recover(world)
    world.does(task_id, "fetch")
    assert state(world, task_id) == "task.completed"
    assert len(world.judge.lives[task_id].tries) == 1


def test_work_that_finished_unheard_and_cannot_be_fetched_is_a_question_under_ask(world: World) -> None:
    task_id = running(world)
    world.hands.act(0, 0)
    world.crash()
    recover(world)
    world.does(task_id, "interrupted")
    assert state(world, task_id) == "held"
    resolve(world, task_id, "accept")
    assert state(world, task_id) == "task.completed"
    world.calm()
    assert len(world.ledger.work) == 1


def test_work_that_runs_on_is_adopted_after_the_crash(world: World) -> None:
    task_id = running(world)
    world.crash(survivors=255)
    recover(world)
    world.does(task_id, "adopt")
    world.does(task_id, "succeed")
    assert state(world, task_id) == "task.completed"


def test_a_crash_during_recovery_recovers_again(world: World) -> None:
    tasks = [running(world, kind) for kind in ("general", "coding", "gpu", "research")]
    for moment in ("before append", "after append", "before send", "after send"):
        world.crash()
        world.failpoints.arm(moment)
        recover(world)
    world.calm()
    assert [state(world, t) for t in tasks] == ["held", "task.completed", "task.failed", "held"]


@pytest.mark.parametrize("fault", ["lost commit", "kept commit"])
@pytest.mark.parametrize("appends", range(6))
def test_an_attempt_of_the_last_daemon_is_never_started_by_a_router_that_lost_its_memory(
    world: World, fault: str, appends: int
) -> None:
    task_id = running(world)
    world.crash()
    world.failpoints.arm(fault, appends)
    recover(world)
    for _ in range(6):  # whatever is written after the boot may be the append that fails
        world.submit("dry")
        world.settle()
    assert not world.failpoints.pending(fault)
    assert {c.state for c in world.hands.calls if c.task_id == task_id} == {"reconciling"}
    world.calm()


def test_a_router_that_lost_its_memory_starts_what_it_may_not_have_said_and_the_pool_starts_it_once(
    world: World,
) -> None:
    task_id = running(world)
    world.submit()
    world.failpoints.arm("kept commit")
    world.settle()
    assert [c.state for c in world.hands.calls if c.task_id == task_id] == ["begun"]
    assert len(world.hands.calls) == 2
    world.calm()


def test_work_that_dies_three_times_is_not_tried_a_fourth_time_unasked(world: World) -> None:
    task_id = running(world, "coding")
    for _ in range(2):
        world.does(task_id, "die")
        later(world)
        world.does(task_id, "begin")
    world.does(task_id, "die")
    assert (state(world, task_id), world.judge.lives[task_id].held) == ("held", "interrupted")
    resolve(world, task_id, "retry")
    assert len(world.judge.lives[task_id].tries) == 4
    world.calm()


# --- reports that come twice, late or crossed -----------------------------------------------------------------------


def test_the_same_success_twice_is_one_end(world: World) -> None:
    task_id = running(world)
    world.does(task_id, "succeed")
    before = world.judge.position
    world.does(task_id, "repeat")
    assert world.judge.position == before
    assert state(world, task_id) == "task.completed"


def test_an_outcome_of_an_older_attempt_is_kept_and_changes_nothing(world: World) -> None:
    task_id = running(world, "coding")
    world.does(task_id, "die")
    later(world)
    first, second = (c for c in world.hands.calls if c.task_id == task_id)
    assert (first.n, second.n) == (1, 2)
    world.hands.take(first, "late_success")
    world.settle()
    assert world.judge.lives[task_id].state == "planned"
    world.does(task_id, "begin")
    world.does(task_id, "succeed")
    task = world.kernels["router"].state.tasks[task_id]
    assert task.result == Result("done 2")


def test_a_success_after_the_attempt_was_given_up_wins_over_the_question(world: World) -> None:
    task_id = running(world)
    world.does(task_id, "die")
    assert state(world, task_id) == "held"
    world.does(task_id, "late_success")
    assert state(world, task_id) == "task.completed"


def test_a_success_during_the_backoff_wins_and_the_attempt_is_not_repeated(world: World) -> None:
    task_id = running(world, "coding")
    world.does(task_id, "die")
    world.does(task_id, "late_success")
    later(world)
    assert state(world, task_id) == "task.completed"
    assert len(world.hands.calls) == 1


def test_a_cancel_and_a_success_that_cross_end_in_the_success(world: World) -> None:
    task_id = running(world)
    world.hands.act(0, 0)
    cancel(world, task_id)
    assert state(world, task_id) == "task.completed"
    assert task_id not in world.client.cancelled or state(world, task_id) == "task.completed"
    world.calm()


def test_a_cancel_that_comes_first_is_carried_out(world: World) -> None:
    task_id = running(world)
    cancel(world, task_id)
    world.does(task_id, "stopped")
    assert state(world, task_id) == "task.cancelled"


def test_a_cancel_survives_a_crash_and_reaches_the_executor(world: World) -> None:
    task_id = running(world)
    cancel(world, task_id)
    world.crash(survivors=255)
    recover(world)
    world.does(task_id, "adopt")
    world.told_to_stop()
    world.calm()
    assert state(world, task_id) == "task.cancelled"


def test_a_cancel_reaches_the_executor_although_its_commit_was_in_doubt(world: World) -> None:
    task_id = running(world)
    world.failpoints.arm("kept commit")
    cancel(world, task_id)
    world.told_to_stop()
    world.calm()
    assert state(world, task_id) == "task.cancelled"


def test_late_reports_about_a_task_that_has_left_memory_change_nothing(make_world: MakeWorld) -> None:
    world = make_world(compare=False)
    first = world.submit("dry", idempotency_key="k")
    for _ in range(boards.KEEP_ENDED // 100):
        for _ in range(100):
            world.submit("dry")
        world.settle()
    assert first not in world.kernels["router"].state.tasks
    before = world.judge.position
    world.report(cmd.ReportSucceeded(first, 1, Result("late")))
    world.report(cmd.ReportFailed(first, 1, TaskError("failed", "late")))
    world.report(cmd.ReportInterrupted(first, 1, "late"))
    cancel(world, first)
    assert world.judge.position == before
    world.crash()
    world.calm()


# --- people ---------------------------------------------------------------------------------------------------------


def test_a_second_decision_about_a_held_task_is_refused(world: World) -> None:
    task_id = running(world)
    world.does(task_id, "die")
    resolve(world, task_id, "retry")
    second = resolve(world, task_id, "fail")
    assert world.client.refused[second] == "not_held"
    assert len(world.judge.lives[task_id].tries) == 2
    world.calm()


def test_two_decisions_that_cross_count_once(world: World) -> None:
    task_id = running(world)
    world.does(task_id, "die")
    for _ in range(2):
        world.ask(cmd.ResolveTask(world.new_name("r"), task_id, "retry", "owner"))
    world.settle()
    assert len(world.judge.lives[task_id].tries) == 2
    world.calm()


def test_retrying_a_task_that_is_on_its_way_changes_nothing(world: World) -> None:
    task_id = running(world)
    world.does(task_id, "die")
    retry(world, task_id)
    before = world.judge.position
    retry(world, task_id)
    assert world.judge.position == before
    world.calm()


def test_retrying_an_ended_task_makes_a_new_one_and_the_same_request_again_makes_no_third(world: World) -> None:
    task_id = running(world)
    world.does(task_id, "fail")
    new_id = retry(world, task_id)
    world.ask(cmd.RetryTask(world.new_name("r"), task_id, new_id, "owner"))
    world.settle()
    assert list(world.judge.lives) == [task_id, new_id]
    world.calm()


def test_a_key_means_the_same_task_after_a_restart(world: World) -> None:
    first = world.submit(idempotency_key="k")
    world.settle()
    world.crash()
    recover(world)
    world.submit(idempotency_key="k")
    world.submit(description="something else", idempotency_key="k")
    world.settle()
    assert list(world.judge.lives) == [first]
    assert list(world.client.refused.values()) == ["idempotency_conflict"]


# --- executors that come and go -------------------------------------------------------------------------------------


def test_health_that_flaps_during_a_dispatch_neither_loses_nor_doubles_it(world: World) -> None:
    tasks = [world.submit("coding") for _ in range(3)]
    for ok in (False, False, True, False, False, True):
        world.observe("retrier", ok=ok)
    world.settle(7)
    world.calm()
    assert {state(world, t) for t in tasks} == {"task.completed"}


def test_a_queue_whose_executor_was_named_and_left_the_configuration_is_held_and_the_rest_goes_on(
    world: World,
) -> None:
    first, second = (world.submit("coding", executor="retrier") for _ in range(2))
    world.settle()
    world.does(first, "begin")
    rest = RoutingSettings(tuple(e for e in EXECUTORS if e.name != "retrier"))
    world.crash(settings=rest)
    recover(world)
    assert state(world, second) == "held"
    other = world.submit()
    world.calm()
    assert state(world, other) == "task.completed"
    world.crash(settings=RoutingSettings(EXECUTORS))
    recover(world)
    world.calm()
    assert state(world, second) == "task.completed"


def test_a_session_is_not_resumed_by_another_executor(world: World) -> None:
    task_id = running(world, "research")
    world.does(task_id, "resumable_die")
    for _ in range(2):
        world.observe("resumer", ok=False)
    later(world)
    assert world.judge.lives[task_id].route == "resumer"
    world.observe("resumer", ok=True)
    later(world)
    assert world.judge.lives[task_id].state == "planned"


def test_a_session_whose_executor_left_the_configuration_becomes_a_question(world: World) -> None:
    task_id = running(world, "research")
    world.does(task_id, "resumable_die")
    world.crash(settings=RoutingSettings(tuple(e for e in EXECUTORS if e.name != "resumer")))
    recover(world)
    later(world)
    assert (state(world, task_id), world.judge.lives[task_id].held) == ("held", "interrupted")


def test_the_gateway_knows_what_a_boot_has_changed(world: World) -> None:
    moved = [world.submit("gpu") for _ in range(3)]
    world.settle()
    world.crash(settings=RoutingSettings(tuple(e for e in EXECUTORS if e.name != "failer")))
    world.ask(cmd.CancelTask(world.new_name("r"), moved[2], "owner"))
    world.settle()
    assert world.kernels["gateway"].state.tasks == world.kernels["router"].state.tasks
    world.calm()


# --- clocks ---------------------------------------------------------------------------------------------------------


def test_a_clock_set_back_during_a_backoff_delays_it_and_loses_nothing(world: World) -> None:
    task_id = running(world, "coding")
    world.does(task_id, "die")
    world.clock.jump(-HOUR_MS)
    later(world)
    assert world.judge.lives[task_id].state == "queued"
    world.calm()
    assert state(world, task_id) == "task.completed"


def test_a_timer_that_rang_just_before_the_clock_was_set_back_is_set_again(world: World) -> None:
    task_id = running(world, "coding")
    world.does(task_id, "die")
    world.clock.run(5_000)
    world.fire()
    world.clock.jump(-HOUR_MS)
    world.settle()
    world.calm()
    assert state(world, task_id) == "task.completed"


def test_a_clock_set_back_while_a_task_waits_for_a_slot_after_its_backoff_strands_nobody(world: World) -> None:
    task_id, busy = running(world, "coding"), world.submit("coding")
    world.does(task_id, "die")
    later(world)
    world.clock.jump(-HOUR_MS)
    world.does(busy, "begin")
    world.does(busy, "succeed")
    world.calm()
    assert state(world, task_id) == "task.completed"


def test_clock_jumps_change_no_outcome_that_does_not_depend_on_time(make_world: MakeWorld) -> None:
    def story(*jumps: int) -> list[tuple[str, str]]:
        world = make_world()
        tasks = []
        for kind, jump in zip(("general", "coding", "gpu", "research"), jumps, strict=True):
            tasks.append(running(world, kind))
            world.clock.jump(jump)
        for task_id, step in zip(tasks, ("fail", "succeed", "die", "die"), strict=True):
            world.does(task_id, step)
        world.calm()
        return [(t, state(world, t)) for t in tasks]

    assert story(0, 0, 0, 0) == story(HOUR_MS * 9, -HOUR_MS, 6_000, -1) == story(-HOUR_MS, 1, HOUR_MS, -HOUR_MS)


# --- the log fails, and the process does not ------------------------------------------------------------------------


def test_a_report_outlives_a_log_that_fails_again_and_again(world: World) -> None:
    task_id = running(world)
    world.hands.act(0, 0)
    for _ in range(4):
        world.failpoints.arm("lost commit")
        later(world)
        assert not world.failpoints.pending("lost commit")
        assert world.judge.lives[task_id].open
    later(world)
    assert state(world, task_id) == "task.completed"


def test_on_a_full_disk_requests_are_refused_and_reports_wait(world: World) -> None:
    task_id = running(world)
    world.failpoints.arm("disk full")
    world.hands.act(0, 0)
    world.settle()
    refused = world.submit()
    world.settle()
    assert list(world.client.refused.values()) == ["storage_unavailable"]
    assert refused not in world.judge.lives
    assert world.judge.lives[task_id].open
    later(world)
    assert state(world, task_id) == "task.completed"


def test_reports_that_wait_for_space_are_not_forgotten_when_the_clock_jumps(world: World) -> None:
    task_id = running(world)
    world.failpoints.arm("disk full")
    world.hands.act(0, 0)
    world.settle()
    world.clock.jump(HOUR_MS)
    world.fire()
    world.settle()
    later(world)
    assert state(world, task_id) == "task.completed"


# --- snapshots ------------------------------------------------------------------------------------------------------


def test_a_snapshot_older_than_the_log_gives_the_same_memory(world: World) -> None:
    task_id = running(world)
    world.kernels["router"].save_snapshot()
    world.does(task_id, "die")
    world.submit("coding")
    world.settle()
    world.crash()
    assert list((world.directory / f"life-{world.lives}" / "snapshots").iterdir())
    world.check_log()
    world.calm()


def test_the_snapshot_of_a_foreign_log_is_not_believed(make_world: MakeWorld) -> None:
    def snapshots(world: World) -> Any:
        return world.directory / f"life-{world.lives}" / "snapshots"

    world, foreign = make_world(), make_world()
    for each in (world, foreign):
        each.submit(description=f"of {each.directory.name}")
        each.settle()
    foreign.kernels["router"].save_snapshot()
    shutil.copytree(snapshots(foreign), snapshots(world), dirs_exist_ok=True)
    world.crash()
    assert [t.spec.description for t in world.kernels["router"].state.tasks.values()] == ["of world-0"]
    world.calm()


def test_an_executor_that_rests_takes_its_task_up_again_and_no_attempt_is_used_up(world: World) -> None:
    task_id = running(world, "research")
    for _ in range(4):
        world.does(task_id, "rest")
        assert world.judge.lives[task_id].state == "queued"
        later(world, 2_000)
        assert world.judge.lives[task_id].state == "queued", "it rests still"
        later(world, 4_000)
        world.does(task_id, "begin")
    world.calm()
    assert state(world, task_id) == "task.completed"
    assert len({t.handle for t in world.judge.lives[task_id].tries}) == 1


def test_a_rest_that_lasts_for_hours_ends_without_a_question(world: World) -> None:
    task_id = running(world, "research")
    world.rests("resumer", 5 * HOUR_MS)
    words = "until tonight"
    world.report(cmd.ReportInterrupted(task_id, 1, words, True, orderly=True, retry_after_ms=5 * HOUR_MS))
    world.settle()
    later(world, 5 * HOUR_MS + 1_000)
    assert world.judge.lives[task_id].state == "planned"


def test_who_waits_for_an_executor_that_rests_is_held_and_goes_on_when_it_is_back(world: World) -> None:
    world.rests("resumer", 60_000)
    task_id = world.submit("research", executor="resumer")
    world.settle()
    assert (state(world, task_id), world.judge.lives[task_id].held) == ("held", "no_executor")
    later(world, 61_000)
    assert state(world, task_id) == "planned"


def test_a_rest_outlives_a_crash_and_ends_in_time(world: World) -> None:
    world.rests("resumer", 60_000)
    world.settle()
    world.crash()
    recover(world)
    task_id = world.submit("research", executor="resumer")
    world.settle()
    assert state(world, task_id) == "held"
    later(world, 61_000)
    assert state(world, task_id) == "planned"

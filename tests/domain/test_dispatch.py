"""The Router's rules: admission, queues, slots, cancel, decisions, boots."""

from __future__ import annotations

from tests.domain.given import READY, Desk, names, worker

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain.values import ExecutorHealth, TaskState


def test_a_new_task_is_created_routed_and_planned_in_one_step() -> None:
    desk = Desk(worker())
    assert names(desk.create("a")) == ["task.created", "task.routed", "attempt.planned"]
    assert desk.started == [("a", 1)]
    assert desk.task("a").state is TaskState.DISPATCHING


def test_nothing_is_dispatched_before_an_executor_has_been_heard_of() -> None:
    desk = Desk(worker(), ready=False)
    assert names(desk.create("a")) == ["task.created", "task.routed"]
    assert names(desk.note("worker", READY)) == ["router.executor_noted", "attempt.planned"]


def test_the_same_message_twice_makes_one_task() -> None:
    desk = Desk(worker())
    desk.create("a")
    assert desk.create("a") == []
    assert desk.refusal is None


def test_the_same_key_and_payload_give_the_same_task() -> None:
    desk = Desk(worker())
    desk.create("a", idempotency_key="k")
    assert desk.create("b", idempotency_key="k") == []
    answers = [s.message.task_id for s in desk.sends if isinstance(s.message, cmd.Answered)]
    assert answers == ["a"]


def test_the_same_key_with_another_payload_is_refused() -> None:
    desk = Desk(worker())
    desk.create("a", idempotency_key="k")
    assert desk.create("b", "something else", idempotency_key="k") == []
    assert desk.refusal is not None
    assert desk.refusal.kind == "idempotency_conflict"


def test_an_unknown_executor_is_refused_with_the_names_that_exist() -> None:
    desk = Desk(worker())
    assert desk.create("a", executor="wroker") == []
    assert desk.refusal is not None
    assert "worker" in desk.refusal.message


def test_an_unknown_tier_is_refused_with_the_names_that_exist() -> None:
    desk = Desk(worker())
    assert desk.create("a", tier="P9") == []
    assert desk.refusal is not None
    assert "P1, P2" in desk.refusal.message


def test_a_gateway_that_lost_its_memory_is_told_everything_again() -> None:
    desk = Desk(worker())
    desk.create("a")
    assert desk.put(cmd.ActorRestarted("gateway")) == []
    told = {type(s.message): s.message for s in desk.sends}
    assert [t.id for t in told[cmd.TasksChanged].tasks] == ["a"]
    assert told[cmd.Boot].settings == desk.settings


def test_slots_bound_what_runs_and_a_freed_slot_goes_to_the_next() -> None:
    desk = Desk(worker(max_concurrency=2))
    for name in "abc":
        desk.create(name)
    assert desk.task("c").state is TaskState.IDLE
    assert names(desk.succeed("a")) == ["attempt.succeeded", "task.completed", "attempt.planned"]
    assert desk.started == [("c", 1)]


def test_higher_priority_goes_first_and_equals_in_order_of_arrival() -> None:
    desk = Desk(worker(max_concurrency=1))
    desk.create("running")
    for name, priority in (("low", 1), ("first", 5), ("second", 5), ("urgent", 9)):
        desk.create(name, priority=priority)
    order: list[str] = []
    for _ in range(4):
        desk.succeed(next(t.id for t in desk.board.tasks.values() if t.open_attempt))
        order += [task for task, _ in desk.started]
    assert order == ["urgent", "first", "second", "low"]


def test_a_queue_moves_to_the_next_best_executor_when_its_own_fails() -> None:
    desk = Desk(worker("coder", types=("coding",), max_concurrency=1), worker("helper", types=("general",)))
    desk.create("a", type="coding")
    desk.create("b", type="coding")
    desk.note("coder", ExecutorHealth("failed", "connection refused"))
    assert desk.task("b").route.executor == "helper"  # type: ignore[union-attr]
    assert "instead of coder" in next(e.reason for e in desk.events if hasattr(e, "candidates"))
    assert desk.task("a").route.executor == "coder"  # type: ignore[union-attr] # its attempt is open: only a report ends it


def test_a_task_that_nobody_can_take_is_held_and_goes_on_when_somebody_comes() -> None:
    desk = Desk(worker("coder", types=("coding",)))
    desk.note("coder", ExecutorHealth("failed", "no such command"))
    assert names(desk.create("a", type="coding")) == ["task.created", "task.routed", "task.held"]
    assert "no such command" in desk.task("a").held.reason  # type: ignore[union-attr]
    assert names(desk.note("coder", READY)) == ["router.executor_noted", "task.routed", "attempt.planned"]


def test_a_queued_task_is_cancelled_at_once() -> None:
    desk = Desk(worker(), ready=False)
    desk.create("a")
    assert names(desk.put(cmd.CancelTask("r", "a"))) == ["task.cancelled"]
    assert names(desk.note("worker", READY)) == ["router.executor_noted"]


def test_cancelling_a_running_task_asks_the_executor_first() -> None:
    desk = Desk(worker())
    desk.create("a")
    assert names(desk.put(cmd.CancelTask("r", "a", "owner"))) == ["task.cancel_requested"]
    assert any(isinstance(s.message, cmd.CancelAttempt) for s in desk.sends)
    assert desk.put(cmd.CancelTask("r2", "a")) == []
    assert names(desk.put(cmd.ReportCancelled("a", 1))) == ["attempt.cancelled", "task.cancelled"]


def test_a_result_that_beats_the_cancel_wins() -> None:
    desk = Desk(worker())
    desk.create("a")
    desk.put(cmd.CancelTask("r", "a"))
    assert names(desk.succeed("a")) == ["attempt.succeeded", "task.completed"]


def test_a_failure_after_a_cancel_is_the_cancel() -> None:
    desk = Desk(worker())
    desk.create("a")
    desk.put(cmd.CancelTask("r", "a"))
    assert names(desk.fail("a", "unavailable")) == ["attempt.cancelled", "task.cancelled"]


def test_a_cancel_of_an_ended_task_changes_nothing() -> None:
    desk = Desk(worker())
    desk.create("a")
    desk.succeed("a")
    assert desk.put(cmd.CancelTask("r", "a")) == []
    assert desk.refusal is None


def test_commands_for_unknown_tasks_are_refused() -> None:
    desk = Desk(worker())
    for message in (cmd.CancelTask("r", "x"), cmd.ResolveTask("r", "x", "retry"), cmd.RetryTask("r", "x", "y")):
        assert desk.put(message) == []
        assert desk.refusal is not None
        assert desk.refusal.kind == "not_found"


def test_a_held_task_takes_only_the_decisions_it_offers() -> None:
    desk = Desk(worker())
    desk.note("worker", ExecutorHealth("failed", "gone"))
    desk.create("a")
    assert desk.put(cmd.ResolveTask("r", "a", "accept")) == []
    assert desk.refusal is not None
    assert desk.refusal.kind == "invalid"
    assert names(desk.put(cmd.ResolveTask("r", "a", "fail", "owner"))) == ["task.resolved", "task.failed"]


def test_a_task_that_is_not_held_takes_no_decision() -> None:
    desk = Desk(worker())
    desk.create("a")
    assert desk.put(cmd.ResolveTask("r", "a", "retry")) == []
    assert desk.refusal is not None
    assert desk.refusal.kind == "not_held"


def test_retrying_an_ended_task_submits_it_anew() -> None:
    desk = Desk(worker())
    desk.create("a", idempotency_key="k")
    desk.fail("a")
    assert names(desk.put(cmd.RetryTask("r", "a", "b")))[0] == "task.created"
    assert desk.task("b").spec.retry_of == "a"
    assert desk.task("a").state is TaskState.FAILED


def test_a_boot_voids_health_and_asks_about_open_attempts() -> None:
    desk = Desk(worker())
    desk.create("a")
    events = desk.put(cmd.Boot("boot-2", desk.settings))
    assert names(events) == ["router.started"]
    assert [s.message.task_id for s in desk.sends if isinstance(s.message, cmd.ReconcileAttempt)] == ["a"]
    assert names(desk.create("b")) == ["task.created", "task.routed"]


def test_a_boot_moves_queues_of_executors_that_left_the_configuration() -> None:
    desk = Desk(worker("old"), ready=False)
    desk.create("a")
    desk.settings = Desk(worker("new"), ready=False).settings
    events = desk.put(cmd.Boot("boot-2", desk.settings))
    assert names(events) == ["router.started", "router.configured", "task.routed"]
    assert desk.task("a").route.executor == "new"  # type: ignore[union-attr]


def test_an_attempt_that_was_never_sent_goes_again_after_a_backoff() -> None:
    desk = Desk(worker(on_crash="fail"))
    desk.create("a")
    assert names(desk.fail("a", "unavailable")) == ["attempt.failed"]
    assert desk.put(cmd.TimerFired("a")) == []
    desk.at = desk.task("a").retry_at or 0
    assert names(desk.put(cmd.TimerFired("a"))) == ["attempt.planned"]
    assert desk.started == [("a", 2)]


def test_a_task_that_its_executor_never_takes_is_held_in_the_end() -> None:
    desk = Desk(worker())
    desk.create("a")
    n = 1
    while names(desk.fail("a", "unavailable", n)) == ["attempt.failed"]:
        desk.at = desk.task("a").retry_at or 0
        desk.put(cmd.TimerFired("a"))
        n += 1
    assert n == 8
    assert desk.task("a").state is TaskState.HELD


def test_only_so_many_ended_tasks_stay_in_memory() -> None:
    desk = Desk(worker())
    for i in range(boards.KEEP_ENDED + 3):
        desk.create(f"t{i}", idempotency_key=f"k{i}")
        desk.succeed(f"t{i}")
    assert len(desk.board.tasks) == boards.KEEP_ENDED
    assert "t2" not in desk.board.tasks
    assert "k2" not in desk.board.keys
    assert desk.board.take_forgotten() == ["t0", "t1", "t2"]


def test_the_board_is_the_fold_of_its_log_and_survives_a_snapshot() -> None:
    desk = Desk(worker("one", max_concurrency=1), worker("two", types=("gpu",)))
    for i, name in enumerate("abcdef"):
        desk.create(name, priority=i, type="gpu" if i % 2 else "general")
    desk.fail("a", "unavailable")
    desk.interrupt("b")
    desk.put(cmd.CancelTask("r", "c"))
    replayed = desk.replayed()
    restored = boards.restore(desk.board.snapshot())
    for other in (replayed, restored):
        assert other.snapshot() == desk.board.snapshot()
        assert {p: list(q) for p, q in other.places.items() if q} == {
            p: list(q) for p, q in desk.board.places.items() if q
        }

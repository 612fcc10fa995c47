"""What the Gateway admits."""

from __future__ import annotations

from typing import Any

from omni.actors.gateway import Gateway
from omni.domain import commands as cmd
from omni.domain.ledger import DAY_MS
from omni.domain.task import Task
from omni.domain.values import Budget, TaskSpec, TaskState


def task(task_id: str, state: TaskState) -> Task:
    return Task(task_id, TaskSpec("say hello"), 1, 1, 1, 1, 1, state=state)


def ask(gateway: Gateway, state: Any, message: Any) -> list[tuple[str, Any]]:
    return [(s.to, s.message) for s in gateway.handle(state, cmd.Envelope("m", 0, 0, "test", message)).sends]


def test_a_retry_that_would_make_a_new_task_is_admitted_like_any_other_task() -> None:
    gateway = Gateway(open_limit=1)
    state = gateway.initial()
    retry = cmd.RetryTask("r", "done", "new")
    ask(gateway, state, cmd.TasksChanged((task("done", TaskState.FAILED),)))
    assert ask(gateway, state, retry) == [("router", retry)]
    ask(gateway, state, cmd.TasksChanged((task("held", TaskState.HELD),)))
    ((to, reply),) = ask(gateway, state, retry)
    assert (to, reply.payload.kind) == ("door", "overloaded")


def test_a_held_task_goes_on_although_no_more_are_admitted() -> None:
    gateway = Gateway(open_limit=1)
    state = gateway.initial()
    ask(gateway, state, cmd.TasksChanged((task("held", TaskState.HELD),)))
    retry = cmd.RetryTask("r", "held", "new")
    assert ask(gateway, state, retry) == [("router", retry)]


def test_the_status_tells_what_was_spent_today_and_nothing_of_yesterday() -> None:
    gateway = Gateway(open_limit=1)
    state = gateway.initial()
    told = cmd.Spend(1_000, 0.5, 0.25, 0.75, budget=Budget(daily_usd=9.0))
    ask(gateway, state, told)
    ((_, reply),) = ask(gateway, state, cmd.GetStatus("r"))
    assert reply.payload.spend == told
    (sent,) = gateway.handle(state, cmd.Envelope("m", 1_000, 0, "test", cmd.GetStatus("r"))).sends
    assert sent.message.payload.spend == cmd.Spend(DAY_MS, budget=Budget(daily_usd=9.0))


def test_whoever_gives_the_decision_back_lets_a_crash_loop_go_on_too() -> None:
    gateway = Gateway(open_limit=1)
    auto, brainstem = cmd.ForceMode("r", brainstem=False, by="owner"), cmd.ForceMode("r", brainstem=True, by="owner")
    told = ask(gateway, gateway.initial(), auto)
    assert told == [("router", cmd.ResumeDispatch("owner")), ("health", auto)]
    assert ask(gateway, gateway.initial(), brainstem) == [("health", brainstem)]

"""The pool hands an attempt over once, however often and however late it is told to."""

from __future__ import annotations

from typing import Any

from omni.actors import executor_pool as pool
from omni.actors.executor_pool import ExecutorPool
from omni.domain import commands as cmd
from omni.domain.values import Result, Route


def start(task_id: str) -> cmd.StartAttempt:
    return cmd.StartAttempt(task_id, 1, Route("peer", "P1", "small"), "say hello", f"{task_id}:1", "h", 1_000, 1_000)


def receivers(state: Any, message: Any) -> list[str]:
    outcome = ExecutorPool({}).handle(state, cmd.Envelope("m", 0, 0, "test", message))
    return [send.to for send in outcome.sends]


def test_an_attempt_that_runs_long_is_not_started_again_by_a_router_that_has_not_heard_of_its_end() -> None:
    state = ExecutorPool({}).initial()
    assert receivers(state, start("long")) == ["hands"]
    for n in range(pool.REMEMBERED + 1):
        receivers(state, start(f"short-{n}"))
        receivers(state, cmd.ReportSucceeded(f"short-{n}", 1, Result("done")))
    assert receivers(state, cmd.ReportSucceeded("long", 1, Result("done"))) == ["router"]
    assert receivers(state, start("long")) == []


def test_the_memory_of_what_was_reported_is_bounded() -> None:
    state = ExecutorPool({}).initial()
    for n in range(pool.REMEMBERED + 10):
        receivers(state, start(f"t-{n}"))
        receivers(state, cmd.ReportSucceeded(f"t-{n}", 1, Result("done")))
    assert (len(state.running), len(state.reported)) == (0, pool.REMEMBERED)

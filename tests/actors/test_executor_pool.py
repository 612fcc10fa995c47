"""The pool hands an attempt over once, however often and however late it is told to."""

from __future__ import annotations

from typing import Any

from omni.actors import executor_pool as pool
from omni.actors.executor_pool import ExecutorPool
from omni.domain import commands as cmd
from omni.domain.effects import NOTHING
from omni.domain.template import compile_template
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


def test_the_wish_to_pause_reaches_the_hands_and_no_dry_run() -> None:
    state = ExecutorPool({}).initial()
    assert receivers(state, cmd.PauseAttempt("t", 1, "peer")) == ["hands"]
    dry = ExecutorPool({"dry": compile_template({})})
    assert dry.handle(state, cmd.Envelope("m", 0, 0, "test", cmd.PauseAttempt("t", 1, "dry"))) == NOTHING


def test_a_dry_run_shows_neither_key_nor_address_of_the_models() -> None:
    dry = ExecutorPool({"dry": compile_template({"key": "{api_key}", "url": "{base_url}", "tier": "{tier}"})})
    begin = cmd.StartAttempt("t", 1, Route("dry", "P1", "small"), "say hello", "t:1", "h", 1_000, 1_000)
    (send,) = dry.handle(dry.initial(), cmd.Envelope("m", 0, 0, "test", begin)).sends
    assert send.message.result == Result("dry run", {"key": "", "url": "", "tier": "P1"})

"""Model calls and their budgets in the whole world: crashes between reservation and bill, and midnight."""

from __future__ import annotations

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.world import EXECUTORS, World

from omni.domain import commands as cmd
from omni.domain.ledger import DAY_MS
from omni.domain.values import Budget, RoutingSettings

LIMITS = RoutingSettings(EXECUTORS, budget=Budget(daily_usd=1.0))


def at_work(world: World, kind: str = "coding") -> str:
    task_id = world.submit(kind)
    world.settle()
    world.does(task_id, "begin")
    return task_id


def call(world: World, name: str, usd: float, task_id: str = "", n: int = 1) -> None:
    asked = cmd.ReserveCall(name, name, "cloud", "large", "NORMAL", task_id, n if task_id else 0, "", True, usd)
    world._from_above("router", "port", asked)
    world.settle()


def bill(world: World, name: str, usd: float) -> None:
    world._from_above("router", "port", cmd.SettleCall(name, "ok", billed_usd=usd))
    world.settle()


def spent(world: World) -> float:
    ledger = world.kernels["router"].state.ledger
    return float(round(ledger.spent(world.clock.wall // DAY_MS), 9))


def state(world: World, task_id: str) -> str:
    life = world.judge.lives[task_id]
    return life.terminal or life.state


@pytest.mark.parametrize("moment", ["before append", "after append", "before send", "after send"])
def test_a_crash_between_reservation_and_bill_loses_no_call_and_counts_none_twice(
    make_world: MakeWorld, moment: str
) -> None:
    world = make_world(LIMITS)
    task_id = at_work(world)
    call(world, "c1", 0.4, task_id)
    call(world, "c2", 0.3)
    world.failpoints.arm(moment)
    bill(world, "c1", 0.1)
    before = spent(world)
    assert before == (0.4 if moment == "after append" else 0.7)
    assert world.judge.calls == set()
    bill(world, "c1", 0.1)
    assert spent(world) == before
    world.calm()


def test_a_task_that_ran_into_the_day_goes_on_after_midnight_and_is_done_once(make_world: MakeWorld) -> None:
    world = make_world(LIMITS)
    task_id = at_work(world)
    call(world, "c1", 0.8, task_id)
    call(world, "c2", 0.8, task_id)
    world.does(task_id, "stopped")
    assert state(world, task_id) == "held"
    world.crash()
    world.everyone_ready()
    world.settle()
    assert state(world, task_id) == "held"
    world.clock.wall += DAY_MS
    world.fire()
    world.settle()
    assert state(world, task_id) == "planned"
    world.calm()

"""Every place where a crash can strike, once each: before and after every append and every send of one full story."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.sim.world import EXECUTORS, World

from omni.domain import commands as cmd
from omni.domain.values import RoutingSettings

ONE_BY_ONE = 64  # `World.step` reads the size of a delivery from the bits above
FAULTS = ("disk full", "lost commit", "kept commit")
MOMENTS = ("before append", "after append", "before send", "after send")
GOES = "resumer"
RANDOM_ORDERS = 20 * int(os.environ.get("OMNI_TORTURE", "1"))
STORY = (  # kind, then what its executor does, step by step
    ("general", ("begin", "succeed", "repeat")),
    ("general", ("begin", "started", "die", "late_success")),
    ("coding", ("begin", "die")),
    ("gpu", ("unavailable",)),
    ("gpu", ("begin", "die", "late_failure")),
    ("research", ("begin", "started", "resumable_die")),
    ("dry", ()),
)


def tell(world: World, order: random.Random) -> Iterator[None]:
    """One task for every policy and every kind of end, a cancel, a decision and a retry; a pause after each act."""
    tasks = [world.submit(kind, wait=True, idempotency_key=f"k{i}") for i, (kind, _) in enumerate(STORY)]
    cancelled = world.submit()
    yield from run(world, order)
    for step in range(4):
        for task_id, (_, steps) in zip(tasks, STORY, strict=True):
            act(world, task_id, steps[step : step + 1])
        act(world, cancelled, ("begin",) if step == 0 else ())
        if step in {1, 2}:
            change(world, step)
        yield from run(world, order)
        world.everyone_ready()
        yield from run(world, order)
    world.ask(cmd.CancelTask(world.new_name("r"), cancelled, "owner"))
    world.ask(cmd.ResolveTask(world.new_name("r"), tasks[1], "retry", "owner"))
    world.ask(cmd.RetryTask(world.new_name("r"), tasks[0], world.new_name("t"), "owner"))
    yield from run(world, order)
    act(world, cancelled, ("stopped",))
    world.clock.run(3_000)
    world.fire()
    yield from run(world, order)


def change(world: World, step: int) -> None:
    """Another configuration: an executor goes, and comes back with another entry and another number of slots."""
    kept = [each for each in EXECUTORS if step != 1 or each.name != GOES]
    world.reload(RoutingSettings(tuple(replace(each, max_concurrency=step) for each in kept)), anew=[kept[0].name])


def act(world: World, task_id: str, steps: tuple[str, ...]) -> None:
    """The executor takes its step if it can still: after a crash the story has changed."""
    calls = [c for c in world.hands.calls if c.task_id == task_id]
    for step in steps:
        if calls and step in calls[-1].steps(world.ledger):
            world.take(calls[-1], step)


def run(world: World, order: random.Random) -> Iterator[None]:
    while world.step(ONE_BY_ONE + order.randrange(64)):  # the most turns, and so the most places to crash at
        yield


def passed(directory: Path, seed: int) -> dict[str, int]:
    """How often each moment comes in the story when nothing goes wrong."""
    world = World(directory)
    try:
        world.everyone_ready()
        for _ in tell(world, random.Random(seed)):
            pass
        return dict(world.failpoints.passed)
    finally:
        world.close()


def strike_at(directory: Path, moment: str, after: int, seed: int) -> None:
    """Tell the story with one crash or fault in it, go on, and let everything come to its end."""
    directory.mkdir()
    world = World(directory, armed=(moment, after))
    try:
        world.everyone_ready()
        for _ in tell(world, random.Random(seed)):
            pass
        assert world.lives == (moment in MOMENTS), f"the {after}th {moment} never came"
        world.calm()
    finally:
        world.close()


@pytest.mark.parametrize("moment", MOMENTS + FAULTS)
def test_a_crash_or_fault_at_any_point_of_the_story_breaks_no_promise(scratch: Path, moment: str) -> None:
    (scratch / "whole").mkdir()
    times = passed(scratch / "whole", 1)[moment]
    assert times > 20
    for after in range(times):
        strike_at(scratch / f"{after}", moment, after, 1)


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(RANDOM_ORDERS))
def test_a_crash_at_any_point_of_any_order_breaks_no_promise(scratch: Path, seed: int) -> None:
    (scratch / "whole").mkdir()
    counts = passed(scratch / "whole", seed)
    for moment in MOMENTS:
        for after in range(counts[moment]):
            strike_at(scratch / f"{moment}-{after}", moment, after, seed)

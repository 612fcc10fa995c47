"""Whatever happens to a daemon: the state of any position read from its log is the one that its actors had then."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim.conftest import make_scratch
from tests.sim.sky import CLOUD_MOODS, CLOUDS, PROXY_MOODS
from tests.sim.world import KINDS, World

from omni.domain import commands as cmd
from omni.domain.health import Health
from omni.domain.system import SystemState
from omni.domain.values import PROXY
from omni.eventlog.transfer import export_jsonl, import_jsonl
from omni.replay.history import History
from omni.replay.state import StateAt, board_hash, state_at
from omni.replay.verify import verify

Seen = tuple[str, Health, dict[str, Any], dict[str, Any]]
MINUTE_MS = 60_000


def what_stands(health: Health, executors: Any, system: SystemState) -> tuple[Health, dict[str, Any], dict[str, Any]]:
    """Copies of what will change, without what was only observed."""
    recorded = {name: (each.health, each.since) for name, each in executors.items() if each.since}
    lanes = {lane: dict(keys) for lane, keys in system.lanes.items()}
    return Health(**{f: _copied(getattr(health, f)) for f in health.__struct_fields__}), recorded, {
        **{name: _copied(value) for name, value in vars(system).items()},
        "lanes": lanes,
    }  # fmt: skip


def _copied(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value


class Watched(World):
    """Remembers, for each end that the log ever had, what the actors knew then."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.seen: dict[int, Seen] = {}
        super().__init__(*given, **named)

    def look(self) -> None:
        super().look()
        health, system = self.kernels["health"].state, self.kernels["brainstem"].state
        hashed = board_hash(self.kernels["router"].state.snapshot())
        self.seen[self.store.head.position] = (hashed, *what_stands(health.health, health.executors, system))


def a_task_comes(world: Watched, pick: int) -> None:
    chat = (None, "telegram:1")[pick % 2]
    world.submit(KINDS[pick % 5], priority=pick % 10, reply_to=chat)


def the_sky_changes(world: Watched, pick: int) -> None:
    cloud = CLOUDS[pick % 2]
    world.sky.moods[cloud] = [*CLOUD_MOODS][pick % len(CLOUD_MOODS)]
    world.sky.moods[PROXY] = [*PROXY_MOODS][pick % len(PROXY_MOODS)]
    world.calls((PROXY, cloud)[pick // 7 % 2], pick)


def all_is_answered(world: Watched, pick: int) -> None:
    while world.sky.answer(pick):
        world.settle(pick)


def time_passes(world: Watched, pick: int) -> None:
    world.clock.run((500, 2_500, 31_000, 61 * MINUTE_MS)[pick % 4])
    world.fire()
    world.settle(pick)


def the_clock_jumps(world: Watched, pick: int) -> None:
    world.clock.jump((-MINUTE_MS, 10_000)[pick % 2])
    world.fire()


def some_messages_arrive(world: Watched, pick: int) -> None:
    for each in range(pick % 16):
        world.step(pick + each)


def somebody_asks(world: Watched, pick: int) -> None:
    known = world.client.seen[-6:] or ["nobody"]
    task_id, request = known[pick % len(known)], world.new_name("r")
    wishes = (
        cmd.CancelTask(request, task_id, "owner"),
        cmd.RetryTask(request, task_id, world.new_name("t"), "owner"),
        cmd.ResolveTask(request, task_id, "retry", "owner"),
        cmd.ForceMode(request, pick % 8 > 3, "owner"),
    )
    world.ask(wishes[pick % 4])


STEPS: dict[str, Callable[[Watched, int], None]] = {
    "task": a_task_comes,
    "act": lambda world, pick: world.act(pick, pick // 3),
    "sky": the_sky_changes,
    "answer": all_is_answered,
    "time": time_passes,
    "jump": the_clock_jumps,
    "messages": some_messages_arrive,
    "crash": lambda world, pick: world.crash(pick),
    "ready": lambda world, _: world.everyone_ready(),
    "ask": somebody_asks,
}
Step = st.tuples(st.sampled_from([*STEPS]), st.integers(0, 255))


def assert_as_it_was(found: StateAt, seen: Seen) -> None:
    assert found.hash == seen[0]
    assert what_stands(found.health, found.executors, found.system) == seen[1:]


def carried_elsewhere(history: History, database: Path) -> None:
    """The log as JSON lines makes the same log, with the same state and the same verdict."""
    out = io.BytesIO()
    export_jsonl(history.database, out)
    head = import_jsonl(io.BytesIO(out.getvalue()), database)
    again = io.BytesIO()
    export_jsonl(database, again)
    assert again.getvalue() == out.getvalue()
    with History.at(database) as copy:
        assert copy.reader.head == head == history.reader.head
        assert state_at(copy, head.position).hash == state_at(history, head.position).hash
    assert verify(database).ok


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(Step, min_size=10, max_size=60))
def test_every_position_gives_back_what_the_actors_knew_there(steps: list[tuple[str, int]]) -> None:
    directory = make_scratch()
    world = Watched(directory, watched=True)
    try:
        world.everyone_ready()
        world.settle()
        for step, pick in steps:
            STEPS[step](world, pick)
        world.settle()
        with History.at(world._home() / "omni.db") as history:
            assert len(world.seen) > 3
            for position, seen in world.seen.items():
                assert_as_it_was(state_at(history, position), seen)
            carried_elsewhere(history, directory / "elsewhere" / "omni.db")
    finally:
        world.close()
        shutil.rmtree(directory)

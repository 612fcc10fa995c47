"""A world of one's own for each test, on a disk in memory where there is one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.sim.world import World

from omni.domain.values import RoutingSettings

MEMORY = Path("/dev") / "shm"  # a sync costs nothing there; what is synced is the same

MakeWorld = Callable[..., World]


def make_scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="omni-sim-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))


@pytest.fixture
def scratch() -> Iterator[Path]:
    directory = make_scratch()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def make_world(scratch: Path) -> Iterator[MakeWorld]:
    """Worlds whose executors are ready and whose messages have arrived."""
    made: list[World] = []

    def make(settings: RoutingSettings | None = None, *, compare: bool = True) -> World:
        home = scratch / f"world-{len(made)}"
        home.mkdir()
        world = World(home, settings, compare=compare)
        made.append(world)
        world.everyone_ready()
        world.settle()
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()

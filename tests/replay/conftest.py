"""A day in the life of a simulated system, for tests of what is read out of its log."""

import shutil
from collections.abc import Iterator

import pytest
from tests.replay.lived import eventful
from tests.sim.conftest import make_scratch
from tests.sim.world import World


@pytest.fixture(scope="module")
def day() -> Iterator[World]:
    """A day with all that may happen in one, as `eventful` tells it."""
    directory = make_scratch()
    world = eventful(directory)
    yield world
    world.close()
    shutil.rmtree(directory)

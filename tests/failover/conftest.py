from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.failover.scene import Scene, Scripted
from tests.fakes.processes import FakeProxyProcess

MakeScene: TypeAlias = Callable[..., Scene[FakeProxyProcess]]


@pytest.fixture(scope="session")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """Clouds, a local model and a scripted proxy for all tests of a worker."""
    around = Scripted(tmp_path_factory.mktemp("around"))
    yield around
    around.end()


@pytest.fixture
def make_scene(around: Scripted, tmp_path: Path) -> Iterator[MakeScene]:
    """Starts a daemon among them, as good as new; nothing of it is left afterwards."""
    made: list[Scene[FakeProxyProcess]] = []

    def make(**config: object) -> Scene[FakeProxyProcess]:
        around.anew()
        made.append(Scene(tmp_path, around, **config))
        return made[-1].start()

    yield make
    for each in made:
        each.close()

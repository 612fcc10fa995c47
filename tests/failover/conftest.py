from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.failover.scene import Scene, Scripted, scenes
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
    with scenes(tmp_path, around) as make:
        yield make

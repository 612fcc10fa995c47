from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.failover.scene import Scene
from tests.fakes.processes import FakeProxyProcess

MakeScene: TypeAlias = Callable[..., Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[MakeScene]:
    """Builds a scene with a scripted proxy, started; nothing of it is left afterwards."""
    made: list[Scene] = []

    def make(**config: Any) -> Scene:
        proxy = FakeProxyProcess(tmp_path)
        made.append(Scene(tmp_path, proxy, **config))
        proxy.up()
        return made[-1].start()

    yield make
    for each in made:
        each.close()

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.torture.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A daemon with executors of every kind, not started yet; nothing of it is left afterwards."""
    house = House(tmp_path)
    yield house
    house.close()

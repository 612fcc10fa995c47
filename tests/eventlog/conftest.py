from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.eventlog.samples import CODEC

from omni.eventlog.sqlite import SqliteEventStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "omni.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteEventStore]:
    opened = SqliteEventStore.open(path, CODEC)
    yield opened
    opened.close()

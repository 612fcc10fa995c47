"""Golden logs, unpacked once for all tests of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from tests.histories.make import unpack

from omni.replay.history import History

OpenGolden = Callable[[str], History]


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenGolden]:
    """Open golden logs by name; they are for reading."""
    with ExitStack() as opened:

        @cache
        def open_golden(name: str) -> History:
            directory: Path = tmp_path_factory.mktemp("golden") / name
            return opened.enter_context(History.open(unpack(name, directory)))

        yield open_golden

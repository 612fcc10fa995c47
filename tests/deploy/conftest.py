from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.deploy.dockerfile import ROOT
from tests.deploy.tree import USER, Trees, missing

Volume: TypeAlias = Callable[[], Path]


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trees]:
    """Builds what the Dockerfile says; the bare Debian tree is kept in .cache for the next time."""
    if reason := missing():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("trees")
    cache = ROOT / ".cache/image"
    cache.mkdir(parents=True, exist_ok=True)
    yield Trees(home, cache)
    shutil.rmtree(home)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """Makes a volume as an engine does: a new directory that takes its owner and mode from the image's."""

    def make() -> Path:
        path = tmp_path / "volume"
        path.mkdir(mode=0o700)
        os.chown(path, USER, USER)
        return path

    return make

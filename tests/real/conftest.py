"""A real LiteLLM proxy before two fake clouds, and a report of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.failover.scene import Scene, scenes
from tests.fakes.processes import REAL_PYTHON, ProxyProcess
from tests.real.house import Front, Real

MakeScene: TypeAlias = Callable[..., Scene[ProxyProcess]]
HERE = Path(__file__).parent
FIGURES = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every test of this folder wants the real proxy; the fakes' own tests lie elsewhere."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("real")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[FIGURES]:
        terminalreporter.section("measured")
        for line in config.stash[FIGURES]:
            terminalreporter.line(line)


class Figures:
    """Takes down what a test measured, for the end of the report."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def note(self, what: str, seconds: float, *, below: float) -> None:
        """Write a time down, then hold it against its bound."""
        self._lines.append(f"{what}: {seconds * 1000:.0f} ms (bound {below:g} s)")
        assert seconds < below, f"{what} took {seconds:.2f} s, more than {below:g} s"


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    return Figures(pytestconfig.stash[FIGURES])


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    if not REAL_PYTHON.exists():
        pytest.fail("there is no .venv-real here; run `make test-real`, which makes it", pytrace=False)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One proxy and its clouds for a whole module; whoever kills or freezes something puts it right again.

    Not for all modules: the proxy remembers what it has put to rest.
    """
    front = Front(tmp_path_factory.mktemp("front"))
    try:
        yield front.up()
    finally:
        front.close()


@pytest.fixture(scope="session")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Clouds, a local model and a real proxy for all daemons."""
    around = Real(tmp_path_factory.mktemp("around"))
    yield around
    around.end()


@pytest.fixture
def make_scene(around: Real, tmp_path: Path) -> Iterator[MakeScene]:
    """Starts a daemon among them, as good as new; nothing of it is left afterwards."""
    with scenes(tmp_path, around) as make:
        yield make

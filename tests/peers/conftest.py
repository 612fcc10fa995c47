"""The real Claude Code and the real OpenClaw, each before fakes of what it talks to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.processes import MessagesProcess, running
from tests.peers.claude import ClaudeHome
from tests.peers.openclaw import OpenClawHouse, at_home
from tests.peers.programs import CLAUDE, missing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every test of this folder wants a real program."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("peers")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A script's background job ignores INT, and its children would too; the programs here must hear it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MessagesProcess]:
    """The cloud of Claude Code, for a whole module."""
    process = MessagesProcess(tmp_path_factory.mktemp("messages"))
    with running(process):
        yield process.up()


@pytest.fixture
def claude(messages: MessagesProcess, tmp_path: Path) -> ClaudeHome:
    """Claude Code with an empty home and a cloud that has forgotten what was before."""
    if reason := missing(CLAUDE, "OMNI_TEST_CLAUDE"):
        pytest.skip(reason)
    messages.anew()
    return ClaudeHome(tmp_path, messages)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenClawHouse]:
    """A gateway with its provider and its Telegram, for a whole module: it takes 15 s and 1 GB."""
    with at_home(tmp_path_factory.mktemp("openclaw")) as gateway:
        yield gateway

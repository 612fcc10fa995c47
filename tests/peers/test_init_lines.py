"""The ready lines of `omni init`, run by a real shell and taken by the real Claude Code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Daemon, Omni, make_omni
from tests.peers.claude import QUIET
from tests.peers.programs import CLAUDE, missing

WITHIN_S = 90


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Omni]:
    """An empty home with Claude Code and `omni` on the PATH, and the daemon of the configuration that init wrote."""
    if reason := missing(CLAUDE, "OMNI_TEST_CLAUDE"):
        pytest.skip(reason)
    omni = make_omni(tmp_path / "home")
    place = os.pathsep.join([str(CLAUDE.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    omni.environ |= {**QUIET, "PATH": place, "XDG_CONFIG_HOME": str(omni.home / "conf")}
    assert omni("init", "--yes").returncode == 0
    daemon = Daemon(omni)
    daemon.start()
    yield omni
    daemon.stop(signal.SIGTERM)


def shell(omni: Omni, line: str) -> str:
    done = subprocess.run(
        ["sh", "-c", line], cwd=omni.home, env=omni.environ, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout.decode()


def test_claude_code_connects_by_its_line(newcomer: Omni) -> None:
    document = newcomer.json("init")
    assert document["found"]["claude_code"]["version"]
    shell(newcomer, document["clients"]["claude_code"]["command"])
    listed = next(line for line in shell(newcomer, "claude mcp list").splitlines() if line.startswith("omni:"))
    assert f"ws://127.0.0.1:{newcomer.port}/ws" in listed
    assert "Connected" in listed


def test_what_stdio_clients_are_given_connects_from_any_directory(newcomer: Omni) -> None:
    entry = newcomer.json("init")["clients"]["claude_desktop"]["entry"]["mcpServers"]["omni"]
    subprocess.run(
        [str(CLAUDE), "mcp", "add-json", "--scope", "user", "bridged", json.dumps(entry)],
        cwd="/", env=newcomer.environ, check=True, capture_output=True, timeout=WITHIN_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    listed = next(line for line in shell(newcomer, "cd / && claude mcp list").splitlines() if "bridged:" in line)
    assert "Connected" in listed

"""From a chat through the real OpenClaw to a task, and back: registration, a repeated call, one answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Daemon, Omni, free_port
from tests.peers.openclaw import OpenClawHouse
from tests.torture.daemon_process import until

CONFIG = """\
mcp_servers:
  echo: {url: "null:", types: [general], arguments: {said: "{description}"}}
"""
TURN_WITHIN_S = 90.0


@pytest.fixture
def omni(house: OpenClawHouse, tmp_path: Path) -> Iterator[Omni]:
    """A daemon that is registered with the gateway, in the same home as OpenClaw's own files."""
    omni = Omni(tmp_path, free_port())
    (tmp_path / "config.yaml").write_text(CONFIG)
    omni.environ |= {"HOME": str(house.home), "PATH": house.environ["PATH"]}
    daemon = Daemon(omni)
    daemon.start()
    done = omni("init", "--openclaw", "--apply", "--force", timeout_s=300)
    assert done.returncode == 0, done
    assert house.run("mcp", "reload").returncode == 0
    yield omni
    daemon.stop()


def call(**arguments: Any) -> str:
    return f"omni__create_task:{json.dumps(arguments)}]]"


def test_openclaw_knows_omni_and_reaches_it(house: OpenClawHouse, omni: Omni) -> None:
    assert "omni" in house.run("mcp", "list").stdout
    assert "11 tools" in house.run("mcp", "probe", "omni").stdout


def test_a_model_that_calls_twice_makes_one_task_and_the_chat_gets_its_answer(house: OpenClawHouse, omni: Omni) -> None:
    house.telegram.anew()
    house.telegram.inject(f"please [[twice:{call(description='say hello to the chat', wait_s=20)}")
    until(lambda: any("TOOL SAID" in each.text for each in house.telegram.sent()), TURN_WITHIN_S, "the bot answers")
    (task,) = omni.json("tasks")["tasks"]
    assert task["state"] == "completed"
    assert any("say hello to the chat" in each.text for each in house.telegram.sent())


def test_a_call_that_names_its_chat_is_answered_at_once_and_owes_that_chat_an_answer(
    house: OpenClawHouse, omni: Omni
) -> None:
    house.telegram.anew()
    house.telegram.inject(f"please [[tool:{call(description='take your time', wait_s=40, reply_to='telegram:42')}")
    until(lambda: any("TOOL SAID" in each.text for each in house.telegram.sent()), TURN_WITHIN_S, "the bot answers")
    (task,) = omni.json("tasks")["tasks"]
    assert task["reply_to"] == "telegram:42"

"""From a chat through the real OpenClaw to a task, and back: registration, a repeated call, one answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from tests.cli.conftest import Daemon, Omni, free_port
from tests.fakes.processes import ProviderProcess, TelegramProcess, running
from tests.peers.openclaw import OpenClawHouse
from tests.peers.programs import OPENCLAW, missing
from tests.torture.daemon_process import until

Scene: TypeAlias = tuple[Omni, OpenClawHouse]
CONFIG = """\
mcp_servers:
  echo: {url: "null:", types: [general], arguments: {said: "{description}"}}
"""
TURN_WITHIN_S = 90.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A daemon, and a gateway that it was registered with before its start."""
    if reason := missing(OPENCLAW, "OMNI_TEST_OPENCLAW"):
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("intake")
    provider, telegram = ProviderProcess(home), TelegramProcess(home)
    gateway = OpenClawHouse(home / "house", provider, telegram)
    omni = Omni(home, free_port())
    (home / "config.yaml").write_text(CONFIG)
    omni.environ |= {"HOME": str(gateway.home), "PATH": gateway.environ["PATH"]}
    daemon = Daemon(omni)
    with running(provider, telegram, gateway):
        provider.up()
        telegram.up()
        daemon.start()
        done = omni("init", "--openclaw", "--apply", timeout_s=300)
        assert done.returncode == 0, done
        gateway.up()
        yield omni, gateway
        daemon.stop()


def asked_for(omni: Omni, text: str) -> list[dict[str, Any]]:
    return [task for task in omni.json("tasks")["tasks"] if task["description"] == text]


def call(**arguments: Any) -> str:
    return f"omni__create_task:{json.dumps(arguments)}]]"


def test_a_model_that_calls_twice_makes_one_task_and_the_chat_gets_its_answer(scene: Scene) -> None:
    omni, house = scene
    house.telegram.anew()
    house.telegram.inject(f"please [[twice:{call(description='say hello to the chat', wait_s=20)}")
    until(lambda: any("TOOL SAID" in each.text for each in house.telegram.sent()), TURN_WITHIN_S, "the bot answers")
    (task,) = asked_for(omni, "say hello to the chat")
    assert task["state"] == "completed"
    assert any("say hello to the chat" in each.text for each in house.telegram.sent())


def test_a_call_that_names_its_chat_is_answered_at_once_and_owes_that_chat_an_answer(scene: Scene) -> None:
    omni, house = scene
    house.telegram.anew()
    house.telegram.inject(f"please [[tool:{call(description='take your time', wait_s=40, reply_to='telegram:42')}")
    until(lambda: any("TOOL SAID" in each.text for each in house.telegram.sent()), TURN_WITHIN_S, "the bot answers")
    (task,) = asked_for(omni, "take your time")
    assert task["reply_to"] == "telegram:42"

"""A person with nothing but one model: an API key, or Ollama. Real daemons, real command line, clouds on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.conftest import Daemon, Omni, make_omni
from tests.fakes.processes import CloudProcess, OllamaProcess, running

KEY = "sk-or-v1-canary-primary-0001"
WAIT = ("--wait", "50")


@contextmanager
def serving(omni: Omni, config: str) -> Iterator[None]:
    """A daemon with this configuration."""
    (omni.home / "config.yaml").write_text(config)
    daemon = Daemon(omni)
    daemon.start()
    try:
        yield
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """A cloud that takes one key."""
    made = CloudProcess(tmp_path_factory.mktemp("cloud"), "north", [KEY])
    with running(made):
        yield made.up()


@pytest.fixture(scope="module")
def one_key(tmp_path_factory: pytest.TempPathFactory, cloud: CloudProcess) -> Iterator[Omni]:
    """A home with one key for one cloud."""
    omni = make_omni(tmp_path_factory.mktemp("one_key") / "home")
    config = f"""
        api_keys: {{primary: {{openrouter: {KEY}}}}}
        providers: {{openrouter: {{api_base: "{cloud.url}/v1"}}}}
        tiers: [{{name: P1, light: fake-light, channel: openrouter}}]
        """
    with serving(omni, config):
        yield omni


def kept(home: Path) -> bytes:
    return b"".join(each.read_bytes() for each in home.rglob("*") if each.is_file() and each.name != "config.yaml")


def test_with_one_key_a_general_task_is_answered_and_metered(one_key: Omni, cloud: CloudProcess) -> None:
    cloud.forget()
    task = one_key.json("submit", "Tell me why the sky is blue", *WAIT)["task"]
    assert (task["state"], task["executor"], task["model"]) == ("completed", "model", "fake-light")
    assert "north answers" in task["result"]["content"]
    assert task["usage"] == {"input_tokens": 11, "output_tokens": 7}  # once, however many have counted it
    assert [each.key for each in cloud.calls()] == [KEY]


def test_neither_the_clouds_key_nor_an_attempts_is_kept_anywhere(one_key: Omni) -> None:
    one_key.json("submit", "Tell me why the sea is salty", *WAIT)
    found = kept(one_key.home)
    assert b"salty" in found
    assert KEY.encode() not in found
    assert b"omni-a-" not in found


def test_a_cloud_that_fails_once_costs_an_attempt_and_no_task(one_key: Omni, cloud: CloudProcess) -> None:
    cloud.forget()
    cloud.set(queue=["500"])
    task = one_key.json("submit", "Tell me how rain is made", *WAIT)["task"]
    assert task["state"] == "completed"
    assert [each["state"] for each in task["attempts"]] == ["failed", "succeeded"]
    assert task["attempts"][0]["error"]["kind"] == "unavailable"
    assert len(cloud.calls()) == 2


def test_a_stream_that_breaks_in_the_middle_costs_an_attempt_and_no_task(one_key: Omni, cloud: CloudProcess) -> None:
    cloud.forget()
    cloud.set(queue=["cutstream"])
    task = one_key.json("submit", "Tell me about thunder", *WAIT)["task"]
    assert task["state"] == "completed"
    assert [each["state"] for each in task["attempts"]] == ["interrupted", "succeeded"]
    assert "broke off" in task["attempts"][0]["error"]["message"]
    assert len(cloud.calls()) == 2


def test_a_stream_that_always_breaks_is_a_question_to_a_person(one_key: Omni, cloud: CloudProcess) -> None:
    cloud.forget()
    task = one_key.json("submit", "Tell me about lightning fault:cutstream", *WAIT, code=6)["task"]
    assert "broke off" in task["held"]["reason"]
    assert len(cloud.calls()) == 3


def test_a_task_that_would_go_over_its_budget_is_held_before_any_call_is_made(
    one_key: Omni, cloud: CloudProcess
) -> None:
    cloud.forget()
    asked = ("submit", "Tell me why the sky is blue", "--model", "openai/gpt-4o", "--budget-usd", "0.000001", *WAIT)
    task = one_key.json(*asked, code=6)["task"]
    assert task["state"] == "held"
    assert "cap" in task["held"]["reason"]
    assert cloud.calls() == []


def test_with_nothing_but_ollama_a_general_task_is_answered_at_no_cost(tmp_path: Path) -> None:
    ollama = OllamaProcess(tmp_path)
    config = 'brainstem: {api_base: "%s"}\ntiers: [{name: P1, light: "qwen2.5:7b", channel: brainstem}]'
    omni = make_omni(tmp_path / "home")
    with running(ollama), serving(omni, config % ollama.up().url):
        ollama.set(answer="because of the air")
        task = omni.json("submit", "Tell me why the sky is blue", *WAIT)["task"]
        mode = omni.json("status")["mode"]
    assert (task["state"], task["executor"], task["tier"]) == ("completed", "model", "P1")
    assert task["result"]["content"] == "because of the air"
    assert mode == "NORMAL"

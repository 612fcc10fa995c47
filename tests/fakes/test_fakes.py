"""The fakes do what their tables say: tests that lean on them lean on this."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from tests.fakes.dialects import PATHS
from tests.fakes.processes import CloudProcess, OllamaProcess, running
from tests.fakes.upstream import BODIES, REFUSALS
from tests.torture.daemon_process import until

CLIENT = httpx.Client(trust_env=False, timeout=5)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    cloud = CloudProcess(tmp_path_factory.mktemp("cloud"), "north")
    with running(cloud):
        yield cloud.up()


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaProcess]:
    ollama = OllamaProcess(tmp_path_factory.mktemp("ollama"))
    with running(ollama):
        yield ollama.up()


def ask(cloud: CloudProcess, text: str = "hello", path: str = "/v1/chat/completions", **body: object) -> httpx.Response:
    whole = {"model": "fake-light", "messages": [{"role": "user", "content": text}], **body}
    return CLIENT.post(cloud.url + path, json=whole, headers={"Authorization": "Bearer sk-1"})


@pytest.mark.parametrize("path", PATHS)
def test_every_dialect_answers_whole_and_in_a_stream_with_the_same_words(cloud: CloudProcess, path: str) -> None:
    assert "north answers m1" in ask(cloud, "mark:m1", path).text
    streamed = ask(cloud, "mark:m1", path, stream=True, stream_options={"include_usage": True})
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert '"north"' in streamed.text
    assert '" m1"' in streamed.text
    assert any("usage" in json.dumps(each) for each in events[-2:])


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refusal_has_its_status_and_names_a_time_only_when_it_should(cloud: CloudProcess, fault: str) -> None:
    answer = ask(cloud, f"fault:{fault}")
    assert answer.status_code == REFUSALS[fault].status
    assert answer.json()["error"]["message"] == REFUSALS[fault].message.replace("{key}", "sk-1")
    assert answer.headers.get("retry-after") == ("2" if REFUSALS[fault].retry_after else None)


@pytest.mark.parametrize("fault", [*BODIES, "errbody"])
def test_a_bad_body_is_no_answer_of_any_dialect(cloud: CloudProcess, fault: str) -> None:
    with pytest.raises((KeyError, json.JSONDecodeError)):
        ask(cloud, f"fault:{fault}").json()["choices"]


def test_a_cut_connection_ends_before_the_headers_and_a_hanging_one_never_brings_them(cloud: CloudProcess) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        ask(cloud, "fault:cut")
    with pytest.raises(httpx.ReadTimeout):
        CLIENT.post(cloud.url + "/v1/messages", json={"messages": "fault:hang mark:h"}, timeout=0.3)
    until(lambda: [e.ended for e in cloud.entries() if e.mark == "h"] == ["left"], 5, "the cloud sees us leave")


def test_a_stream_breaks_in_three_ways_after_it_began(cloud: CloudProcess) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        ask(cloud, "fault:cutstream mark:x", stream=True)
    broken = ask(cloud, "fault:errstream mark:x", stream=True)
    assert broken.status_code == 200
    assert "went away" in broken.text
    assert "[DONE]" not in broken.text
    with pytest.raises(httpx.ReadTimeout):
        CLIENT.post(
            cloud.url + "/v1/messages", json={"messages": "fault:hangstream mark:x", "stream": True}, timeout=0.3
        )


def test_faults_come_in_the_order_of_the_queue_and_then_stay(cloud: CloudProcess) -> None:
    cloud.set(queue=["500", "ok"], fault="503")
    try:
        assert [ask(cloud).status_code for _ in range(4)] == [500, 200, 503, 503]
    finally:
        cloud.set(fault="ok")


def test_the_ledger_says_who_asked_what_and_how_it_ended(cloud: CloudProcess) -> None:
    cloud.forget()
    ask(cloud, "please mark:task-1")
    ask(cloud, "mark:task-2 fault:529", "/v1/messages")
    CLIENT.get(cloud.url + "/api/v1/key", headers={"x-api-key": "sk-2"})
    seen = [(e.path, e.key, e.model, e.mark, e.fault, e.ended) for e in cloud.entries()]
    assert seen == [
        ("/v1/chat/completions", "sk-1", "fake-light", "task-1", "ok", "200"),
        ("/v1/messages", "sk-1", "fake-light", "task-2", "529", "529"),
        ("/api/v1/key", "sk-2", "", "", "ok", "200"),
    ]


def test_an_unknown_key_is_turned_down_once_keys_are_named(cloud: CloudProcess) -> None:
    cloud.set(keys=["sk-other"])
    try:
        assert ask(cloud).status_code == 401
    finally:
        cloud.set(keys=None)


def test_a_model_is_loaded_without_a_prompt_and_unloaded_by_keeping_it_for_no_time(ollama: OllamaProcess) -> None:
    def generate(**body: object) -> httpx.Response:
        return CLIENT.post(ollama.url + "/api/generate", json={"model": "qwen2.5:7b", "stream": False, **body})

    assert ollama.loaded() == []
    assert generate(keep_alive="30m").json()["done_reason"] == "load"
    assert ollama.loaded() == ["qwen2.5:7b"]
    assert generate(prompt="Are you there?").json()["response"] == "ready"
    assert generate(keep_alive=0).json()["done_reason"] == "unload"
    assert ollama.loaded() == []
    assert generate(keep_alive="0.2s").json()["done_reason"] == "load"
    until(lambda: not ollama.loaded(), 5, "the model goes when its time is up")
    assert [e.what for e in ollama.entries()] == ["load", "generate", "unload", "load"]


def test_an_unknown_model_is_said_to_be_unknown(ollama: OllamaProcess) -> None:
    for path in ("/api/generate", "/api/chat", "/v1/chat/completions"):
        assert CLIENT.post(ollama.url + path, json={"model": "none", "prompt": "x"}).status_code == 404

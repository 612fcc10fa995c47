"""What a LiteLLM proxy really does: the facts that channels, classification and health are built on.

When a newer LiteLLM breaks one of these, the code that relies on it is named beside it.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest
from tests.real.conftest import Figures
from tests.real.house import COOLDOWN_S, DIALECTS, NORTH_KEY, SOUTH_KEY, TIMEOUT_S, Front, question
from tests.torture.daemon_process import until

LIVELINESS = "/health/liveliness"
PATHS = pytest.mark.parametrize("path", DIALECTS.values(), ids=DIALECTS)


def events(text: str) -> list[Any]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


# --- it lives (omni.llm.probes, omni.llm.watch) --------------------------------------------------------------


def test_it_calls_itself_live_without_a_key_while_every_cloud_is_dead(front: Front) -> None:
    front.north.kill()
    front.south.kill()
    try:
        assert front.ask("ok").status_code == 500
        assert httpx.get(front.proxy.url + LIVELINESS, trust_env=False).status_code == 200
    finally:
        front.north.up()
        front.south.up()


def test_frozen_it_takes_a_connection_and_says_nothing(front: Front) -> None:
    front.proxy.freeze()
    try:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(front.proxy.url + LIVELINESS, timeout=httpx.Timeout(1.0), trust_env=False)
    finally:
        front.proxy.thaw()
    until(lambda: front.proxy.answers(LIVELINESS), 10, "the thawed proxy answers")


def test_killed_it_cuts_the_calls_in_flight_and_refuses_the_next_and_comes_back_too_slowly_to_wait_for(
    front: Front, figures: Figures
) -> None:
    front.forget()
    met: list[Exception | httpx.Response] = []

    def ask() -> None:
        try:
            met.append(front.ask("hang", "fault:hang mark:flight"))
        except httpx.HTTPError as error:
            met.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(front.north.calls, 5, "the call is at its cloud")
    front.proxy.kill()
    try:
        thread.join(5)
        assert [type(each) for each in met] in ([httpx.RemoteProtocolError], [httpx.ReadError])
        with pytest.raises(httpx.ConnectError):
            httpx.get(front.proxy.url + LIVELINESS, trust_env=False)
    finally:
        began = time.monotonic()
        front.proxy.up()
        back_s = time.monotonic() - began
        front.warm()
    figures.note("the proxy from its start to its first liveness answer", back_s, below=60.0)
    assert back_s > 1.0


# --- how far a call came (omni.llm.classify) -----------------------------------------------------------------


@PATHS
def test_a_call_keeps_our_id_and_its_cost_is_only_known_when_the_cloud_tells_it(front: Front, path: str) -> None:
    body = question("pair-ok", "hello", path)
    answer = front.client.post(front.proxy.url + path, json=body, headers={"x-litellm-call-id": "our-own-id"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-litellm-call-id"] == "our-own-id"
    assert float(answer.headers.get("x-litellm-response-cost", "0")) == 0


@PATHS
@pytest.mark.parametrize("fault", ["400", "401", "402", "403", "404", "408", "413", "429", "500", "502", "503", "cut"])
def test_a_refusal_that_came_from_a_cloud_carries_a_timeout_header(front: Front, path: str, fault: str) -> None:
    answer = front.ask(fault, f"fault:{fault}", path)
    assert answer.status_code == (500 if fault == "cut" else int(fault))
    assert answer.headers["x-litellm-timeout"] == str(TIMEOUT_S)
    assert answer.headers["x-litellm-call-id"]


def test_a_refusal_before_any_cloud_was_asked_carries_none(front: Front) -> None:
    front.forget()
    for body in ({"model": "no-such-model", "messages": []}, {"model": "ok-chat"}):
        answer = front.client.post(front.proxy.url + DIALECTS["chat"], json=body)
        assert answer.status_code == 400
        assert answer.headers["x-litellm-call-id"]
        assert "x-litellm-timeout" not in answer.headers
    assert front.north.calls() == []


@PATHS
@pytest.mark.parametrize(("key", "status", "kind"), [("", 401, "auth_error"), ("sk-bad", 400, "no_db_connection")])
def test_our_own_key_is_turned_down_before_the_model_routes(
    front: Front, path: str, key: str, status: int, kind: str
) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = httpx.post(front.proxy.url + path, json=question("ok-chat", "x", path), headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert "x-litellm-call-id" not in answer.headers


# --- its own failover and cooldowns (peers: order, cooldown) -------------------------------------------------


@pytest.mark.parametrize("fault", ["401", "402", "404", "429", "500", "502", "503", "529", "cut", "badjson", "empty"])
def test_what_the_first_deployment_fails_at_the_second_answers_at_once(
    front: Front, figures: Figures, fault: str
) -> None:
    front.forget()
    front.north.set(fault=fault)
    began = time.monotonic()
    try:
        answer = front.ask(f"pair-{fault}", "mark:order")
    finally:
        front.north.set(fault="ok")
    figures.note(f"the proxy's own order, first deployment {fault}", time.monotonic() - began, below=1.0)
    assert (answer.status_code, answer.headers["x-litellm-response-cost"]) == (200, "0.00123")
    assert [e.key for e in front.north.calls()] == [NORTH_KEY]
    assert [e.key for e in front.south.calls()] == [SOUTH_KEY]


def test_a_dead_first_deployment_costs_a_moment_and_a_hanging_one_its_timeout(front: Front, figures: Figures) -> None:
    began = time.monotonic()
    assert front.ask("pair-dead").status_code == 200
    figures.note("the proxy's own order, first deployment refused", time.monotonic() - began, below=1.0)
    began = time.monotonic()
    front.north.set(fault="hang")
    try:
        assert front.ask("pair-hang", stream=True).status_code == 200
    finally:
        front.north.set(fault="ok")
    figures.note("the proxy's own order, first deployment hanging, streamed", time.monotonic() - began, below=2.0)


def test_an_absurd_retry_after_silences_a_deployment_for_as_long_as_it_says(front: Front) -> None:
    front.forget()
    for cloud in (front.north, front.south):
        cloud.set(fault="429-after", retry_after="1580000")
    try:
        told = [front.ask("pair-429-after") for _ in range(2)]
    finally:
        for cloud in (front.north, front.south):
            cloud.set(fault="ok", retry_after="2")
    assert [answer.headers.get("retry-after") for answer in told] == [None, "1580000"]
    assert told[1].headers.get("x-litellm-timeout") is None
    assert len(front.north.calls()) == 1
    assert front.ask("pair-429-after").status_code == 429


def test_a_key_that_was_turned_down_looks_like_a_rate_limit_from_then_on(front: Front) -> None:
    front.forget()
    first, second = (front.ask("401", "fault:401", DIALECTS["chat"]) for _ in range(2))
    assert {first.status_code, second.status_code} <= {401, 429}
    assert (second.status_code, second.headers["retry-after"]) == (429, str(COOLDOWN_S))
    assert "in cooldown" in second.json()["error"]["message"]


# --- streams (omni.llm.streams) ------------------------------------------------------------------------------


def test_a_stream_ends_with_its_usage_and_then_done_though_nobody_asked(front: Front) -> None:
    answer = front.ask("ok", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer.text)[-1]["usage"]["total_tokens"] == 18
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert "x-litellm-response-cost" not in answer.headers


@PATHS
@pytest.mark.parametrize("fault", ["cutstream", "hangstream", "errstream"])
def test_a_stream_that_breaks_ends_in_an_error_event_and_not_as_its_dialect_ends(
    front: Front, path: str, fault: str
) -> None:
    front.forget()
    answer = front.ask(fault, f"fault:{fault}", path, stream=True)
    assert answer.status_code == 200
    assert "error" in json.dumps(events(answer.text)[-1])
    assert not any(end in answer.text for end in ("message_stop", "response.completed", '"finish_reason":"stop"'))
    assert len(front.north.calls()) == 1


@pytest.mark.parametrize("fault", ["empty", "badjson", "errbody"])
def test_a_stream_of_which_the_cloud_sent_nothing_looks_like_a_good_one_without_words(front: Front, fault: str) -> None:
    answer = front.ask(fault, f"fault:{fault}", stream=True)
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert '"content"' not in answer.text
    assert "usage" not in answer.text


@pytest.mark.parametrize("fault", ["empty", "badjson", "errbody"])
def test_a_bad_answer_in_the_messages_dialect_is_an_error_with_status_200(front: Front, fault: str) -> None:
    answer = front.ask(fault, f"fault:{fault}", DIALECTS["messages"])
    assert (answer.status_code, answer.json()["type"]) == (200, "error")


def test_a_caller_that_leaves_a_stream_ends_it_at_the_cloud_too(front: Front) -> None:
    front.forget()
    front.north.set(delay_s=0.8)
    body = question("drip-chat", "fault:drip", stream=True)
    try:
        with front.client.stream("POST", front.proxy.url + DIALECTS["chat"], json=body) as answer:
            next(answer.iter_bytes())
        until(lambda: [e.ended for e in front.north.calls()] == ["left"], 3, "the cloud sees the caller leave")
    finally:
        front.north.set(delay_s=0.5)


def test_a_caller_that_leaves_before_a_whole_answer_ends_nothing_and_the_cloud_works_on(front: Front) -> None:
    front.forget()
    body = question("hang-chat", "fault:hang")
    with pytest.raises(httpx.ReadTimeout):
        front.client.post(front.proxy.url + DIALECTS["chat"], json=body, timeout=0.5)
    began = front.north.calls()[0].at_s
    until(lambda: [e.ended for e in front.north.calls()] == ["left"], TIMEOUT_S + 2, "the proxy's own time is up")
    assert time.monotonic() - began >= TIMEOUT_S - 0.2

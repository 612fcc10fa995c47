"""What the adapter for OpenClaw relies on, seen at the real gateway. All share one; who kills it comes last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.peers.gateway import GatewayClient, Refused
from tests.peers.openclaw import OpenClawHouse
from tests.torture.daemon_process import until

NOTICES = "agent:main:omni-notices"
RECOVERED_WITHIN_S = 120.0


@pytest.fixture
def gateway(house: OpenClawHouse) -> Iterator[GatewayClient]:
    house.provider.anew()
    house.telegram.anew()
    with GatewayClient(house) as client:
        yield client


def test_a_run_is_answered_twice_and_its_key_repeats_the_second_answer(
    house: OpenClawHouse, gateway: GatewayClient
) -> None:
    session = "agent:main:omni-run"
    done = gateway.answer(gateway.work("[[text:well done]]", session, "run-1"))
    assert (done["status"], done["result"]["payloads"][0]["text"]) == ("ok", "well done")
    again = gateway.ask("agent", message="[[text:other]]", agentId="main", sessionKey=session, idempotencyKey="run-1")
    assert again["result"]["payloads"] == done["result"]["payloads"]
    assert len(house.provider.asked()) == 1
    waited = gateway.ask("agent.wait", runId="run-1", timeoutMs=300)
    assert (waited["status"], waited["terminalReply"]["text"]) == ("ok", "well done")
    assert gateway.tasks(session) == {"run-1": "completed"}
    user, assistant = gateway.history(session)
    assert user["idempotencyKey"] == "run-1:user"
    assert assistant["__openclaw"]["runId"] == "run-1"


def test_waiting_says_the_same_of_a_run_that_goes_on_and_of_none(house: OpenClawHouse, gateway: GatewayClient) -> None:
    session = "agent:main:omni-slow"
    request = gateway.work("[[slow:120]]", session, "slow-1")
    until(house.provider.asked, 60, "the model is asked")
    for run in ("slow-1", "never-heard-of"):
        assert gateway.ask("agent.wait", runId=run, timeoutMs=300)["status"] == "timeout"
    assert gateway.tasks(session) == {"slow-1": "running"}
    aborted = gateway.ask("sessions.abort", key=session, runId="slow-1")
    assert (aborted["status"], aborted["abortedRunId"]) == ("aborted", "slow-1")
    with contextlib.suppress(TimeoutError):  # the answer to the run may have come first
        assert gateway.ask("sessions.abort", key=session, runId="slow-1")["status"] == "no-active-run"
    assert gateway.ask("agent.wait", runId="slow-1", timeoutMs=3000)["status"] == "error"
    until(lambda: gateway.tasks(session) == {"slow-1": "cancelled"}, 20, "the run is cancelled")
    assert any(each["payload"].get("runId") == "slow-1" for each in gateway.events if each["event"] == "agent")
    assert request


def test_a_key_sends_once_and_the_message_stands_in_its_session(house: OpenClawHouse, gateway: GatewayClient) -> None:
    first = gateway.send("hello", "send-1", NOTICES)
    assert gateway.send("something else", "send-1", NOTICES) == first
    assert [each.text for each in house.telegram.sent()] == ["hello"]
    until(lambda: "send-1" in _keys(gateway), 20, "the message stands in the session")


def test_a_failed_message_stays_failed_under_its_key_and_is_sent_by_nobody(
    house: OpenClawHouse, gateway: GatewayClient
) -> None:
    house.telegram.set(status=502)
    assert _refusal(gateway, "failed-1")["details"]["code"] == "OUTBOUND_DELIVERY_QUEUED"
    house.telegram.set(status=0)
    house.telegram.forget()
    assert _refusal(gateway, "failed-1")["details"]["code"] == "OUTBOUND_DELIVERY_QUEUED"
    assert house.telegram.sent() == []
    gateway.send("text of failed-1", "failed-1-again", NOTICES)
    assert [each.text for each in house.telegram.sent()] == ["text of failed-1"]
    assert "failed-1" not in _keys(gateway)


def test_after_a_kill_a_run_goes_on_under_a_new_id_and_a_key_sends_again(
    house: OpenClawHouse, gateway: GatewayClient
) -> None:
    session = "agent:main:omni-killed"
    gateway.send("before", "kept-1", NOTICES)
    gateway.work("[[slow:3]]", session, "killed-1")
    until(house.provider.asked, 60, "the model is asked")
    house.kill_all()
    house.up()
    with GatewayClient(house) as after:
        assert after.boot != gateway.boot
        assert "kept-1" in _keys(after)
        until(lambda: "completed" in after.tasks(session).values(), RECOVERED_WITHIN_S, "the run is recovered")
        states = after.tasks(session)
        assert states.pop("killed-1") == "cancelled"
        (recovered,) = states
        assert after.history(session)[-1]["__openclaw"]["runId"] == recovered
        assert after.ask("agent.wait", runId="killed-1", timeoutMs=300)["status"] == "timeout"
        assert after.ask("agent.wait", runId=recovered, timeoutMs=3000)["status"] == "ok"
        after.send("after", "kept-1", NOTICES)
    assert [each.text for each in house.telegram.sent()] == ["before", "after"]


def _refusal(gateway: GatewayClient, key: str) -> dict[str, Any]:
    with pytest.raises(Refused) as refused:
        gateway.send(f"text of {key}", key, NOTICES)
    return refused.value.error


def _keys(gateway: GatewayClient) -> set[str]:
    return {each.get("idempotencyKey", "") for each in gateway.history(NOTICES)}

"""Clients whose calls a model makes: repeated calls, and answers that go to a chat, through real MCP clients."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
import pytest
from mcp.client.client import Client
from tests.server.clients import WAYS, Transport, connect, http_transport, text, values
from tests.server.conftest import InHouse
from tests.server.house import House

from omni.config import Config, IntakeConfig, NotifyConfig
from omni.server.intake import Intake
from omni.server.refusals import BadArgument
from omni.server.requests import NewTask, PlainCreateTask, Reader, SpecMaker

OPENCLAW = types.Implementation(name="openclaw-bundle-mcp", version="0.0.0")
CHAT = "telegram:42"
ways = pytest.mark.parametrize(("transport", "mode"), WAYS)


def openclaw(house: House, transport: Transport = http_transport, mode: str = "legacy") -> Client:
    return connect(house, transport, mode, client_info=OPENCLAW)


@ways
def test_a_model_that_calls_twice_gets_one_task_and_its_answer(
    transport: Transport, mode: str, in_house: InHouse
) -> None:
    async def test(house: House) -> None:
        async with openclaw(house, transport, mode) as client:
            first = values(await client.call_tool("create_task", {"description": "say hello", "wait_s": 5}))
            again = await client.call_tool("create_task", {"description": "say hello"})
        async with openclaw(house, transport, mode) as client:  # a new session of the same program
            later = await client.call_tool("create_task", {"description": "say hello", "wait_s": 5})
        assert "repeated" not in first
        for answer in (again, later):
            assert values(answer) == {**first, "repeated": True}
            assert "made by an earlier call" in text(answer)
        assert len([row for row in house.log if row.event.__struct_config__.tag == "task.created"]) == 1

    in_house(test)


def test_calls_at_the_same_time_make_one_task(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with openclaw(house) as one, openclaw(house) as two:
            wanted = {"description": "take long", "type": "slow", "wait_s": 0.5}
            answers = await asyncio.gather(*(each.call_tool("create_task", wanted) for each in (one, two, one, two)))
        assert len({values(answer)["id"] for answer in answers}) == 1
        assert sum(values(answer).get("repeated", False) for answer in answers) == 3

    in_house(test)


def test_who_names_his_request_or_is_no_model_gets_two_tasks(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with openclaw(house) as model, connect(house, http_transport, "legacy") as program:
            first = values(await model.call_tool("create_task", {"description": "x"}))
            keyed = values(await model.call_tool("create_task", {"description": "x", "idempotency_key": "again"}))
            others = [values(await program.call_tool("create_task", {"description": "x"})) for _ in range(2)]
        assert len({each["id"] for each in (first, keyed, *others)}) == 4

    in_house(test)


def test_retry_makes_a_new_task_of_one_that_has_ended(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with openclaw(house) as client:
            first = values(await client.call_tool("create_task", {"description": "x", "wait_s": 5}))
            again = values(await client.call_tool("retry_task", {"task_id": first["id"]}))
        assert again["retry_of"] == first["id"]

    in_house(test)


@ways
def test_a_call_for_a_chat_answers_at_once_and_the_chat_is_told_at_the_end(
    transport: Transport, mode: str, in_house: InHouse
) -> None:
    async def test(house: House) -> None:
        told: list[Any] = []
        house.post.register("brainstem", lambda _, messages: told.extend(messages))
        wanted = {"description": "take long", "type": "slow", "wait_s": 45, "reply_to": CHAT}
        async with openclaw(house, transport, mode) as client:
            async with asyncio.timeout(20):  # and not the 45 s
                created = await client.call_tool("create_task", wanted)
            task = values(created)
            assert task["reply_to"] == CHAT
            assert f"goes to {CHAT} by itself" in text(created)
            house.succeed(task["id"], "a long story")
            ended = await client.call_tool("wait_task", {"task_id": task["id"], "wait_s": 10})
        assert "do not repeat it there" in text(ended)
        (answer,) = [each for each in told if each.kind == "task_answer"]
        assert (answer.to, answer.facts["text"]) == (CHAT, "a long story")

    in_house(test)


@pytest.mark.parametrize(
    "bad", ["42", "telegram:", ":42", "Telegram:42", "tele gram:42", "telegram:" + "4" * 201, "a:b\n"]
)
def test_an_address_that_is_none_is_refused(bad: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with openclaw(house) as client:
            answer = await client.call_tool("create_task", {"description": "x", "reply_to": bad})
        assert answer.is_error
        assert "reply_to" in text(answer)
        assert house.log_of_tasks() == []

    in_house(test)


def test_programs_may_name_a_chat_too() -> None:
    asked = Reader(PlainCreateTask).json(b'{"description": "x", "reply_to": "slack:C1/thread"}')
    assert SpecMaker(["/"])(asked).reply_to == "slack:C1/thread"


def intake(**settings: Any) -> Intake:
    return Intake.of(Config(intake=IntakeConfig(**settings), notify=NotifyConfig(channel="telegram", target="7")))


def test_always_answers_models_at_the_owners_address_and_never_answers_nobody() -> None:
    always, never = intake(reply="always"), intake(reply="never")
    make = SpecMaker(["/"], always)
    assert make(NewTask("x"), "mcp:OpenClaw").reply_to == "telegram:7"
    assert make(NewTask("x", reply_to=CHAT), "mcp:OpenClaw").reply_to == CHAT
    assert make(NewTask("x"), "mcp:another").reply_to is None
    assert intake().reply_to(None, "mcp:openclaw") is None
    assert never.reply_to(None, "mcp:openclaw") is None
    with pytest.raises(BadArgument, match="switched off"):
        never.reply_to(CHAT, "mcp:openclaw")


def test_the_words_of_the_configuration_say_who_is_a_model() -> None:
    assert intake().window_ms("mcp:OpenClaw-node-host") == 600_000
    assert intake().window_ms("mcp:claude-code") == 0
    assert intake(clients=("claude",), repeat_window_s=1.5).window_ms("mcp:Claude-Code") == 1_500
    assert intake(repeat_window_s=0).window_ms("mcp:openclaw") == 0

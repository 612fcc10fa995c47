"""MCP over WebSocket and HTTP, in both protocol eras, by the SDK's own client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import mcp_types as types
import msgspec
import pytest
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from tests.server.clients import WAYS, Transport, connect, text, values, ws_transport
from tests.server.conftest import InHouse
from tests.server.house import House, until

from omni.server.tools import TOOLS

ways = pytest.mark.parametrize(("transport", "mode"), WAYS)


@ways
def test_a_task_is_created_waited_for_and_looked_at(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            created = await client.call_tool("create_task", {"description": "say hello", "wait_s": 5})
            assert not created.is_error
            task = values(created)
            assert task["state"] == "completed"
            assert task["result"]["structured"] == {"text": "say hello"}
            assert json.loads(text(created, 1)) == task
            looked = await client.call_tool("get_task_status", {"task_id": task["id"]})
            assert values(looked) == task

    in_house(test)


@ways
def test_each_era_is_spoken_as_the_client_opens_it(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
            assert client.server_info is not None
            assert client.server_info.name == "omni"

    in_house(test)


@ways
def test_every_tool_has_schemas_and_hints(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == list(TOOLS)
        for tool in tools:
            assert tool.input_schema["type"] == "object"
            assert tool.input_schema["additionalProperties"] is False
            assert tool.output_schema is not None
            assert tool.output_schema["type"] == "object"
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is TOOLS[tool.name].reads

    in_house(test)


@ways
def test_reading_tools_answer_in_the_shapes_they_promise(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            task_id = values(await client.call_tool("create_task", {"description": "hello", "wait_s": 5}))["id"]
            for name, arguments in {
                "wait_task": {"task_id": task_id, "wait_s": 1},
                "list_tasks": {"limit": 10},
                "explain_task": {"task_id": task_id},
                "task_events": {"task_id": task_id},
                "system_status": {},
                "list_executors": {},
            }.items():
                answer = await client.call_tool(name, arguments)
                assert not answer.is_error, (name, text(answer))
                # The client has checked the output schema, which is open; here nothing may be missing in it.
                shape = msgspec.convert(values(answer), TOOLS[name].answer)
                assert msgspec.to_builtins(shape) == values(answer)

    in_house(test)


def test_explain_names_the_executor_and_why_the_others_were_not_taken(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, ws_transport, "auto") as client:
            task_id = values(await client.call_tool("create_task", {"description": "hello", "wait_s": 5}))["id"]
            decision = values(await client.call_tool("explain_task", {"task_id": task_id}))["decision"]
            assert decision["executor"] == "dry"
            assert {each["executor"] for each in decision["candidates"]} == {"dry", "slow"}

    in_house(test)


def test_events_after_a_position_are_given_in_order(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, ws_transport, "auto") as client:
            task_id = values(await client.call_tool("create_task", {"description": "hello", "wait_s": 5}))["id"]
            every = values(await client.call_tool("task_events", {"task_id": task_id}))["events"]
            assert every[0]["type"] == "task.created"
            assert every[-1]["type"] == "task.completed"
            later = values(await client.call_tool("task_events", {"task_id": task_id, "after": every[1]["position"]}))
            assert later["events"] == every[2:]

    in_house(test)


@ways
def test_refusals_are_tool_errors_with_kind_and_hint(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            unknown = await client.call_tool("get_task_status", {"task_id": "nobody"})
            assert unknown.is_error
            assert values(unknown)["kind"] == "not_found"
            assert values(unknown)["hint"] == "omni tasks"
            typo = await client.call_tool("create_task", {"description": "x", "prioritty": 3})
            assert typo.is_error
            assert "did you mean 'priority'? Next" in text(typo)
            high = await client.call_tool("create_task", {"description": "x", "priority": 12})
            assert text(high).startswith("priority must be <= 9")
            long = await client.call_tool("create_task", {"description": "x", "wait_s": 46})
            assert text(long).startswith("wait_s must be <= 45")
            outside = await client.call_tool("create_task", {"description": "x", "workdir": "/etc"})
            assert "outside the allowed directories" in text(outside)
            nobody = await client.call_tool("create_task", {"description": "x", "executor": "nobody"})
            assert values(nobody)["kind"] == "unknown_executor"

    in_house(test)


@ways
def test_an_unknown_tool_is_a_protocol_error_with_a_suggestion(
    transport: Transport, mode: str, in_house: InHouse
) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            with pytest.raises(MCPError, match="did you mean 'create_task'"):
                await client.call_tool("creat_task", {"description": "x"})

    in_house(test)


@ways
def test_the_same_key_gives_the_same_task_and_another_payload_is_refused(
    transport: Transport, mode: str, in_house: InHouse
) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            asked = {"description": "once", "idempotency_key": "k", "wait_s": 5}
            first, second = [values(await client.call_tool("create_task", asked)) for _ in range(2)]
            assert first["id"] == second["id"]
            other = await client.call_tool("create_task", {**asked, "description": "twice"})
            assert values(other)["kind"] == "idempotency_conflict"

    in_house(test)


@ways
def test_progress_and_changes_of_state_reach_the_caller_who_asked(
    transport: Transport, mode: str, in_house: InHouse
) -> None:
    async def test(house: House) -> None:
        heard: list[tuple[float, float | None, str | None]] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.append((progress, total, message))

        async with connect(house, transport, mode) as client:
            asked = {"description": "long work", "executor": "slow", "wait_s": 20}
            calling = asyncio.create_task(client.call_tool("create_task", asked, progress_callback=hear))
            start = await until(lambda: house.hands and house.hands[0])
            await until(lambda: heard)
            house.progress(start.task_id, 3, 10, "three of ten")
            await until(lambda: any(each[2] == "three of ten" for each in heard))
            house.succeed(start.task_id)
            assert values(await calling)["state"] == "completed"
        assert (3, 10, "three of ten") in heard
        assert [each[0] for each in heard] == sorted({each[0] for each in heard})

    in_house(test)


@ways
def test_a_caller_who_gives_up_stops_only_the_waiting(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            asked = {"description": "long work", "executor": "slow", "wait_s": 40}
            calling = asyncio.create_task(client.call_tool("create_task", asked))
            start = await until(lambda: house.hands and house.hands[0])
            calling.cancel()
            await asyncio.wait([calling])
            await until(lambda: not house.desk.open_questions)
            house.succeed(start.task_id)
            done = await client.call_tool("wait_task", {"task_id": start.task_id, "wait_s": 5})
            assert values(done)["state"] == "completed"

    in_house(test)


@ways
def test_a_closed_connection_stops_no_work(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            created = await client.call_tool("create_task", {"description": "long", "executor": "slow"})
            task_id = values(created)["id"]
        house.succeed(task_id)
        async with connect(house, transport, mode) as client:
            done = await client.call_tool("wait_task", {"task_id": task_id, "wait_s": 5})
            assert values(done)["state"] == "completed"

    in_house(test)


def test_a_running_task_is_cancelled_when_its_executor_has_stopped(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, ws_transport, "auto") as client:
            task_id = values(await client.call_tool("create_task", {"description": "x", "executor": "slow"}))["id"]
            await until(lambda: house.hands)
            asked = values(await client.call_tool("cancel_task", {"task_id": task_id}))
            assert asked["cancel_requested"]
            house.stopped(task_id)
            done = values(await client.call_tool("wait_task", {"task_id": task_id, "wait_s": 5}))
            assert done["state"] == "cancelled"
            again = values(await client.call_tool("retry_task", {"task_id": task_id}))
            assert again["retry_of"] == task_id

    in_house(test)


def test_a_held_task_waits_for_a_decision(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, ws_transport, "auto") as client:
            asked = {"description": "x", "executor": "slow", "wait_s": 20}
            calling = asyncio.create_task(client.call_tool("create_task", asked))
            start = await until(lambda: house.hands and house.hands[0])
            house.lose(start.task_id)
            held = values(await calling)
            assert held["state"] == "held"
            assert "accept" in held["held"]["options"]
            resolved = await client.call_tool("resolve_task", {"task_id": held["id"], "decision": "accept"})
            assert values(resolved)["state"] == "completed"
            late = await client.call_tool("resolve_task", {"task_id": held["id"], "decision": "accept"})
            assert values(late)["kind"] == "not_held"

    in_house(test)


def test_a_task_that_left_memory_is_read_from_the_log(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, ws_transport, "auto") as client:
            before = values(await client.call_tool("create_task", {"description": "x", "wait_s": 5}))
            house.forget(before["id"])
            after = values(await client.call_tool("get_task_status", {"task_id": before["id"]}))
            assert after == before
            refused = await client.call_tool("cancel_task", {"task_id": before["id"]})
            assert values(refused)["kind"] == "already_ended"

    in_house(test)


# --- resources ------------------------------------------------------------------------------------------------------


@ways
def test_tasks_and_status_are_resources(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            task = values(await client.call_tool("create_task", {"description": "x", "wait_s": 5}))
            assert [str(each.uri) for each in (await client.list_resources()).resources] == ["omni://status"]
            (template,) = (await client.list_resource_templates()).resource_templates
            assert template.uri_template == "omni://tasks/{id}"
            assert await read(client, f"omni://tasks/{task['id']}") == task
            assert (await read(client, "omni://status"))["mode"] == "NORMAL"
            with pytest.raises(MCPError, match="no task has the id"):
                await read(client, "omni://tasks/nobody")
            with pytest.raises(MCPError, match="no resource"):
                await read(client, "file:///etc/passwd")

    in_house(test)


async def read(client: Any, uri: str) -> Any:
    (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, types.TextResourceContents)
    return json.loads(contents.text)


@pytest.mark.filterwarnings("ignore:resources/:mcp.MCPDeprecationWarning")
def test_a_legacy_subscriber_hears_that_a_task_changed(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        heard: list[str] = []

        async def hear(message: Any) -> None:
            if isinstance(message, types.ResourceUpdatedNotification):
                heard.append(str(message.params.uri))

        async with connect(house, ws_transport, "legacy", message_handler=hear) as client:
            task_id = values(await client.call_tool("create_task", {"description": "x", "executor": "slow"}))["id"]
            await until(lambda: house.hands)
            await client.session.subscribe_resource(f"omni://tasks/{task_id}")
            house.succeed(task_id)
            await until(lambda: f"omni://tasks/{task_id}" in heard)
            await client.session.unsubscribe_resource(f"omni://tasks/{task_id}")
        await until(lambda: not house.desk.followers)

    in_house(test)


def test_a_modern_listener_hears_that_a_task_changed(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with connect(house, ws_transport, "auto") as client:
            task_id = values(await client.call_tool("create_task", {"description": "x", "executor": "slow"}))["id"]
            await until(lambda: house.hands)
            uri = f"omni://tasks/{task_id}"
            async with client.listen(resource_subscriptions=[uri]) as events:
                await until(lambda: house.desk.followers)
                house.succeed(task_id)
                async for event in events:
                    assert event == ResourceUpdated(uri)
                    break
        await until(lambda: not house.desk.followers)

    in_house(test)

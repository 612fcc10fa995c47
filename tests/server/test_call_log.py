"""Each call that a client makes over MCP leaves one line that says who, what, about which task, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from mcp import MCPError
from structlog.testing import capture_logs
from tests.server.clients import connect, values, ws_transport
from tests.server.conftest import InHouse
from tests.server.house import House, until
from tests.server.test_mcp_tasks import over_ws

from omni.server.call_log import LONGEST_NAME, answering

FIELDS = {"event", "log_level", "dialect", "tool", "task", "client", "duration_ms", "outcome"}


def answered(lines: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in lines if line["event"] == "call.answered"]


def test_a_line_for_each_tool_that_is_called_however_that_ends(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        with capture_logs() as lines:
            async with connect(house, ws_transport, "auto") as client:
                made = await client.call_tool("create_task", {"description": "say hello"})
                task_id = values(made)["id"]
                await client.call_tool("get_task_status", {"task_id": task_id})
                await client.call_tool("get_task_status", {"task_id": "no-such-task"})
                await client.call_tool("create_task", {"no": "description"})
                with pytest.raises(MCPError):
                    await client.call_tool("x" * 500, {})
        found = [(line["tool"], line["task"], line["outcome"]) for line in answered(lines)]
        assert found == [
            ("create_task", task_id, "ok"),
            ("get_task_status", task_id, "ok"),
            ("get_task_status", "no-such-task", "not_found"),
            ("create_task", None, "invalid"),
            ("x" * LONGEST_NAME, None, "invalid"),
        ]
        assert all(set(line) == FIELDS and line["log_level"] == "info" for line in answered(lines))
        assert {line["client"] for line in answered(lines)} == {"mcp:mcp"}

    in_house(test)


def test_a_call_that_nobody_waits_for_any_more_says_so(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        with capture_logs() as lines:
            async with connect(house, ws_transport, "auto") as client:
                made = await client.call_tool("create_task", {"description": "take long", "type": "slow"})
                waiting = asyncio.create_task(
                    client.call_tool("wait_task", {"task_id": values(made)["id"], "wait_s": 40})
                )
                await until(lambda: house.desk.open_questions == 1)
                waiting.cancel()
                await until(lambda: len(answered(lines)) == 2)
        assert [(line["tool"], line["outcome"]) for line in answered(lines)][1] == ("wait_task", "abandoned")

    in_house(test)


def test_the_methods_of_the_tasks_extension_are_calls_too(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        with capture_logs() as lines:
            async with over_ws(house) as rpc:
                task_id = (await rpc.create(executor="slow"))["taskId"]
                await rpc.task(task_id)
                await rpc("tasks/cancel", taskId=task_id)
                await rpc("tasks/get", taskId="nobody")
        assert [(line["tool"], line["task"], line["outcome"]) for line in answered(lines)] == [
            ("create_task", task_id, "ok"),
            ("tasks/get", task_id, "ok"),
            ("tasks/cancel", task_id, "ok"),
            ("tasks/get", "nobody", "invalid"),
        ]

    in_house(test)


def test_a_bug_is_called_internal_and_passes_through() -> None:
    with capture_logs() as lines, pytest.raises(ZeroDivisionError), answering(Clock(), "t", "c"):
        raise ZeroDivisionError
    assert answered(lines)[0]["outcome"] == "internal"


class Clock:
    def wall_ms(self) -> int:
        return 0

    def mono_ms(self) -> int:
        return 0

"""The Tasks extension over the real engine, by hand: the SDK's client does not speak it."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import websockets
from tests.server.conftest import InHouse
from tests.server.house import House, until
from websockets.typing import Subprotocol

EXTENSION = "io.modelcontextprotocol/tasks"


class Rpc:
    """One modern connection; `declares` is what its requests say about extensions."""

    def __init__(self, send: Any, *, declares: bool = True) -> None:
        self._send = send
        self._ids = itertools.count(1)
        capabilities: Any = {"extensions": {EXTENSION: {}}} if declares else {}
        self._meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        }

    async def __call__(self, method: str, **params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": {**params, "_meta": self._meta}}
        return await self._send(request)

    async def create(self, **arguments: Any) -> Any:
        answer = await self("tools/call", name="create_task", arguments={"description": "x", **arguments})
        return answer["result"]

    async def task(self, task_id: str) -> Any:
        return (await self("tasks/get", taskId=task_id))["result"]


@asynccontextmanager
async def over_ws(house: House, *, declares: bool = True) -> AsyncIterator[Rpc]:
    async with websockets.connect(
        house.url("/ws"), additional_headers=house.headers, subprotocols=[Subprotocol("mcp")]
    ) as socket:

        async def send(request: Any) -> Any:
            await socket.send(json.dumps(request))
            return json.loads(await socket.recv())

        yield Rpc(send, declares=declares)


@asynccontextmanager
async def over_http(house: House, *, declares: bool = True) -> AsyncIterator[Rpc]:
    async with httpx2.AsyncClient(headers=house.headers) as client:

        async def send(request: Any) -> Any:
            headers = {
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": request["method"],
            }
            name = request["params"].get("name") or request["params"].get("taskId")
            headers |= {"Mcp-Name": name} if name else {}
            answer = await client.post(house.url("/mcp", "http"), json=request, headers=headers)
            if answer.headers["content-type"].startswith("text/event-stream"):
                return json.loads(answer.text.split("data: ", 1)[1])
            return answer.json()

        yield Rpc(send, declares=declares)


over_each = pytest.mark.parametrize("over", [over_ws, over_http])


@over_each
def test_create_task_answers_with_a_handle_and_the_result_is_fetched(over: Any, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over(house) as rpc:
            handle = await rpc.create(executor="slow", wait_s=30)
            assert (handle["resultType"], handle["status"]) == ("task", "working")
            assert handle["ttlMs"] is None
            assert house.task(handle["taskId"]) is not None  # durable before it was told
            await until(lambda: house.hands)
            house.succeed(handle["taskId"], "the work")
            await until(house.ended_tasks)
            got = await rpc.task(handle["taskId"])
            assert (got["resultType"], got["status"]) == ("complete", "completed")
            assert not got["result"].get("isError", False)
            assert got["result"]["structuredContent"]["result"]["content"] == "the work"

    in_house(test)


@over_each
def test_without_the_declaration_nothing_of_it_shows(over: Any, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over(house, declares=False) as rpc:
            answer = await rpc.create()
            assert answer["resultType"] == "complete"
            for method in ("tasks/get", "tasks/cancel", "tasks/update"):
                error = (await rpc(method, taskId=answer["structuredContent"]["id"]))["error"]
                assert error["code"] == -32021
                assert EXTENSION in error["data"]["requiredCapabilities"]["extensions"]

    in_house(test)


def test_the_extension_is_announced(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over_ws(house) as rpc:
            assert EXTENSION in (await rpc("server/discover"))["result"]["capabilities"]["extensions"]

    in_house(test)


def test_a_failed_task_is_a_completed_one_whose_result_is_an_error(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over_ws(house) as rpc:
            task_id = (await rpc.create(executor="slow"))["taskId"]
            await until(lambda: house.hands)
            house.fail(task_id)
            got = await until_status(rpc, task_id, "completed")
            assert got["result"]["isError"] is True
            assert "it broke" in got["result"]["content"][0]["text"]

    in_house(test)


def test_a_cancelled_task_is_cancelled_when_its_executor_has_stopped(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over_ws(house) as rpc:
            task_id = (await rpc.create(executor="slow"))["taskId"]
            await until(lambda: house.hands)
            assert (await rpc("tasks/cancel", taskId=task_id))["result"]["resultType"] == "complete"
            house.stopped(task_id)
            await until_status(rpc, task_id, "cancelled")
            assert "result" in await rpc("tasks/cancel", taskId=task_id)  # once more changes nothing

    in_house(test)


def test_a_held_task_asks_and_the_answer_decides(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over_ws(house) as rpc:
            task_id = (await rpc.create(executor="slow"))["taskId"]
            await until(lambda: house.hands)
            house.lose(task_id)
            got = await until_status(rpc, task_id, "input_required")
            question = got["inputRequests"]["decision"]
            assert question["method"] == "elicitation/create"
            choices = question["params"]["requestedSchema"]["properties"]["decision"]["enum"]
            assert "accept" in choices
            declined = {"decision": {"action": "decline"}}
            await rpc("tasks/update", taskId=task_id, inputResponses=declined)
            assert (await rpc.task(task_id))["status"] == "input_required"
            wrong = {"decision": {"action": "accept", "content": {"decision": "launch"}}}
            assert (await rpc("tasks/update", taskId=task_id, inputResponses=wrong))["error"]["code"] == -32602
            accept = {"decision": {"action": "accept", "content": {"decision": "accept"}}}
            await rpc("tasks/update", taskId=task_id, inputResponses=accept)
            await until_status(rpc, task_id, "completed")

    in_house(test)


@over_each
def test_an_unknown_task_is_an_invalid_parameter(over: Any, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over(house) as rpc:
            for method in ("tasks/get", "tasks/cancel", "tasks/update"):
                assert (await rpc(method, taskId="nobody"))["error"]["code"] == -32602

    in_house(test)


def test_an_unusable_request_is_a_tool_error_and_no_task(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over_ws(house) as rpc:
            answer = await rpc.create(priority=99)
            assert answer["isError"] is True
            assert not house.created_tasks()

    in_house(test)


async def until_status(rpc: Rpc, task_id: str, status: str) -> Any:
    got: Any = None
    for _ in range(500):
        got = await rpc.task(task_id)
        if got["status"] == status:
            return got
    raise AssertionError(got)

"""The plain dialect, row by row as it is promised."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import websockets
from tests.server.conftest import InHouse
from tests.server.house import House, until
from websockets.asyncio.client import ClientConnection

from omni.server.plain import MAX_IN_FLIGHT


def plain(house: House, *, token: bool = True, **more: Any) -> Any:
    headers = house.headers if token else {}
    return websockets.connect(house.url(), additional_headers=headers, compression=None, **more)


async def ask(socket: ClientConnection, request: Any) -> Any:
    await socket.send(request if isinstance(request, str | bytes) else json.dumps(request))
    return json.loads(await socket.recv())


def test_ping_is_answered_without_a_token(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house, token=False) as socket:
            assert await ask(socket, {"method": "ping"}) == {"result": "pong"}
            assert await ask(socket, {"method": "ping", "id": 7}) == {"id": 7, "result": "pong"}

    in_house(test)


def test_everything_but_ping_needs_the_token(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house, token=False) as socket:
            for method in ("create_task", "get_task_status", "anything"):
                answer = await ask(socket, {"method": method, "params": {"description": "x"}})
                assert answer["error"].startswith("Unauthorized: ")
                assert "omni token show" in answer["error"]
            assert not house.log_of_tasks()

    in_house(test)


def test_create_task_answers_when_the_task_has_ended(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            request = {"method": "create_task", "params": {"description": "say hello"}, "id": "a"}
            answer = await ask(socket, request)
            task = answer["result"]
            assert answer["id"] == "a"
            assert task["task_id"] == task["id"]
            assert (task["status"], task["executor"], task["model"]) == ("completed", "dry", None)
            assert task["result"]["structured"] == {"text": "say hello"}
            looked = await ask(socket, {"method": "get_task_status", "params": {"task_id": task["id"]}})
            assert looked["result"] == {k: v for k, v in task.items() if k not in {"task_id", "status"}}

    in_house(test)


def test_create_task_answers_with_the_state_reached_when_the_time_is_up(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            asked = {"description": "long", "executor": "slow"}
            for wait_s, states in ((0, {"dispatching", "executing"}), (0.05, {"dispatching", "executing"})):
                answer = await ask(socket, {"method": "create_task", "params": {**asked, "wait_s": wait_s}})
                assert answer["result"]["status"] in states

    in_house(test)


def test_all_options_reach_the_task(in_house: InHouse) -> None:
    options = {
        "description": "x",
        "type": "coding",
        "executor": "dry",
        "tier": "P1",
        "model": "m",
        "priority": 7,
        "budget_usd": 1.5,
        "session": "s",
        "timeout_s": 60,
        "idempotency_key": "k",
        "labels": ["a", "b"],
    }

    async def test(house: House) -> None:
        async with plain(house) as socket:
            workdir = str(house.data_dir)
            answer = await ask(socket, {"method": "create_task", "params": {**options, "workdir": workdir}})
            spec = house.task(answer["result"]["id"]).spec
            given = {name: getattr(spec, name) for name in options}
            assert given == {**options, "labels": ("a", "b")}
            assert spec.workdir == workdir

    in_house(test)


ROWS = [
    ({"method": "create_task"}, {"error": "Missing description"}),
    ({"method": "create_task", "params": {}}, {"error": "Missing description"}),
    ({"method": "create_task", "params": {"description": ""}}, {"error": "Missing description"}),
    ({"method": "create_task", "params": {"description": " \n"}}, {"error": "Missing description"}),
    ({"method": "get_task_status"}, {"error": "Missing task_id"}),
    ({"method": "get_task_status", "params": {"task_id": ""}}, {"error": "Missing task_id"}),
    (
        {"method": "get_task_status", "params": {"task_id": "nobody"}, "id": 3},
        {"result": {"error": "Task not found"}, "id": 3},
    ),
    ({"method": "frobnicate"}, {"error": "Unknown method: frobnicate"}),
    ({"method": "frobnicate", "id": [1, {}]}, {"error": "Unknown method: frobnicate", "id": [1, {}]}),
]


@pytest.mark.parametrize(("request_", "answer"), ROWS, ids=lambda value: json.dumps(value)[:60])
def test_what_cannot_be_done_is_said_as_promised(request_: Any, answer: Any, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            assert await ask(socket, request_) == answer

    in_house(test)


WRONG = [
    ({"description": 7}, "description must be str, not int"),
    ({"description": "x", "priority": 10}, "priority must be <= 9"),
    ({"description": "x", "priority": -1}, "priority must be >= 0"),
    ({"description": "x", "wait_s": 3601}, "wait_s must be <= 3600"),
    ({"description": "x", "labels": ["a"] * 17}, "labels may hold at most 16 entries"),
    ({"description": "x", "idempotency_key": "k" * 201}, "idempotency_key must be at most 200 characters long"),
    ({"description": "x" * 100_001}, "description must be at most 100000 characters long"),
    ({"description": "x", "workdir": "here"}, "workdir must be an absolute path, not 'here'"),
    ({"description": "x", "desciption": "y"}, "there is no argument 'desciption' – did you mean 'description'?"),
    (["x"], "the arguments must be object, not array"),
]


@pytest.mark.parametrize(("params", "message"), WRONG, ids=lambda value: json.dumps(value)[:60])
def test_a_wrong_argument_is_named(params: Any, message: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            answer = await ask(socket, {"method": "create_task", "params": params})
            assert answer["error"] == message
            assert answer["kind"] == "invalid"

    in_house(test)


def test_a_working_directory_outside_the_allowed_ones_is_refused_however_it_is_written(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        (house.data_dir / "link").symlink_to("/etc")
        async with plain(house) as socket:
            for path in ("/etc", f"{house.data_dir}/../..", f"{house.data_dir}/link", f"{house.data_dir}-not"):
                params = {"description": "x", "workdir": path}
                answer = await ask(socket, {"method": "create_task", "params": params})
                assert "outside the allowed directories" in answer["error"]

    in_house(test)


NOT_JSON = [
    "nonsense",
    "{",
    "",
    '{"a": "\\ud800"}',
    "[" * 5000,
    '{"a":' * 5000,
    '[{"method":"ping"}]',
    "7",
    b"\x00\xff",
]


@pytest.mark.parametrize("frame", NOT_JSON, ids=lambda frame: repr(frame[:12]))
@pytest.mark.parametrize("first", [True, False])
def test_what_is_not_json_gets_an_error_and_the_connection_stays(
    frame: str | bytes, first: bool, in_house: InHouse
) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            if not first:
                await ask(socket, {"method": "ping"})
            assert (await ask(socket, frame))["error"].startswith("Invalid JSON: ")
            assert await ask(socket, {"method": "ping"}) == {"result": "pong"}

    in_house(test)


def test_a_request_with_jsonrpc_is_not_taken_on_a_plain_connection(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            await ask(socket, {"method": "ping"})
            answer = await ask(socket, {"jsonrpc": "2.0", "id": 1, "method": "ping"})
            assert "open another one for MCP" in answer["error"]

    in_house(test)


def test_answers_keep_the_order_of_the_requests_while_work_runs_side_by_side(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            slow = {"method": "create_task", "params": {"description": "x", "executor": "slow"}, "id": 0}
            await socket.send(json.dumps(slow))
            for n in range(1, 20):
                await socket.send(json.dumps({"method": "create_task", "params": {"description": "x"}, "id": n}))
            start = await until(lambda: house.hands and house.hands[0])
            await until(lambda: house.ended_tasks() == 19)  # they ran although the first has no answer yet
            house.succeed(start.task_id)
            answers = [json.loads(await socket.recv()) for _ in range(20)]
            assert [each["id"] for each in answers] == list(range(20))
            assert all(each["result"]["status"] == "completed" for each in answers)

    in_house(test)


def test_a_client_that_sends_without_end_is_read_no_further(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house, close_timeout=0.1) as socket:
            asked = {"description": "x", "executor": "slow"}
            request = json.dumps({"method": "create_task", "params": asked})
            for _ in range(MAX_IN_FLIGHT + 100):
                await socket.send(request)
            # One more than the line holds is with the writer.
            await until(lambda: house.created_tasks() >= MAX_IN_FLIGHT + 1)
            await asyncio.sleep(0.1)
            assert house.created_tasks() == MAX_IN_FLIGHT + 1

    in_house(test)


def test_a_closed_connection_leaves_no_question_open_and_stops_no_task(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            asked = {"description": "x", "executor": "slow"}
            await socket.send(json.dumps({"method": "create_task", "params": asked}))
            start = await until(lambda: house.hands and house.hands[0])
        await until(lambda: not house.desk.open_questions)
        house.succeed(start.task_id)
        async with plain(house) as socket:
            looked = await ask(socket, {"method": "get_task_status", "params": {"task_id": start.task_id}})
            assert looked["result"]["state"] == "completed"

    in_house(test)

"""A key for less than the token: what it opens, by every way in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import websockets
from tests.server.clients import WAYS, Transport, connect, text, values
from tests.server.conftest import InHouse
from tests.server.house import House
from tests.server.test_mcp_tasks import over_ws
from websockets.exceptions import ConnectionClosed

from omni.domain.errors import ConfigError, NotAuthorised
from omni.server.rights import Rights, client_of, demand, rights
from omni.server.tokens import TokenFile, rotate_token
from omni.server.tools import TOOLS

READING = {
    "get_task_status", "wait_task", "list_tasks", "explain_task", "task_events", "system_status", "list_executors",
}  # fmt: skip


class Holding:
    """A house as somebody with another key sees it."""

    def __init__(self, house: House, given: Rights) -> None:
        self.headers = {"authorization": f"Bearer {key(house, given)}"}
        self.url = house.url


def key(house: House, given: Rights, name: str = "bot") -> str:
    return TokenFile(house.data_dir / "token").scoped_key(name, given)


def test_every_tool_wants_rights_and_nothing_is_open_without() -> None:
    assert rights.get() is Rights.NONE
    assert {name for name, tool in TOOLS.items() if tool.needs is Rights.READ} == READING
    assert {name for name, tool in TOOLS.items() if tool.needs is Rights.SUBMIT} == {"create_task"}
    assert {name for name, tool in TOOLS.items() if tool.needs is Rights.ADMIN} == {
        "cancel_task", "retry_task", "resolve_task",
    }  # fmt: skip


@pytest.mark.parametrize(("transport", "mode"), WAYS)
@pytest.mark.parametrize("given", [Rights.READ, Rights.SUBMIT])
def test_a_key_sees_and_calls_the_tools_that_it_opens(
    in_house: InHouse, transport: Transport, mode: str, given: Rights
) -> None:
    async def test(house: House) -> None:
        async with connect(Holding(house, given), transport, mode) as client:  # type: ignore[arg-type]
            shown = {tool.name for tool in (await client.list_tools()).tools}
            assert shown == {name for name, tool in TOOLS.items() if tool.needs <= given}
            assert values(await client.call_tool("system_status", {}))["mode"]
            created = await client.call_tool("create_task", {"description": "x", "wait_s": 5})
            assert created.is_error is (given is Rights.READ)
            refused = await client.call_tool("cancel_task", {"task_id": values(created).get("id", "x")})
            assert refused.is_error
            assert values(refused)["kind"] == "unauthorised"
            assert "omni token show" in text(refused)
        assert house.created_tasks() == (given is Rights.SUBMIT)

    in_house(test)


def test_a_key_that_joins_anothers_session_gains_nothing(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with httpx2.AsyncClient() as client:
            url, opened = house.url("/mcp", "http"), {**house.headers, **ACCEPTED}
            begun = await client.post(url, headers=opened, json=INITIALIZE)
            session = {"mcp-session-id": begun.headers["mcp-session-id"]}
            await client.post(url, headers={**opened, **session}, json=INITIALIZED)
            call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": CREATE}
            mine = await client.post(url, headers={**opened, **session}, json=call)
            assert '"isError":true' not in mine.text
            theirs = {**Holding(house, Rights.READ).headers, **ACCEPTED, **session}
            refused = await client.post(url, headers=theirs, json={**call, "id": 3})
            assert "does not open create_task" in refused.text
        assert house.created_tasks() == 1

    in_house(test)


def test_tasks_are_changed_by_the_extension_with_the_token_alone(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with over_ws(Holding(house, Rights.SUBMIT)) as rpc:  # type: ignore[arg-type]
            handle = await rpc.create(type="slow")
            for method in ("tasks/cancel", "tasks/update"):
                answer = await rpc(method, taskId=handle["taskId"])
                assert method in answer["error"]["message"]
            assert (await rpc.task(handle["taskId"]))["status"] == "working"
        async with over_ws(house) as rpc:
            assert "error" not in await rpc("tasks/cancel", taskId=handle["taskId"])

    in_house(test)


def test_a_key_that_hands_in_is_not_told_to_get_what_it_is() -> None:
    token = rights.set(Rights.SUBMIT)
    try:
        with pytest.raises(NotAuthorised) as refused:
            demand(Rights.ADMIN, "cancel_task")
    finally:
        rights.reset(token)
    assert "omni token show" in refused.value.hint
    assert "--scope" not in refused.value.hint


def test_plain_frames_go_by_the_same_rights(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house, Rights.READ) as ask:
            assert await ask(method="ping") == {"result": "pong"}
            refused = await ask(method="create_task", params={"description": "x"})
            assert (refused["kind"], "omni token" in refused["hint"]) == ("unauthorised", True)
            assert (await ask(method="get_task_status", params={"task_id": "x"}))["result"]
        async with plain(house, Rights.SUBMIT) as ask:
            assert (await ask(method="create_task", params={"description": "x"}))["result"]["status"] == "completed"

    in_house(test)


def test_over_http_a_key_reads_and_changes_nothing(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with httpx2.AsyncClient(headers=Holding(house, Rights.SUBMIT).headers) as client:
            for path, status in (("/api/status", 200), ("/api/tasks", 200), ("/", 403), ("/metrics", 403)):
                assert (await client.get(house.url(path, "http"))).status_code == status, path
            for path in ("/api/mode", "/api/drill", "/api/config/reload", "/api/login-links", "/login"):
                assert (await client.post(house.url(path, "http"), json={})).status_code == 403, path

    in_house(test)


def test_a_new_token_voids_all_keys_and_ends_their_connections(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        old = Holding(house, Rights.SUBMIT).headers
        async with websockets.connect(house.url("/ws"), additional_headers=old) as socket:
            await socket.send('{"method":"ping"}')
            await socket.recv()
            rotate_token(house.data_dir / "token")
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 30)
        async with httpx2.AsyncClient(headers=old) as client:
            assert (await client.get(house.url("/api/status", "http"))).status_code == 401

    in_house(test)


def test_a_new_token_ends_streams_of_mcp_over_http(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        held = {**Holding(house, Rights.READ).headers, **ACCEPTED}
        url = house.url("/mcp", "http")
        async with httpx2.AsyncClient(timeout=30) as client:
            begun = await client.post(url, headers=held, json=INITIALIZE)
            session = {"mcp-session-id": begun.headers["mcp-session-id"]}
            await client.post(url, headers={**held, **session}, json=INITIALIZED)
            async with client.stream("GET", url, headers={**held, **session}) as stream:
                assert stream.status_code == 200
                rotate_token(house.data_dir / "token")
                with pytest.raises((httpx2.NetworkError, httpx2.RemoteProtocolError)):
                    async for _ in stream.aiter_raw():
                        pass
            again = await client.get(house.url("/api/status", "http"), headers=house.headers)
            assert again.status_code == 200

    in_house(test)


@pytest.mark.parametrize("change", [("read", "submit"), ("submit", "admin"), ("bot", "bob"), ("-", "_")])
def test_a_key_that_was_changed_opens_nothing(in_house: InHouse, change: tuple[str, str]) -> None:
    async def test(house: House) -> None:
        forged = [key(house, given).replace(*change, 1) for given in (Rights.READ, Rights.SUBMIT)]
        for each in forged:
            if each in {key(house, Rights.READ), key(house, Rights.SUBMIT)}:
                continue
            async with httpx2.AsyncClient(headers={"authorization": f"Bearer {each}"}) as client:
                assert (await client.get(house.url("/api/status", "http"))).status_code == 401

    in_house(test)


@pytest.mark.parametrize("name", ["", "-", "a b", "a/b", "é", "x" * 65])
def test_a_name_that_could_not_stand_in_a_key_is_refused(tmp_path: Any, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        TokenFile(tmp_path / "token").scoped_key(name, Rights.READ)


def test_a_key_says_whom_it_is_for(tmp_path: Any) -> None:
    tokens = TokenFile(tmp_path / "token")
    made = tokens.scoped_key("open-claw.1", Rights.SUBMIT)
    assert tokens.client(made) == client_of(made)
    assert client_of(made) is not None
    assert tokens.client(made[:-1] + ("0" if made[-1] != "0" else "1")) is None


@asynccontextmanager
async def plain(house: House, given: Rights) -> AsyncIterator[Any]:
    async with websockets.connect(house.url("/ws"), additional_headers=Holding(house, given).headers) as socket:

        async def ask(**request: Any) -> Any:
            await socket.send(json.dumps(request))
            return json.loads(await socket.recv())

        yield ask


ACCEPTED = {"accept": "application/json, text/event-stream"}
CREATE = {"name": "create_task", "arguments": {"description": "x"}}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}

"""Who may come in: token, Host, Origin, and how many."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import websockets
from tests.server.conftest import InHouse
from tests.server.house import House, limits
from websockets.exceptions import InvalidStatus

from omni.config import Config, Limits
from omni.domain.errors import ConfigError
from omni.server.door import make_door
from omni.server.limits import normalised
from omni.server.names import Names
from omni.server.tokens import TokenFile, make_token, read_token, rotate_token

Headers = Sequence[tuple[str, str]]


async def get(house: House, path: str, headers: Headers = (), *, host: str | None = "own") -> tuple[int, Any]:
    """A request written by hand, so that every header is ours to choose."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.door.port)
    hosts = [("Host", f"127.0.0.1:{house.door.port}")] if host == "own" else [("Host", host)] if host else []
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in [*hosts, *headers]), "Connection: close"]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def handshake(house: House, headers: dict[str, str]) -> int:
    try:
        async with websockets.connect(house.url(), additional_headers=headers, proxy=None):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def bearer(house: House) -> tuple[str, str]:
    return ("Authorization", f"Bearer {house.token}")


# --- the token ------------------------------------------------------------------------------------------------------


def test_the_api_needs_the_token_and_the_health_checks_do_not(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        for path in ("/", "/api/status", "/api/tasks", "/mcp", "/nothing"):
            assert (await get(house, path))[0] == 401
        assert (await get(house, "/api/status", [bearer(house)]))[0] == 200
        for path in ("/healthz", "/readyz"):
            assert (await get(house, path))[0] == 200

    in_house(test)


WRONG = [
    "Bearer wrong",
    "Bearer ",
    "Bearer",
    "Basic {token}",
    "{token}",
    "Bearer {token}x",
    "Bearer {half}",
    "Bearer \xff\xfe",
]


@pytest.mark.parametrize("form", WRONG)
def test_a_wrong_token_is_refused(form: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        value = form.format(token=house.token, half=house.token[:20])
        status, body = await get(house, "/api/status", [("Authorization", value)])
        assert status == 401
        assert "omni token show" in json.loads(body)["error"]["hint"]

    in_house(test)


def test_a_wrong_token_is_refused_before_the_websocket_opens(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        assert await handshake(house, {"Authorization": "Bearer wrong"}) == 401
        assert await handshake(house, house.headers) == 101

    in_house(test)


def test_a_token_in_the_address_is_no_token(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        assert (await get(house, f"/api/status?token={house.token}"))[0] == 401
        assert (await get(house, f"/api/status?access_token={house.token}"))[0] == 401

    in_house(test)


def test_the_sixth_wrong_token_in_a_minute_is_told_to_wait_and_the_right_one_still_opens(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        wrong = [("Authorization", "Bearer wrong")]
        assert [(await get(house, "/api/status", wrong))[0] for _ in range(7)] == [401] * 5 + [429] * 2
        assert await handshake(house, {"Authorization": "Bearer wrong"}) == 429
        assert (await get(house, "/api/status", [bearer(house)]))[0] == 200

    in_house(test)


def test_a_new_token_counts_at_once_and_closes_what_the_old_one_opened(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        old = house.headers
        async with websockets.connect(house.url(), additional_headers=old) as socket:
            rotate_token(house.data_dir / "token")
            assert await handshake(house, old) == 401
            assert await handshake(house, house.headers) == 101
            await asyncio.wait_for(socket.wait_closed(), 5)
            assert socket.close_code == 1008

    in_house(test)


def test_a_token_file_that_others_can_read_lets_nobody_in(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        token = house.data_dir / "token"
        headers = house.headers
        token.chmod(0o644)
        os.utime(token)
        assert await handshake(house, headers) == 401
        token.chmod(0o600)
        os.utime(token)
        assert await handshake(house, headers) == 101

    in_house(test)


def test_the_token_is_made_once_with_256_bits_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "token"
    first = TokenFile(path)
    assert path.stat().st_mode & 0o777 == 0o600
    token = read_token(path)
    assert len(token) >= 43  # 32 bytes in base64
    assert TokenFile(path).matches(token)
    assert first.matches(token)
    assert not first.matches(token[:-1])


def test_a_readable_token_file_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    make_token(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        TokenFile(path)


def test_without_auth_everybody_on_this_machine_may_ask(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        assert (await get(house, "/api/status"))[0] == 200

    in_house(test, auth="none")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "omni.example"])  # noqa: S104
def test_no_auth_is_refused_on_any_address_but_loopback(host: str, tmp_path: Path) -> None:
    async def test() -> None:
        house = House(tmp_path)
        with pytest.raises(ConfigError, match="loopback"):
            make_door(Config(host=host, auth="none"), house.desk, tmp_path)

    asyncio.run(test())


# --- Host and Origin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
def test_our_own_names_are_known(name: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        assert (await get(house, "/healthz", host=f"{name}:{house.door.port}"))[0] == 200

    in_house(test)


FOREIGN = [
    "127.evil.com:{port}",
    "127.0.0.1.evil.com:{port}",
    "localhost.:{port}",
    "localhost",
    "127.0.0.1:1",
    "evil.com",
    "user@localhost:{port}",
    "127.0.0.1:{port}:{port}",
    "127.0.0.1 :{port}",
    "0.0.0.0:{port}",
    "127.1:{port}",
    "",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_name_is_refused(host: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        status, _ = await get(house, "/healthz", [bearer(house)], host=host.format(port=house.door.port))
        assert status in {400, 403}

    in_house(test)


def test_two_host_headers_are_a_bad_request(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        again = ("Host", f"127.0.0.1:{house.door.port}")
        assert (await get(house, "/healthz", [again]))[0] == 400
        assert (await get(house, "/healthz", [("Host", "evil.com")]))[0] == 400
        assert (await get(house, "/healthz", host=None))[0] == 400

    in_house(test)


ORIGINS = [
    "null",
    "http://evil.com",
    "http://127.0.0.1",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1:{port}.evil.com",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_foreign_origin_is_refused_even_with_the_token(origin: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        value = origin.format(port=house.door.port)
        assert (await get(house, "/api/status", [bearer(house), ("Origin", value)]))[0] == 403
        assert (await get(house, "/healthz", [("Origin", value)]))[0] == 403
        assert await handshake(house, {**house.headers, "Origin": value}) == 403

    in_house(test)


def test_our_own_origin_is_taken(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        own = ("Origin", f"http://127.0.0.1:{house.door.port}")
        assert (await get(house, "/api/status", [bearer(house), own]))[0] == 200

    in_house(test)


def test_a_door_on_all_addresses_takes_addresses_but_no_foreign_names() -> None:
    names = Names("0.0.0.0")  # noqa: S104
    names.listens_on(18765)
    assert names.knows_host("192.168.1.7:18765")
    assert names.knows_host("10.0.0.1:8080")  # a mapped port
    assert not names.knows_host("evil.com:18765")


def test_one_address_has_one_name_however_it_is_written() -> None:
    assert normalised("::ffff:10.0.0.1") == normalised("10.0.0.1") == normalised("::ffff:a00:1")
    assert normalised("FE80::1%eth0") == normalised("fe80:0::1")


# --- how many -------------------------------------------------------------------------------------------------------


def test_eight_may_wait_before_login_and_the_ninth_is_turned_away(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(8):
                await stack.enter_async_context(websockets.connect(house.url()))
            assert await handshake(house, {}) == 503
            assert await handshake(house, house.headers) == 101
        await until_free(house, {})

    in_house(test)


def test_no_more_connections_than_allowed_and_health_stays_visible(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(4):
                connecting = websockets.connect(house.url(), additional_headers=house.headers)
                await stack.enter_async_context(connecting)
            assert await handshake(house, house.headers) == 503
            assert (await get(house, "/healthz"))[0] == 200
        await until_free(house, house.headers)

    in_house(test, limits=limits(connections=4))


async def until_free(house: House, headers: dict[str, str]) -> None:
    async with asyncio.timeout(5):
        while await handshake(house, headers) != 101:  # noqa: ASYNC110 - the server's count has no event for us
            await asyncio.sleep(0.01)


def test_too_many_requests_a_minute_are_refused_in_every_dialect(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with websockets.connect(house.url(), additional_headers=house.headers) as socket:
            answers = []
            for _ in range(4):
                await socket.send('{"method":"ping"}')
                answers.append(json.loads(await socket.recv()))
            assert answers[:3] == [{"result": "pong"}] * 3
            assert answers[3]["kind"] == "rate_limited"
        async with websockets.connect(house.url(), additional_headers=house.headers) as socket:
            await socket.send('{"jsonrpc":"2.0","id":1,"method":"ping"}')
            assert json.loads(await socket.recv())["error"]["code"] == -32003
        assert (await get(house, "/mcp", [bearer(house)]))[0] == 429

    in_house(test, limits=limits(requests_per_minute=3))


def test_not_ready_is_said_with_the_reason(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        house.unready = "the log is being read"
        status, body = await get(house, "/readyz")
        assert (status, json.loads(body)["reason"]) == (503, "the log is being read")
        assert (await get(house, "/healthz"))[0] == 200

    in_house(test)


def test_the_api_gives_the_same_views_as_the_tools(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with websockets.connect(house.url(), additional_headers=house.headers) as socket:
            await socket.send('{"method":"create_task","params":{"description":"x"}}')
            task = json.loads(await socket.recv())["result"]
        token = [bearer(house)]
        _, body = await get(house, f"/api/tasks/{task['id']}", token)
        assert json.loads(body) == {k: v for k, v in task.items() if k not in {"task_id", "status"}}
        _, body = await get(house, "/api/tasks?limit=5&state=completed", token)
        assert [each["id"] for each in json.loads(body)["tasks"]] == [task["id"]]
        _, body = await get(house, f"/api/tasks/{task['id']}/events?after=1", token)
        assert json.loads(body)["events"][-1]["type"] == "task.completed"
        assert (await get(house, "/api/tasks/nobody", token))[0] == 404
        assert (await get(house, "/api/tasks?limit=many", token))[0] == 400
        _, body = await get(house, "/", token)
        assert json.loads(body)["name"] == "omni"

    in_house(test)


def test_defaults_are_those_of_the_contract() -> None:
    assert (Limits().connections, Limits().connections_before_login, Limits().failed_logins_per_minute) == (64, 8, 5)

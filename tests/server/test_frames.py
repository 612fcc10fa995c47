"""What hostile and careless peers send, and what they do not send: the daemon answers a good client all the while."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.clients import WAYS, Transport, connect, values
from tests.server.conftest import InHouse
from tests.server.house import House, limits, until
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from omni.server.auth import MODEL_CALLS
from omni.server.frames import too_deep


def mcp(house: House, **more: Any) -> Any:
    settings_ = {"additional_headers": house.headers, "compression": None, "subprotocols": [Subprotocol("mcp")]}
    return websockets.connect(house.url("/ws"), **{**settings_, **more})


async def ask(door: Any, message: Any) -> Any:
    await door.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return json.loads(await door.recv())


async def assert_well(house: House) -> None:
    """A good client is served."""
    async with websockets.connect(house.url(), additional_headers=house.headers) as door:
        assert await ask(door, {"method": "ping"}) == {"result": "pong"}
        answer = await ask(door, {"method": "create_task", "params": {"description": "x"}})
        assert answer["result"]["status"] == "completed"


# --- MCP over WebSocket, by hand ------------------------------------------------------------------------------------

MALFORMED = [
    ("nonsense", -32700, None),
    ("", -32700, None),
    ('{"jsonrpc":"2.0","id":1', -32700, None),
    ('{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', -32700, None),
    ('{"jsonrpc":"2.0","id":5,"method":"ping","params":' + '{"a":' * 70 + "1" + "}" * 71, -32700, None),
    ("[" * 100_000, -32700, None),
    ('[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600, None),
    ("7", -32600, None),
    ('{"id":3}', -32600, 3),
    ('{"jsonrpc":"1.0","id":"a","method":"ping"}', -32600, "a"),
    ('{"jsonrpc":"2.0","id":true,"method":7}', -32600, None),
    (b"\x00\x01", -32600, None),
]


@pytest.mark.parametrize(("frame", "code", "ident"), MALFORMED, ids=lambda value: repr(value)[:40])
def test_a_malformed_message_gets_an_error_and_the_connection_lives(
    frame: str | bytes, code: int, ident: Any, in_house: InHouse
) -> None:
    async def test(house: House) -> None:
        async with mcp(house) as door:
            answer = await ask(door, frame)
            assert (answer["error"]["code"], answer["id"]) == (code, ident)
            assert (await ask(door, {"jsonrpc": "2.0", "id": 1, "method": "ping"}))["result"] == {}

    in_house(test)


def test_a_message_with_jsonrpc_makes_the_connection_mcp_for_good(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with mcp(house, subprotocols=None) as door:
            assert (await ask(door, {"jsonrpc": "2.0", "id": 1, "method": "ping"}))["result"] == {}
            assert (await ask(door, {"method": "ping"}))["error"]["code"] == -32600

    in_house(test)


def test_a_connection_that_offered_mcp_never_speaks_plain(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with mcp(house) as door:
            assert door.subprotocol == "mcp"
            assert (await ask(door, {"method": "ping"}))["error"]["code"] == -32600

    in_house(test)


def test_mcp_without_a_token_gets_an_error_that_says_what_to_do(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with mcp(house, additional_headers={}) as door:
            for ident, method in enumerate(("initialize", "ping", "tools/list")):
                answer = await ask(door, {"jsonrpc": "2.0", "id": ident, "method": method, "params": {}})
                assert answer["id"] == ident
                assert "omni token show" in answer["error"]["message"]

    in_house(test)


# --- size and time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 50 * 1024 * 1024])
def test_an_oversize_frame_closes_with_1009(size: int, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with mcp(house) as door:
            with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - either may be the one that hears of it
                await door.send("x" * size)
                await door.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        await assert_well(house)

    in_house(test)


def test_a_frame_just_inside_the_limit_is_read(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with websockets.connect(house.url(), additional_headers=house.headers) as door:
            padding = " " * (1024 * 1024 - 20)
            assert await ask(door, '{"method":"ping"}' + padding) == {"result": "pong"}

    in_house(test)


def test_a_body_over_http_that_is_too_large_is_refused(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.door.port)
        head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{house.door.port}\r\nAuthorization: Bearer {house.token}\r\n"
        writer.write(f"{head}Content-Length: 2000000\r\n\r\n".encode() + b" " * 2_000_000)
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
        writer.close()

    in_house(test)


def test_silent_and_dripping_connections_are_dropped_and_a_good_client_does_not_notice(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", house.door.port) for _ in range(20)]
        dripping = await asyncio.open_connection("127.0.0.1", house.door.port)
        dripping[1].write(b"GET / HTTP/1.1\r\nX: ")
        await assert_well(house)
        for reader, _ in [*silent, dripping]:
            assert await asyncio.wait_for(reader.read(), 3) == b""
        for _, writer in [*silent, dripping]:
            writer.close()

    in_house(test, limits=limits(open_timeout_s=0.3))


def test_of_more_silent_connections_than_there_are_places_the_oldest_go(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        places = 16 + MODEL_CALLS  # who says nothing could be a client of either
        silent = [await asyncio.open_connection("127.0.0.1", house.door.port) for _ in range(places + 180)]
        await assert_well(house)
        await until(lambda: sum(reader.at_eof() or reader.exception() is not None for reader, _ in silent) >= 180)
        for _, writer in silent:
            writer.close()

    in_house(test, limits=limits(connections=16, open_timeout_s=30))


def test_a_client_that_never_reads_costs_no_more_than_its_line(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", house.door.port))
        async with websockets.connect(
            house.url(), sock=sock, additional_headers=house.headers, compression=None, max_queue=1
        ) as door:
            request = json.dumps({"method": "create_task", "params": {"description": "y" * 20_000}})
            with pytest.raises(TimeoutError):  # noqa: PT012 - how far it comes is not ours to know
                async with asyncio.timeout(1):
                    for _ in range(3000):
                        await door.send(request)
            assert house.created_tasks() < 3000
            await assert_well(house)
            door.transport.abort()

    in_house(test)


# --- whatever ------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
METHODS = st.sampled_from(["ping", "create_task", "get_task_status", "tools/call", "initialize", "tasks/get"])
NAMES = st.sampled_from(["description", "task_id", "priority", "wait_s", "labels", "name", "arguments", "_meta", "uri"])
PARAMS = st.dictionaries(NAMES | st.text(max_size=8), JSON, max_size=5)
PLAIN = st.fixed_dictionaries({}, optional={"method": METHODS | JSON, "params": PARAMS | JSON, "id": JSON})
RPC = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON}, optional={"method": METHODS | JSON, "params": PARAMS | JSON, "id": JSON}
)
FRAMES = st.one_of(st.text(max_size=60), st.binary(max_size=60), JSON.map(json.dumps))
MANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


async def throw(house: House, frame: str | bytes, **more: Any) -> None:
    """Send one frame, then see that the same connection or a new one still answers."""
    async with websockets.connect(house.url(), additional_headers=house.headers, compression=None, **more) as door:
        await door.send(frame)
        await door.send('{"jsonrpc":"2.0","id":"last","method":"ping"}' if more else '{"method":"ping","id":"last"}')
        async with asyncio.timeout(5):
            while json.loads(await door.recv()).get("id") != "last":
                pass


def examples(in_house: InHouse, frames: st.SearchStrategy[Any], **more: Any) -> None:
    async def test(house: House) -> None:
        loop = asyncio.get_running_loop()

        @MANY
        @given(frames)
        def one(frame: str | bytes) -> None:
            asyncio.run_coroutine_threadsafe(throw(house, frame, **more), loop).result(20)

        await asyncio.to_thread(one)
        await assert_well(house)

    in_house(test)


@pytest.mark.slow
def test_no_plain_message_hurts(in_house: InHouse) -> None:
    # A first message with "jsonrpc" would make the connection MCP; that side has a test of its own.
    examples(in_house, FRAMES.filter(lambda f: "jsonrpc" not in str(f)) | PLAIN.map(quick).map(json.dumps))


@pytest.mark.slow
def test_no_mcp_message_hurts(in_house: InHouse) -> None:
    examples(in_house, FRAMES | RPC.map(json.dumps), subprotocols=[Subprotocol("mcp")])


def quick(message: dict[str, Any]) -> dict[str, Any]:
    """Without a wait that would be kept as promised."""
    params = message.get("params")
    if isinstance(params, dict):
        return {**message, "params": {**params, "wait_s": params.get("wait_s") if "wait_s" in params else 0}}
    return message


@given(st.recursive(st.just([]), lambda inner: st.lists(inner, min_size=1, max_size=2), max_leaves=40))
def test_depth_is_counted_outside_of_quotes(nested: list[Any]) -> None:
    def depth(value: Any) -> int:
        return 1 + max((depth(each) for each in value), default=0)

    text = json.dumps(['"[[[{', nested, "\\"] * 30)
    assert too_deep(text, depth(nested) + 1) is False
    assert too_deep(text, depth(nested)) is True


@pytest.mark.parametrize(("transport", "mode"), WAYS)
def test_many_calls_at_once_on_one_connection_are_all_answered(
    transport: Transport, mode: str, in_house: InHouse
) -> None:
    async def test(house: House) -> None:
        async with connect(house, transport, mode) as client:
            calls = [client.call_tool("create_task", {"description": str(n), "wait_s": 5}) for n in range(40)]
            done = [values(each) for each in await asyncio.gather(*calls)]
            assert {each["description"] for each in done} == {str(n) for n in range(40)}
            assert all(each["state"] == "completed" for each in done)

    in_house(test)

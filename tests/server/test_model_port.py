"""The model port over HTTP: who gets in, what is bounded, how answers pass, and what becomes of clients that go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.llm import harbour
from tests.llm.upstream import Play, Upstream, message_events, says, streams, upstream
from tests.server.house import House, limits, until

from omni.config import Config
from omni.config.settings import call_paths
from omni.domain import events as ev
from omni.domain.values import TaskSpec
from omni.llm.channels import make_channels
from omni.llm.keys import ModelKeys
from omni.llm.port import ModelPort, PortSettings
from omni.llm.prices import Prices
from omni.runtime.ports import SystemIds
from omni.server import model_port
from omni.server.auth import MODEL_CALLS_EACH
from omni.server.model_port import LateModels, too_deep

EVENTS = message_events(["one ", "two"])
ASKED = {"model": "auto", "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
Test = Callable[[House, Upstream, httpx.AsyncClient], Awaitable[None]]


def with_port(test: Test, tmp_path: Path, *plays: Play, **settings: Any) -> None:
    """Run a test against an open door, with a scripted proxy behind the model port."""

    async def run() -> None:
        async with upstream(*(plays or (streams(*EVENTS),))) as proxy, opened(tmp_path, proxy.url, **settings) as house:
            url = f"http://127.0.0.1:{house.door.port}"
            async with asyncio.timeout(60), httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
                await test(house, proxy, client)

    asyncio.run(run())


@asynccontextmanager
async def opened(tmp_path: Path, proxy: str, **settings: Any) -> AsyncIterator[House]:
    config = harbour.config(proxy)
    channels = make_channels(config)
    house = House(tmp_path, models=lambda house: made(house, config, channels), **settings)
    await house.door.start()
    try:
        yield house
    finally:
        assert house.models is not None
        await house.models.stop()
        await house.door.stop()
        await channels.aclose()


def made(house: House, config: Config, channels: Any) -> ModelPort:
    settings = PortSettings(call_paths(config), config.lite_llm_url)
    keys = ModelKeys.of(house.data_dir)
    ids = SystemIds(house.clock)
    return ModelPort(settings, channels, Prices({}), keys, post=house.post, clock=house.clock, ids=ids)


def key_of(house: House) -> str:
    return ModelKeys.of(house.data_dir).client_key("tests")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# --- who gets in ----------------------------------------------------------------------------------------------------


def test_a_model_key_opens_in_either_header_and_so_does_the_token(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        key = key_of(house)
        for headers in (bearer(key), {"x-api-key": key}, {"x-api-key": "sk-other", **bearer(key)}, house.headers):
            answer = await client.post("/v1/messages", json=ASKED, headers=headers)
            assert answer.status_code == 200
            assert answer.content == b"".join(EVENTS)
        clients = [row.event.client for row in house.log if isinstance(row.event, ev.CallReserved)]
        assert clients == ["tests", "tests", "tests", "owner"]

    with_port(test, tmp_path)


@pytest.mark.parametrize("path", [*PATHS, "/v1/models", "/v1/messages/count_tokens", "/v1/nothing"])
def test_without_a_key_of_ours_nothing_under_v1_opens_and_the_refusal_is_in_the_callers_dialect(
    path: str, tmp_path: Path
) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        forged = key_of(house)[:-1] + "g"
        for headers in ({}, {"x-api-key": "sk-ant-x"}, bearer(forged), {"x-api-key": forged}):
            answer = await client.post(path, json=ASKED, headers=headers)
            assert answer.status_code == 401
            said = answer.json()
            assert ("type" in said) == path.startswith("/v1/messages")
            assert said["error"]["type"] == "authentication_error"
            assert "omni token model" in said["error"]["message"]
        assert proxy.seen == []

    with_port(test, tmp_path)


def test_wrong_keys_count_as_failed_logins_and_the_right_one_still_opens(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        wrong = [await client.post("/v1/messages", json=ASKED, headers={"x-api-key": f"sk-{i}"}) for i in range(6)]
        assert [each.status_code for each in wrong] == [401] * 5 + [429]
        assert wrong[-1].json()["error"]["type"] == "rate_limit_error"
        assert (await client.post("/v1/messages", json=ASKED, headers=bearer(key_of(house)))).status_code == 200

    with_port(test, tmp_path)


def test_a_model_key_opens_nothing_but_the_model_port(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        for path in ("/api/status", "/mcp", "/"):
            for _ in range(3):
                assert (await client.get(path, headers=bearer(key_of(house)))).status_code == 403
        wrong = await client.get("/api/status", headers=bearer("wrong"))
        assert wrong.status_code == 401  # and not 429: a good key in the wrong place is no failed login

    with_port(test, tmp_path)


@pytest.mark.parametrize(
    ("headers", "status"), [({"Host": "evil.example"}, 403), ({"Origin": "http://evil.example"}, 403)]
)
def test_pages_and_foreign_names_are_kept_out_with_the_right_key_too(
    headers: dict[str, str], status: int, tmp_path: Path
) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/messages", json=ASKED, headers={**headers, **bearer(key_of(house))})
        assert answer.status_code == status
        assert proxy.seen == []

    with_port(test, tmp_path)


def test_without_a_login_any_key_will_do_but_not_a_forged_one_of_ours(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        for headers in ({}, bearer("sk-anything")):
            assert (await client.post("/v1/messages", json=ASKED, headers=headers)).status_code == 200
        forged = key_of(house)[:-1] + "g"
        assert (await client.post("/v1/messages", json=ASKED, headers=bearer(forged))).status_code == 401

    with_port(test, tmp_path, auth="none")


def test_the_key_of_an_attempt_opens_while_it_is_open_and_its_calls_are_its_tasks(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        task = await house.desk.submit(TaskSpec("work", executor="slow"), client="t", wait_s=None)
        await until(lambda: house.hands)
        key = bearer(ModelKeys.of(house.data_dir).attempt_key(task.id, 1))
        assert (await client.post("/v1/messages", json=ASKED, headers=key)).status_code == 200
        calls = [(row.stream, row.event.n) for row in house.log if isinstance(row.event, ev.CallReserved)]
        assert calls == [(f"task-{task.id}", 1)]
        house.succeed(task.id)
        await house.desk.wait(task.id, 5)
        late = await client.post("/v1/messages", json=ASKED, headers=key)
        assert late.status_code == 403
        assert "has ended" in late.json()["error"]["message"]
        assert len([each for each in proxy.seen if each.is_call]) == 1

    with_port(test, tmp_path)


def test_before_the_models_are_loaded_callers_are_told_to_come_back(tmp_path: Path) -> None:
    async def run() -> None:
        late = LateModels()
        late.receive = lambda _: None  # type: ignore[attr-defined]  # the house has a mailbox for the port
        house = House(tmp_path, models=lambda _: late)
        await house.door.start()
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{house.door.port}", trust_env=False) as client:
                answer = await client.post("/v1/messages", json=ASKED, headers=bearer("omni-c-x-00"))
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        finally:
            await house.door.stop()

    asyncio.run(run())


# --- what is bounded ------------------------------------------------------------------------------------------------

BAD: list[tuple[bytes, str]] = [
    (b"", "JSON"),
    (b"{", "JSON"),
    (b"[]", "object"),
    (b'"x"', "object"),
    (b"\xff\xfe", "JSON"),
    (b'{"messages":' + b"[" * 65 + b"]" * 65 + b"}", "nests"),
    (b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON"),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "why"), BAD, ids=range(len(BAD)))
def test_what_is_no_request_is_told_so_in_the_callers_dialect(body: bytes, why: str, path: str, tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.post(path, content=body, headers=bearer(key_of(house)))
        assert answer.status_code == 400
        assert why in answer.json()["error"]["message"]
        assert answer.json()["error"]["type"] == "invalid_request_error"

    with_port(test, tmp_path)


def test_a_call_may_be_larger_than_a_frame_but_not_without_bound(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        large = {**ASKED, "messages": [{"role": "user", "content": "x" * 3_000_000}]}
        assert (await client.post("/v1/messages", json=large, headers=bearer(key_of(house)))).status_code == 200
        refused = await client.post(
            "/v1/messages", content=b"x" * (model_port.BODY_BYTES + 1), headers=bearer(key_of(house))
        )
        assert refused.status_code == 413
        assert refused.json()["error"]["type"] == "request_too_large"

    with_port(test, tmp_path)


def test_large_calls_share_a_bounded_memory_and_give_it_back() -> None:
    room = model_port._Room(100)
    room.take(60)
    with pytest.raises(model_port._Problem) as refused:
        room.take(60)
    assert refused.value.status == 503
    room.give_back(60)
    room.take(100)


def test_model_calls_do_not_use_up_the_connections_of_people(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        streaming = [asyncio.create_task(drain(client, house)) for _ in range(6)]
        await until(lambda: len([each for each in proxy.seen if each.is_call]) == 6)
        assert (await client.get("/api/status", headers=house.headers)).status_code == 200
        go_on.set()
        assert await asyncio.gather(*streaming) == [b"".join(EVENTS)] * 6

    go_on = asyncio.Event()
    with_port(test, tmp_path, streams(*EVENTS[:4], go_on, *EVENTS[4:]), limits=limits(connections=2))


def test_one_key_cannot_take_the_port_from_all_others(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        keys, to = ModelKeys.of(house.data_dir), ("127.0.0.1", house.door.port)
        greedy, modest = bearer(keys.client_key("greedy")), bearer(keys.client_key("modest"))
        head = f"POST /v1/messages HTTP/1.1\r\nHost: {to[0]}:{to[1]}\r\nContent-Length: 9\r\n"
        head += f"Authorization: {greedy['Authorization']}\r\n\r\n"
        lines = [await asyncio.open_connection(*to) for _ in range(MODEL_CALLS_EACH)]
        for _, writer in lines:
            writer.write(head.encode())

        async def becomes(status: int) -> None:
            for _ in range(200):
                if (await client.post("/v1/messages", json=ASKED, headers=greedy)).status_code == status:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(f"it never became {status}")

        await becomes(503)
        assert (await client.post("/v1/messages", json=ASKED, headers=modest)).status_code == 200
        for _, writer in lines:
            writer.close()
        await becomes(200)

    with_port(test, tmp_path)


async def drain(client: httpx.AsyncClient, house: House) -> bytes:
    async with client.stream("POST", "/v1/messages", json=ASKED, headers=bearer(key_of(house))) as answer:
        assert answer.status_code == 200
        return await answer.aread()


def test_depth_counts_objects_and_lists_and_not_what_is_in_them() -> None:
    assert not too_deep({"a": [1, {"b": "[[[["}]}, 3)
    assert too_deep({"a": [1, {"b": "[[[["}]}, 2)
    assert not too_deep({}, 1)


# --- how answers pass -----------------------------------------------------------------------------------------------


def test_each_event_is_passed_on_as_soon_as_it_is_there(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        async with client.stream("POST", "/v1/messages", json=ASKED, headers=bearer(key_of(house))) as answer:
            chunks = answer.aiter_raw()
            begun = b""
            while begun != b"".join(EVENTS[:4]):
                begun += await anext(chunks)
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["cache-control"] == "no-cache"
            go_on.set()
            assert b"".join([chunk async for chunk in chunks]) == b"".join(EVENTS[4:])

    go_on = asyncio.Event()
    with_port(test, tmp_path, streams(*EVENTS[:4], go_on, *EVENTS[4:]))


def test_a_client_that_reads_slowly_slows_upstream_down_and_fills_no_memory(tmp_path: Path) -> None:
    written = 0

    async def pours(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        writer.write(b"".join(EVENTS[:4]))
        event = b"event: ping\ndata: " + b'{"type":"ping","x":"' + b"x" * 65_000 + b'"}\n\n'
        while True:
            writer.write(event)
            await writer.drain()
            written += len(event)

    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.door.port, limit=1024)
        body = json.dumps(ASKED).encode()
        head = f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{house.door.port}\r\nx-api-key: {key_of(house)}\r\n"
        writer.write(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        before = -1
        while before != written:  # until nothing moves any more: all buffers between the two ends are full
            before = written
            await asyncio.sleep(0.3)
        assert 0 < written < 32_000_000
        writer.close()
        await until(lambda: proxy.open_connections == 0)

    with_port(test, tmp_path, pours)


def test_a_client_that_goes_in_the_middle_takes_its_call_with_it(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        async with client.stream("POST", "/v1/messages", json=ASKED, headers=bearer(key_of(house))) as answer:
            await anext(answer.aiter_raw())
        await until(lambda: proxy.open_connections == 0)
        [settled] = await until(lambda: [row.event for row in house.log if isinstance(row.event, ev.CallSettled)])
        assert settled.verdict == "abandoned"

    with_port(test, tmp_path, streams(*EVENTS[:4], asyncio.Event()))


def test_a_client_that_goes_while_nothing_has_come_takes_its_call_with_it(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        waiting = asyncio.create_task(client.post("/v1/messages", json=ASKED, headers=bearer(key_of(house))))
        await until(lambda: proxy.seen)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: proxy.open_connections == 0)
        [settled] = await until(lambda: [row.event for row in house.log if isinstance(row.event, ev.CallSettled)])
        assert settled.verdict == "abandoned"

    with_port(test, tmp_path, silent)


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def test_fifty_streams_run_side_by_side(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        streaming = [asyncio.create_task(drain(client, house)) for _ in range(50)]
        await until(lambda: proxy.open_connections == 50, 20)
        go_on.set()
        assert await asyncio.gather(*streaming) == [b"".join(EVENTS)] * 50

    go_on = asyncio.Event()
    with_port(test, tmp_path, streams(*EVENTS[:4], go_on, *EVENTS[4:]))


def test_an_error_of_the_port_has_its_status_and_headers(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/messages", json=ASKED, headers=bearer(key_of(house)))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "9")
        assert answer.json()["error"]["type"] == "rate_limit_error"

    tried = {"x_litellm_call_id": "c", "x_litellm_timeout": "60"}
    with_port(test, tmp_path, says(429, {}, **tried, retry_after="9"))


# --- what else is asked ---------------------------------------------------------------------------------------------


def test_models_are_listed_in_the_form_that_the_caller_knows(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        key = bearer(key_of(house))
        openai = (await client.get("/v1/models", headers=key)).json()
        theirs = (await client.get("/v1/models", headers={**key, "anthropic-version": "2023-06-01"})).json()
        assert (openai["object"], [each["id"] for each in openai["data"]]) == ("list", ["auto", "fast", "smart"])
        assert [each["type"] for each in theirs["data"]] == ["model"] * 3

    with_port(test, tmp_path)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/messages", 405),
        ("OPTIONS", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/messages/count_tokens", 405),
        ("POST", "/v1/messages/batches", 404),
        ("POST", "/v1/embeddings", 404),
    ],
)
def test_what_is_not_served_is_told_so_in_the_callers_dialect(
    method: str, path: str, status: int, tmp_path: Path
) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.request(method, path, headers=bearer(key_of(house)))
        assert answer.status_code == status
        assert answer.json()["error"]["message"]
        assert ("type" in answer.json()) == path.startswith("/v1/messages")

    with_port(test, tmp_path)


def test_anybody_may_ask_whether_somebody_is_here(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.head("/", headers=bearer("sk-anything"))
        assert (answer.status_code, answer.content) == (200, b"")
        assert (await client.get("/")).status_code == 401

    with_port(test, tmp_path)


def test_the_query_of_the_address_does_not_matter(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/messages?beta=true", json=ASKED, headers=bearer(key_of(house)))
        assert answer.status_code == 200

    with_port(test, tmp_path)

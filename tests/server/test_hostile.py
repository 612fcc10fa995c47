"""What a caller with bad intentions meets behind the gate."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
import websockets
from mcp.shared.exceptions import MCPError
from tests.server.conftest import InHouse
from tests.server.house import House

from omni.server.desk import Desk
from omni.server.mcp_resources import MAX_FEEDS, TASK_PREFIX, Feeds
from omni.server.names import Names
from omni.server.refusals import BadArgument
from omni.server.requests import NewTask, SpecMaker
from omni.server.tokens import TokenFile
from omni.server.ws import Unanswered


async def ask(socket: Any, request: Any) -> Any:
    await socket.send(json.dumps(request))
    return json.loads(await socket.recv())


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_behind_a_wildcard_a_page_from_another_address_is_still_foreign(host: str) -> None:
    names = Names(host)
    names.listens_on(18765)
    assert names.knows_origin("http://10.0.0.1:8080", "10.0.0.1:8080")
    for page in ("http://203.0.113.5", "http://10.0.0.1:9999", "http://[2001:db8::1]:8080", "https://10.0.0.1:8080"):
        assert not names.knows_origin(page, "10.0.0.1:8080")


@pytest.mark.parametrize("name", ["loop", "loop/below", "a\ud800"])
def test_a_working_directory_that_no_file_system_can_resolve_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadArgument, match=r"workdir .* cannot be resolved"):
        SpecMaker([str(tmp_path)])(NewTask("x", workdir=f"{tmp_path}/{name}"))


def test_links_in_a_circle_cost_the_request_and_not_the_connection(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        (house.data_dir / "loop").symlink_to("loop")
        async with websockets.connect(house.url(), additional_headers=house.headers) as socket:
            params = {"description": "x", "workdir": f"{house.data_dir}/loop"}
            assert "cannot be resolved" in (await ask(socket, {"method": "create_task", "params": params}))["error"]
            assert await ask(socket, {"method": "ping"}) == {"result": "pong"}

    in_house(test)


async def _watch_too_many() -> int:
    feeds = Feeds(cast("Desk", object()), cast("Any", None))
    try:
        for number in range(MAX_FEEDS):
            feeds.acquire(f"{TASK_PREFIX}{number}")
        with pytest.raises(MCPError, match="watched already"):
            feeds.acquire(f"{TASK_PREFIX}one more")
        feeds.acquire(f"{TASK_PREFIX}0")  # one that is watched costs nothing more
        feeds.release(f"{TASK_PREFIX}1")
        feeds.acquire(f"{TASK_PREFIX}room again")
        return len(asyncio.all_tasks())
    finally:
        feeds.close()


def test_the_resources_that_are_watched_are_bounded_over_all_connections() -> None:
    assert asyncio.run(_watch_too_many()) <= MAX_FEEDS + 2


def test_what_waits_to_be_answered_is_bounded_in_bytes_and_flows_on_when_the_client_reads() -> None:
    async def test() -> None:
        taken: list[int] = []
        reading = asyncio.Event()

        async def receive() -> Any:
            taken.append(1)
            return {"type": "websocket.receive", "text": "x" * 400}

        async def send(message: Any) -> None:
            await reading.wait()

        queue = Unanswered(receive, send, most=1000, first=100)
        for _ in range(3):
            await queue.receive()
        more = asyncio.create_task(queue.receive())
        await asyncio.sleep(0)
        assert (len(taken), more.done()) == (3, False)  # 1,300 characters wait
        reading.set()
        await queue.send("the answer to the first")
        await asyncio.sleep(0)
        assert not more.done()
        await queue.send("the answer to the second")
        await asyncio.wait_for(more, 5)

    asyncio.run(test())


def test_a_client_that_vanishes_under_an_answer_does_not_leave_its_reader_waiting() -> None:
    async def test() -> None:
        async def receive() -> Any:
            return {"type": "websocket.disconnect"}

        async def send(message: Any) -> None:
            raise OSError("gone")

        queue = Unanswered(receive, send, most=10, first=100)
        waiting = asyncio.create_task(queue.receive())
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="gone"):
            await queue.send("an answer")
        assert (await asyncio.wait_for(waiting, 5))["type"] == "websocket.disconnect"

    asyncio.run(test())


async def send_often(socket: Any, frame: str, times: int) -> None:
    for _ in range(times):
        await socket.send(frame)


def test_a_deaf_client_without_the_token_is_read_no_further_than_a_few_frames(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        url = house.url()
        async with websockets.connect(url, compression=None, max_size=None, ping_interval=None) as deaf:
            deaf.transport.pause_reading()
            big = json.dumps({"method": "ping", "id": "z" * 900_000})
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(send_often(deaf, big, 100), 2)
            async with websockets.connect(url, additional_headers=house.headers) as socket:
                assert await ask(socket, {"method": "ping"}) == {"result": "pong"}
            deaf.transport.resume_reading()
            assert len(await deaf.recv()) > 900_000

    in_house(test)


def test_a_token_file_that_is_opened_to_others_while_the_daemon_runs_lets_nobody_in(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "token")
    token = tokens.path.read_text().strip()
    assert tokens.matches(token)
    tokens.path.chmod(0o644)
    assert not tokens.matches(token)
    tokens.path.chmod(0o600)
    assert tokens.matches(token)

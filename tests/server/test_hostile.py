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

from omni.server.auth import Names
from omni.server.desk import Desk
from omni.server.mcp_resources import MAX_FEEDS, TASK_PREFIX, Feeds
from omni.server.refusals import BadArgument
from omni.server.requests import NewTask, SpecMaker


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

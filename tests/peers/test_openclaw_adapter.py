"""The adapter before the real OpenClaw: what its tests with recorded frames say holds for what was recorded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.executors.bench import Bench, workbench
from tests.peers.openclaw import TOKEN, OpenClawHouse

from omni.adapters.openclaw.gateway import Gateway
from omni.adapters.openclaw.sending import Sending
from omni.adapters.openclaw.settings import Settings
from omni.adapters.records import Records
from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.runtime.ports import SystemClock

pytestmark = pytest.mark.timeout(600)
PATIENT: dict[str, Any] = {"timeout_ms": 300_000, "idle_timeout_ms": 300_000}
WITHIN_S = 300.0
SENT = {"state": "sent"}


def with_claw(house: OpenClawHouse, path: Path, story: Callable[[Bench], Awaitable[None]]) -> None:
    """Tell the story on a workbench whose executor is the adapter before this gateway."""
    claw = ExecutorConfig(name="claw", adapter="openclaw", transport="bundled", url=house.ws, options={"token": TOKEN})

    async def told() -> None:
        async with workbench(path, claw) as bench:
            await bench.connected("claw")
            await story(bench)

    asyncio.run(told())


async def at_work(bench: Bench, description: str, task_id: str) -> None:
    """Start a task and return when its text has begun to come."""
    bench.start("claw", description, task_id, **PATIENT)
    await bench.until(cmd.ProgressMade, lambda m: m.task_id == task_id and "." in m.message, WITHIN_S)


def test_a_task_is_done_and_its_progress_seen(house: OpenClawHouse, tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await at_work(bench, "[[slow:2]]", "real1")
        done = await bench.outcome("real1", WITHIN_S)
        assert isinstance(done, cmd.ReportSucceeded)
        assert "slow done" in done.result.content
        assert done.session == "agent:main:omni-real1"

    with_claw(house, tmp_path, story)


def test_a_cancelled_task_stops_for_certain(house: OpenClawHouse, tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await at_work(bench, "[[slow:120]]", "real2")
        bench.cancel("claw", "real2")
        assert await bench.outcome("real2", WITHIN_S) == cmd.ReportCancelled("real2", 1, confirmed=True)

    with_claw(house, tmp_path, story)


def test_a_run_cut_off_by_a_killed_gateway_is_adopted(house: OpenClawHouse, tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await at_work(bench, "[[slow:10]] the sky", "real3")
        await asyncio.to_thread(house.kill_all)
        await asyncio.to_thread(house.up)
        done = await bench.outcome("real3", WITHIN_S)
        assert isinstance(done, cmd.ReportSucceeded)
        assert "slow done" in done.result.content
        run_id = (done.result.structured or {}).get("run_id")
        assert run_id != "real3:1"  # the gateway's own recovery, under an id of its own

    with_claw(house, tmp_path, story)


@contextlib.asynccontextmanager
async def desk(house: OpenClawHouse, path: Path) -> AsyncIterator[Sending]:
    gateway = Gateway(Settings(url=house.ws, token=TOKEN), None)
    keeping = asyncio.create_task(gateway.keep())
    try:
        await gateway.link(WITHIN_S)
        yield Sending(gateway, Records(path, SystemClock()))
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


def test_a_message_is_sent_once_over_kills_of_the_gateway(house: OpenClawHouse, tmp_path: Path) -> None:
    def said(key: str) -> dict[str, str]:
        return {"channel": "telegram", "to": "77", "text": f"word {key}", "key": key}

    async def send(*keys: str) -> None:
        async with desk(house, tmp_path / "messages") as out:
            for key in keys:
                assert await out.call(said(key)) == SENT, key

    async def forgetful(*keys: str) -> None:
        async with desk(house, tmp_path / "elsewhere") as out:  # our own records are gone, the ledger's are not
            for key in keys:
                assert await out.call(said(key)) == SENT, key

    asyncio.run(send("first", "second", "second"))
    house.kill_all()
    house.up()
    asyncio.run(send("first", "second", "third"))
    asyncio.run(forgetful("second", "third"))
    texts = [each.text for each in house.telegram.sent() if each.chat_id == "77"]
    assert texts == ["word first", "word second", "word third"]

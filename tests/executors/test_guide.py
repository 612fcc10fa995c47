"""The executor that the guide shows in full does what the guide says of it."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.executors.bench import Bench, workbench

from omni.config import ExecutorConfig
from omni.domain import commands as cmd

GUIDE = Path(__file__).parents[2] / "docs" / "executors.md"
ARGUMENTS = {"steps": "{description}", "handle": "{handle}"}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    shown = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert len(shown) == 1
    path = tmp_path / "counter.py"
    path.write_text(shown[0], "utf-8")
    return path


@asynccontextmanager
async def counting(program: Path) -> AsyncIterator[Bench]:
    config = ExecutorConfig(
        name="counter",
        transport="stdio",
        command=sys.executable,
        args=(str(program), str(program.with_name("counter.json"))),
        tool="count",
        arguments=ARGUMENTS,
    )
    async with workbench(program.parent, config) as bench:
        await bench.connected("counter")
        yield bench


async def begun(book: Path) -> None:
    for _ in range(1500):
        if await asyncio.to_thread(book.exists):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was begun within 15 s")


async def test_it_counts_and_says_so_when_it_is_asked_later(program: Path) -> None:
    async with counting(program) as bench:
        done = await bench.run("counter", "2")
        assert (done.result.content, done.session) == ("counted to 2", "h-t")
        bench.send(cmd.ReconcileAttempt("later", 1, "counter", key="t:1", handle="h-t"))
        assert (await bench.outcome("later")).result.content == "counted to 2"


async def test_it_stops_in_order_and_can_go_on_also_in_another_process(program: Path) -> None:
    async with counting(program) as bench:
        bench.start("counter", "600")
        await begun(program.with_name("counter.json"))
        bench.send(cmd.PauseAttempt("t", 1, "counter"))
        stopped = await bench.outcome("t")
        assert isinstance(stopped, cmd.ReportInterrupted)
        assert stopped.orderly
        assert stopped.resumable
    async with counting(program) as bench:
        bench.send(cmd.ReconcileAttempt("t", 1, "counter", key="t:1", handle="h-t"))
        assert (await bench.outcome("t")).resumable


async def test_it_knows_nothing_of_what_it_never_began(program: Path) -> None:
    async with counting(program) as bench:
        bench.send(cmd.ReconcileAttempt("t", 1, "counter", key="t:1", handle="h-t"))
        assert not (await bench.outcome("t")).resumable

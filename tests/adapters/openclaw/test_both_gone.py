"""Omni was restarted, and OpenClaw's gateway is not there yet: what ran in it is no question for a person."""

from pathlib import Path

from tests.executors.bench import workbench
from tests.fakes.gateway import TOKEN, FakeGateway

from omni.config import ExecutorConfig
from omni.domain import commands as cmd

TRIED_S = 0.2  # six times that is waited for the answer to a question


async def found(tmp_path: Path, config: ExecutorConfig) -> object:
    async with workbench(tmp_path, config, connect_s=TRIED_S) as bench:
        bench.send(cmd.ReconcileAttempt("t", 1, config.name, key="t:1", handle="h-t"))
        return await bench.outcome("t")


async def test_an_attempt_in_a_gateway_that_is_not_there_yet_can_go_on(tmp_path: Path) -> None:
    url = FakeGateway().url
    claw = ExecutorConfig(name="claw", adapter="openclaw", transport="bundled", url=url, options={"token": TOKEN})
    told = await found(tmp_path, claw)
    assert isinstance(told, cmd.ReportInterrupted)
    assert told.resumable


async def test_an_attempt_of_a_server_that_nobody_knows_cannot(tmp_path: Path) -> None:
    other = ExecutorConfig(name="other", transport="ws", url=FakeGateway().url, tool="act")
    told = await found(tmp_path, other)
    assert isinstance(told, cmd.ReportInterrupted)
    assert not told.resumable

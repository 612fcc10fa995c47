"""The hands over WebSocket and Streamable HTTP, with servers that come, go and refuse."""

from pathlib import Path

import pytest
from tests.executors.bench import served, workbench, written

from omni.config import ExecutorConfig
from omni.domain import commands as cmd


def remote(kind: str, port: int, **headers: str) -> ExecutorConfig:
    url = f"ws://127.0.0.1:{port}/" if kind == "ws" else f"http://127.0.0.1:{port}/mcp"
    return ExecutorConfig(name="far", transport=kind, url=url, headers=headers, tool="act")  # type: ignore[arg-type]


KINDS = pytest.mark.parametrize("kind", ["ws", "http"])


@KINDS
async def test_a_remote_server_takes_tasks_and_reports_progress(tmp_path: Path, kind: str) -> None:
    async with served(kind, tmp_path) as (port, _), workbench(tmp_path, remote(kind, port)) as bench:
        found = await bench.run("far", "tick 3")
        assert isinstance(found, cmd.ReportSucceeded)
        assert [m.progress for m in bench.heard if isinstance(m, cmd.ProgressMade)] == [1.0, 2.0, 3.0]
        assert (await bench.until(cmd.ReportStarted)).pid is None


@KINDS
async def test_a_cancel_reaches_a_remote_server(tmp_path: Path, kind: str) -> None:
    async with served(kind, tmp_path) as (port, _), workbench(tmp_path, remote(kind, port)) as bench:
        bench.start("far", "sleep 60")
        await written(tmp_path / "called")
        bench.cancel("far")
        assert "sleep 60" in await written(tmp_path / "cancelled")
        assert await bench.outcome("t") == cmd.ReportCancelled("t", 1, confirmed=False)


@KINDS
async def test_a_remote_server_killed_under_a_call_is_interrupted_and_found_again(tmp_path: Path, kind: str) -> None:
    async with served(kind, tmp_path) as (port, process), workbench(tmp_path, remote(kind, port)) as bench:
        bench.start("far", "sleep 60")
        await written(tmp_path / "called")
        process.kill()
        process.wait()
        assert isinstance(await bench.outcome("t"), cmd.ReportInterrupted)
        async with served(kind, tmp_path, port):
            await bench.connected("far", times=2)
            assert isinstance(await bench.run("far", "hello", "t2"), cmd.ReportSucceeded)


@KINDS
async def test_a_port_where_nobody_listens_is_unavailable(tmp_path: Path, kind: str) -> None:
    async with served(kind, tmp_path) as (port, _):
        pass
    async with workbench(tmp_path, remote(kind, port), connect_s=2) as bench:
        assert "connect" in (await bench.lost("far")).detail.lower()
        assert (await bench.run("far", "hello")).error.kind == "unavailable"


async def test_an_http_server_that_went_away_between_calls_costs_an_attempt_that_was_never_sent(tmp_path: Path) -> None:
    async with served("http", tmp_path) as (port, process), workbench(tmp_path, remote("http", port)) as bench:
        await bench.connected("far")
        process.kill()
        process.wait()
        assert (await bench.run("far", "hello")).error.kind == "unavailable"
        assert (await bench.lost("far")).detail == "cannot connect: connection refused"


async def test_an_http_server_that_wants_a_token_gets_it_or_is_told_of_with_the_status(tmp_path: Path) -> None:
    async with served("http", tmp_path, PEER_TOKEN="open sesame") as (port, _):
        async with workbench(tmp_path, remote("http", port, Authorization="Bearer open sesame")) as bench:
            assert isinstance(await bench.run("far", "hello"), cmd.ReportSucceeded)
        async with workbench(tmp_path, remote("http", port)) as bench:
            assert "401" in (await bench.lost("far")).detail


async def test_a_websocket_server_gets_the_bearer_header(tmp_path: Path) -> None:
    async with served("ws", tmp_path, PEER_TOKEN="open sesame") as (port, _):
        async with workbench(tmp_path, remote("ws", port, Authorization="Bearer open sesame")) as bench:
            assert isinstance(await bench.run("far", "hello"), cmd.ReportSucceeded)
        async with workbench(tmp_path, remote("ws", port)) as bench:
            assert "no token" in (await bench.lost("far")).detail


async def test_a_gateway_error_leaves_its_own_call_in_doubt_and_no_other(tmp_path: Path) -> None:
    async with (
        served("http", tmp_path, PEER_GATEWAY="1") as (port, _),
        workbench(tmp_path, remote("http", port)) as bench,
    ):
        bench.start("far", "sleep 2", "slow")
        await bench.until(cmd.ReportStarted)
        found = await bench.run("far", "gateway", "broken")
        assert isinstance(found, cmd.ReportInterrupted)
        assert "HTTP 504" in found.evidence
        assert isinstance(await bench.outcome("slow"), cmd.ReportSucceeded)


async def test_a_server_that_says_too_many_requests_has_not_begun(tmp_path: Path) -> None:
    async with (
        served("http", tmp_path, PEER_GATEWAY="1") as (port, _),
        workbench(tmp_path, remote("http", port)) as bench,
    ):
        assert (await bench.run("far", "crowded")).error.kind == "rate_limited"


async def test_a_stream_that_breaks_off_is_interrupted_without_delay(tmp_path: Path) -> None:
    async with (
        served("http", tmp_path, PEER_GATEWAY="1") as (port, _),
        workbench(tmp_path, remote("http", port)) as bench,
    ):
        found = await bench.run("far", "cut")
        assert isinstance(found, cmd.ReportInterrupted)
        assert isinstance(await bench.run("far", "hello", "t2"), cmd.ReportSucceeded)

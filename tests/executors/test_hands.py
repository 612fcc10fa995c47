"""The hands against real MCP servers over stdio: every way in which an attempt can end."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import psutil
import structlog.testing
from tests.executors.bench import PEER, Bench, anything, peer, workbench, written

from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.executors.contract import MAX_TEXT_BYTES


async def test_a_task_is_called_with_the_filled_template_and_its_answer_is_reported(tmp_path: Path) -> None:
    arguments = {"description": "do {description}", "n": "{attempt}", "id": "{task_id}", "s": "{session}"}
    async with workbench(tmp_path, peer(tmp_path, tool="echo", arguments=arguments)) as bench:
        found = await bench.run("peer", 'say "{key}"', "t7")
        assert isinstance(found, cmd.ReportSucceeded)
        assert json.loads(found.result.content) == {"description": 'do say "{key}"', "n": 1, "id": "t7", "s": "h-t7"}
        assert (await bench.until(cmd.ReportStarted)).pid == int(await written(tmp_path / "started"))
        seen = await bench.connected("peer")
        assert seen.tools == ("act", "echo")


async def test_calls_on_one_session_overlap(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        await bench.connected("peer")
        for number in range(20):
            bench.start("peer", "sleep 0.5", f"t{number}")
        began = asyncio.get_running_loop().time()
        await bench.all(cmd.ReportSucceeded, anything, 20)
        assert asyncio.get_running_loop().time() - began < 5  # one after the other would take ten


async def test_progress_is_passed_on_and_keeps_a_slow_call_alive(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", "tick 8", idle_timeout_ms=900)
        assert isinstance(found, cmd.ReportSucceeded)
        steps = [m for m in bench.heard if isinstance(m, cmd.ProgressMade)]
        assert (steps[0].progress, steps[0].total, steps[0].message) == (1.0, 8.0, "step 1")
        assert steps[-1].progress == 8.0


async def test_silence_beyond_the_idle_timeout_is_cancelled_at_the_server(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", "sleep 60", idle_timeout_ms=400)
        assert isinstance(found, cmd.ReportFailed)
        assert found.error.kind == "idle_timeout"
        assert "sleep 60" in await written(tmp_path / "cancelled")


async def test_the_total_timeout_is_not_moved_by_progress(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        await bench.connected("peer")
        found = await bench.run("peer", "tick 1000", timeout_ms=900)
        assert isinstance(found, cmd.ReportFailed)
        assert found.error.kind == "timeout"
        assert "told to stop" in found.error.message


async def test_a_cancel_reaches_the_server_and_silence_is_no_confirmation(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        bench.start("peer", "sleep 60")
        await written(tmp_path / "called")
        bench.cancel("peer")
        assert "sleep 60" in await written(tmp_path / "cancelled")
        assert await bench.outcome("t") == cmd.ReportCancelled("t", 1, confirmed=False)
        assert isinstance(await bench.run("peer", "go on", "t2"), cmd.ReportSucceeded)


async def test_a_server_for_one_call_that_does_not_stop_is_restarted_and_that_is_certain(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path, max_concurrency=1)) as bench:
        bench.start("peer", "stubborn")
        pid = int(await written(tmp_path / "stubborn"))
        bench.cancel("peer")
        assert await bench.outcome("t") == cmd.ReportCancelled("t", 1, confirmed=True)
        assert not psutil.pid_exists(pid)
        await bench.connected("peer", times=2)
        assert isinstance(await bench.run("peer", "again", "t2"), cmd.ReportSucceeded)


async def test_a_cancel_before_the_executor_is_connected_is_certain(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path, args=("-c", "import time; time.sleep(60)"))) as bench:
        bench.start("peer", "hello")
        bench.cancel("peer")
        assert await bench.outcome("t") == cmd.ReportCancelled("t", 1, confirmed=True)


async def test_a_server_that_dies_under_a_call_leaves_it_interrupted_and_is_connected_again(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", "die")
        assert isinstance(found, cmd.ReportInterrupted)
        assert "exit code -9" in found.evidence
        assert "exit code -9" in (await bench.lost("peer")).detail
        await bench.connected("peer", times=2)
        assert isinstance(await bench.run("peer", "hello", "t2"), cmd.ReportSucceeded)


async def test_a_tool_error_is_a_failure_in_the_servers_words(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", "fail the disk is full")
        assert (found.error.kind, found.error.message) == ("failed", "the disk is full")


async def test_a_refused_request_is_bad_where_the_protocol_says_so(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        assert (await bench.run("peer", "refuse -32602", "a")).error.kind == "bad_request"
        other = await bench.run("peer", "refuse -32000", "b")
        assert other.error.kind == "failed"
        assert "no, thank you" in other.error.message


async def test_a_wrong_tool_name_is_told_with_the_tools_that_there_are(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path, tool="atc")) as bench:
        detail = (await bench.lost("peer")).detail
        assert "no tool 'atc'" in detail
        assert "act, echo" in detail


async def test_a_command_that_is_not_there_is_unavailable_and_was_never_sent(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path, command="no-such-command-here"), connect_s=2) as bench:
        assert "'no-such-command-here' was not found" in (await bench.lost("peer")).detail
        found = await bench.run("peer", "hello")
        assert found.error.kind == "unavailable"
        assert "not found" in found.error.message


async def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; sys.exit('the licence has run out')"
    async with workbench(tmp_path, peer(tmp_path, args=("-c", code))) as bench:
        assert "the licence has run out" in (await bench.lost("peer")).detail
        assert "licence" in (tmp_path / "logs" / "executor-peer.log").read_text()


async def test_garbage_on_stdout_is_logged_and_harms_nothing(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", "garbage")
        assert found.result.content == "after garbage"
        assert "this is not JSON" in (tmp_path / "logs" / "executor-peer.log").read_text()


async def test_a_huge_result_is_cut_and_says_so(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", "huge 3000000")
        assert len(found.result.content) < MAX_TEXT_BYTES + 200
        assert "3000000 bytes" in found.result.content[-200:]


async def test_a_message_beyond_all_bounds_costs_the_connection_only(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", "huge 17000000")
        assert isinstance(found, cmd.ReportInterrupted)
        assert "larger than" in found.evidence
        assert isinstance(await bench.run("peer", "hello", "t2"), cmd.ReportSucceeded)


async def test_blocks_that_are_not_text_are_summarised(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", "mixed")
        assert found.result.content == "one\n[image, image/png, 6 bytes]\ntwo"


async def test_a_strangers_structured_content_is_kept_as_it_is(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", 'structured {"error": {"kind": "failed"}, "text": "x"}')
        assert found.result.structured == {"error": {"kind": "failed"}, "text": "x"}


async def test_an_answer_that_keeps_the_contract_carries_session_cost_and_usage(tmp_path: Path) -> None:
    said = {
        "contract": "omni.result/1", "text": "done", "session": "s-1", "cost_usd": 0.25,
        "usage": {"input_tokens": 10, "output_tokens": 3}, "files": ["a"],
    }  # fmt: skip
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await bench.run("peer", f"structured {json.dumps(said)}")
        assert (found.result.content, found.result.structured) == ("done", {"files": ["a"]})
        assert (found.session, found.cost_usd, found.usage.output_tokens) == ("s-1", 0.25, 3)


async def test_a_daemon_that_stops_reports_nothing_about_what_still_runs(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        bench.start("peer", "sleep 60")
        await written(tmp_path / "called")
        pid = (await bench.until(cmd.ReportStarted)).pid
    assert not [m for m in bench.heard if isinstance(m, cmd.ReportInterrupted | cmd.ReportFailed)]
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_an_attempt_of_an_unknown_executor_is_unavailable(tmp_path: Path) -> None:
    async with workbench(tmp_path) as bench:
        assert (await bench.run("nobody", "hello")).error.kind == "unavailable"


async def test_stop_is_bounded_even_when_a_server_ignores_everything(tmp_path: Path) -> None:
    deaf = "import runpy, signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n"
    code = f"{deaf}runpy.run_path({PEER!r}, run_name='__main__')"
    loop = asyncio.get_running_loop()
    async with workbench(tmp_path, peer(tmp_path, args=("-c", code, "stdio"))) as bench:
        bench.start("peer", "stubborn")
        pid = int(await written(tmp_path / "stubborn"))
        began = loop.time()
    assert loop.time() - began < 6
    assert not psutil.pid_exists(pid)


# --- the wish to pause


async def test_a_server_that_can_pause_hears_of_the_wish_and_its_outcome_still_counts(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path, env={"PEER_PAUSE": "1"})) as bench:
        bench.start("peer", "sleep 1")
        await written(tmp_path / "called")
        bench.send(cmd.PauseAttempt("t", 1, "peer"))
        assert json.loads(await written(tmp_path / "paused")) == {"handle": "h-t", "key": "t:1"}
        assert (await bench.outcome("t")).result.content == "slept 1"


async def test_a_refused_wish_to_pause_is_no_outcome(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path, env={"PEER_PAUSE": "refuse"})) as bench:
        bench.start("peer", "sleep 1")
        await written(tmp_path / "called")
        with structlog.testing.capture_logs() as logged:
            bench.send(cmd.PauseAttempt("t", 1, "peer"))
            found = await bench.outcome("t")
    assert found.result.content == "slept 1"
    assert [each["event"] for each in logged if each["event"] != "tool.called"] == ["attempt.pause_failed"]
    assert [each for each in bench.heard if isinstance(each, cmd.ReportFailed | cmd.ReportInterrupted)] == []


async def test_a_server_that_cannot_pause_is_left_alone(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        bench.start("peer", "sleep 1")
        await written(tmp_path / "called")
        bench.send(cmd.PauseAttempt("t", 1, "peer"), cmd.PauseAttempt("gone", 1, "peer"))
        assert (await bench.outcome("t")).result.content == "slept 1"
    assert not (tmp_path / "paused").exists()


# --- reconciliation


async def reconciled(bench: Bench, handle: str = "h") -> Any:
    bench.send(cmd.ReconcileAttempt("t", 1, "peer", key="t:1", handle=handle))
    return await bench.outcome("t")


async def test_a_server_without_memory_leaves_an_old_attempt_interrupted(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        found = await reconciled(bench)
        assert isinstance(found, cmd.ReportInterrupted)
        assert not found.resumable


async def test_a_server_that_remembers_gives_the_result_of_an_old_attempt(tmp_path: Path) -> None:
    state = {"state": "finished", "result": {"text": "done long ago", "session": "s"}}
    (tmp_path / "attempt-h").write_text(json.dumps(state))
    async with workbench(tmp_path, peer(tmp_path, env={"PEER_LOOKUP": "1"})) as bench:
        found = await reconciled(bench)
        assert isinstance(found, cmd.ReportSucceeded)
        assert (found.result.content, found.session) == ("done long ago", "s")


async def test_a_server_that_lost_an_attempt_may_say_that_it_can_go_on(tmp_path: Path) -> None:
    (tmp_path / "attempt-h").write_text('{"state": "unknown", "resumable": true}')
    async with workbench(tmp_path, peer(tmp_path, env={"PEER_LOOKUP": "1"})) as bench:
        found = await reconciled(bench)
        assert isinstance(found, cmd.ReportInterrupted)
        assert found.resumable


async def test_an_attempt_that_still_runs_is_watched_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "attempt-h").write_text('{"state": "running"}')
    async with workbench(tmp_path, peer(tmp_path, env={"PEER_LOOKUP": "1"})) as bench:
        bench.send(cmd.ReconcileAttempt("t", 1, "peer", key="t:1", handle="h"))
        await bench.connected("peer")
        (tmp_path / "draft").write_text('{"state": "finished", "result": {"text": "now"}}')
        (tmp_path / "draft").rename(tmp_path / "attempt-h")
        assert (await bench.outcome("t")).result.content == "now"


async def test_a_call_whose_server_died_is_asked_for_where_that_is_possible(tmp_path: Path) -> None:
    (tmp_path / "attempt-h-t").write_text('{"state": "finished", "result": {"text": "it was done"}}')
    async with workbench(tmp_path, peer(tmp_path, env={"PEER_LOOKUP": "1"})) as bench:
        found = await bench.run("peer", "die")
        assert isinstance(found, cmd.ReportSucceeded)
        assert found.result.content == "it was done"


async def test_a_cancelled_call_is_confirmed_by_a_server_that_can_be_asked(tmp_path: Path) -> None:
    (tmp_path / "attempt-h-t").write_text('{"state": "finished", "result": {"error": {"kind": "cancelled"}}}')
    async with workbench(tmp_path, peer(tmp_path, env={"PEER_LOOKUP": "1"})) as bench:
        bench.start("peer", "sleep 60")
        await written(tmp_path / "called")
        bench.cancel("peer")
        assert await bench.outcome("t") == cmd.ReportCancelled("t", 1, confirmed=True)


# --- servers by configuration alone


async def test_a_published_time_server_becomes_an_executor_by_configuration_alone(tmp_path: Path) -> None:
    clock = ExecutorConfig(
        name="clock", transport="stdio", command=sys.executable, args=("-m", "mcp_server_time"),
        tool="get_current_time", arguments={"timezone": "{description}"},
    )  # fmt: skip
    async with workbench(tmp_path, clock) as bench:
        assert "Asia/Tokyo" in (await bench.run("clock", "Asia/Tokyo")).result.content
        assert (await bench.run("clock", "Nowhere/None", "t2")).error.kind in {"failed", "bad_request"}


async def test_a_published_git_server_becomes_an_executor_by_configuration_alone(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    made = await asyncio.create_subprocess_exec("git", "init", "-q", str(repository))
    assert await made.wait() == 0
    git = ExecutorConfig(
        name="git", transport="stdio", command=sys.executable, args=("-m", "mcp_server_git"),
        tool="git_status", arguments={"repo_path": "{workdir}"},
    )  # fmt: skip
    async with workbench(tmp_path, git) as bench:
        found = await bench.run("git", "status", workdir=str(repository))
        assert "No commits yet" in found.result.content


async def test_stop_does_not_wait_for_a_server_that_never_answers(tmp_path: Path) -> None:
    note = f"import os,time; open({str(tmp_path / 'pid')!r},'w').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    loop = asyncio.get_running_loop()
    async with workbench(tmp_path, peer(tmp_path, args=("-c", note))):
        pid = int(await written(tmp_path / "pid"))
        began = loop.time()
    assert loop.time() - began < 4
    assert not psutil.pid_exists(pid)

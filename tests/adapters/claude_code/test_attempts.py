"""Attempts from the daemon's side: done, denied, limited, cancelled, paused, killed, and gone on with."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.claude_code.yard import NAME, Yard, again, at_work, outcome_of
from tests.executors.bench import workbench, written

from omni.config import RunbookCommand
from omni.domain import commands as cmd


async def test_a_task_is_done_with_its_progress_and_what_it_cost(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "say hello")
        assert isinstance(found, cmd.ReportSucceeded)
        assert found.result.content == "All done."
        assert found.session == yard.calls()[0]["argv"][yard.calls()[0]["argv"].index("--session-id") + 1]
        assert found.cost_usd == 0.0016
        assert found.usage is not None
        assert (found.usage.input_tokens, found.usage.output_tokens) == (200, 40)
        assert found.result.structured == {"turns": 2, "end": "completed", "duration_s": 0.4, "denials": []}
    assert yard.left() == []


async def test_progress_names_the_tool_that_runs_and_counts_up(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        bench.start(NAME, "[[hang]]")
        await at_work(bench)
        told = [m for m in bench.heard if isinstance(m, cmd.ProgressMade)]
        assert "Bash echo hello" in told[-1].message
        assert [m.progress for m in told] == sorted({m.progress for m in told})
        assert (await bench.until(cmd.ReportStarted)).session == "h-t"


async def test_denied_permissions_are_a_success_that_names_them(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "[[denied]]")
        assert isinstance(found, cmd.ReportSucceeded)
        assert found.result.structured["denials"] == [{"tool": "Bash", "use": "Bash touch /etc/x"}]
        assert "not permitted" in found.result.content
        assert "allowed_tools" in found.result.content


@pytest.mark.parametrize(
    ("mark", "kind", "words"),
    [
        ("refused", "failed", "/login"),
        ("overloaded", "unavailable", "529"),
        ("too_many_turns", "failed", "maximum number of turns"),
        ("refuses", "failed", "unknown option"),
    ],
)
async def test_what_looks_like_success_and_is_none_is_told_apart(yard: Yard, mark: str, kind: str, words: str) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, f"[[{mark}]]")
        assert isinstance(found, cmd.ReportFailed), found
        assert found.error.kind == kind
        assert words in found.error.message


async def test_an_account_s_limit_pauses_the_executor_until_its_time(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "[[limit]]")
        assert isinstance(found, cmd.ReportFailed)
        assert found.error.kind == "rate_limited"
        pause = await bench.until(cmd.ExecutorPaused)
        assert pause.executor == NAME
        assert "limit" in pause.reason
        for wait_ms in (found.retry_after_ms, pause.for_ms):
            assert 3_500_000 < wait_ms < 3_700_000


async def test_a_limit_in_the_middle_of_the_work_leaves_a_session_to_go_on_from(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "[[limit_later]]")
        assert isinstance(found, cmd.ReportInterrupted)
        assert found.resumable
        assert found.orderly
        assert 3_500_000 < found.retry_after_ms < 3_700_000
        assert (await bench.until(cmd.ExecutorPaused)).for_ms > 3_500_000


async def test_a_run_without_a_result_is_unknown_and_can_go_on(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "[[breaks]]")
        assert isinstance(found, cmd.ReportInterrupted)
        assert found.resumable
        assert not found.orderly
        assert "exit code 3" in found.evidence
        assert "out of memory" in found.evidence
        bench.send(again("t", "[[breaks]]".replace("breaks", "answer")))
        assert isinstance(await outcome_of(bench, "t", 2), cmd.ReportSucceeded)


async def test_a_result_counts_although_the_program_never_exits(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        assert isinstance(await bench.run(NAME, "[[lingers]]"), cmd.ReportSucceeded)
        assert yard.left() == []


async def test_lines_that_are_no_events_do_no_harm(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        assert isinstance(await bench.run(NAME, "[[noise]]"), cmd.ReportSucceeded)


@pytest.mark.parametrize("mark", ["hang", "deaf", "stubborn", "offspring"])
async def test_a_cancelled_task_leaves_no_process(yard: Yard, mark: str) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        bench.start(NAME, f"[[{mark}]]")
        await at_work(bench)
        assert yard.left()
        bench.cancel(NAME)
        assert await bench.outcome("t") == cmd.ReportCancelled("t", 1, confirmed=True)
        assert yard.left() == []


async def test_a_paused_task_goes_on_in_its_own_session_and_place(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        bench.start(NAME, "[[hang]]")
        await at_work(bench)
        bench.send(cmd.PauseAttempt("t", 1, NAME))
        paused = await bench.outcome("t")
        assert (paused.resumable, paused.orderly, paused.retry_after_ms) == (True, True, 0)
        assert yard.notes("h-t")["total_usd"] == 0.0005  # INT came first, so that it could still say its result
        assert "process" not in yard.notes("h-t")
        bench.send(again("t", "[[hang]]"))
        assert isinstance(await outcome_of(bench, "t", 2), cmd.ReportSucceeded)
    first, second = yard.calls()
    session = first["argv"][first["argv"].index("--session-id") + 1]
    assert second["argv"][second["argv"].index("--resume") + 1] == session
    assert "--session-id" not in second["argv"]
    assert second["argv"][-1].startswith("You were interrupted.")
    assert first["cwd"] == second["cwd"]


async def test_a_session_that_is_not_known_begins_anew_and_says_so(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        bench.send(again("t", "go on"))
        found = await outcome_of(bench, "t", 2)
        assert isinstance(found, cmd.ReportSucceeded)
        assert "this is a new one" in found.result.content
        assert [("--resume" in call["argv"]) for call in yard.calls()] == [True, False]
        assert yard.calls()[1]["argv"][-1] == "The task:\n\ngo on"


async def test_a_session_that_exists_already_is_gone_on_with(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        await bench.run(NAME, "first")
        (yard.data / "adapters" / NAME / "attempts" / "h-t.json").unlink()
        bench.send(again("t", "second", resume=False))
        assert isinstance(await outcome_of(bench, "t", 2), cmd.ReportSucceeded)
        assert [("--resume" in call["argv"]) for call in yard.calls()] == [False, False, True]


async def test_an_earlier_session_is_branched_off_and_only_the_difference_is_cost(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        first = await bench.run(NAME, "first", "one")
        second = await bench.run(NAME, "second", "two", session=first.session)
        assert isinstance(second, cmd.ReportSucceeded)
        assert second.session != first.session
        assert (first.cost_usd, second.cost_usd) == (0.0016, 0.0016)
        words = yard.calls()[1]["argv"]
        assert words[words.index("--resume") + 1] == first.session
        assert "--fork-session" in words
        assert yard.sessions() == {first.session, second.session}


async def test_two_attempts_never_use_one_session_at_once(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        first = await bench.run(NAME, "first", "one")
        bench.start(NAME, "[[hang]]", "two", session=first.session)
        await at_work(bench, "two")
        third = await bench.run(NAME, "third", "three", session=first.session)
        assert isinstance(third, cmd.ReportFailed)
        assert (third.error.kind, third.retry_after_ms) == ("unavailable", 5000)


async def test_what_had_finished_is_answered_from_its_record(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        first = await bench.run(NAME, "once")
    async with workbench(yard.data, yard.executor()) as bench:
        bench.send(cmd.ReconcileAttempt("t", 1, NAME, key="t:1", handle="h-t", pid=0, session=""))
        found = await bench.outcome("t")
        assert found.result == first.result
        bench.heard.clear()
        assert (await bench.run(NAME, "once")).result == first.result
    assert len(yard.calls()) == 1


@pytest.mark.parametrize("mark", ["hang", "stubborn", "offspring"])
async def test_a_killed_adapter_leaves_nothing_and_its_attempt_can_go_on(yard: Yard, mark: str) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        bench.start(NAME, f"[[{mark}]]")
        await at_work(bench)
        started = await bench.until(cmd.ReportStarted)
        assert started.pid is not None
        os.kill(started.pid, signal.SIGKILL)
        found = await bench.outcome("t")
        assert isinstance(found, cmd.ReportInterrupted)
        assert found.resumable
        assert yard.left() == []
        assert yard.keys_on_disk() == []
        bench.send(again("t", f"[[{mark}]]"))
        assert isinstance(await outcome_of(bench, "t", 2), cmd.ReportSucceeded)
        assert "--resume" in yard.calls()[-1]["argv"]


async def test_a_silent_run_is_interrupted_and_can_go_on(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor(idle_s=1.0)) as bench:
        found = await bench.run(NAME, "[[hang]]")
        assert isinstance(found, cmd.ReportInterrupted)
        assert found.resumable
        assert "silent" in found.evidence
        assert yard.left() == []


async def test_the_work_of_a_task_is_on_a_branch_and_its_worktree_is_kept_for_a_look(yard: Yard) -> None:
    repository = yard.make_repository()
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "[[write]]", workdir=str(repository))
        told = found.result.structured["workspace"]
        assert told["files"] == 1
        assert "made.txt" in told["diff"]
        assert told["branch"] in found.result.content
        assert not (repository / "made.txt").exists()
        nothing = await bench.run(NAME, "only talk", "t2", workdir=str(repository))
        assert "workspace" not in nothing.result.structured
    kept = [each for each in yard.worktrees() if Path(each, "made.txt").exists()]  # noqa: ASYNC240
    assert kept == [told["path"]]


async def test_files_made_without_a_workdir_are_kept_and_their_place_is_told(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "[[write]]")
        told = found.result.structured["workspace"]
        assert told["files"] == 1
        assert told["path"] in found.result.content
        assert await asyncio.to_thread((Path(told["path"]) / "made.txt").read_text) == "made\n"


async def test_a_workdir_that_is_not_there_is_the_caller_s_error(yard: Yard, tmp_path: Path) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "work", workdir=str(tmp_path / "nowhere"))
        assert isinstance(found, cmd.ReportFailed)
        assert found.error.kind == "bad_request"
        assert yard.calls() == []


async def test_a_program_that_is_not_there_is_said_with_the_next_step(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor(binary="claude-that-is-not-there")) as bench:
        found = await bench.run(NAME, "work")
        assert isinstance(found, cmd.ReportFailed)
        assert found.error.kind == "unavailable"
        assert "was not found" in found.error.message


async def test_through_the_port_no_key_is_on_the_command_line_or_left_on_disk(yard: Yard) -> None:
    env = {"ANTHROPIC_API_KEY": "sk-other", "CLAUDE_CODE_USE_BEDROCK": "1"}
    async with workbench(yard.data, yard.executor(env=env, models="port")) as bench:
        found = await bench.run(NAME, "work")
        assert found.cost_usd is None
        assert found.usage is None
        assert found.result.structured["tokens"] == {"input_tokens": 200, "output_tokens": 40}
    (call,) = yard.calls()
    key = call["env"]["ANTHROPIC_AUTH_TOKEN"]
    assert key.startswith("omni-a-t-1-")
    assert key not in " ".join(call["argv"])
    assert call["modes"]["--settings"] == "0o600"
    assert call["files"]["--settings"]["env"]["ANTHROPIC_AUTH_TOKEN"] == key
    assert not {"ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK"} & set(call["env"])
    assert call["env"]["CLAUDE_CODE_MAX_RETRIES"] == "1"  # an answer that broke off is asked for once more
    assert yard.keys_on_disk() == []


@pytest.mark.parametrize("reachable", [True, False])
async def test_auto_means_the_port_where_a_model_can_be_reached(yard: Yard, reachable: bool) -> None:
    async with workbench(yard.data, yard.executor(models="auto"), models_reachable=reachable) as bench:
        await bench.run(NAME, "work")
    assert ("ANTHROPIC_BASE_URL" in yard.calls()[0]["env"]) is reachable


async def test_nothing_of_a_parent_s_own_claude_code_reaches_the_program(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "parent")
    async with workbench(yard.data, yard.executor()) as bench:
        await bench.run(NAME, "work")
    assert "parent" not in yard.calls()[0]["env"].values()


async def test_a_repair_has_the_named_commands_and_logs_and_nothing_else(yard: Yard, tmp_path: Path) -> None:
    commands = {"mend": RunbookCommand(argv=("true",)), "other": RunbookCommand(argv=("false",))}
    given: dict[str, Any] = {"repair": {"logs": [str(tmp_path / "proxy.log")], "commands": ["mend"]}}
    entry = yard.executor(**given, allowed_tools=["Bash"], env={"ANTHROPIC_BASE_URL": "http://127.0.0.1:4000"})
    repository = yard.make_repository()
    async with workbench(yard.data, entry, runbook=commands) as bench:
        found = await bench.run(NAME, "mend it", repair=True, workdir=str(repository))
        assert isinstance(found, cmd.ReportSucceeded)
    (call,) = yard.calls()
    words = call["argv"]
    assert words[words.index("--tools") + 1] == "Read"
    at = words.index("--allowedTools")
    assert words[at + 1 : at + 3] == ["mcp__runbook__run", f"Read(/{tmp_path}/proxy.log)"]
    assert not {"Bash", "acceptEdits"} & set(words)
    assert words[words.index("--setting-sources") + 1] == ""
    assert "ANTHROPIC_BASE_URL" not in call["env"]
    server = call["files"]["--mcp-config"]["mcpServers"]["runbook"]
    assert "mend" in server["env"]["OMNI_RUNBOOK"]
    assert "other" not in server["env"]["OMNI_RUNBOOK"]
    assert not Path(call["cwd"]).is_relative_to(repository)
    assert (
        list((yard.data / "adapters" / NAME / "workspaces" / "trees").glob("*")) == []
    )  # its scratch directory is gone


async def test_the_end_of_the_daemon_ends_the_run_in_order(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        bench.start(NAME, "[[offspring]]")
        await at_work(bench)
        await written(yard.state / "offspring")
        assert len(yard.left()) == 2
    assert yard.left() == []

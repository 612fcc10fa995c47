"""A memory beside the hands, over real MCP: what goes along, what is remembered, and that nothing depends on it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog.testing
from tests.executors.bench import Bench, peer, workbench, written

from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.executors import memory as memory_module
from omni.executors.hits import FOOT, HEAD, MAX_NOTES_CHARS
from omni.redact import Redactor

RECOLLECT = str(Path(__file__).with_name("servers") / "recollect.py")
BOTH = {"description": "{description}", "context": "{context}"}
BOUND_S = 0.6
SLACK_S = 2.0  # for a machine that is busy with other things
ILLNESSES = ("slow", "frozen", "dies", "garbage", "enormous")


async def until(happened: Callable[[], bool], what: str, wait_s: float = 15) -> None:
    end = asyncio.get_running_loop().time() + wait_s
    while asyncio.get_running_loop().time() < end:
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"no {what} within {wait_s} s")


class Scene(NamedTuple):
    bench: Bench
    lines: list[Any]
    notes: Path

    def logged(self, event: str) -> list[Any]:
        return [line for line in self.lines if line["event"] == event]

    async def until_logged(self, event: str, count: int = 1) -> list[Any]:
        await until(lambda: len(self.logged(event)) >= count, f"{count} {event}")
        return self.logged(event)

    def heard(self, tool: str) -> list[Any]:
        file = self.notes / "heard"
        said = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [each for each in said if each["tool"] == tool]

    async def until_heard(self, tool: str) -> Any:
        await until(lambda: bool(self.heard(tool)), tool)
        return self.heard(tool)[0]


def memory(notes: Path, form: str = "cloud", mode: str = "well", texts: Any = None, **options: Any) -> ExecutorConfig:
    env = {"RECOLLECT_NOTES": str(notes), "RECOLLECT_FORM": form, "RECOLLECT_MODE": mode}
    if texts is not None:
        env["RECOLLECT_TEXTS"] = json.dumps(texts)
    return ExecutorConfig(
        name="memos", transport="stdio", adapter="memos", command=sys.executable, args=(RECOLLECT,), env=env,
        options={"timeout_s": 10, **options},
    )  # fmt: skip


def echo(notes: Path, **other: Any) -> ExecutorConfig:
    """An executor that answers with the arguments that it got."""
    return peer(notes, **{"tool": "echo", "arguments": BOTH, **other})


def over_http(env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, RECOLLECT, "http"], env=env)


@contextlib.asynccontextmanager
async def scene(
    tmp_path: Path, config: ExecutorConfig | None, *executors: ExecutorConfig, **other: Any
) -> AsyncIterator[Scene]:
    with structlog.testing.capture_logs() as lines:
        async with workbench(tmp_path, *(executors or (echo(tmp_path),)), memory=config, **other) as bench:
            yield Scene(bench, lines, tmp_path)


async def got(bench: Bench, description: str, task_id: str = "t", **other: Any) -> dict[str, Any]:
    found = await bench.run("peer", description, task_id, **other)
    assert isinstance(found, cmd.ReportSucceeded), found
    return dict(json.loads(found.result.content))


async def timed(bench: Bench, description: str, task_id: str) -> tuple[dict[str, Any], float]:
    began = asyncio.get_running_loop().time()
    return await got(bench, description, task_id), asyncio.get_running_loop().time() - began


# --- what goes along


async def test_what_the_memory_knows_goes_along_where_the_template_names_it(tmp_path: Path) -> None:
    config = memory(tmp_path, texts=["the bridge is closed", "ask  Mia\nfirst", "the bridge is closed"])
    async with scene(tmp_path, config) as at:
        told = await got(at.bench, "cross the river")
        assert told == {
            "description": "cross the river",
            "context": f"{HEAD}\n- the bridge is closed\n- ask Mia first\n{FOOT}",
        }
        assert (await at.bench.until(cmd.ReportStarted)).notes == 2
        searched = at.logged("memory.searched")[0]
        assert (searched["task"], searched["hits"]) == ("t", 2)
        assert at.heard("search_memory") == [{
            "tool": "search_memory", "query": "cross the river", "conversation_first_message": "cross the river",
            "memory_limit_number": 5,
        }]  # fmt: skip


async def test_a_bundled_adapter_reads_the_notes_before_the_task(tmp_path: Path) -> None:
    executor = echo(tmp_path, adapter="model", arguments=None)
    async with scene(tmp_path, memory(tmp_path, "open"), executor) as at:
        told = await got(at.bench, "cross the river")
        assert told["description"] == f"{HEAD}\n- the bridge is closed\n{FOOT}\n\ncross the river"
        assert at.heard("search_memory") == [{"tool": "search_memory", "query": "cross the river", "user_id": "omni"}]


@pytest.mark.parametrize("adapter", ["", "runbook"])
async def test_an_executor_that_did_not_ask_for_notes_gets_the_task_as_it_is(tmp_path: Path, adapter: str) -> None:
    executor = echo(tmp_path, adapter=adapter, arguments={"description": "{description}"})
    async with scene(tmp_path, memory(tmp_path), executor) as at:
        assert await got(at.bench, "cross the river") == {"description": "cross the river"}
        assert (await at.bench.until(cmd.ReportStarted)).notes == 0
        assert at.heard("search_memory") == []


@pytest.mark.parametrize("kind", ["resume", "repair"])
async def test_neither_a_session_that_goes_on_nor_a_repair_is_told_anything(tmp_path: Path, kind: str) -> None:
    async with scene(tmp_path, memory(tmp_path)) as at:
        await at.until_logged("memory.connected")
        assert (await got(at.bench, "go on", "t", **{kind: True}))["context"] == ""
        assert at.heard("search_memory") == []


async def test_many_long_notes_stay_within_their_bound(tmp_path: Path) -> None:
    texts = [f"{number} " + "very " * 300 for number in range(30)]
    async with scene(tmp_path, memory(tmp_path, texts=texts, hits=50)) as at:
        told = await got(at.bench, "anything")
        assert 3_000 < len(told["context"]) <= MAX_NOTES_CHARS
        assert told["context"].endswith(FOOT)
        assert (await at.bench.until(cmd.ReportStarted)).notes == told["context"].count("\n- ")


async def test_without_a_memory_there_are_no_notes(tmp_path: Path) -> None:
    async with scene(tmp_path, None) as at:
        assert await got(at.bench, "cross the river") == {"description": "cross the river", "context": ""}


async def test_a_memory_may_be_at_an_address(tmp_path: Path) -> None:
    process = over_http({**os.environ, **memory(tmp_path).env})
    try:
        port = int(await written(tmp_path / "port"))
        url = f"http://127.0.0.1:{port}/mcp"
        config = ExecutorConfig(name="memos", transport="http", adapter="memos", url=url, options={"timeout_s": 10})
        async with scene(tmp_path, config) as at:
            assert "- the bridge is closed" in (await got(at.bench, "cross the river"))["context"]
            await at.until_heard("add_message")
    finally:
        process.kill()
        process.wait()


# --- what is remembered


async def test_a_result_is_remembered_with_its_task(tmp_path: Path) -> None:
    async with scene(tmp_path, memory(tmp_path), peer(tmp_path)) as at:
        assert isinstance(await at.bench.run("peer", "cross the river"), cmd.ReportSucceeded)
        added = await at.until_heard("add_message")
        assert added["conversation_first_message"] == "cross the river"
        assert added["messages"] == [
            {"role": "user", "content": "cross the river"},
            {"role": "assistant", "content": "cross the river"},  # it answers with what it was told
        ]


async def test_notes_are_not_remembered_again(tmp_path: Path) -> None:
    executor = peer(tmp_path, arguments={"description": "structured {{}}", "notes": "{context}"})
    async with scene(tmp_path, memory(tmp_path), executor) as at:
        await at.bench.run("peer", "cross the river")
        assert "bridge" not in json.dumps((await at.until_heard("add_message"))["messages"])


async def test_neither_failures_nor_repairs_nor_the_runbook_are_remembered(tmp_path: Path) -> None:
    runbook = peer(tmp_path, "book", adapter="runbook")
    async with scene(tmp_path, memory(tmp_path), peer(tmp_path), runbook) as at:
        await at.bench.run("peer", "fail badly", "t1")
        await at.bench.run("peer", "mended", "t2", repair=True)
        await at.bench.run("book", "report", "t3")
        await at.bench.run("peer", "the last", "t4")
        await at.until_heard("add_message")  # they leave in order: what comes first is all there is
        assert [each["conversation_first_message"] for each in at.heard("add_message")] == ["the last"]


async def test_a_memory_of_other_words_is_served_in_its_own(tmp_path: Path) -> None:
    config = memory(tmp_path, "small", search_tool="find", add_tool="keep", conversation="all")
    async with scene(tmp_path, config) as at:
        assert "- the bridge is closed" in (await got(at.bench, "cross the river"))["context"]
        assert at.heard("find") == [{"tool": "find", "text": "cross the river", "session_id": "all", "k": 2}]
        kept = (await at.until_heard("keep"))["text"]
        assert kept.startswith("user: cross the river\n\nassistant: ")


async def test_secrets_do_not_leave_for_the_memory(tmp_path: Path) -> None:
    async with scene(tmp_path, memory(tmp_path), redactor=Redactor(["swordfish-77"])) as at:
        await got(at.bench, "use swordfish-77 and sk-abcdefghij0123456789")
        await at.until_heard("add_message")
        heard = (tmp_path / "heard").read_text()
        assert "use *** and ***" in heard
        assert "swordfish" not in heard
        assert "sk-abc" not in heard


async def test_what_does_not_fit_into_the_queue_is_dropped_and_no_report_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "QUEUE", 2)
    async with scene(tmp_path, memory(tmp_path, mode="add-slow"), peer(tmp_path)) as at:
        await at.bench.run("peer", "first", "t0")
        await at.until_heard("add_message")  # it hangs in this one from now on
        began = asyncio.get_running_loop().time()
        for number in range(1, 5):
            await at.bench.run("peer", "more", f"t{number}")
        assert asyncio.get_running_loop().time() - began < SLACK_S
        assert [line["task"] for line in at.logged("memory.dropped")] == ["t3", "t4"]


# --- a memory that is ill


@pytest.mark.parametrize("mode", ILLNESSES)
async def test_an_ill_memory_costs_a_task_its_bound_at_most(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, memory(tmp_path, mode=mode, timeout_s=BOUND_S)) as at:
        await at.bench.connected("peer")
        await at.until_logged("memory.connected")
        told, took_s = await timed(at.bench, "cross the river", "t1")
        assert told["context"] == ""
        assert took_s < BOUND_S + SLACK_S
        assert (await at.bench.until(cmd.ReportStarted)).notes == 0
        assert len(at.heard("search_memory")) == 1


async def test_a_huge_answer_is_refused_and_the_memory_stays(tmp_path: Path) -> None:
    async with scene(tmp_path, memory(tmp_path, mode="huge")) as at:
        assert (await got(at.bench, "cross the river"))["context"] == ""
        assert "3000000 characters" in at.logged("memory.failed")[0]["error"]
        assert at.logged("memory.lost") == []


@pytest.mark.parametrize("mode", ["mute", "absent"])
async def test_a_memory_that_never_starts_holds_nobody_up(tmp_path: Path, mode: str) -> None:
    async with scene(tmp_path, memory(tmp_path, mode=mode, timeout_s=BOUND_S)) as at:
        await at.bench.connected("peer")
        for number in range(5):
            told, took_s = await timed(at.bench, "cross the river", f"t{number}")
            assert told["context"] == ""
            assert took_s < BOUND_S + SLACK_S


async def test_after_three_failures_it_is_left_alone_for_a_while_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "REST_S", 1.5)
    async with scene(tmp_path, memory(tmp_path, mode="broken")) as at:
        for number in range(8):
            assert (await got(at.bench, "cross the river", f"t{number}"))["context"] == ""
        assert len(at.heard("search_memory")) == 3
        assert [line["error"] for line in at.logged("memory.failed")] == ["Error: HTTP 500"] * 3
        assert [line["for_s"] for line in at.logged("memory.rested")] == [1.5]
        await asyncio.sleep(1.6)
        await got(at.bench, "cross the river", "t9")
        assert len(at.heard("search_memory")) == 4


async def test_a_frozen_memory_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni.executors.connection.DOUBT_S", 0.5)
    async with scene(tmp_path, memory(tmp_path, mode="frozen", timeout_s=BOUND_S)) as at:
        await at.until_logged("memory.connected")
        await got(at.bench, "cross the river")
        await at.until_logged("memory.connected", 2)


async def test_a_killed_memory_is_not_waited_for_and_comes_back(tmp_path: Path) -> None:
    async with scene(tmp_path, memory(tmp_path)) as at:
        assert (await got(at.bench, "one", "t1"))["context"]
        os.kill(int(await written(tmp_path / "pid")), signal.SIGKILL)
        await at.until_logged("memory.lost")
        told, took_s = await timed(at.bench, "two", "t2")
        assert told["context"] == ""
        assert took_s < SLACK_S
        await at.until_logged("memory.connected", 2)
        assert (await got(at.bench, "three", "t3"))["context"]


async def test_a_cancel_does_not_wait_for_a_search(tmp_path: Path) -> None:
    async with scene(tmp_path, memory(tmp_path, mode="slow", timeout_s=30)) as at:
        at.bench.start("peer", "cross the river")
        await at.until_heard("search_memory")
        at.bench.cancel("peer")
        assert isinstance(await at.bench.outcome("t", 3), cmd.ReportCancelled)
        assert not (tmp_path / "called").exists()


async def test_a_memory_that_wants_what_nobody_knows_is_off_and_says_why(tmp_path: Path) -> None:
    async with scene(tmp_path, memory(tmp_path, "strange")) as at:
        off = await at.until_logged("memory.off", 2)
        assert off[0]["reason"] == "the tool 'search_memory' requires 'vault', which Omni cannot fill"
        assert off[1]["reason"] == "the tool 'add_message' requires 'messages', which Omni cannot fill"
        assert (await got(at.bench, "cross the river"))["context"] == ""
        assert (at.heard("search_memory"), at.logged("memory.failed")) == ([], [])


async def test_a_tool_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    async with scene(tmp_path, memory(tmp_path, "small")) as at:
        off = await at.until_logged("memory.off", 2)
        assert off[0]["reason"] == "the server has no tool 'search_memory'; its tools are: find, keep"

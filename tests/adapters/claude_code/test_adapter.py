"""The adapter itself, where the daemon's hands would take too long or cannot look."""

import asyncio
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.claude_code.yard import NAME, STUB, Yard
from tests.executors.bench import workbench

from omni.adapters.claude_code.adapter import ClaudeCode
from omni.adapters.records import Record, Records
from omni.adapters.service import Stop, Structured, Work
from omni.executors.bundled import Options
from omni.runtime.ports import SystemClock


class Bench:
    """An adapter in this process, and what it told."""

    def __init__(self, yard: Yard, **options: Any) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {"STUB_STATE": str(yard.state), "PATH": path}
        told = Options("claude", "claude_code", env=env, options={"binary": str(STUB), "models": "own", **options})
        state = yard.data / "adapters" / "claude"
        self.records = Records(state / "attempts", SystemClock())
        self.adapter = ClaudeCode(told, state, self.records, SystemClock(), life_sign_s=0.3)
        self.stop = Stop()
        self.told: list[str] = []

    async def run(self, description: str, **more: Any) -> Structured:
        work = Work(description, "h-t", "t:1", "t", **more)
        return await self.adapter.run(work, self.records.find("h-t"), self.stop, self._tell)

    async def _tell(self, progress: float, total: float | None, text: str) -> None:
        self.told.append(text)

    async def until_told(self, words: str) -> None:
        async with asyncio.timeout(20):
            while not any(words in each for each in self.told):  # noqa: ASYNC110 - bounded, and nothing to wait on
                await asyncio.sleep(0.02)


async def test_a_silent_tool_is_told_to_run_still(yard: Yard) -> None:
    bench = Bench(yard)
    running = asyncio.create_task(bench.run("[[hang]]"))
    await bench.until_told("still running: Bash echo hello")
    bench.stop.wish("cancelled")
    assert (await running)["error"]["kind"] == "cancelled"
    await bench.adapter.close()


async def test_a_task_that_takes_too_long_is_ended_here_too(yard: Yard) -> None:
    bench = Bench(yard)
    assert (await bench.run("[[stubborn]]", timeout_s=1.0))["error"]["kind"] == "timeout"
    assert yard.left() == []
    await bench.adapter.close()


async def test_a_cancellation_of_the_adapter_s_own_task_leaves_no_process(yard: Yard) -> None:
    bench = Bench(yard)
    running = asyncio.create_task(bench.run("[[offspring]]"))
    await bench.until_told("Bash")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert yard.left() == []
    await bench.adapter.close()


async def test_what_is_wished_to_stop_before_it_began_is_not_begun(yard: Yard) -> None:
    bench = Bench(yard)
    bench.stop.wish("paused")
    assert (await bench.run("[[answer]]"))["error"] == {
        "kind": "interrupted", "message": "paused; its session can go on", "retry_after_s": 0,
    }  # fmt: skip
    assert yard.calls() == []
    await bench.adapter.close()


async def test_recovery_ends_what_a_record_names_and_forgets_the_keys(yard: Yard) -> None:
    """The process was started by nobody that lives: found by its marker, as after a kill of the adapter."""
    bench, marker = Bench(yard), uuid.uuid4().hex
    env = {**os.environ, "OMNI_RUN": marker, "STUB_STATE": str(yard.state)}
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(300)", env=env)
    bench.records.write(Record("h-t", "t:1", "t", "running", notes={"session": "s", "begun": True, "marker": marker}))
    (yard.data / "adapters" / "claude" / "runs" / "left.json").write_text("{}")
    assert await bench.adapter.recover() == 1
    assert await child.wait() != 0
    assert yard.keys_on_disk() == []
    found = await bench.adapter.look_up(bench.records.find("h-t"), "h-t", "t:1")
    assert (found.state, found.resumable) == ("unknown", True)
    assert "marker" not in yard.notes("h-t")
    assert await bench.adapter.recover() == 0
    await bench.adapter.close()


async def test_an_attempt_can_go_on_from_the_moment_that_its_session_is_on_record(yard: Yard) -> None:
    bench = Bench(yard)
    record = bench.records.write(Record("h-t", "t:1", "t", "running", notes={"session": str(uuid.uuid4())}))
    assert (await bench.adapter.look_up(record, "h-t", "t:1")).resumable
    odd = bench.records.write(Record("h-t", "t:1", "t", "running", notes={"session": 7}))
    assert not (await bench.adapter.look_up(odd, "h-t", "t:1")).resumable
    await bench.adapter.close()


async def test_without_the_program_it_takes_no_tasks_and_says_what_is_missing(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor(binary="no-such-claude")) as bench:
        seen = await bench.lost(NAME)
    assert "the command 'no-such-claude' was not found" in seen.detail
    assert "install Claude Code" in seen.detail
    assert os.environ["PATH"] not in seen.detail, "too long for a table and a chat"
    assert "PATH" in seen.detail

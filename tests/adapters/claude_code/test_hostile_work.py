"""Work that would break whoever looks at it: its answer comes all the same, and nothing of it stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.adapters.claude_code.yard import NAME, STUB, Yard
from tests.executors.bench import workbench

from omni.adapters.workspaces.claims import wipe
from omni.domain import commands as cmd

DEEP = """
import os
here = os.getcwd()
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
os.chdir(here)
"""
NESTED = 'print(\'{"type":"assistant","message":{"content":\' + "[" * 5000 + "]" * 5000 + "}}", flush=True)'
LINKED = 'import os; os.symlink("/", "root"); os.mkfifo("pipe")'


@pytest.mark.parametrize("first", [DEEP, NESTED, LINKED], ids=["deep", "nested", "linked"])
async def test_an_answer_comes_whatever_was_said_and_made_before_it(yard: Yard, tmp_path: Path, first: str) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\n{first}\nimport os, sys\nos.execv({str(STUB)!r}, sys.argv)\n", "utf-8")
    program.chmod(0o755)
    async with workbench(yard.data, yard.executor(binary=str(program))) as bench:
        found = await bench.run(NAME, "[[write]]")
    assert isinstance(found, cmd.ReportSucceeded), found
    assert found.result.structured["workspace"]["files"] == 1
    wipe(Path(found.result.structured["workspace"]["path"]))  # who clears the tests' directories does not get so deep


@pytest.mark.parametrize("session", ['--settings={"apiKeyHelper":"touch x"}', "--continue", "a title", "-c", "../x"])
async def test_a_session_that_is_none_never_comes_to_the_command_line(yard: Yard, session: str) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        found = await bench.run(NAME, "go on", session=session)
    assert isinstance(found, cmd.ReportSucceeded), found
    assert "so this is a new one" in found.result.content
    (argv,) = [call["argv"] for call in yard.calls()]
    assert session not in argv
    assert "--resume" not in argv


async def test_a_text_that_no_command_line_takes_is_refused_or_taken_without_it(yard: Yard) -> None:
    async with workbench(yard.data, yard.executor()) as bench:
        assert isinstance(await bench.run(NAME, "nothing\0ness", "one"), cmd.ReportSucceeded)
        found = await bench.run(NAME, "词" * 50_000, "two")
    assert isinstance(found, cmd.ReportFailed), found
    assert "146 KB" in str(found)
    assert yard.calls()[0]["argv"][-1].endswith("nothing\ufffdness")

"""The bundled runbook: named commands, never free text, driven through the hands."""

import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.executors.bench import workbench, written

from omni.adapters.runbook import choose
from omni.config import SYSTEM_REPORT, ExecutorConfig, RunbookCommand
from omni.domain import commands as cmd

RUNBOOK = ExecutorConfig(name="runbook", transport="bundled", adapter="runbook", local=True, needs_cloud=False)


def python(code: str, **other: Any) -> RunbookCommand:
    return RunbookCommand(argv=(sys.executable, "-c", code), **other)


COMMANDS = {
    "greet": python("print('hello')"),
    "fail": python("import sys; print('it broke'); sys.exit(3)"),
    "slow": python("import time; time.sleep(60)", timeout_s=0.5),
    "arguments": python("import sys; print(sys.argv[1:])"),
    "missing": RunbookCommand(argv=("no-such-program-here",), description="not installed"),
    "disk_report": SYSTEM_REPORT,
}


@pytest.mark.parametrize(
    ("said", "command", "meant"),
    [
        ("greet", "", "greet"),
        ("please greet everybody", "", "greet"),
        ("make a disk report", "", "disk_report"),
        ("run disk_report now", "", "disk_report"),
        ("how much memory is left?", "", "disk_report"),
        ("写一份系统报告", "", "disk_report"),
        ("regreet", "", ""),
        ("请greet一下", "", "greet"),
        ("anything else", "", ""),
        ("greet", "fail", "fail"),
        ("greet", "nothing", ""),
        ("", "", ""),
    ],
)
def test_a_command_is_chosen_by_its_name(said: str, command: str, meant: str) -> None:
    assert choose(said, command, COMMANDS) == meant


async def test_a_fresh_install_reports_on_its_machine_in_the_askers_language(tmp_path: Path) -> None:
    async with workbench(tmp_path, RUNBOOK) as bench:
        found = await bench.run("runbook", "system report please")
        assert isinstance(found, cmd.ReportSucceeded)
        assert "System report" in found.result.content
        assert found.result.structured["report"]["cpus"] == psutil.cpu_count()
        assert "系统报告" in (await bench.run("runbook", "给我系统报告", "t2")).result.content


async def test_a_named_command_runs_and_its_output_is_the_result(tmp_path: Path) -> None:
    async with workbench(tmp_path, RUNBOOK, runbook=COMMANDS) as bench:
        found = await bench.run("runbook", "greet")
        assert (found.result.content, found.result.structured) == ("hello\n", {"command": "greet", "exit_code": 0})


async def test_no_word_of_the_task_reaches_the_command_line(tmp_path: Path) -> None:
    async with workbench(tmp_path, RUNBOOK, runbook=COMMANDS) as bench:
        assert (await bench.run("runbook", "arguments --settings; rm -rf x")).result.content == "[]\n"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("dance", "bad_request", "greet"),
        ("fail", "failed", "exit code 3\nit broke"),
        ("slow", "timeout", "within 0.5 s"),
        ("missing", "failed", "cannot be started"),
    ],
)
async def test_what_goes_wrong_is_told_in_words(tmp_path: Path, said: str, kind: str, words: str) -> None:
    async with workbench(tmp_path, RUNBOOK, runbook=COMMANDS) as bench:
        found = await bench.run("runbook", said)
        assert found.error.kind == kind
        assert words in found.error.message


async def test_a_cancel_ends_the_command_and_what_it_started(tmp_path: Path) -> None:
    code = (
        "import os,subprocess,sys,time\n"
        "p=subprocess.Popen([sys.executable,'-c','import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pids')!r},'w').write(f'{{os.getpid()}} {{p.pid}}\\n')\ntime.sleep(600)"
    )
    async with workbench(tmp_path, RUNBOOK, runbook={"wait": python(code, timeout_s=600)}) as bench:
        bench.start("runbook", "wait")
        pids = [int(each) for each in (await written(tmp_path / "pids")).split()]
        bench.cancel("runbook")
        assert isinstance(await bench.outcome("t"), cmd.ReportCancelled)
        _, left = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], 5)
        assert left == []


async def test_a_long_command_shows_that_it_is_alive(tmp_path: Path) -> None:
    code = "import time\nfor n in range(30): print('line', n, flush=True); time.sleep(0.1)"
    async with workbench(tmp_path, RUNBOOK, runbook={"count": python(code)}) as bench:
        await bench.run("runbook", "count", idle_timeout_ms=2_900)
        assert "line" in (await bench.until(cmd.ProgressMade)).message

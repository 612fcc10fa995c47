"""Whole drills, each with a daemon of its own: a process, on a stage that is one too."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from tests.server.house import until

import omni
from omni.ops.drill import SCENARIOS, run
from omni.ops.figures import Report
from omni.ops.throwaway import Pace

QUICK = Pace(dwell_s=2.0, check_interval_s=1.0, steady_s=1.0)
COUNTS = ("tasks failed", "tasks not done", "tasks lost", "tasks done twice")

pytestmark = pytest.mark.slow


async def hold(fault: str, seconds: float | None = None) -> Report:
    before = {path.name for path in homes()}
    said: list[str] = []
    report = await run(fault, said.append, seconds=seconds, pace=QUICK)
    assert said[0] == "starting a stage and a daemon of its own"
    assert {path.name for path in homes()} <= before
    assert children() == []
    return report


def homes() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("omni-drill-*"))


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if "omni-drill-" in " ".join(each.cmdline())]


def missed(report: Report) -> list[str]:
    return [f"{figure.name}: {figure.measured}" for figure in report.figures if not figure.ok]


async def test_a_dead_proxy_costs_no_task_and_no_call_and_the_figures_hold() -> None:
    report = await hold("proxy-down", 3)
    assert missed(report) == []
    assert report.ok
    assert set(COUNTS) < {figure.name for figure in report.figures}
    assert report.tasks.completed == report.tasks.submitted > 5


async def test_a_daemon_that_is_killed_under_work_loses_nothing_and_doubles_nothing() -> None:
    report = await hold("kill")
    assert missed(report) == []
    assert report.tasks.completed >= report.tasks.submitted > 5  # one whose answer the kill swallowed is done, too


async def test_a_drill_that_is_killed_leaves_no_daemon_and_no_directory(tmp_path: Path) -> None:
    scratch = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(omni.__file__).parents[1])}
    line = [sys.executable, "-m", "omni.cli.main", "drill", "quota"]
    drill = await asyncio.create_subprocess_exec(*line, env=scratch, stderr=asyncio.subprocess.DEVNULL)
    try:
        daemon = await until(lambda: serving(drill.pid), 30)
    finally:
        drill.kill()
        await drill.wait()
    await until(lambda: not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE, 20)
    await until(lambda: not list(tmp_path.iterdir()), 20)


def serving(drill: int) -> psutil.Process | None:
    """The daemon of a drill, once it answers."""
    for child in psutil.Process(drill).children():
        if "serve" in child.cmdline() and child.net_connections("tcp"):
            return child
    return None


@pytest.mark.torture
@pytest.mark.parametrize("fault", sorted(set(SCENARIOS) - {"proxy-down", "kill"}))
async def test_every_other_drill_holds_too(fault: str) -> None:
    assert missed(await hold(fault)) == []

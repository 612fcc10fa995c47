"""Whole soaks, short ones, each with a daemon and executors as processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.ops import hand_that_doubles
from tests.ops.test_drill import children, homes

import omni
from omni.ops.soak import run
from omni.ops.soak.faults import drawn
from omni.ops.soak.report import SoakReport
from omni.ops.soak.run import Tempo, soak

SHORT = Tempo(minutes=0.25, pause_s=(0.2, 0.6), dwell_s=1.0, dwell_cap_s=1.0, check_interval_s=1.0)
COUNTS = {
    "tasks lost",
    "tasks done twice",
    "tasks called completed that nobody did",
    "tasks without an end",
    "ends of the daemon that nobody had asked for",
    "findings of omni verify",
}
WITHIN_S = 60.0

pytestmark = pytest.mark.slow


async def hold(seed: int, tempo: Tempo = SHORT) -> SoakReport:
    before = {path.name for path in homes()}
    said: list[str] = []
    report = await soak(seed, tempo, said.append)
    assert said[0] == f"seed {seed}; starting a stage and a daemon of its own"
    assert {path.name for path in homes()} <= before
    assert children() == []
    return report


def seed_that_begins_with(*kinds: str) -> int:
    """The first seed that draws all these faults before any other."""
    for seed in range(100_000):
        if {each.kind for each in islice(drawn(random.Random(seed), SHORT.pause_s), len(kinds))} == set(kinds):
            return seed
    raise AssertionError(f"no seed begins with {kinds}")


async def test_kills_of_the_daemon_and_its_executors_under_work_lose_and_double_nothing() -> None:
    report = await hold(seed_that_begins_with("kill", "hand-kill", "worker-kill", "disk-full"))
    figures = {figure.name: figure for figure in report.figures}
    assert figures.keys() >= COUNTS
    assert [name for name in (*COUNTS, "submission, by client") if not figures[name].ok] == []
    assert {each.kind for each in report.faults} >= {"kill", "hand-kill", "worker-kill"}
    assert report.tasks.completed > 20


async def test_a_double_in_the_real_world_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = run.amended

    def amended(home: Path, configuration: dict[str, Any], tempo: Tempo) -> dict[str, Any]:
        found = usual(home, configuration, tempo)
        found["mcp_servers"]["hand"]["args"] = [hand_that_doubles.__file__, str(home / run.LEDGER)]
        return found

    monkeypatch.setattr(run, "amended", amended)
    report = await hold(1, Tempo(minutes=0.05))
    assert not report.ok
    assert report.tasks.twice > 0


async def test_ctrl_c_ends_a_soak_with_its_figures_so_far_and_nothing_is_left(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(omni.__file__).parents[1])}
    line = [sys.executable, "-m", "omni.cli.main", "drill", "soak", "--minutes", "5", "--seed", "3", "--json"]
    process = await asyncio.create_subprocess_exec(
        *line, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    try:
        async with asyncio.timeout(WITHIN_S):
            while b"the faults begin" not in (said := await process.stderr.readline()):
                assert said
            process.send_signal(signal.SIGINT)
            document = json.loads(await process.stdout.read())
            assert await process.wait() == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (document["schema"], document["fault"], document["seed"], document["stopped"]) == (
        "omni.drill/1",
        "soak",
        3,
        True,
    )
    assert document["tasks"]["lost"] == document["tasks"]["twice"] == 0
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing else to be done meanwhile

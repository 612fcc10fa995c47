"""From the start of the process to the first 200 of /readyz: on an empty log, on a long one with and without snapshots.

Then the log alone: how quickly the product reads it, beside the quickest reading we know how to write.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.figures import Sheet
from bench.history import write_log
from bench.processes import ROOT, Daemon
from bench.setup import Setup

READY_S = 0.5
REPLAY_SHARE = 0.6


class Start(msgspec.Struct, frozen=True):
    """How long one start took, and how much processor time; the rest is waiting, for the disk or for others."""

    wall_s: float
    cpu_s: float


def measure_start(setup: Setup, sheet: Sheet) -> None:
    """The section `start`."""
    _start(setup.home / "first")  # fills the caches of the disk and of Python
    cold = [_start(setup.home / f"cold-{i}") for i in range(setup.starts)]
    sheet.add("ready on an empty log", [each.wall_s for each in cold], "s", at_most=READY_S)
    sheet.add("processor time until then", [each.cpu_s for each in cold], "s")


def measure_restart(setup: Setup, sheet: Sheet) -> None:
    """The section `restart`."""
    home, tasks = setup.home / "restart", setup.log_tasks
    events = write_log(home / "data" / "omni.db", tasks)
    size = (home / "data" / "omni.db").stat().st_size
    sheet.add("size of the log", size / events, "bytes/event", note=f"{tasks:,} tasks, {events:,} events")
    without = []
    for _ in range(setup.cold_folds):
        shutil.rmtree(home / "data" / "snapshots", ignore_errors=True)
        without.append(_start(home))
    what = f"ready with {tasks:,} tasks"
    sheet.add(f"{what}, no snapshot", [each.wall_s for each in without], "s")
    sheet.add("processor time until then", [each.cpu_s for each in without], "s")
    goal = None if setup.quick else READY_S
    found = [_start(home) for _ in range(setup.starts)]
    sheet.add(f"{what}, with snapshot", [each.wall_s for each in found], "s", at_most=goal)
    sheet.add("processor time until then", [each.cpu_s for each in found], "s")
    _replay(setup, sheet, home / "data" / "omni.db")


def _start(home: Path) -> Start:
    with Daemon(home) as omni:
        omni.ready()
        return Start(omni.ready_s, omni.ready_cpu_s)


def _replay(setup: Setup, sheet: Sheet, database: Path) -> None:
    rates: dict[str, list[float]] = {"product": [], "best": []}
    for _ in range(setup.cold_folds):
        for how, found in rates.items():
            found.append(_fold(how, database))
    sheet.add("replay by the product, decode and fold", rates["product"], "events/s")
    sheet.add("best fold", rates["best"], "events/s")
    share = [100 * a / b for a, b in zip(rates["product"], rates["best"], strict=True)]
    goal = None if setup.quick else 100 * REPLAY_SHARE
    sheet.add("replay, of the best fold", share, "%", at_least=goal)


def _fold(how: str, database: Path) -> float:
    command = [sys.executable, "-m", "bench.folds", how, str(database)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, env={"PYTHONPATH": str(ROOT / "src")})
    said = msgspec.json.decode(done.stdout)
    return float(said["events"] / said["seconds"])

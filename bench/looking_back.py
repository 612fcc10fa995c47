"""Looking back on a long log, each command a process of its own: verify, a state, why, the timeline of a task.

The log is one that was lived (`bench.lived`), so that deciding again is really measured. `OMNI_BENCH_EVENTS` makes it
shorter or longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from bench.figures import Sheet
from bench.lived import write_lived_log
from bench.processes import ROOT
from bench.setup import Setup
from omni.domain import events as ev
from omni.eventlog.reader import open_reader
from omni.eventlog.upcasters import log_codec

EVENTS, QUICK_EVENTS = 1_000_000, 60_000
VERIFY_S, NEAR_S, TASK_S = 10.0, 1.0, 0.3  # for a million events


class Call(msgspec.Struct, frozen=True):
    """One command: how long it took, and the most memory that it or a child of it held at a time."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    said: bytes


def measure(setup: Setup, sheet: Sheet) -> None:
    """The section `back`."""
    data_dir = setup.home / "back" / "data"
    wanted = int(os.environ.get("OMNI_BENCH_EVENTS", QUICK_EVENTS if setup.quick else EVENTS))
    events = write_lived_log(data_dir / "omni.db", wanted)
    size = (data_dir / "omni.db").stat().st_size
    sheet.add("size of the log", size / events, "bytes/event", note=f"{events:,} events")
    full = wanted >= EVENTS
    task = _task_near(data_dir / "omni.db", events // 2)
    _verify(sheet, data_dir, full=full)
    middle, end = str(events // 2), str(events)
    for what, words, goal in (
        ("state in the middle", ("replay", "at", middle), NEAR_S),
        ("state at the end", ("replay", "at", end), NEAR_S),
        ("why of a task in the middle", ("why", task, "--at", middle), NEAR_S),
        ("timeline of one task", ("replay", "--task", task), TASK_S),
    ):
        calls = [_run(data_dir, words) for _ in range(1 + setup.rounds)]
        cpu, peak = max(each.cpu_s for each in calls[1:]), max(each.peak_mib for each in calls)
        note = f"at most {cpu:.2f} s of processor time, peak {peak:.0f} MiB"
        sheet.add(f"{what}, first", calls[0].wall_s, "s")
        sheet.add(f"{what}, later", [each.wall_s for each in calls[1:]], "s", at_most=goal if full else None, note=note)


def _verify(sheet: Sheet, data_dir: Path, *, full: bool) -> None:
    """The first check decides every command again, the next one what came since: nothing."""
    for what, words, goal in (("first, or with --all", ("verify", "--all"), None), ("later", ("verify",), VERIFY_S)):
        call = _run(data_dir, ("--json", *words))
        found = msgspec.json.decode(call.said)
        assert found["ok"], "the bench's own log does not pass verify"
        again = found["redecided"]
        note = f"{again['commands']:,} commands decided again, up to {found['vouched']:,} by an earlier check, "
        note += f"peak {call.peak_mib:.0f} MiB a process"
        sheet.add(f"verify, {what}", call.wall_s, "s", at_most=goal if full else None, note=note)
        sheet.add(f"processor time of verify, {what}", call.cpu_s, "s")


def _run(data_dir: Path, words: Sequence[str]) -> Call:
    """Run a command to its end in a process that then tells what its child needed."""
    script = (
        "import resource, subprocess, sys, time; began = time.perf_counter(); "
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE); "
        "took = time.perf_counter() - began; used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "sys.stdout.buffer.write(done.stdout); "
        "sys.stderr.write(f'{done.returncode} {took} {used.ru_utime + used.ru_stime} {used.ru_maxrss}')"
    )
    command = [sys.executable, "-c", script, sys.executable, "-m", "omni.cli.main", *words, "--data-dir", str(data_dir)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    code, wall, cpu, peak = done.stderr.split()[-4:]
    if code != b"0":
        raise RuntimeError(f"omni {' '.join(words)} ended with {code.decode()}: {done.stdout[-300:]!r}")
    mib = int(peak) / (1024 if sys.platform == "linux" else 1024 * 1024)
    return Call(float(wall), float(cpu), mib, done.stdout)


def _task_near(database: Path, position: int) -> str:
    """The id of a task that was planned just before a position."""
    with closing(open_reader(database, log_codec())) as reader:
        for _, stream, _, event in reader.facts(max(0, position - 2_000), (ev.TASK_PREFIX,), until=position):
            if isinstance(event, ev.AttemptPlanned):
                return stream.removeprefix(ev.TASK_PREFIX)
    raise AssertionError("no task was planned there")

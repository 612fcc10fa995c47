"""A storm over a real daemon: proxy, clouds, keys, local model and the daemon itself fail at random, then all is well.

The figures of a storm are printed. `OMNI_STORM="seed:seconds seed:seconds"` chooses the storms of a long run; without
it each kind of weather blows once, with a fresh seed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from tests.failover.scene import HASTE, Scene, Scripted
from tests.fakes.processes import FakeProxyProcess
from tests.torture import figures
from tests.torture.crowd import Crowd
from tests.torture.daemon_process import MARK, until
from tests.torture.house import ARGUMENTS, PEER
from tests.torture.reckoning import Reckoning
from tests.torture.weather import PARTS, Planned, Weather, fake_clock, schedule

from omni.llm.keys import ModelKeys

GATE_S, GATE_LONGEST_S = 6.0, 3.0
LONG_S = 120.0
DWELL_CAP_S = 5.0
NORMAL_WITHIN_S = DWELL_CAP_S + 10  # the longest dwell, two good looks, and a busy machine
REST_WITHIN_S = 240.0  # backoffs of up to 75 s, the ramp's pause of 30 s
SAMPLE_S = 2.0
MOST_FDS = 200  # clients, executors and upstreams of a storm have some 60 at once
MOST_MIB = 600  # litellm alone is 170
RULES = {**HASTE, "clock_grace_s": 2, "dwell_cap_s": DWELL_CAP_S, "repair_backoff_s": 1, "repair_backoff_cap_s": 4}


class Sample(NamedTuple):
    """One look at the daemon's process."""

    life: int
    at: float
    rss_mib: float
    fds: int


@pytest.mark.slow
@pytest.mark.timeout(240)  # some 30 s on two quiet cores
def test_a_squall_loses_no_task_and_passes(tmp_path: Path) -> None:
    parts = {part: weight for part, weight in PARTS.items() if part != "clouds"}
    print(_storm(tmp_path, random.randrange(1 << 30), GATE_S, parts, GATE_LONGEST_S))  # noqa: T201 - shown when it fails


@pytest.mark.torture
def test_storms_lose_no_task_and_do_none_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _storms(tmp_path, capsys, PARTS)


@pytest.mark.torture
def test_a_proxy_that_dies_again_and_again_costs_nobody_an_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _storms(tmp_path, capsys, {"life of the proxy": 1})


@pytest.mark.torture
@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="no clock to fake: wants Linux and a C compiler"
)
def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _storms(tmp_path, capsys, {**PARTS, "clock": 4}, clock=True)


def _storms(home: Path, capsys: pytest.CaptureFixture[str], parts: dict[str, int], *, clock: bool = False) -> None:
    """The storms that were chosen, or one with a fresh seed."""
    chosen = os.environ.get("OMNI_STORM", "").split() or [f"{random.randrange(1 << 30)}:{LONG_S:g}"]
    for number, (seed, seconds) in enumerate(each.split(":") for each in chosen):
        own = home / str(number)
        own.mkdir()
        told = _storm(own, int(seed), float(seconds), parts, clock=clock)
        with capsys.disabled():
            print(f"\n{told}")  # noqa: T201 - the figures that this is run for


def _storm(
    home: Path, seed: int, seconds: float, parts: dict[str, int], longest_s: float = 12.0, *, clock: bool = False
) -> str:
    sky = Sky(home)
    try:
        sky.anew()
        storm = Storm(home, sky, seed)
        if clock:
            fake_clock(storm.scene.daemon)
        try:
            asyncio.run(storm.run(schedule(seed, seconds, parts, longest_s)))
            return f"seed {seed}, {seconds:g} s: {storm.told}"
        finally:
            storm.scene.close()
    except BaseException as failure:
        failure.add_note(f"seed {seed}")
        raise
    finally:
        sky.end()


class Sky(Scripted):
    """Fakes whose journals outlive their being killed."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        for each in (self.proxy, self.north, self.south):
            each.line += ["--journal", str(home / f"{each.name}.journal")]


class Storm:
    """One scene, its clients and its weather, from the first task to the verdict."""

    def __init__(self, home: Path, sky: Scripted, seed: int) -> None:
        self.home, self.seed = home, seed
        executors = _executors(home)
        notify = {"enabled": True, "events": ["mode", "held", "failed", "budget", "repair"]}
        self.scene: Scene[FakeProxyProcess] = Scene(
            home, sky, mcp_servers=executors, fault_handler=RULES, notify=notify
        )
        self.weather = Weather(self.scene)
        self.samples: list[Sample] = []
        self.took: dict[str, float] = {}
        self.told = ""

    async def run(self, faults: Iterator[Planned]) -> None:
        await asyncio.to_thread(lambda: self.scene.start(within_s=60))
        crowd = Crowd(self.scene.daemon, ModelKeys.of(self.scene.daemon.data_dir).client_key("storm"), self.seed)
        watcher = asyncio.create_task(self._watch())
        crowd.start()
        await self.weather.blow(faults)
        healed = time.monotonic()
        await asyncio.to_thread(lambda: self.scene.until_mode("NORMAL", NORMAL_WITHIN_S))
        self.took["NORMAL after"] = time.monotonic() - healed
        await crowd.stop()
        await asyncio.to_thread(until, self._at_rest, REST_WITHIN_S, "every task has ended or is held")
        self.took["all at rest after"] = time.monotonic() - healed
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        await asyncio.to_thread(self._verdict, crowd)

    async def _watch(self) -> None:
        while True:
            with suppress(psutil.Error):
                process = psutil.Process(self.scene.daemon.pid)
                rss_mib = process.memory_info().rss / (1 << 20)
                self.samples.append(Sample(self.weather.lives, time.monotonic(), rss_mib, process.num_fds()))
            await asyncio.sleep(SAMPLE_S)

    def _at_rest(self) -> bool:
        time.sleep(0.5)  # a look reads the whole log
        reckoning = Reckoning(self.scene.log(), Crowd(self.scene.daemon, "", 0), self.weather.history, self.home)
        stories = reckoning.stories.items()
        open_calls = reckoning.reserved.keys() - reckoning.settled.keys()
        return not open_calls and all(s.ends or s.held for name, s in stories if name.startswith("task-"))

    def _verdict(self, crowd: Crowd) -> None:
        daemon = self.scene.daemon
        mode = self.scene.mode
        exit_code = daemon.terminate()
        reckoning = Reckoning(self.scene.log(), crowd, self.weather.history, self.home)
        wrong = [*reckoning.findings(), *self._process_findings(), *_log_findings(self._lines())]
        wrong += [f"the mode is {mode} at the end"] if mode != "NORMAL" else []
        wrong += [f"the daemon ended with {exit_code}"] if exit_code else []
        wrong += [f"{each} is left" for each in daemon.marked()]
        verified = daemon.run("verify")
        wrong += [verified.stdout + verified.stderr] if verified.returncode else []
        made, got, alone = figures.availability(reckoning)
        wrong += [f"no acknowledgement although the daemon ran: {each}" for each in alone]
        self.told = self._figures(reckoning, crowd, made, got)
        assert not wrong, f"{len(wrong)} findings in {self.home}\n" + "\n".join(wrong[:40]) + "\n" + self.told

    # --- the daemon's own traces ----------------------------------------------------------------------------------

    def _process_findings(self) -> list[str]:
        fds, mib = max(s.fds for s in self.samples), max(s.rss_mib for s in self.samples)
        wrong = [f"the daemon had {fds} file descriptors open"] if fds > MOST_FDS else []
        return [*wrong, *([f"the daemon took {mib:.0f} MiB"] if mib > MOST_MIB else [])]

    def _lines(self) -> list[str]:
        files = sorted((self.scene.daemon.data_dir / "logs").glob("omni.log*"), reverse=True)
        text = "".join(file.read_text("utf-8", "replace") for file in files)
        return [*text.splitlines(), *self.scene.daemon.said.splitlines()]

    def _figures(self, reckoning: Reckoning, crowd: Crowd, made: int, got: int) -> str:
        lines = [", ".join(f"{each} {seconds:.1f} s" for each, seconds in self.took.items())]
        lines.append(f"submissions {made}, acknowledged at the first try {got} ({got / max(1, made):.2%})")
        for what, times in figures.first_good_calls(reckoning).items():
            if times:
                median, worst = statistics.median(times), max(times)
                lines.append(f"proxy {what} {len(times)} times: first good call {median:.2f} s, worst {worst:.2f} s")
        lines.append(", ".join(f"{n} {what}" for what, n in sorted(figures.counts(reckoning).items())))
        outcomes = Counter(call.outcome for call in crowd.calls)
        lines.append(f"clients' calls {len(crowd.calls)}: " + ", ".join(f"{n} {w}" for w, n in outcomes.items()))
        lines.append(f"meddling {dict(crowd.meddling)}, refused {dict(crowd.refused)}")
        lives: dict[int, list[Sample]] = defaultdict(list)
        for sample in self.samples:
            lives[sample.life].append(sample)
        shown = (f"{s[0].rss_mib:.0f}→{s[-1].rss_mib:.0f} MiB, {s[0].fds}→{s[-1].fds} fds" for s in lives.values())
        return "\n".join([*lines, "lives: " + "; ".join(shown)])


def _executors(home: Path) -> dict[str, Any]:
    return {
        "model": {"adapter": "model", "env": {MARK: str(home)}},
        "work": _stdio(home, "work", on_crash="retry", types=["coding"]),
        "careful": _stdio(home, "careful", on_crash="ask", types=["careful"]),
        "dry": {"url": "null:", "needs_cloud": False, "types": ["dry"]},
    }


def _stdio(home: Path, name: str, **keys: Any) -> dict[str, Any]:
    line = ["-I", "-S", str(PEER), str(home / f"{name}.ledger")]
    return {"command": sys.executable, "args": line, "env": {MARK: str(home)}, "tool": "work", **_ARGS, **keys}


_ARGS = {"arguments": ARGUMENTS}


def _log_findings(lines: Iterable[str]) -> list[str]:
    """Tracebacks and rejected messages in what the daemon wrote; notices told twice within one life."""
    wrong, told = [], Counter[str]()
    for line in lines:
        if "Traceback" in line or "message.rejected" in line:
            wrong.append(f"the daemon's log says: {line[:1500]}")
        with suppress(ValueError):
            said = json.loads(line)
            if said.get("event") == "daemon.started":
                told.clear()
            if said.get("event") == "notice.told":
                told[said["key"]] += 1
                wrong += [f"notice {said['key']} was told twice in one life"] if told[said["key"]] > 1 else []
    return wrong

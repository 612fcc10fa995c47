"""A storm over real hands: the daemon, its adapters, the programs they run and the gateway are killed and frozen.

`OMNI_STORM="seed:seconds seed:seconds"` chooses the storms of a long run.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.failover.scene import Scripted
from tests.torture.daemon_process import until
from tests.torture.hands import FAULTS, PARTS, HandsCrowd, HandsScene, HandsWeather, hands_scene, stop_within_s
from tests.torture.hands_reckoning import HandsReckoning
from tests.torture.test_failover_storm import _log_findings
from tests.torture.weather import Planned, schedule

from omni.llm.keys import ModelKeys


class Size(NamedTuple):
    """How much of everything: the weather's faults last up to `longest_s`, tasks up to `longest_ms`."""

    seconds: float
    longest_s: float
    tasks: int
    longest_ms: int


GATE = Size(seconds=5.0, longest_s=1.5, tasks=12, longest_ms=2000)
LONG = Size(seconds=60.0, longest_s=6.0, tasks=60, longest_ms=8000)
GATE_SEED = 1041  # each of: the daemon, the adapter, a program and the gateway killed
HANDS_WITHIN_S = 60.0  # some 3 s on a quiet machine
NORMAL_WITHIN_S = 60.0
REST_WITHIN_S = 300.0  # a run that the gateway has lost is waited for 45 s, each of three times, and backoffs
IN_ORDER_WITHIN_S = 30.0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_squall_over_real_hands_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    print(_storm(tmp_path, GATE_SEED, GATE))  # noqa: T201 - shown when it fails


@pytest.mark.torture
def test_storms_over_real_hands_lose_nothing_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = os.environ.get("OMNI_STORM", "").split() or [f"{random.randrange(1 << 30)}:{LONG.seconds:g}"]
    for number, (seed, seconds) in enumerate(each.split(":") for each in chosen):
        own = tmp_path / str(number)
        own.mkdir()
        told = _storm(own, int(seed), LONG._replace(seconds=float(seconds)))
        with capsys.disabled():
            print(f"\n{told}")  # noqa: T201 - the figures that this is run for


def _storm(home: Path, seed: int, size: Size) -> str:
    around = Scripted(home)
    try:
        around.anew()
        with hands_scene(home, around) as scene:
            storm = Storm(home, scene, seed, size)
            asyncio.run(storm.run(schedule(seed, size.seconds, PARTS, size.longest_s, FAULTS)))
            return f"seed {seed}, {size.seconds:g} s: {storm.told}"
    except BaseException as failure:
        failure.add_note(f"seed {seed}")
        raise
    finally:
        around.end()


class Storm:
    """One scene, its clients and its weather, from the first task to the verdict."""

    def __init__(self, home: Path, scene: HandsScene, seed: int, size: Size) -> None:
        self.home, self.scene, self.seed, self.size = home, scene, seed, size
        self.weather = HandsWeather(scene)
        self.took: dict[str, float] = {}
        self.told = ""

    async def run(self, faults: Iterator[Planned]) -> None:
        await asyncio.to_thread(lambda: self.scene.start(within_s=60))
        await asyncio.to_thread(until, self.scene.has_hands, HANDS_WITHIN_S, "every executor is connected")
        key = ModelKeys.of(self.scene.daemon.data_dir).client_key("storm")
        crowd = HandsCrowd(self.scene, key, self.seed, self.size.tasks, self.size.longest_ms)
        began = time.monotonic()
        crowd.start(callers=1)
        await self.weather.blow(faults)
        await crowd.stop()
        self.took["storm"] = time.monotonic() - began
        await asyncio.to_thread(self.scene.until_mode, "NORMAL", NORMAL_WITHIN_S)
        await asyncio.to_thread(self._come_to_rest, crowd)
        self.took["all"] = time.monotonic() - began
        await asyncio.to_thread(self._verdict, crowd)

    def _come_to_rest(self, crowd: HandsCrowd) -> None:
        try:
            until(lambda: not self._unrested(crowd), REST_WITHIN_S, "every task has ended or waits for a person")
        except AssertionError as late:
            late.add_note("\n".join(self._unrested(crowd)))
            raise
        until(lambda: not self.scene.strays(), IN_ORDER_WITHIN_S, "no worktree is half done or nobody's")

    def _unrested(self, crowd: HandsCrowd) -> list[str]:
        time.sleep(0.5)  # a look reads the whole log
        reckoning = self._reckoning(crowd)
        return [*reckoning.going_on(), *(call for call in reckoning.reserved if call not in reckoning.settled)]

    def _reckoning(self, crowd: HandsCrowd) -> HandsReckoning:
        return HandsReckoning(self.scene.log(), crowd, self.weather.history, self.home)

    def _verdict(self, crowd: HandsCrowd) -> None:
        scene, daemon, mode = self.scene, self.scene.daemon, self.scene.mode
        wrong = [f"{path} holds a key" for path in scene.keys_on_disk()]
        self.weather.stop()
        reckoning = self._reckoning(crowd)
        wrong += reckoning.reckon(scene.ledger(), scene.gateway.journal(), scene.made())
        wrong += _log_findings(self._lines())
        wrong += [f"the mode is {mode} at the end"] if mode != "NORMAL" else []
        wrong += [f"the daemon ended with {code}" for code in self.weather.codes if code]
        wrong += [f"a stop took {took:.1f} s" for took in self.weather.stops if took > stop_within_s()]
        wrong += [f"{each} is left" for each in daemon.marked()]
        wrong += [*scene.strays(), *(f"{path} holds a key" for path in scene.keys_on_disk())]
        wrong += self._touched()
        verified = daemon.run("verify")
        wrong += [verified.stdout + verified.stderr] if verified.returncode else []
        self.told = self._figures(reckoning, crowd)
        assert not wrong, f"{len(wrong)} findings in {self.home}\n" + "\n".join(wrong[:40]) + "\n" + self.told

    def _touched(self) -> Iterator[str]:
        """What is not as it was in the user's repository."""
        before, now = self.scene.before, self.scene.shape()
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                yield f"the repository's {name} was touched: {before.get(name)} is now {now.get(name)}"

    def _lines(self) -> list[str]:
        text = "".join(
            file.read_text("utf-8", "replace") for file in (self.scene.daemon.data_dir / "logs").glob("*.log*")
        )
        return [*text.splitlines(), *self.scene.daemon.said.splitlines()]

    def _figures(self, reckoning: HandsReckoning, crowd: HandsCrowd) -> str:
        stories = [s for name, s in reckoning.stories.items() if name.startswith("task-")]
        ends = Counter(f"{s.executor or 'nobody'} {s.end}" for s in stories)
        attempts = Counter(word for s in stories for word in s.attempts.values())
        stops = ", ".join(f"{took:.1f}" for took in self.weather.stops)
        faults = Counter(f"{each.part} {each.what}" for each in self.weather.history)
        return "\n".join(
            [
                ", ".join(f"{what} {seconds:.0f} s" for what, seconds in self.took.items()),
                f"{len(stories)} tasks: {dict(ends)}",
                f"attempts {dict(attempts)}; suspensions {reckoning.suspensions}; stops {stops} s",
                f"struck {dict(self.weather.struck)}; faults {dict(faults)}; lives {self.weather.lives}",
                f"witnessed {dict(reckoning.count)}",
                f"meddling {dict(crowd.meddling)}, refused {dict(crowd.refused)}",
            ]
        )

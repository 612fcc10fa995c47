"""Bad weather over a scene: faults by seeded chance, several at once, each healed again by itself.

Theory of operation. Every part of the scene (proxy, north, south, ollama, daemon) has at most one fault at a time: an
episode takes the part, breaks it, waits and mends it. A schedule of (pause, part, fault, seconds) is drawn from the
seed before anything happens, so a seed gives the same faults in the same order; the timing of processes is their own.
A fault of a part that is broken already, or beyond what may be broken at once, is left out.

    calm ──▶ episode ──▶ calm        what hangs below HTTP is ended by a restart: nobody else would end it
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tests.failover.scene import KEYS, Scene
from tests.fakes.processes import FAKE_WITHIN_S, CloudProcess, FakeProxyProcess, _Fake
from tests.torture.daemon_process import DaemonProcess

CLOUDS = {"north": "anthropic", "south": "openrouter"}
AT_ONCE = 4
HANGING = {"hang", "hangstream"}
# What upstreams answer for a while, all of them or the next few of them.
ANSWERS = (
    "500", "503", "529", "502", "429", "429-after", "402", "401", "403", "408", "hang", "cut", "cutstream", "errstream",
    "hangstream", "badjson", "empty", "errbody", "slow",
)  # fmt: skip
# Part of the scene → its faults and how often each is chosen.
FAULTS: dict[str, dict[str, int]] = {
    "proxy": {"killed": 5, "frozen": 4, "frozen, then killed": 1, "sick": 1, "answers": 5, "some answers": 3},
    "north": {"killed": 2, "frozen": 1, "answers": 3, "some answers": 3, "key revoked": 2},
    "south": {"killed": 2, "frozen": 1, "answers": 3, "some answers": 3, "key revoked": 2},
    "ollama": {"killed": 1, "broken": 1},
    "daemon": {"killed": 2, "stopped": 1},
    "clouds": {"killed": 2, "frozen": 1},
    "clock": {"set": 1},
    "life of the proxy": {"killed": 3, "frozen": 3, "frozen, then killed": 1},
}
# Parts of the table that are others together.
GROUPS = {"clouds": ("north", "south"), "life of the proxy": ("proxy",), "sky": ("proxy", "north", "south")}
PARTS = {"proxy": 8, "north": 4, "south": 4, "ollama": 1, "daemon": 2, "clouds": 4}
STEPS_S = (-7 * 86_400, -86_400, -7_200, -600, -30, -3, 3, 30, 600, 7_200, 86_400)
WALL_CLOCK, CLOCK_FILE = Path(__file__).with_name("wall_clock.c"), "clock"


class Fault(NamedTuple):
    """One fault as it was: on the machine's monotonic clock, in seconds."""

    part: str
    what: str
    began: float
    ended: float


class Faults(list[Fault]):
    """What was broken when, in the order in which it broke."""

    def during(self, began: float, ended: float, *parts: str) -> list[Fault]:
        """The faults of these parts that lay in a span of time."""
        return [f for f in self if f.part in parts and f.began < ended and f.ended > began]


class Planned(NamedTuple):
    """One fault to come, `pause_s` after the one before it began."""

    pause_s: float
    part: str
    what: str
    answer: str
    lasts_s: float


def schedule(
    seed: int,
    seconds: float,
    parts: dict[str, int],
    longest_s: float = 12.0,
    faults: dict[str, dict[str, int]] = FAULTS,
) -> Iterator[Planned]:
    """Faults for so many seconds, always the same for the same seed."""
    chance, at = random.Random(seed), 0.0
    while at < seconds:
        part = chance.choices(list(parts), list(parts.values()))[0]
        what = chance.choices(list(faults[part]), list(faults[part].values()))[0]
        pause_s = min(chance.expovariate(1 / 1.2), 6.0)
        yield Planned(pause_s, part, what, chance.choice(ANSWERS), min(0.3 + chance.expovariate(1 / 3), longest_s))
        at += pause_s


class Weather:
    """Breaks the parts of one scene. `history` tells what was broken when; `lives` counts the daemon's."""

    def __init__(self, scene: Scene[FakeProxyProcess]) -> None:
        self.scene = scene
        self.history = Faults()
        self.under_way: Counter[str] = Counter()
        self.lives = 1
        self._clock = 0  # how far the daemon's wall clock is off, in seconds
        self._locks = {part: asyncio.Lock() for part in ("proxy", "north", "south", "ollama", "daemon", "clock")}
        self._episodes: set[asyncio.Task[None]] = set()

    async def blow(self, planned: Iterator[Planned]) -> None:
        """Let the whole schedule happen, and everything be mended again."""
        for each in planned:
            await asyncio.sleep(each.pause_s)
            self._reap()
            parts = GROUPS.get(each.part, (each.part,))
            if len(self._episodes) < AT_ONCE and not any(self._locks[part].locked() for part in parts):
                self._episodes.add(asyncio.create_task(self._episode(each, parts)))
        if self._episodes:
            await asyncio.wait(self._episodes)
        self._reap()

    def _reap(self) -> None:
        over = {each for each in self._episodes if each.done()}
        self._episodes -= over
        for each in over:
            each.result()

    async def _episode(self, fault: Planned, parts: tuple[str, ...]) -> None:
        await asyncio.gather(*(self._break(part, fault) for part in parts))

    async def _break(self, part: str, fault: Planned) -> None:
        async with self._locks[part]:
            answers = "answers" in fault.what
            what = f"{fault.what}: {fault.answer}" if answers else fault.what
            began = time.monotonic()
            open_end = len(self.history)
            self.history.append(Fault(part, what, began, float("inf")))
            self.under_way[part] += 1
            try:
                await self._rule(fault.what)(self, part, fault)
            finally:
                self.under_way[part] -= 1
                self.history[open_end] = Fault(part, what, began, time.monotonic())

    def _rule(self, what: str) -> Callable[[Any, str, Planned], Awaitable[None]]:
        return _RULES[what]

    # --- the faults of fakes --------------------------------------------------------------------------------------

    def _fake(self, part: str) -> _Fake:
        fakes: dict[str, _Fake] = {
            "proxy": self.scene.proxy,
            "north": self.scene.north,
            "south": self.scene.south,
            "ollama": self.scene.ollama,
        }
        return fakes[part]

    async def _killed(self, part: str, fault: Planned) -> None:
        if part == "daemon":
            await self._daemon_killed(fault)
            return
        fake = self._fake(part)
        await asyncio.to_thread(fake.kill)
        await asyncio.sleep(fault.lasts_s)
        await up(fake)

    async def _frozen(self, part: str, fault: Planned) -> None:
        fake = self._fake(part)
        fake.freeze()
        await asyncio.sleep(fault.lasts_s)
        fake.thaw()

    async def _frozen_then_killed(self, part: str, fault: Planned) -> None:
        fake = self._fake(part)
        fake.freeze()
        await asyncio.sleep(fault.lasts_s)
        await self._killed(part, fault)

    async def _sick(self, part: str, fault: Planned) -> None:
        """It answers calls, and says of its own health that it is not well, every other time or too late."""
        control = {"liveliness": [503, 200]} if fault.lasts_s < 3 else {"liveliness_s": 3.0}
        await self._controlled(part, fault, **control)

    async def _answers(self, part: str, fault: Planned) -> None:
        await self._controlled(part, fault, fault=fault.answer)

    async def _some_answers(self, part: str, fault: Planned) -> None:
        await self._controlled(part, fault, queue=[fault.answer] * 3)

    async def _revoked(self, part: str, fault: Planned) -> None:
        await self._controlled(part, fault, keys=[KEYS["primary"][CLOUDS[part]]])

    async def _broken(self, part: str, fault: Planned) -> None:
        await self._controlled(part, fault, broken=True)

    async def _controlled(self, part: str, planned: Planned, **control: object) -> None:
        fake = self._fake(part)
        await asyncio.to_thread(lambda: fake.set(**control))
        await asyncio.sleep(planned.lasts_s)
        await asyncio.to_thread(lambda: fake.set(**msgspec.to_builtins(fake.untouched)))
        if planned.answer in HANGING and isinstance(fake, CloudProcess):
            await asyncio.to_thread(fake.kill)
            await up(fake)

    # --- the daemon -----------------------------------------------------------------------------------------------

    async def _daemon_killed(self, fault: Planned) -> None:
        daemon = self.scene.daemon
        assert daemon.alive, f"the daemon ended by itself:\n{daemon.said[-3000:]}"
        await asyncio.to_thread(daemon.kill)
        await asyncio.sleep(fault.lasts_s / 6)
        self.lives += 1
        await asyncio.to_thread(lambda: daemon.start().ready())

    async def _daemon_stopped(self, part: str, fault: Planned) -> None:
        os.kill(self.scene.daemon.pid, signal.SIGSTOP)
        await asyncio.sleep(min(fault.lasts_s, 6.0))
        os.kill(self.scene.daemon.pid, signal.SIGCONT)

    # --- the wall clock -------------------------------------------------------------------------------------------

    async def _clock_set(self, part: str, fault: Planned) -> None:
        """The wall clock jumps and stays there, as a person sets it, or as it is after a sleep."""
        self._clock = STEPS_S[int(fault.lasts_s * 1e6) % len(STEPS_S)]
        set_clock(self.scene.daemon.home, self._clock)


def fake_clock(daemon: DaemonProcess) -> None:
    """Let the next lives of this daemon have a wall clock that `set_clock` sets; durations stay what they are."""
    library = daemon.home / "wall_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, WALL_CLOCK, "-ldl"], check=True)
    set_clock(daemon.home, 0)
    daemon.environ |= {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(daemon.home / CLOCK_FILE)}


def set_clock(home: Path, off_s: int) -> None:
    """Move the wall clock to so many seconds off the real time, in one step."""
    file = os.open(home / CLOCK_FILE, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(file, struct.pack("q", off_s))
    os.close(file)


async def up(fake: _Fake) -> None:
    """A fake that was killed, as good as new."""
    path = "/__ledger"
    await asyncio.to_thread(lambda: fake.start().ready(path, 2 * FAKE_WITHIN_S))


_RULES: dict[str, Callable[[Weather, str, Planned], Awaitable[None]]] = {
    "killed": Weather._killed,
    "frozen": Weather._frozen,
    "frozen, then killed": Weather._frozen_then_killed,
    "sick": Weather._sick,
    "answers": Weather._answers,
    "some answers": Weather._some_answers,
    "key revoked": Weather._revoked,
    "broken": Weather._broken,
    "stopped": Weather._daemon_stopped,
    "set": Weather._clock_set,
}

"""SIGKILL at any moment: nothing that was acknowledged is lost, and nothing is ended or begun twice."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.torture.daemon_process import Someone, is_alive, until
from tests.torture.house import House
from tests.torture.judge import Judge
from tests.torture.load import Book, Load

GATE_KILLS = 12
FEWEST_KILLS = 100
KILLS_A_HOUSE = 100  # then a new log, so that hours of it fill no disk
BOOT_KILL = 0.35  # share of the kills that hit a daemon which is still starting, or recovering from the last kill
WARM_LIFE = 0.4  # share of the lives that are spared until executors have begun work in them
CHILDREN_GONE_WITHIN_S = 10
WARM_WITHIN_S = 30
REST_WITHIN_S = 90


@pytest.mark.slow
@pytest.mark.timeout(300)  # some 20 s on two quiet cores
def test_a_dozen_kills_lose_nothing_that_was_acknowledged_and_end_or_begin_nothing_twice(tmp_path: Path) -> None:
    print(_summary(_torture(tmp_path, GATE_KILLS)))  # noqa: T201 - shown when it fails


@pytest.mark.torture
def test_a_hundred_kills_and_more_lose_nothing_and_end_or_begin_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = max(FEWEST_KILLS, int(os.environ.get("OMNI_TORTURE") or 0))
    total: Counter[str] = Counter()
    while left > 0:
        home = tmp_path / f"house-{left}"
        home.mkdir()
        total += _torture(home, min(left, KILLS_A_HOUSE))
        shutil.rmtree(home)
        left -= KILLS_A_HOUSE
    with capsys.disabled():
        print(f"\n{_summary(total)}")  # noqa: T201 - the figure that this is run for


def _torture(home: Path, kills: int) -> Counter[str]:
    house, seed = House(home), random.randrange(1 << 30)
    try:
        return asyncio.run(_Torture(house, seed).run(kills))
    except BaseException as failure:
        failure.add_note(f"seed {seed}")
        raise
    finally:
        house.close()


def _summary(figures: Counter[str]) -> str:
    told = ", ".join(f"{count} {what}" for what, count in figures.items())
    return f"{told}; 0 lost, 0 ended twice, 0 begun twice, 0 processes left"


class _Torture:
    """Kill, restart and judge again and again; then rest, stop and judge everything once more."""

    def __init__(self, house: House, seed: int) -> None:
        self.house, self.daemon = house, house.daemon
        self.chance = random.Random(seed)
        self.book, self.judge = Book(seed), Judge(house.daemon.data_dir)
        self.left: set[Someone] = set()  # children of daemons that were killed
        self.figures: Counter[str] = Counter()

    async def run(self, kills: int) -> Counter[str]:
        started = time.monotonic()
        self.house.open_ws()
        for _ in range(kills):
            self.daemon.start()
            await (self._kill_at_boot() if self.chance.random() < BOOT_KILL else self._kill_under_load())
        await self._rest()
        exit_code = await asyncio.to_thread(self.daemon.terminate)
        self._verdict()
        assert exit_code == 0, self.daemon.said
        self._count(kills, started)
        return self.figures

    async def _kill_at_boot(self) -> None:
        await asyncio.sleep(self.chance.uniform(0, 1.2))  # the moment of the kill, by chance
        self._kill()
        self.figures["while starting"] += 1

    async def _kill_under_load(self) -> None:
        await self._up()
        load = Load(self.daemon.url, self.daemon.headers, self.book)
        if self.chance.random() < WARM_LIFE:
            written = self._ledger_bytes()
            began = lambda: self._ledger_bytes() > written + 2_000  # noqa: E731 - some twenty tasks
            await asyncio.to_thread(until, began, WARM_WITHIN_S, "executors have begun work")
        await asyncio.sleep(self.chance.uniform(0.01, 0.9))
        assert self.daemon.alive, self.daemon.said
        self._kill()
        await load.over()

    def _ledger_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.house.ledgers())

    async def _up(self) -> None:
        """Ready, with nothing lost so far, and the children of earlier daemons gone."""
        await asyncio.to_thread(self.daemon.ready)
        self.judge.read()
        wrong = self.judge.glance(self.book)
        assert not wrong, "\n".join(wrong[:40])
        await asyncio.to_thread(until, self._orphans_gone, CHILDREN_GONE_WITHIN_S, "the orphans are gone")

    def _orphans_gone(self) -> bool:
        self.left = {each for each in self.left if is_alive(each)}
        return not self.left

    def _kill(self) -> None:
        self.left |= {each for each in self.daemon.marked() if each.pid != self.daemon.pid}
        self.daemon.kill()

    async def _rest(self) -> None:
        """Start once more and leave it alone: everything ends, or waits for a person."""
        self.daemon.start()
        await self._up()
        await asyncio.to_thread(until, self._at_rest, REST_WITHIN_S, "every task has ended or is held")

    def _at_rest(self) -> bool:
        self.judge.read()
        return not self.judge.open_tasks()

    def _verdict(self) -> None:
        self.judge.read()
        wrong = self.judge.compare(self.book, self.house.ledgers()) + self.judge.restored()
        wrong += [f"{each} is left" for each in self.daemon.marked()]
        verified = self.daemon.run("verify")
        wrong += [verified.stdout + verified.stderr] if verified.returncode else []
        assert not wrong, f"{len(wrong)} findings\n" + "\n".join(wrong[:40])

    def _count(self, kills: int, started: float) -> None:
        self.figures["kills"] = kills
        self.figures["acknowledgements"] = len(self.book.acks)
        self.figures["tasks"] = len(self.judge.lives)
        self.figures["events"] = self.judge.position
        self.figures.update(f"tasks {life.end or 'held'}" for life in self.judge.lives.values())
        self.figures["keyed submissions"] = len(self.book.keyed)
        self.figures["refusals"] = self.book.refused.total()
        self.figures["seconds"] = round(time.monotonic() - started)

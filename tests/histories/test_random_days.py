"""Days on which anything happens: what is read from the log must agree with what was done to the daemon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest
from tests.histories.play import Ask, Part, Play, at, house

from omni.config import log_path
from omni.domain.board import STREAMS
from omni.domain.ledger import DAY_MS
from omni.domain.values import PROXY
from omni.replay.cost_table import DayTable, cost_table
from omni.replay.costs import Line, bill
from omni.replay.history import History, nothing
from omni.replay.levels import Levels, _Fold, levels
from omni.replay.verify import verify

TORTURE = int(os.environ.get("OMNI_TORTURE", "1"))
BEGINS, ENDS = "2026-10-05 08:00:00", "2026-10-05 12:00:00"
DOWN_MS = 2_000  # so long a killed daemon is away
KINDS = ("general", "coding", "gpu", "runbook")


class Day:
    """One random day, and what was done in it; `kills` that struck, tasks that were handed in."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.random = Random(seed)
        self.kills = self.tasks = 0
        self.play = Play(directory, BEGINS, house())
        self.play.leaping = False
        self.play.repairs = [Part(40_000)]
        for _ in range(self.random.randint(5, 15)):
            self._sometime(self._task)
        for _ in range(self.random.randint(0, 2)):
            self._sometime(self._kill)
        for _ in range(self.random.randint(0, 2)):
            self._fault(lambda: self.play.weather.become(PROXY, self.random.choice(["dead", "hung"])), self._proxy_back)
        for _ in range(self.random.randint(0, 1)):
            self._fault(self.play.weather.lose_network, self.play.weather.find_network)

    def _sometime(self, act: object, within: tuple[int, int] = (60_000, 12 * 60_000)) -> int:
        ms = self.random.randint(*within)
        self.play._put(ms, act, life=-1)  # type: ignore[arg-type]
        return ms

    def _fault(self, begin: object, end: object) -> None:
        ms = self._sometime(begin)
        self._sometime(end, (ms + 5_000, ms + 120_000))

    def _proxy_back(self) -> None:
        self.play.weather.become(PROXY, "well")

    def _task(self) -> None:
        self.tasks += 1
        asks = tuple(self._ask(n) for n in range(self.random.randint(0, 3)))
        ends = self.random.choice(["succeed", "succeed", "succeed", "fail", "refuse"])
        after_crash = self.random.choice(["gone", "resumable", "fetched"])
        part = Part(self.random.randint(500, 90_000), asks, "Done.", ends, after_crash=after_crash)
        last = Part(1_000, (), "Done.")
        self.play.hand_in(f"Task {self.tasks}", part, last, type=self.random.choice(KINDS))

    def _ask(self, n: int) -> Ask:
        model, usd = self.random.choice(["light", "heavy"]), self.random.choice([0.0125, 0.25, None])
        return Ask(500 + n * 3_000, model, self.random.randint(100, 2_500), usd, breaks=self.random.random() < 0.1)

    def _kill(self) -> None:
        self.kills += 1
        self.play.die()


@contextmanager
def lived(seed: int, directory: Path) -> Iterator[tuple[Day, History]]:
    """A day from beginning to end, and its log afterwards."""
    day = Day(seed, directory)
    try:
        day.play.until("2026-10-05 08:20:00")
        day.play.leaping = True
        day.play.until(ENDS)
        day.play.end()
    finally:
        day.play.close()
    with History.at(log_path(directory / f"life-{day.play.lives}")) as history:
        yield day, history


@pytest.mark.parametrize("seed", range(8 * TORTURE))
def test_levels_and_costs_agree_with_what_was_done(tmp_path: Path, seed: int) -> None:
    with lived(seed, tmp_path) as (day, history):
        report = verify(history.database)
        assert report.ok, (report.findings, report.redecided.first)
        found, whole = levels(history), levels(history).until_ms - at(BEGINS)
        assert (found.lost, found.doubled, found.crashes) == (0, 0, day.kills)
        assert found.created >= day.tasks
        assert found.created == found.completed + found.failed + found.cancelled + found.open == report.tasks
        assert found.up_ms + found.stopped_ms + found.unclear_ms == whole
        truth = (whole - day.kills * DOWN_MS) / whole
        assert found.submission.least is not None
        assert found.submission.most is not None
        assert found.submission.least <= truth <= found.submission.most
        assert found.path.least is not None
        assert found.path.least <= found.submission.least
        _costs_agree(history)
        _windows_agree(history)


def _costs_agree(history: History) -> None:
    table = cost_table(history)
    for sums in (table.days, table.models):
        assert _sum(sums.values()) == table.total.view()
    assert _sum(line for models in table.cells.values() for line in models.values()) == table.total.view()
    assert bill(history.reader, "model", 0, lambda _: None).total.view() == table.total.view()


def _windows_agree(history: History) -> None:
    """What a window says is what one says who has read all that came before it, but for calls that cross its edge."""
    for since in (at("2026-10-05 08:07:00"), at("2026-10-05 09:00:00")):
        found, all_read = levels(history, since), read_whole(history, since)
        fields = ("calls_moved", "calls_unanswered")
        assert without(found, *fields) == without(all_read, *fields)
        table = cost_table(history, since, now=since + 40 * DAY_MS)
        days = DayTable(since)
        for _, stream, when, event in history.reader.facts(0, STREAMS):
            days.add(stream, event, when)
        days.close()
        assert (table.cells, table.total) == (days.cells, days.total)


def without(found: Levels, *fields: str) -> dict[str, object]:
    return {name: value for name, value in msgspec.to_builtins(found).items() if name not in fields}


def read_whole(history: History, since: int) -> Levels:
    fold = _Fold(history, since)
    for position, stream, when, event in history.reader.facts(0, ()):
        if type(event) in fold.book:
            fold.book[type(event)](position, stream, when, event)
    return fold.end(history.reader.head.position, nothing)


def _sum(lines: object) -> dict[str, object]:
    total = Line()
    for line in lines:  # type: ignore[attr-defined]
        total.take(line)
    return total.view()

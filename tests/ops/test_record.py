"""What a drill reads in an event log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omni.domain import events as ev
from omni.domain.values import HealthSettings
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry
from omni.eventlog.upcasters import log_codec
from omni.ops.record import Change, Journey, Record


class Log:
    """A log on disk that a test writes, and a record of it from its beginning."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteEventStore.open(path, log_codec())
        self.record = Record(path)
        self._versions: Counter[str] = Counter()

    def write(self, stream: str, at: int, event: Any) -> None:
        self._versions[stream] += 1
        self.store.append([Entry(stream, self._versions[stream], event, at, at, "test", "m-1")])


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "omni.db")
    yield made
    made.record.close()
    made.store.close()


def settled(call: str, verdict: str, duration_ms: int) -> ev.CallSettled:
    return ev.CallSettled(call, verdict, duration_ms=duration_ms)


def test_a_call_over_several_hops_is_one_journey_from_its_first_hop_to_its_last(log: Log) -> None:
    log.write("calls", 5_000, settled("b/1", "refused", 100))
    log.write("task-1", 5_050, settled("c/1", "ok", 40))
    log.write("calls", 5_600, settled("b/2", "ok", 550))
    log.write("calls", 5_700, settled("a/1", "ok", 5_000))
    log.write("calls", 5_800, settled("d/1", "slow", 100))
    assert log.record.journeys(4_000) == [
        Journey(4_900, 700, ok=True, hops=2),
        Journey(5_010, 40, ok=True),
        Journey(5_700, 100, ok=False),
    ]


async def test_a_change_of_mode_is_found_when_it_comes_and_one_of_before_is_not_taken_for_it(log: Log) -> None:
    def change(before: Any, after: Any) -> ev.ModeChanged:
        return ev.ModeChanged(before, after, "proxy", "why")

    log.write("health", 1_000, change("NORMAL", "DEGRADED"))
    assert await log.record.change_to("DEGRADED", 0.1, since=2_000) is None
    log.write("health", 3_000, change("DEGRADED", "NORMAL"))
    log.write("health", 4_000, change("NORMAL", "DEGRADED"))
    assert await log.record.change_to("DEGRADED", 5, since=2_000) == Change(4_000, "DEGRADED", "why")


def test_what_came_before_the_record_began_is_no_part_of_it_but_of_the_health(log: Log, tmp_path: Path) -> None:
    log.write("health", 1, ev.HealthConfigured(HealthSettings(proxy=True)))
    log.write("health", 1_000, ev.ProxyChanged("down"))
    log.write("health", 2_000, ev.ProxyChanged("up"))
    log.write("health", 2_000, ev.ModeChanged("DEGRADED", "NORMAL", "", "why"))
    later = Record(tmp_path / "omni.db")
    assert later.changes() == []
    assert later.health().proxy.recoveries(3_000) == 1
    later.close()

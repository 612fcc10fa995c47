"""The event log alone: how many events a second become durable, by how many go into one commit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Sheet
from bench.history import one_life
from bench.setup import Setup
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry
from omni.eventlog.upcasters import log_codec

TASKS_A_COMMIT = (1, 32, 256)
EVENTS_A_TASK = 5


def measure(setup: Setup, sheet: Sheet) -> None:
    """The section `store`."""
    for tasks in TASKS_A_COMMIT:
        rates = [
            _append(setup.home / f"store-{tasks}-{i}" / "omni.db", tasks, setup.round_s) for i in range(setup.rounds)
        ]
        sheet.add(f"{tasks * EVENTS_A_TASK} events a commit", rates, "events/s")


def _append(database: Path, tasks: int, seconds: float) -> float:
    database.parent.mkdir(parents=True)
    store = SqliteEventStore.open(database, log_codec())
    batches = _batches(tasks)
    began, events = time.perf_counter(), 0
    try:
        while time.perf_counter() - began < seconds:
            batch = next(batches)
            store.append(batch)
            events += len(batch)
        return events / (time.perf_counter() - began)
    finally:
        store.close()


def _batches(tasks: int) -> Iterator[list[Entry]]:
    life, number = one_life(), 0
    while True:
        streams = [f"task-{number + i:032x}" for i in range(tasks)]
        number += tasks
        yield [
            Entry(stream, version, event, 1_790_000_000_000, 1000, "router", "router:1")
            for version, event in enumerate(life, 1)
            for stream in streams
        ]

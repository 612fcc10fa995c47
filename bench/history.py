"""A long log, quickly: the events that the Router's own rules give for one task, copied for many."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from omni.actors.router import Router
from omni.domain import attempt as attempts
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import ExecutorHealth, ExecutorSpec, Result, RoutingSettings, TaskSpec
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry
from omni.eventlog.upcasters import log_codec
from omni.runtime.ports import SystemClock, SystemIds

OPEN_AT_ONCE = 32  # tasks whose events lie interleaved, as in a log that was lived
TASKS_A_COMMIT = 1024
TEXT = "Summarise the quarterly report, list the three largest risks with owners and dates, and draft a reply; case "


def write_log(database: Path, tasks: int) -> int:
    """Fill a new log with tasks that went well, and return how many events it holds."""
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = SqliteEventStore.open(database, log_codec())
    try:
        made = _tasks(tasks)
        while chunk := list(itertools.islice(made, TASKS_A_COMMIT)):
            store.append(list(_interleaved(chunk)))
        return int(store.head.position)
    finally:
        store.close()


def one_life() -> list[Any]:
    """The events of one task that is created, routed to a dry run, done and completed."""
    events: list[Any] = []
    router = Router()
    board = router.initial()
    executor = ExecutorSpec("dry", ("general",), max_concurrency=1024, on_crash="retry")
    report = cmd.ReportSucceeded("t", 1, Result("dry run", {"description": TEXT}))
    for message in (
        cmd.Boot("bench", RoutingSettings((executor,))),
        cmd.NoteExecutor("dry", ExecutorHealth("ready")),
        cmd.CreateTask("r", "t", TaskSpec(TEXT, "general"), "plain@127.0.0.1"),
        report,
    ):
        envelope = cmd.Envelope("m", 1, 1, "bench", message)
        step = router.handle(board, envelope)
        while step.events:
            for stream, event in step.events:
                router.evolve(board, stream, event, 1, len(events) + 1)
                events += [event] if stream == "task-t" else []
            step = router.settle(board, envelope)
    assert isinstance(events[-1], ev.TaskCompleted), "the bench's task did not complete"
    return events


def _tasks(count: int) -> Iterator[list[Entry]]:
    clock = SystemClock()
    ids = SystemIds(clock)
    life = one_life()
    for number in range(count):
        task_id = ids.task_id()
        at, mono = clock.wall_ms(), clock.mono_ms()
        yield [
            Entry(ev.TASK_PREFIX + task_id, i, _own(event, task_id, number), at, mono, "router", f"router:{number}")
            for i, event in enumerate(life, 1)
        ]


def _own(event: Any, task_id: str, number: int) -> Any:
    if isinstance(event, ev.TaskCreated):
        return replace(event, spec=replace(event.spec, description=f"{TEXT}{number}"))
    if isinstance(event, ev.AttemptPlanned):
        return replace(event, key=attempts.key(task_id, event.n), handle=attempts.handle(task_id, event.n))
    return event


def _interleaved(chunk: list[list[Entry]]) -> Iterator[Entry]:
    for at in range(0, len(chunk), OPEN_AT_ONCE):
        for step in zip(*chunk[at : at + OPEN_AT_ONCE], strict=True):
            yield from step

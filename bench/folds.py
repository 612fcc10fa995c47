"""Read a log to its end and rebuild the board, in a fresh process: `folds product|best DATABASE`.

`product` is the Router's own recovery. `best` is the quickest reading we know how to write that ends with the same
facts about the same tasks: many rows to one decode, fields that nobody needs left undecoded, records that are changed
in place and no collector to look at them, one loop without a call for each event.
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import apsw
import msgspec

from omni.actors.router import Router
from omni.domain.board import KEEP_ENDED
from omni.domain.values import Result, Route, TaskSpec
from omni.eventlog.sqlite import open_reader
from omni.eventlog.upcasters import log_codec
from omni.runtime.kernel import Kernel
from omni.runtime.ports import SystemClock

ROWS = 2000
# The plus keeps SQLite on the primary key: by the stream index it would have to sort a million rows.
SQL = "SELECT stream, at_ms, body FROM events WHERE +stream >= 'task-' AND +stream < 'task.' OR +stream = 'router'"


class Body(msgspec.Struct, tag_field="type", gc=False):
    """Root of what the best fold decodes."""


class Created(Body, tag="task.created", gc=False):
    spec: TaskSpec
    client: str
    digest: str


class Routed(Body, tag="task.routed", gc=False):
    kind: str
    complexity: int
    route: Route


class Planned(Body, tag="attempt.planned", gc=False):
    n: int
    key: str
    handle: str
    policy: str
    timeout_ms: int
    idle_timeout_ms: int


class Succeeded(Body, tag="attempt.succeeded", gc=False):
    result: Result


class Completed(Body, tag="task.completed", gc=False):
    attempt: int


class Started(Body, tag="router.started", gc=False):
    boot: str


class Configured(Body, tag="router.configured", gc=False):
    settings: msgspec.Raw


class Noted(Body, tag="router.executor_noted", gc=False):
    executor: str
    health: msgspec.Raw


Known = Created | Routed | Planned | Succeeded | Completed | Started | Configured | Noted


class Record(msgspec.Struct, gc=False):
    spec: TaskSpec
    client: str
    created_at: int
    state: str
    updated_at: int
    version: int = 1
    kind: str = ""
    complexity: int = 0
    route: Route | None = None
    attempt: Planned | None = None
    planned_at: int = 0
    result: Result | None = None
    ended_at: int = 0


def product(database: Path) -> int:
    """Fold as the daemon does at its start without a snapshot."""
    reader = open_reader(database, log_codec())
    kernel: Kernel[Any] = Kernel(Router(), reader, SystemClock())  # type: ignore[arg-type]
    kernel.refold()
    return int(kernel.position)


def best(database: Path) -> int:
    """Fold as quickly as we can."""
    gc.disable()
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    cursor = iter(connection.execute(f"{SQL} ORDER BY position"))
    decode = msgspec.json.Decoder(list[Known]).decode
    tasks: dict[str, Record] = {}
    ended: deque[str] = deque()
    count = 0
    while rows := list(itertools.islice(cursor, ROWS)):
        bodies = decode("[" + ",".join([row[2] for row in rows]) + "]")
        _fold(tasks, ended, rows, bodies)
        count += len(rows)
    return count


def _fold(tasks: dict[str, Record], ended: deque[str], rows: list[Any], bodies: list[Any]) -> None:
    for (stream, at, _), body in zip(rows, bodies, strict=True):
        kind = type(body)
        if kind is Created:
            tasks[stream] = Record(body.spec, body.client, at, "idle", at)
            continue
        task = tasks.get(stream)
        if task is None:
            continue
        task.version += 1
        task.updated_at = at
        if kind is Routed:
            task.kind, task.complexity, task.route = body.kind, body.complexity, body.route
        elif kind is Planned:
            task.state, task.attempt, task.planned_at = "dispatching", body, at
        elif kind is Succeeded:
            task.result = body.result
        elif kind is Completed:
            task.state, task.ended_at = "completed", at
            ended.append(stream)
            if len(ended) > KEEP_ENDED:
                del tasks[ended.popleft()]


def main(how: str, database: Path) -> None:
    fold = {"product": product, "best": best}[how]
    began = time.perf_counter()
    events = fold(database)
    print(msgspec.json.encode({"events": events, "seconds": time.perf_counter() - began}).decode())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""Writes logs through the real store, lawful ones and others."""

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from omni import __version__
from omni.config import log_path
from omni.domain import attempt as attempts
from omni.domain import events as ev
from omni.domain.values import Candidate, ExecutorSpec, Held, Result, Route, RoutingSettings, TaskError, TaskSpec
from omni.eventlog.codec import Codec
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry
from omni.eventlog.upcasters import UPCASTERS

ROUTE = Route("echo", "P1", "small")
OTHER = Candidate("absent", 0, (), "disabled in the configuration")
SETTINGS = RoutingSettings((ExecutorSpec("echo", types=("general",)), ExecutorSpec("absent", unavailable="disabled")))
AT_MS = 1_790_000_000_000


def task_id(n: int) -> str:
    """Ids that sort as they were made, like the real ones."""
    return str(uuid.UUID(int=((AT_MS + n) << 80) | (7 << 76) | (2 << 62) | n))


def codec() -> Codec:
    return Codec(ev.AnyEvent, UPCASTERS)


def write(data_dir: Path, *streams: tuple[str, Any]) -> Path:
    """Append (stream, event) pairs in order, one millisecond apart, in one transaction; gives the data directory."""
    return _append(data_dir, lambda base: [(AT_MS + base + at, *each) for at, each in enumerate(streams)])


def write_at(data_dir: Path, *rows: tuple[int, str, Any]) -> Path:
    """Append (at_ms, stream, event) in order, whatever the times are; gives the data directory."""
    return _append(data_dir, lambda _: list(rows))


def _append(data_dir: Path, rows_after: Callable[[int], list[tuple[int, str, Any]]]) -> Path:
    data_dir.mkdir(exist_ok=True)
    with closing(SqliteEventStore.open(log_path(data_dir), codec())) as store:
        base = store.head.position
        versions: Counter[str] = Counter()
        for old in store.read():
            versions[old.stream] = old.version
        entries = []
        for at, (at_ms, stream, event) in enumerate(rows_after(base)):
            versions[stream] += 1
            entries.append(Entry(stream, versions[stream], event, at_ms, at, "router", f"m{base + at}"))
        store.append(entries)
    return data_dir


def life(n: int, *events: Any) -> list[tuple[str, Any]]:
    """Events of the task `n`."""
    return [(ev.TASK_PREFIX + task_id(n), event) for event in events]


def created(text: str = "say hello", **spec: Any) -> ev.TaskCreated:
    return ev.TaskCreated(TaskSpec(text, **spec), "test", "digest")


def routed() -> ev.TaskRouted:
    return ev.TaskRouted("general", 12, ROUTE, "echo: takes general work", (Candidate("echo", 100, ("fits",)), OTHER))


def planned(number: int, n: int = 1) -> ev.AttemptPlanned:
    key, handle = attempts.key(task_id(number), n), attempts.handle(task_id(number), n)
    return ev.AttemptPlanned(n, ROUTE, key, handle, "resume", 60_000, 60_000)


def succeeded(n: int = 1, text: str = "hello") -> ev.AttemptSucceeded:
    return ev.AttemptSucceeded(n, Result(text))


def completed_life(number: int, text: str = "say hello") -> list[tuple[str, Any]]:
    return life(
        number,
        created(text),
        routed(),
        planned(number),
        ev.AttemptStarted(1),
        succeeded(),
        ev.TaskCompleted(1),
    )


def held_life(number: int) -> list[tuple[str, Any]]:
    held = Held("no_executor", "absent was named, but cannot be used", ("retry", "fail"))
    return life(number, created(executor="absent"), ev.TaskHeld(held))


def failed_life(number: int) -> list[tuple[str, Any]]:
    error = TaskError("failed", "it said no")
    steps = (
        created(),
        routed(),
        planned(number),
        ev.AttemptStarted(1),
        ev.AttemptFailed(1, error),
        ev.TaskFailed(error),
    )
    return life(number, *steps)


def beginning() -> list[tuple[str, Any]]:
    """What a daemon writes first."""
    return [
        (ev.SYSTEM_STREAM, ev.DaemonStarted(__version__, 1, "boot-1")),
        (ev.ROUTER_STREAM, ev.RouterStarted("boot-1")),
        (ev.ROUTER_STREAM, ev.RoutingConfigured(SETTINGS)),
    ]

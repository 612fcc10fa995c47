"""The Router over a real log: what cannot be written down fails its attempt, and nothing hangs or stops."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from omni.actors.router import Router
from omni.domain import commands as cmd
from omni.domain.effects import Send
from omni.domain.task import Task
from omni.domain.values import Budget, ExecutorHealth, ExecutorSpec, Result, RoutingSettings, TaskSpec
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.upcasters import log_codec
from omni.runtime.kernel import Kernel
from omni.runtime.ports import SystemClock
from omni.runtime.post import Post
from omni.runtime.supervisor import Supervisor


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def test_a_result_that_the_log_cannot_hold_fails_its_task_and_was_never_shown_as_done(tmp_path: Path) -> None:
    store = SqliteEventStore.open(tmp_path / "omni.db", log_codec())
    post, told = Post(), queue.Queue[Any]()
    gave_up: list[str] = []
    for name in ("gateway", "pool", "timers", "health", "door"):
        post.register(name, lambda _, messages: told.put(list(messages)))
    supervisor = Supervisor(post, SystemClock(), gave_up.append)
    supervisor.start(Kernel(Router(), store, SystemClock()))
    executors = (ExecutorSpec("worker", types=("general",)),)
    report = cmd.ReportSucceeded("a", 1, Result("done", nested(200)))
    boot = cmd.Boot("b", RoutingSettings(executors))
    ready = cmd.NoteExecutor("worker", ExecutorHealth("ready"))
    post.send("router", "test", (boot, ready, cmd.CreateTask("r", "a", TaskSpec("x")), report))
    states = [task.state for task in _until_ended(told)]
    supervisor.stop()
    store.close()
    assert states[-1] == "failed"
    assert "completed" not in states
    assert gave_up == []


def test_calls_and_what_they_came_to_are_read_back_from_the_log(tmp_path: Path) -> None:
    store = SqliteEventStore.open(tmp_path / "omni.db", log_codec())
    kernel = Kernel(Router(), store, SystemClock())
    kernel.turn([("test", cmd.Boot("b", RoutingSettings(budget=Budget(daily_usd=1.0))))])
    reserve = cmd.ReserveCall("r1", "c1", "cloud", "large", "NORMAL", client="openclaw", paid=True, estimate_usd=0.5)
    sends = kernel.turn([("port", reserve)])
    assert [s.message for s in sends if s.to == "port"] == [cmd.CallAnswered("r1")]
    assert next(s.message for s in sends if isinstance(s.message, cmd.Spend)).reserved_usd == 0.5
    kernel.turn([("port", cmd.SettleCall("c1", "ok", billed_usd=0.75)), ("port", replace(reserve, call="c2"))])
    before = kernel.behaviour.dump(kernel.state)
    assert [row.version for row in store.stream("calls")] == [1, 2, 3]
    kernel.refold()
    assert kernel.behaviour.dump(kernel.state) == before
    store.close()


def test_a_reservation_that_cannot_be_written_down_is_turned_down_at_the_port() -> None:
    full = cmd.Refusal("storage_unavailable", "the disk is full", "make room")
    reserve = cmd.ReserveCall("r1", "c1", "cloud", "large", "NORMAL")
    assert Router().refuse(reserve, full) == [Send("port", cmd.CallAnswered("r1", full))]


def _until_ended(told: queue.Queue[Any]) -> list[Task]:
    """Every state of the task that was told, up to its end."""
    seen: list[Task] = []
    while not seen or not seen[-1].ended:
        for message in told.get(timeout=20):
            if isinstance(message, cmd.TasksChanged):
                seen.extend(message.tasks)
    return seen

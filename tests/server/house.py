"""The real actors on one loop over a log in memory, and an executor that the test plays: everything behind the door.

The rules are the product's own; only threads and disk are missing. `House.hands` holds what was handed to executors.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

import omni
from omni.actors.executor_pool import ExecutorPool
from omni.actors.gateway import Gateway
from omni.actors.health_monitor import HealthMonitor
from omni.actors.router import Router
from omni.config import Config, Limits
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.template import compile_template
from omni.domain.values import ExecutorSpec, Result, RoutingSettings, TaskError
from omni.eventlog.store import Recorded
from omni.runtime.archive import fold
from omni.runtime.loop import LoopMailbox
from omni.runtime.ports import SystemClock, SystemIds
from omni.runtime.post import Post
from omni.server.app import MakeSite
from omni.server.desk import Desk
from omni.server.door import Door, make_door

# For processes that tests start: the package as it is here, installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(omni.__file__).parents[1])}

EXECUTORS = (
    ExecutorSpec("dry", types=("general", "coding"), needs_cloud=False, max_concurrency=64),
    ExecutorSpec("slow", types=("slow",), max_concurrency=64, on_crash="ask"),
)


class Room:
    """One actor: takes what waits for it, decides, records, sends on."""

    def __init__(self, house: House, behaviour: Any) -> None:
        self.house = house
        self.behaviour = behaviour
        self.state = behaviour.initial()
        self.queue: deque[tuple[str, Any]] = deque()
        self.awake = False
        house.post.register(behaviour.name, self.deliver)

    def deliver(self, sender: str, messages: Sequence[Any]) -> None:
        self.queue.extend((sender, each) for each in messages)
        if not self.awake:
            self.awake = True
            self.house.loop.call_soon_threadsafe(self.turn)

    def turn(self) -> None:
        self.awake = False
        touched: dict[str, None] = {}
        sends: list[Any] = []
        while self.queue:
            self._one(self._envelope(*self.queue.popleft()), touched, sends)
        for send in [*(self.behaviour.announce(self.state, list(touched)) if touched else ()), *sends]:
            self.house.post.send(send.to, self.behaviour.name, (send.message,))

    def _envelope(self, sender: str, message: Any) -> cmd.Envelope:
        clock = self.house.clock
        return cmd.Envelope("m", clock.wall_ms(), clock.mono_ms(), sender, message)

    def _one(self, envelope: cmd.Envelope, touched: dict[str, None], sends: list[Any]) -> None:
        outcome = self.behaviour.handle(self.state, envelope)
        while outcome.events or outcome.sends:
            for stream, event in outcome.events:
                row = self.house.record(stream, event, envelope.at, self.behaviour.name)
                self.behaviour.evolve(self.state, stream, event, envelope.at, row.position)
                touched[stream] = None
            sends += outcome.sends
            outcome = self.behaviour.settle(self.state, envelope)


class House:
    """Built on the running loop; `door` is the real one."""

    def __init__(
        self,
        data_dir: Path,
        *,
        limits: Limits | None = None,
        auth: Literal["token", "none"] = "token",
        port: int = 0,
        models: Callable[[House], Any] | None = None,
        site: Callable[[House], MakeSite] | None = None,
        allowed_hosts: tuple[str, ...] = (),
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = SystemClock()
        self.post = Post()
        self.log: list[Recorded] = []
        self.versions: Counter[str] = Counter()
        self.hands: list[Any] = []
        self.unready = ""
        self.data_dir = data_dir
        dry = {"dry": compile_template({"text": "{description}"})}
        for behaviour in (Router(), HealthMonitor(), ExecutorPool(dry), Gateway(10_000)):
            Room(self, behaviour)
        self.desk = Desk(self.post, SystemIds(self.clock), self.clock, self)
        self.post.register("door", LoopMailbox(self.loop, self.desk.receive).deliver)
        self.post.register("hands", lambda _, messages: self.hands.extend(messages))
        for deaf in ("timers", "journal", "brainstem", "probes"):
            self.post.register(deaf, lambda *_: None)
        self.models = models(self) if models else None
        hear = self.models.receive if self.models else lambda _: None
        self.post.register("port", LoopMailbox(self.loop, hear).deliver)
        boot = cmd.Boot("boot", RoutingSettings(EXECUTORS))
        for name in ("router", "pool", "gateway"):
            self.post.send(name, "daemon", (boot,))
        self.post.send("pool", "hands", (cmd.ExecutorObserved("slow", ok=True, tools=("do",)),))
        self.config = Config(
            data_dir=str(data_dir),
            auth=auth,
            limits=limits or Limits(),
            allowed_workdirs=(str(data_dir),),
            allowed_hosts=allowed_hosts,
        )
        self._make_site = site(self) if site else None
        self.door = self._door(port)

    def _door(self, port: int) -> Door:
        door = make_door(self.config, self.desk, self.data_dir, lambda: self.unready, self.models, self._make_site)
        door.port = port
        return door

    async def restart_door(self) -> None:
        """Close the door with all connections, and open it again on the same port."""
        await self.door.stop()
        self.door = self._door(self.door.port)
        await self.door.start()

    # --- the log, as the archive that the desk reads --------------------------------------------------------------

    def record(self, stream: str, event: Any, at: int, actor: str) -> Recorded:
        self.versions[stream] += 1
        row = Recorded(len(self.log) + 1, stream, self.versions[stream], event, at, at, "boot", actor, "m", None)
        self.log.append(row)
        return row

    def events(self, task_id: str) -> list[Recorded]:
        return [row for row in self.log if row.stream == f"task-{task_id}"]

    def task(self, task_id: str) -> Any:
        return fold(task_id, self.events(task_id))

    def log_of_tasks(self) -> list[Recorded]:
        return [row for row in self.log if row.stream.startswith("task-")]

    def created_tasks(self) -> int:
        return sum(isinstance(row.event, ev.TaskCreated) for row in self.log)

    def ended_tasks(self) -> int:
        return sum(isinstance(row.event, ev.TaskCompleted) for row in self.log)

    def forget(self, task_id: str) -> None:
        """Let a task leave memory, as old ones do."""
        self.post.send("gateway", "router", (cmd.TasksChanged((), (task_id,)),))

    # --- the executor called "slow" -------------------------------------------------------------------------------

    def report(self, message: Any) -> None:
        self.post.send("pool", "hands", (message,))

    def succeed(self, task_id: str, content: str = "done") -> None:
        self.report(cmd.ReportSucceeded(task_id, 1, Result(content)))

    def fail(self, task_id: str) -> None:
        self.report(cmd.ReportFailed(task_id, 1, TaskError("failed", "it broke", "look at it")))

    def lose(self, task_id: str) -> None:
        """Nobody knows the outcome: the task will be held for a person."""
        self.report(cmd.ReportInterrupted(task_id, 1, "the connection was lost"))

    def stopped(self, task_id: str) -> None:
        self.report(cmd.ReportCancelled(task_id, 1))

    def progress(self, task_id: str, done: float, total: float, message: str) -> None:
        self.report(cmd.ProgressMade(task_id, 1, done, total, message))

    # --- the door -------------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def url(self, path: str = "/", scheme: str = "ws") -> str:
        return f"{scheme}://127.0.0.1:{self.door.port}{path}"


async def until(condition: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Wait for a condition, with a bound."""
    async with asyncio.timeout(within_s):
        while not (value := condition()):  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
    return value


def limits(**changes: Any) -> Limits:
    return replace(Limits(), **changes)

"""A workbench: hands on a running loop with a real post, and a pool that records what it hears."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from omni.config import ExecutorConfig, RunbookCommand
from omni.domain import commands as cmd
from omni.domain.values import Route
from omni.executors.hands import Hands
from omni.runtime.loop import LoopMailbox
from omni.runtime.ports import SystemClock
from omni.runtime.post import Post

PEER = str(Path(__file__).with_name("servers") / "peer.py")
M = TypeVar("M")
REPORTS = (cmd.ReportSucceeded, cmd.ReportFailed, cmd.ReportInterrupted, cmd.ReportCancelled)


def anything(message: object) -> bool:
    return True


class Bench:
    """What the pool heard, and ways to wait for it."""

    def __init__(self, hands: Hands, post: Post) -> None:
        self.hands = hands
        self.post = post
        self.heard: list[Any] = []
        self._news = asyncio.Condition()
        post.register("pool", self._receive)
        post.register("hands", LoopMailbox(asyncio.get_running_loop(), hands.receive).deliver)

    def _receive(self, sender: str, messages: Sequence[Any]) -> None:
        self.heard.extend(messages)

    async def until(self, kind: type[M], match: Callable[[M], bool] = anything, wait_s: float = 20) -> M:
        """The first message of a kind that fits; fails the test when it does not come in time."""
        return (await self.all(kind, match, 1, wait_s))[0]

    async def all(self, kind: type[M], match: Callable[[M], bool], count: int, wait_s: float = 20) -> list[M]:
        end = asyncio.get_running_loop().time() + wait_s
        while asyncio.get_running_loop().time() < end:
            found = [m for m in self.heard if isinstance(m, kind) and match(m)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {kind.__name__} within {wait_s} s; heard: {self.heard}")

    async def outcome(self, task_id: str, wait_s: float = 20) -> Any:
        """The report that ended an attempt of this task."""
        return await self.until(object, lambda m: isinstance(m, REPORTS) and m.task_id == task_id, wait_s)

    async def connected(self, name: str, times: int = 1) -> cmd.ExecutorObserved:
        return (await self.all(cmd.ExecutorObserved, lambda m: m.executor == name and m.ok, times))[-1]

    async def lost(self, name: str) -> cmd.ExecutorObserved:
        return await self.until(cmd.ExecutorObserved, lambda m: m.executor == name and not m.ok)

    def send(self, *messages: Any) -> None:
        self.post.send("hands", "pool", messages)

    def start(self, executor: str, description: str, task_id: str = "t", **other: Any) -> None:
        fields: dict[str, Any] = {"timeout_ms": 30_000, "idle_timeout_ms": 30_000, **other}
        self.send(
            cmd.StartAttempt(
                task_id, 1, Route(executor), description, key=f"{task_id}:1", handle=f"h-{task_id}", **fields
            )
        )

    def cancel(self, executor: str, task_id: str = "t") -> None:
        self.send(cmd.CancelAttempt(task_id, 1, executor))

    async def run(self, executor: str, description: str, task_id: str = "t", **other: Any) -> Any:
        self.start(executor, description, task_id, **other)
        return await self.outcome(task_id)


def model_access(task_id: str, n: int, direct: bool) -> tuple[str, str]:
    """An address where nobody listens, and a key that looks like a real one."""
    return "http://127.0.0.1:1", f"omni-a-{task_id}-{n}-0123456789abcdef"


@asynccontextmanager
async def workbench(
    data_dir: Path, *executors: ExecutorConfig, runbook: dict[str, RunbookCommand] | None = None, **other: Any
) -> AsyncIterator[Bench]:
    """Hands with these executors, started; stopped at the end, with whatever they had started."""
    post = Post()
    other.setdefault("model_access", model_access)
    hands = Hands(
        executors,
        post=post,
        clock=SystemClock(),
        data_dir=data_dir,
        runbook=runbook,
        **other,
    )
    bench = Bench(hands, post)
    await hands.start()
    try:
        yield bench
    finally:
        await hands.stop()


def peer(notes: Path, name: str = "peer", **other: Any) -> ExecutorConfig:
    """The awkward server as an executor over stdio."""
    env = {"PEER_NOTES": str(notes), **other.pop("env", {})}
    fields: dict[str, Any] = {
        "transport": "stdio", "command": sys.executable, "args": (PEER, "stdio"), "tool": "act", "env": env, **other,
    }  # fmt: skip
    return ExecutorConfig(name=name, **fields)


@asynccontextmanager
async def served(
    kind: str, notes: Path, port: int = 0, **env: str
) -> AsyncIterator[tuple[int, subprocess.Popen[bytes]]]:
    """The awkward server on a port of its own; ended by its own pid."""
    (notes / "port").unlink(missing_ok=True)
    process = _start(kind, notes, port, env)
    try:
        yield int((await written(notes / "port")).split()[-1]), process
    finally:
        process.kill()
        process.wait()


def _start(kind: str, notes: Path, port: int, env: dict[str, str]) -> subprocess.Popen[bytes]:
    whole = {**os.environ, "PEER_NOTES": str(notes), **env}
    return subprocess.Popen([sys.executable, PEER, kind, str(port)], env=whole)


def _complete(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("\n") else ""


async def written(path: Path, wait_s: float = 15) -> str:
    """What a server wrote into a file, as soon as it has."""
    end = asyncio.get_running_loop().time() + wait_s
    while asyncio.get_running_loop().time() < end:
        if text := _complete(path):
            return text
        await asyncio.sleep(0.01)
    raise AssertionError(f"{path.name} was not written within {wait_s} s")

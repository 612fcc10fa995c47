"""Cancels and kills by the dozen: no process is left, no worktree without an owner, and no file with a key.

Each test does 25; the gate runs two of each, `make torture` eight.
"""

import asyncio
import os
import signal
from collections.abc import Iterable
from itertools import cycle, islice

import pytest
from tests.adapters.claude_code.yard import NAME, Yard, again, at_work, outcome_of
from tests.executors.bench import Bench, workbench

from omni.adapters.workspaces.claims import Claims
from omni.domain import commands as cmd
from omni.runtime.ports import SystemClock

BATCHES = 5
MARKS = ("hang", "hang", "deaf", "offspring", "stubborn")
ROUNDS = [0, 1, *(pytest.param(n, marks=pytest.mark.torture) for n in range(2, 8))]


def batches(prefix: str, n: int) -> Iterable[tuple[int, dict[str, str]]]:
    """Names of tasks, each with how its program behaves; another mixture in each round."""
    marks = islice(cycle(MARKS), n, None)
    for batch in range(BATCHES):
        yield batch, {f"{prefix}{batch}-{one}": next(marks) for one in range(len(MARKS))}


async def begin(bench: Bench, yard: Yard, tasks: dict[str, str]) -> None:
    for task_id, mark in tasks.items():
        bench.start(NAME, f"[[{mark}]]", task_id, workdir=str(yard.repository))
    await at_work(bench, *tasks)


async def clean(yard: Yard) -> None:
    """Nothing runs, and of worktrees only one that is ready for the next task; tidying goes on behind the answers."""
    assert yard.left() == []
    assert yard.keys_on_disk() == []
    async with asyncio.timeout(20):
        while not _in_order(yard):  # noqa: ASYNC110 - what is waited for are files of another process
            await asyncio.sleep(0.1)


def _in_order(yard: Yard) -> bool:
    claims = Claims(yard.data.resolve() / "adapters" / NAME / "workspaces", SystemClock()).all()
    ready = [each for each in claims if each.state == "ready"]
    return len(claims) == len(ready) <= 1 and len(yard.worktrees()) == len(ready)


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("n", ROUNDS)
async def test_cancels_leave_nothing(yard: Yard, n: int) -> None:
    yard.make_repository()
    async with workbench(yard.data, yard.executor(models="port")) as bench:
        await bench.connected(NAME)
        for _, tasks in batches("c", n):
            await begin(bench, yard, tasks)
            for task_id in tasks:
                bench.cancel(NAME, task_id)
            for task_id in tasks:
                assert await bench.outcome(task_id) == cmd.ReportCancelled(task_id, 1, confirmed=True)
            assert yard.left() == []
        await clean(yard)


@pytest.mark.parametrize("n", ROUNDS)
async def test_kills_leave_nothing_and_every_attempt_goes_on(yard: Yard, n: int) -> None:
    """In turns of the adapter, and of the programs that it runs."""
    yard.make_repository()
    async with workbench(yard.data, yard.executor(models="port")) as bench:
        await bench.connected(NAME)
        for batch, tasks in batches("k", n):
            known = len(yard.calls())
            await begin(bench, yard, tasks)
            started = await bench.until(cmd.ReportStarted, lambda m, t=tasks: m.task_id in t)  # type: ignore[misc]
            assert started.pid is not None
            kill([started.pid] if batch % 2 == 0 else [call["pid"] for call in yard.calls()[known:]])
            for task_id in tasks:
                found = await bench.outcome(task_id, 40)
                assert isinstance(found, cmd.ReportInterrupted)
                assert found.resumable
            assert yard.left() == []
            for task_id, mark in tasks.items():
                bench.send(again(task_id, f"[[{mark}]]", workdir=str(yard.repository)))
            for task_id in tasks:
                assert isinstance(await outcome_of(bench, task_id, 2), cmd.ReportSucceeded)
        await clean(yard)

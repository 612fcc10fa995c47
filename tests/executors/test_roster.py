"""Executors come, change and go while attempts run: real servers over stdio, and the hands as they are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.server.house import until

from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.domain.values import Route
from omni.executors.hands import Hands
from omni.executors.roster import Line, Roster, Staff, entries_of
from omni.runtime.ports import SystemClock
from omni.runtime.post import Post

SERVER = Path(__file__).parents[1] / "cli" / "slow_server.py"


def executor(gate: Path, mark: str, **more: Any) -> ExecutorConfig:
    args = (str(SERVER), str(gate), mark)
    return ExecutorConfig(
        name="one", transport="stdio", command=sys.executable, args=args, tool="work", arguments={}, **more
    )


class Pool:
    """The hands, and what they say."""

    def __init__(self, data_dir: Path, *executors: ExecutorConfig) -> None:
        self.said: list[Any] = []
        post = Post()
        post.register("pool", lambda _, messages: self.said.extend(messages))
        self.hands = Hands(executors, post=post, clock=SystemClock(), data_dir=data_dir)

    def start(self, task_id: str) -> None:
        order = (task_id, 1, Route("one"), "words", f"{task_id}:1", "handle", 60_000, 60_000)
        self.hands.receive(cmd.StartAttempt(*order))

    def change(self, *executors: ExecutorConfig) -> asyncio.Event:
        done = self.hands.expect(Staff(entries_of(executors)))
        self.hands.receive(cmd.StaffChanged())
        return done

    def of(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.said if isinstance(each, kind)]

    @property
    def results(self) -> dict[str, str]:
        return {each.task_id: each.result.content for each in self.of(cmd.ReportSucceeded)}

    def connected(self) -> int:
        return sum(each.ok for each in self.of(cmd.ExecutorObserved))

    def ready(self, name: str) -> int:
        return sum(each.ok for each in self.of(cmd.ExecutorObserved) if each.executor == name)

    def begun(self) -> int:
        return len(self.of(cmd.ReportStarted))


@asynccontextmanager
async def pool(data_dir: Path, *executors: ExecutorConfig) -> AsyncIterator[Pool]:
    made = Pool(data_dir, *executors)
    await made.hands.start()
    try:
        await until(lambda: made.connected() == len(executors), 20)
        yield made
    finally:
        await made.hands.stop()


def run(work: Callable[[], Any]) -> None:
    asyncio.run(work())


@pytest.mark.slow
def test_what_runs_ends_on_the_old_one_and_the_next_goes_to_the_new_one(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def scene() -> None:
        async with pool(tmp_path, executor(gate, "old")) as here:
            here.start("a")
            await until(lambda: here.begun() == 1, 20)
            new = executor(tmp_path, "new")
            assert here.hands.anew(Staff(entries_of([new]))) == ("one",)
            assert here.change(new).is_set()
            here.start("b")
            await until(lambda: "b" in here.results, 20)
            assert here.results == {"b": "new"}
            gate.touch()
            await until(lambda: "a" in here.results, 20)
            assert here.results["a"] == "old"

    run(scene)


@pytest.mark.slow
def test_a_stop_waits_also_for_what_was_planned_before_it_and_is_still_on_its_way(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def scene() -> None:
        async with pool(tmp_path, executor(gate, "one")) as here:
            drained = asyncio.create_task(here.hands.drained())
            await asyncio.sleep(0)
            here.start("a")
            here.hands.receive(cmd.DaemonDown(""))
            await until(lambda: here.begun() == 1, 20)
            assert not drained.done()
            gate.touch()
            await asyncio.wait_for(drained, 20)
            assert here.results == {"a": "one"}

    run(scene)


@pytest.mark.slow
def test_the_successor_of_one_that_keeps_a_record_begins_when_it_has_gone(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def scene() -> None:
        async with pool(tmp_path, executor(gate, "old", adapter="claude_code")) as here:
            here.start("a")
            await until(lambda: here.begun() == 1, 20)
            (tmp_path / "open").touch()
            beside = replace(executor(tmp_path / "open", "beside"), name="two")
            here.change(executor(tmp_path / "open", "new", adapter="claude_code"), beside)
            line = here.hands._roster.find("one")
            assert line is not None
            assert line.connection is not None
            await until(lambda: "1 attempts to end" in line.connection.trouble)  # type: ignore[union-attr]
            await until(lambda: here.ready("two"), 20)  # it was begun after the other would have been
            assert not (tmp_path / "began-new").exists()
            gate.touch()
            await until(lambda: here.ready("one") == 2, 20)
            assert here.results == {"a": "old"}

    run(scene)


@pytest.mark.slow
def test_a_removed_one_takes_nothing_more_and_its_process_ends_with_its_last_attempt(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def scene() -> None:
        async with pool(tmp_path, executor(gate, "old")) as here:
            here.start("a")
            await until(lambda: here.begun() == 1, 20)
            old = here.hands._roster.find("one")
            assert isinstance(old, Line)
            here.change()
            here.start("b")
            await until(lambda: here.of(cmd.ReportFailed))
            assert here.of(cmd.ReportFailed)[0].error.kind == "unavailable"
            assert not old.gone.is_set()
            gate.touch()
            await asyncio.wait_for(old.gone.wait(), 20)
            assert here.results == {"a": "old"}
            assert here.connected() == 1
            assert not [each for each in here.of(cmd.ExecutorObserved) if not each.ok]  # its end is no failure

    run(scene)


@pytest.mark.slow
def test_what_is_reached_as_before_is_not_connected_anew(tmp_path: Path) -> None:
    async def scene() -> None:
        before = executor(tmp_path, "same")
        async with pool(tmp_path, before) as here:
            after = replace(before, max_concurrency=9, types=("coding",), arguments={"description": "{description}"})
            assert here.hands.anew(Staff(entries_of([after]))) == ()
            here.change(after)
            line = here.hands._roster.find("one")
            assert line is not None
            assert line.config is after
            here.start("a")
            await until(lambda: here.results == {"a": "same"}, 20)
            assert here.connected() == 1

    run(scene)


def test_before_anything_is_connected_a_change_is_only_another_list(tmp_path: Path) -> None:
    async def scene() -> None:
        roster = Roster(entries_of([executor(tmp_path, "old")]), lambda _: None)
        old = roster.find("one")
        roster.change(entries_of([replace(executor(tmp_path, "x"), name="two")]))
        assert roster.names == ("two",)
        assert old is not None
        assert old.gone.is_set()

    run(scene)

"""Progress as pages know it: from the first look on, and no longer than somebody looks."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.sim.outside import VirtualClock

from omni.domain import commands as cmd
from omni.domain.task import Task
from omni.domain.values import TaskSpec, TaskState
from omni.runtime.ports import SystemIds
from omni.runtime.post import Post
from omni.server.desk import Desk
from omni.web.progress import IDLE_MS, KEPT, Progress


class NoArchive:
    def task(self, task_id: str) -> Task | None:
        return None

    def events(self, task_id: str) -> list[Any]:
        return []


class Gateway:
    """Takes what the desk says, and gives it news."""

    def __init__(self, clock: VirtualClock) -> None:
        self.said: list[Any] = []
        self.followed = asyncio.Event()
        self.follower = ""
        post = Post()
        post.register("gateway", self._take)
        self.desk = Desk(post, SystemIds(clock), clock, NoArchive())

    def _take(self, sender: str, messages: Sequence[Any]) -> None:
        self.said += messages
        for each in messages:
            if isinstance(each, cmd.Follow):
                self.follower = each.request
                self.followed.set()

    async def tell(self, *news: Any) -> None:
        await asyncio.wait_for(self.followed.wait(), 5)
        for each in news:
            self.desk.receive(cmd.Update(self.follower, each))
        for _ in range(10):
            await asyncio.sleep(0)


def made(task_id: str, progress: float) -> cmd.ProgressMade:
    return cmd.ProgressMade(task_id, 1, progress, 10, "reading")


def test_the_newest_word_is_known_until_the_attempt_is_over() -> None:
    async def run() -> None:
        clock = VirtualClock()
        gateway = Gateway(clock)
        progress = Progress(gateway.desk)
        assert progress.look() == {}
        await gateway.tell(made("a", 1), made("b", 2), made("a", 3))
        assert progress.look() == {
            "a": {"progress": 3, "total": 10, "message": "reading"},
            "b": {"progress": 2, "total": 10, "message": "reading"},
        }
        await gateway.tell(Task("a", TaskSpec("x"), 0, 0, 1, 1, 1, state=TaskState.COMPLETED))
        assert set(progress.look()) == {"b"}
        progress.close()

    asyncio.run(run())


def test_nobody_listens_who_does_not_look_and_a_look_listens_again() -> None:
    async def run() -> None:
        clock = VirtualClock()
        gateway = Gateway(clock)
        progress = Progress(gateway.desk)
        assert gateway.desk.followers == 0
        progress.look()
        await gateway.tell(made("a", 1))
        assert gateway.desk.followers == 1
        clock.run(IDLE_MS + 1)
        await gateway.tell(made("a", 2))
        assert gateway.desk.followers == 0
        assert isinstance(gateway.said[-1], cmd.Forget)
        assert progress.look() == {}
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert gateway.desk.followers == 1
        progress.close()

    asyncio.run(run())


def test_what_is_kept_is_bounded() -> None:
    async def run() -> None:
        gateway = Gateway(VirtualClock())
        progress = Progress(gateway.desk)
        progress.look()
        for number in range(KEPT + 5):
            await gateway.tell(made(f"t{number}", 1))
        assert len(progress.look()) == KEPT
        assert "t0" not in progress.look()
        progress.close()

    asyncio.run(run())

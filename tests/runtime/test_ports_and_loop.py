"""Ids, the loop's mailbox, and timers."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest

from omni.domain.commands import TimerFired, WakeAt, WakeIn
from omni.runtime.loop import LoopMailbox, Timers
from omni.runtime.ports import SystemClock, SystemIds
from omni.runtime.post import Post


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self, at: int) -> None:
        self.at = at

    def wall_ms(self) -> int:
        return self.at

    def mono_ms(self) -> int:
        return self.at


def test_ids_are_uuids_of_version_seven_and_sort_by_time() -> None:
    ids = SystemIds()
    made = [ids.task_id() for _ in range(5_000)]
    assert made == sorted(made)
    assert {uuid.UUID(i).version for i in made} == {7}
    assert {uuid.UUID(i).variant for i in made} == {uuid.RFC_4122}


def test_ids_go_on_upwards_when_the_clock_steps_back() -> None:
    clock = SetClock(1_000_000)
    ids = SystemIds(clock)
    before = ids.task_id()
    clock.at = 500_000
    assert ids.task_id() > before


def test_ids_stay_unique_when_a_millisecond_is_used_up() -> None:
    ids = SystemIds(SetClock(1_000_000))
    made = [ids.task_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert made == sorted(made)


def test_ids_from_many_threads_never_meet() -> None:
    ids = SystemIds()
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(ids.task_id() for _ in range(2_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000


@pytest.mark.anyio
async def test_loop_messages_arrive_in_order_and_one_bad_one_stops_no_other() -> None:
    seen: list[int] = []
    done = asyncio.Event()

    def receive(message: int) -> None:
        if message == 3:
            raise ValueError("a bad one")
        seen.append(message)
        if message == 9:
            done.set()

    mailbox = LoopMailbox(asyncio.get_running_loop(), receive)
    for batch in (range(4), range(4, 10)):
        await asyncio.to_thread(mailbox.deliver, "t", tuple(batch))
    await asyncio.wait_for(done.wait(), 5)
    assert seen == [0, 1, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.anyio
async def test_a_timer_fires_once_its_time_has_come_and_the_last_wish_counts() -> None:
    post, fired = Post(), asyncio.Queue[TimerFired]()
    post.register("router", lambda _, messages: fired.put_nowait(*messages))
    clock = SystemClock()
    timers = Timers(asyncio.get_running_loop(), clock, post)
    timers.receive(WakeAt("router", clock.wall_ms() + 60_000, "a"))
    timers.receive(WakeAt("router", clock.wall_ms() + 10, "a"))
    assert await asyncio.wait_for(fired.get(), 5) == TimerFired("a")
    assert fired.empty()
    timers.stop()


@pytest.mark.anyio
async def test_a_timer_waits_on_when_the_clock_was_set_back() -> None:
    post, fired = Post(), asyncio.Queue[TimerFired]()
    post.register("router", lambda _, messages: fired.put_nowait(*messages))
    clock = SetClock(10_000)
    timers = Timers(asyncio.get_running_loop(), clock, post)
    timers.receive(WakeAt("router", 10_005, "a"))
    clock.at = 9_000
    looked = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, looked.set)
    await looked.wait()
    assert fired.empty()
    clock.at = 20_000
    timers.receive(WakeAt("router", 10_005, "a"))
    assert await asyncio.wait_for(fired.get(), 5) == TimerFired("a")
    timers.stop()


@pytest.mark.anyio
async def test_a_timer_for_running_time_rings_although_the_wall_clock_stands_still_or_runs_back() -> None:
    post, fired = Post(), asyncio.Queue[TimerFired]()
    post.register("health", lambda _, messages: fired.put_nowait(*messages))
    clock = SetClock(10_000)
    timers = Timers(asyncio.get_running_loop(), clock, post)
    began = asyncio.get_running_loop().time()
    timers.receive(WakeIn("health", 50, "proxy"))
    clock.at = 0
    assert await asyncio.wait_for(fired.get(), 5) == TimerFired("proxy")
    assert asyncio.get_running_loop().time() - began >= 0.05
    timers.stop()


@pytest.mark.anyio
async def test_the_last_wish_for_an_actor_and_key_counts_whichever_clock_it_goes_by() -> None:
    post, fired = Post(), asyncio.Queue[TimerFired]()
    post.register("health", lambda _, messages: fired.put_nowait(*messages))
    clock = SystemClock()
    timers = Timers(asyncio.get_running_loop(), clock, post)
    timers.receive(WakeIn("health", 1, "proxy"))
    timers.receive(WakeIn("health", 60_000, "proxy"))
    timers.receive(WakeAt("health", clock.wall_ms(), "cloud"))
    timers.receive(WakeIn("health", 60_000, "cloud"))
    timers.receive(WakeIn("health", 60_000, "east"))
    timers.receive(WakeAt("health", clock.wall_ms(), "east"))
    timers.receive(WakeIn("health", 20, "last"))
    assert [await asyncio.wait_for(fired.get(), 5) for _ in range(2)] == [TimerFired("east"), TimerFired("last")]
    assert fired.empty()
    timers.stop()

"""How many calls a server is given at once."""

import asyncio

from tests.server.house import until

from omni.llm.http_channel import Places

FOREVER_S = 3600.0


class Crowd:
    """Calls that want a place and keep it until they are told to go."""

    def __init__(self, places: Places, count: int) -> None:
        self._places = places
        self.inside = 0
        self.go = asyncio.Semaphore(0)
        self.tasks = [asyncio.create_task(self._call()) for _ in range(count)]

    async def _call(self) -> None:
        async with self._places.one():
            self.inside += 1
            await self.go.acquire()

    async def home(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_no_more_have_a_place_than_there_are_and_each_that_leaves_lets_one_in() -> None:
    crowd = Crowd(Places(20, FOREVER_S), 30)
    await until(lambda: crowd.inside == 20)
    for _ in range(50):
        await asyncio.sleep(0)
    assert crowd.inside == 20
    crowd.go.release()
    await until(lambda: crowd.inside == 21)
    await crowd.home()


async def test_a_call_that_waits_for_its_model_gives_its_place_to_the_next() -> None:
    crowd = Crowd(Places(20, 0.01), 50)
    await until(lambda: crowd.inside == 50)
    await crowd.home()


async def test_a_place_that_was_given_up_in_time_is_not_given_back_twice() -> None:
    places = Places(1, 0.01)
    first = Crowd(places, 2)
    await until(lambda: first.inside == 2)  # both have been let in, and hold nothing any more
    first.go.release()
    first.go.release()
    await asyncio.gather(*first.tasks)
    slow = Places(1, FOREVER_S)
    slow._free = places._free
    second = Crowd(slow, 2)
    await until(lambda: second.inside == 1)
    for _ in range(50):
        await asyncio.sleep(0)
    assert second.inside == 1
    await second.home()

"""What a page is made from: the live questions, the log, and who asks. Made for each request; imports nothing heavy."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
from starlette.requests import Request

from omni.notify.texts import Language
from omni.runtime.ports import Clock
from omni.server.desk import Desk
from omni.web.progress import Progress

if TYPE_CHECKING:
    from omni.replay.history import History


class Left(Exception):
    """The browser has gone before its page's turn to read came."""


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


READERS = 2  # pages that read the log at a time; the archive, the live streams and the actors want the disk too

T = TypeVar("T")


_NEVER = 1 << 30


class _Collections:
    """Keeps full garbage collections away while a page is read.

    One looks at every object of a fold, some hundred milliseconds long, and nothing else runs meanwhile, the loop
    neither. A fold makes no cycles: when it is over it is gone. Young objects are collected as ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._usual = gc.get_threshold()

    @contextmanager
    def none_full(self) -> Iterator[None]:
        """No full collection within; those of other threads wait too."""
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            if self._readers == 0:
                self._usual = gc.get_threshold()
            self._readers += more
            gc.set_threshold(*(self._usual if self._readers == 0 else (*self._usual[:2], _NEVER)))


_collections = _Collections()


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page stands.

    `csrf` is what its forms must carry, as a field of that name (or the header `x-omni-csrf`); empty where nobody
    needs one. `logged_in_by_cookie` says whether leaving makes sense. `left` returns once the browser has gone.
    """

    desk: Desk
    progress: Progress
    clock: Clock
    language: Language
    config_hash: str
    database: Path
    csrf: str = ""
    logged_in_by_cookie: bool = False
    left: Callable[[], Awaitable[None]] = _never
    reading: asyncio.Semaphore = msgspec.field(default_factory=lambda: asyncio.Semaphore(READERS))
    folding: asyncio.Semaphore = msgspec.field(default_factory=lambda: asyncio.Semaphore(1))

    def history(self) -> History:
        """The log, open for reading; blocks, so only on a thread. The caller closes it (`with room.history() as …`)."""
        from omni.replay.history import History

        return History.at(self.database)

    async def read(self, work: Callable[[History], T]) -> T:
        """Do work with the log on a thread, a few at a time: the loop never waits for the disk.

        Raises Left: what nobody waits for any more is not begun, or a page loaded anew a hundred times would be made
        a hundred times, and its requests would keep others out meanwhile.
        """
        async with self._turn(self.reading):
            return await asyncio.to_thread(self._with_history, work)

    async def fold(self, work: Callable[[History], T]) -> T:
        """The same for long work, one at a time: two would take each other's processor, and the loop's twice as often.

        A place is left for what is read quickly. Raises Left.
        """
        async with self._turn(self.folding):
            return await self.read(work)

    @asynccontextmanager
    async def _turn(self, places: asyncio.Semaphore) -> AsyncIterator[None]:
        await self._place(places)
        try:
            yield
        finally:
            places.release()

    async def _place(self, places: asyncio.Semaphore) -> None:
        turn, left = asyncio.ensure_future(places.acquire()), asyncio.ensure_future(self.left())
        try:
            await asyncio.wait((turn, left), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not turn.cancel():
                places.release()
            raise
        finally:
            left.cancel()
        if turn.cancel():
            raise Left

    def _with_history(self, work: Callable[[History], T]) -> T:
        with _collections.none_full(), self.history() as history:
            return work(history)


Page: TypeAlias = Callable[[Request, Room], Awaitable[str]]
Pages: TypeAlias = dict[str, Page]

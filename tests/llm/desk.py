"""Where an adapter's answers arrive in a test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from omni.runtime.post import Post


class Answers:
    """A post with one receiver; `next` waits for what an adapter sends to it."""

    def __init__(self, receiver: str) -> None:
        self.post = Post()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.post.register(receiver, self._take)

    def _take(self, sender: str, messages: Sequence[Any]) -> None:
        for message in messages:
            self._queue.put_nowait(message)

    async def next(self, within_s: float = 20.0) -> Any:
        """The next answer; TimeoutError when none comes."""
        async with asyncio.timeout(within_s):
            return await self._queue.get()

    @property
    def silent(self) -> bool:
        """Whether nothing more has come."""
        return self._queue.empty()

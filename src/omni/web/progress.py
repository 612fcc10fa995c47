"""How far running tasks are, as their executors say: not in the log, so only somebody who listens knows it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from omni.domain.commands import ProgressMade
from omni.server.desk import Desk

IDLE_MS = 300_000  # without a look for so long, the next news ends the listening: it costs every task a message
KEPT = 1_000


class Progress:
    """Listens from the first look on, and no longer than somebody looks. All methods run on the loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._listening: asyncio.Task[None] | None = None
        self._looked_ms = 0

    def look(self) -> Mapping[str, dict[str, Any]]:
        """The newest word on each running task that has said anything: `{progress, total, message}`."""
        self._looked_ms = self._desk.clock.mono_ms()
        if self._listening is None or self._listening.done():
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        return self._known

    def close(self) -> None:
        """Listen no more."""
        if self._listening:
            self._listening.cancel()

    async def _listen(self) -> None:
        async with aclosing(self._desk.follow()) as following:
            async for news in following:
                if self._desk.clock.mono_ms() - self._looked_ms > IDLE_MS:
                    self._known.clear()
                    return
                if isinstance(news, ProgressMade):
                    self._note(news)
                elif news.open_attempt is None:
                    self._known.pop(news.id, None)

    def _note(self, news: ProgressMade) -> None:
        self._known[news.task_id] = {"progress": news.progress, "total": news.total, "message": news.message}
        self._known.move_to_end(news.task_id)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)

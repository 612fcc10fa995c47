"""What tells of a mode, without a daemon: Brainstem by its rules, a real notifier, real hands."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.domain.stem import Stem
from tests.executors.bench import Bench

from omni.config import Config
from omni.domain import commands as cmd
from omni.domain.values import Mode, RepairSettings
from omni.notify.notifier import Notifier
from omni.notify.plan import make_sinks, telling
from omni.runtime.ports import SystemClock

NOBODY = RepairSettings(attempts=0)
TIMER_S = 0.05
SETTLED_WITHIN_S = 60.0


class Stage:
    """Brainstem by its rules, a real notifier and real hands; the timers of the outbox ring early."""

    def __init__(self, bench: Bench, config: Config) -> None:
        self.loop = asyncio.get_running_loop()
        self.config = config
        self.sinks = make_sinks(config, bench.hands.use_tool, SystemClock())[-1:]
        self.stem = Stem(NOBODY, telling(config.notify, self.sinks))
        self.post = bench.post
        self.answers: asyncio.Queue[cmd.Delivered] = asyncio.Queue()
        self.post.register("brainstem", self._heard)
        self.notifier = self._notifier()

    def _notifier(self) -> Notifier:
        return Notifier(self.config.notify, self.post, sinks=self.sinks)

    def _heard(self, sender: str, messages: Any) -> None:
        for message in messages:
            self.answers.put_nowait(message)

    def put(self, message: Any) -> None:
        self.stem.put(message)
        self.carry()

    def turn(self, mode: Mode) -> None:
        """Another mode is observed."""
        self.put(cmd.NoteMode(mode, reason="as observed", cleared=True))

    def carry(self) -> None:
        for send in self.stem.sends:
            if isinstance(send.message, cmd.Deliver):
                self.notifier.receive(send.message)
            elif isinstance(send.message, cmd.WakeIn):
                self.loop.call_later(TIMER_S, self.put, cmd.TimerFired(send.message.key))

    async def restart(self) -> None:
        """A new daemon: it remembers what the log says, and nothing of what it told."""
        await self.notifier.stop()
        self.notifier = self._notifier()
        self.stem.start(NOBODY)
        self.carry()

    async def settle(self) -> None:
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while self.stem.state.outbox:
                self.put(await self.answers.get())

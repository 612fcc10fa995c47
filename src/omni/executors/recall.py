"""What a memory adds to attempts: notes that go along with a task, and results that are kept for later ones.

There may be no memory, and a reload may bring another one. None is needed: without one an attempt goes as it would.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.executors.bundled import RESUMING_ADAPTERS
from omni.executors.contract import Report
from omni.executors.hits import NO_NOTES, Notes
from omni.executors.roster import Entry
from omni.redact import Redactor
from omni.runtime.ports import Clock

if TYPE_CHECKING:
    from omni.executors.memory import Memory
    from omni.executors.plug import Plug

# These read a description as words, so notes can stand before it. The runbook would look for commands in them.
NOTED_ADAPTERS = RESUMING_ADAPTERS | {"model"}


class Recall:
    """The memory that the configuration names, from `begin` to `stop`. Belongs to the loop."""

    def __init__(self, config: ExecutorConfig | None, clock: Clock, redactor: Redactor) -> None:
        self._config = config
        self._clock = clock
        self._redactor = redactor
        self._plug: Plug | None = None
        self._memory: Memory | None = None
        self._keepers: set[asyncio.Task[None]] = set()

    def begin(self, plug: Plug) -> None:
        """Connect to it, where there is one."""
        self._plug = plug
        if self._config is None:
            return
        from omni.executors.memory import Memory  # not before: it takes a while

        self._memory = Memory(self._config, plug, self._clock, self._redactor)
        keeper = asyncio.create_task(self._memory.run(), name=f"memory {self._config.name}")
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keepers.discard)

    def change(self, config: ExecutorConfig | None) -> None:
        """Go on with another one, or with none; before `begin` it is only noted."""
        if config == self._config:
            return
        if self._memory is not None:
            self._memory.stop()
        self._memory, self._config = None, config
        if self._plug is not None:
            self.begin(self._plug)

    def stop(self) -> set[asyncio.Task[None]]:
        """End its session; the tasks to be waited for."""
        if self._memory is not None:
            self._memory.stop()
        return set(self._keepers)

    async def notes(self, message: cmd.StartAttempt, entry: Entry, stop: asyncio.Event) -> Notes:
        """What it knows about the task. A session that goes on was told already; a repair is Omni's own."""
        takes = "context" in entry.template.names or entry.config.adapter in NOTED_ADAPTERS
        if self._memory is None or not takes or message.resume or message.repair:
            return NO_NOTES
        return await self._memory.search(message.task_id, message.description, stop)

    def keep(self, message: cmd.StartAttempt, config: ExecutorConfig, found: Report) -> None:
        """Remember a task that was done, but for what Omni did for itself or by its runbook."""
        runbook = config.adapter == "runbook"
        if self._memory is None or message.repair or runbook or not isinstance(found, cmd.ReportSucceeded):
            return
        self._memory.add(message.task_id, message.description, found.result.content)

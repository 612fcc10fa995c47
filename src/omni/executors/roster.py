"""Which executors there are, by which entry and over which connection; entries may change while attempts run.

    taken on ──▶ at work ──let go──▶ leaving ──its last attempt has ended──▶ gone
                    ▲                   │ a successor of the same name takes all new attempts
                    └── an entry that is reached as before goes on under its connection

Adapters with a record on disk end, when they start, whatever an earlier process left running. So the successor of such
a one begins when its predecessor has gone; others begin at once, unless the predecessor has nothing to do any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import structlog

from omni.config import Config, ExecutorConfig, RunbookCommand
from omni.domain.commands import ExecutorObserved
from omni.domain.template import Template, compile_template
from omni.executors.bundled import RESUMING_ADAPTERS, completed

if TYPE_CHECKING:
    from omni.executors.connection import Connection

log = structlog.get_logger()

Observe: TypeAlias = Callable[[ExecutorObserved], None]
MakeConnection: TypeAlias = Callable[[ExecutorConfig, Observe], "Connection"]
_REACHED_BY = ("transport", "url", "command", "args", "env", "headers", "cwd", "adapter", "options", "tool")


class Entry(NamedTuple):
    """What an executor is called by and with."""

    config: ExecutorConfig
    template: Template


@dataclass(eq=False)
class Line:
    """One executor that is, or was, at work. `attempts` counts those that are open on it."""

    entry: Entry
    connection: Connection | None = None
    keeper: asyncio.Task[None] | None = None
    attempts: int = 0
    leaving: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def config(self) -> ExecutorConfig:
        return self.entry.config

    def begin_attempt(self) -> None:
        """One more attempt is open on it."""
        self.attempts += 1

    def end_attempt(self) -> None:
        """One less; the last one lets go of a line that is leaving."""
        self.attempts -= 1
        self.end_when_idle()

    def end_when_idle(self) -> None:
        """End the connection where nobody needs it any more."""
        if not self.leaving or self.attempts:
            return
        if self.connection is not None:
            self.connection.stop()
        if self.keeper is None:
            self.gone.set()


def entries_of(executors: Iterable[ExecutorConfig]) -> dict[str, Entry]:
    """The entries by name. Raises ConfigError for arguments that are no template."""
    return {each.name: Entry(each, compile_template(each.arguments)) for each in executors}


class Staff(NamedTuple):
    """What a configuration wants of the hands: executors, and a memory where there is one."""

    entries: dict[str, Entry]
    memory: ExecutorConfig | None = None

    @classmethod
    def of(cls, config: Config, data_dir: Path) -> Staff:
        """Raises ConfigError for arguments that are no template."""
        executors = list(config.executors.values())
        runbook, reachable = config.runbook_commands, config.models.reachable
        return cls(completed_entries(executors, runbook, data_dir, models_reachable=reachable), config.memory)


def completed_entries(
    executors: Sequence[ExecutorConfig],
    runbook: Mapping[str, RunbookCommand],
    data_dir: Path,
    *,
    models_reachable: bool,
) -> dict[str, Entry]:
    """The entries of those that are reached by the hands, with what a bundled adapter brings along."""
    used = [each for each in executors if each.enabled and each.transport != "null"]
    return entries_of(completed(each, runbook, data_dir, models_reachable=models_reachable) for each in used)


def reached_alike(one: ExecutorConfig, other: ExecutorConfig) -> bool:
    """Whether both lead to the same server, started in the same way."""
    return all(getattr(one, name) == getattr(other, name) for name in _REACHED_BY)


class Roster:
    """The lines by name, and those that are leaving. Belongs to the loop."""

    def __init__(self, entries: Mapping[str, Entry], observe: Observe) -> None:
        self._observe = observe
        self._lines = {name: Line(entry) for name, entry in entries.items()}
        self._leaving: set[Line] = set()
        self._make: MakeConnection | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that take new attempts, in the order of the configuration."""
        return tuple(self._lines)

    def find(self, name: str) -> Line | None:
        """The line that takes new attempts under this name."""
        return self._lines.get(name)

    def anew(self, entries: Mapping[str, Entry]) -> tuple[str, ...]:
        """The names among these that would be connected anew."""
        return tuple(name for name, new in entries.items() if not self._is_reached_as(name, new))

    def connect(self, make: MakeConnection) -> None:
        """Begin to connect all; from now on newcomers are connected as they come."""
        self._make = make
        for line in self._lines.values():
            self._begin(line)

    def change(self, entries: Mapping[str, Entry]) -> None:
        """Have these executors from now on; what runs on others ends as it would have."""
        for name in self.names:
            new = entries.get(name)
            if new is not None and self._is_reached_as(name, new):
                self._lines[name].entry = new
            else:
                self._let_go(self._lines.pop(name))
        for name, entry in entries.items():
            if name not in self._lines:
                self._lines[name] = Line(entry)
                self._begin(self._lines[name])
        self._lines = {name: self._lines[name] for name in entries}

    def stop(self) -> set[asyncio.Task[None]]:
        """End all connections; the tasks to wait for."""
        lines = [*self._lines.values(), *self._leaving]
        for line in lines:
            if line.connection is not None:
                line.connection.stop()
        return {line.keeper for line in lines if line.keeper is not None}

    def _is_reached_as(self, name: str, new: Entry) -> bool:
        line = self._lines.get(name)
        return line is not None and reached_alike(line.config, new.config)

    def _let_go(self, line: Line) -> None:
        log.info("executor.let_go", executor=line.config.name, attempts=line.attempts)
        line.leaving = True
        self._leaving.add(line)
        line.end_when_idle()
        if line.gone.is_set():
            self._leaving.discard(line)

    def _begin(self, line: Line) -> None:
        if self._make is None:
            return
        line.connection = self._make(line.config, lambda seen: None if line.leaving else self._observe(seen))
        line.keeper = asyncio.create_task(self._keep(line, line.connection), name=f"executor {line.config.name}")

    async def _keep(self, line: Line, connection: Connection) -> None:
        try:
            for predecessor in self._predecessors(line):
                connection.trouble = f"what its entry was before has {predecessor.attempts} attempts to end"
                await predecessor.gone.wait()
            await connection.run()
        finally:
            line.gone.set()
            self._leaving.discard(line)

    def _predecessors(self, line: Line) -> list[Line]:
        """Those of the same name that have to be gone before this one begins."""
        alone = line.config.adapter in RESUMING_ADAPTERS
        return [each for each in self._leaving if each.config.name == line.config.name and (alone or not each.attempts)]

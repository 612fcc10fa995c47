"""What the event log says of a drill: changes of mode, and what became of every task. Reads, and takes no lock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omni.domain import events as ev
from omni.domain.health import Health, evolve
from omni.domain.values import Millis
from omni.eventlog.reader import LogReader, open_reader
from omni.eventlog.upcasters import log_codec
from omni.ops.figures import Tasks
from omni.ops.stage import MARK, Asked

LOOK_S = 0.05


class Change(NamedTuple):
    """One change of mode; `at` is wall-clock milliseconds."""

    at: Millis
    mode: str
    reason: str


class Journey(NamedTuple):
    """One model call over all its hops; `began` is wall-clock milliseconds."""

    began: Millis
    took_ms: int
    ok: bool
    hops: int = 1


class History:
    """What the log says of one task."""

    def __init__(self) -> None:
        self.mark = ""
        self.ends: list[Any] = []
        self.executor = ""
        self.created_ms: Millis = 0
        self.ended_ms: Millis = 0
        self.held = False
        self.attempts = 0
        self.reserved = 0

    @property
    def completed(self) -> bool:
        """Whether it was done."""
        return any(isinstance(end, ev.TaskCompleted) for end in self.ends)

    @property
    def failed(self) -> bool:
        """Whether it was given up."""
        return any(isinstance(end, ev.TaskFailed) for end in self.ends)


class Record:
    """The log of one daemon, from `after` on."""

    def __init__(self, log: Path) -> None:
        self._reader: LogReader = open_reader(log, log_codec())
        self.after = self._reader.head.position

    def close(self) -> None:
        """Let go of the log."""
        self._reader.close()

    def changes(self) -> list[Change]:
        """Every change of mode since `after`."""
        facts = self._reader.facts(self.after, (ev.HEALTH_STREAM,))
        return [Change(at, e.after, e.reason) for _, _, at, e in facts if isinstance(e, ev.ModeChanged)]

    async def change_to(self, mode: str, within_s: float, since: Millis = 0) -> Change | None:
        """The first change to a mode that is not older than `since`, or None when there is none in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while True:
            for change in await asyncio.to_thread(self.changes):
                if change.mode == mode and change.at >= since:
                    return change
            if loop.time() > until:
                return None
            await asyncio.sleep(LOOK_S)

    def health(self) -> Health:
        """What is recorded of proxy, clouds and mode, and what the daemon goes by; since the log began."""
        health = Health()
        for _, _, at, event in self._reader.facts(0, (ev.HEALTH_STREAM,)):
            evolve(health, event, at)
        return health

    def tasks(self) -> dict[str, History]:
        """Every task since `after`, by its id."""
        found: dict[str, History] = {}
        for _, stream, at, event in self._reader.facts(self.after, (ev.TASK_PREFIX,)):
            _note(found.setdefault(stream.removeprefix(ev.TASK_PREFIX), History()), event, at)
        return found

    def journeys(self, began: Millis) -> list[Journey]:
        """Every model call since then that is over, in the order in which they began."""
        legs: dict[str, list[tuple[Millis, ev.CallSettled]]] = {}
        for _, _, at, event in self._reader.facts(self.after, (ev.CALLS_STREAM, ev.TASK_PREFIX)):
            if isinstance(event, ev.CallSettled):
                legs.setdefault(event.call.rpartition("/")[0], []).append((at, event))
        found = (_journey(each) for each in legs.values())
        return sorted(each for each in found if each.began >= began)


def _journey(legs: list[tuple[Millis, ev.CallSettled]]) -> Journey:
    (first_at, first), (last_at, last) = legs[0], legs[-1]
    began = first_at - first.duration_ms
    return Journey(began, last_at - began, last.verdict == "ok", len(legs))


def _note(history: History, event: Any, at: Millis) -> None:
    match event:
        case ev.TaskCreated():
            found = MARK.search(event.spec.description.encode())
            history.mark = found[0].decode() if found else ""
            history.executor, history.created_ms = event.spec.executor or "", at
        case ev.TaskHeld():
            history.held = True
        case ev.TaskRouted() | ev.TaskResolved():
            history.held = False
        case ev.AttemptPlanned():
            history.attempts += 1
        case ev.CallReserved():
            history.reserved += 1
        case _ if type(event) in ev.TASK_ENDS:
            history.ends.append(event)
            history.ended_ms, history.held = history.ended_ms or at, False


def count(histories: Mapping[str, History], accepted: Collection[str], asked: Iterable[Asked] = ()) -> Tasks:
    """What became of the tasks. `accepted`: the ids that were acknowledged; `asked`: what models were asked."""
    marks = Counter(each.mark for each in asked)
    known = histories.values()
    doubles = len(known) - len({each.mark or each for each in known})  # one key, and two tasks
    return Tasks(
        submitted=len(accepted),
        completed=sum(each.completed for each in known),
        failed=sum(each.failed for each in known),
        open=sum(not each.ends for each in known),
        lost=sum(task_id not in histories for task_id in accepted),
        twice=doubles + sum(len(each.ends) > 1 or marks[each.mark] > each.reserved for each in known),
        again=sum(each.attempts > 1 for each in known),
    )

"""Reads the log without the daemon: tasks, events and counts, as of now or as of a position.

One task needs its own stream alone. A list is read from the newest id backwards, for ids sort by time; only a state
that few tasks are in, and the counts, need the whole log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from omni.config import log_path
from omni.domain import board as boards
from omni.domain import budget, starts
from omni.domain import events as ev
from omni.domain import task as tasks
from omni.domain.board import Board
from omni.domain.errors import CorruptLog, NotFound, Refused
from omni.domain.task import Task
from omni.domain.values import ENDED, Millis
from omni.domain.view import decision_view, dispatch_view, event_view, spend_view, task_view
from omni.eventlog.reader import open_reader
from omni.eventlog.store import EventReader, Recorded
from omni.eventlog.upcasters import log_codec

MIN_PREFIX = 6
SHOWN = 10  # how many ids an ambiguous beginning lists
REPORT_EVERY = 10_000
_PAGE = 64
_NEWEST_FIRST = "fedcba9876543210-"

Count = Callable[[int], None]


class Ambiguous(Refused):
    """The beginning of an id stands for several tasks, or is too short to stand for one."""

    kind = "ambiguous"


def nothing(_: int) -> None:
    """The progress report of callers who want none."""


class History:
    """One log, open for reading; the daemon may go on writing to it."""

    def __init__(self, reader: EventReader, database: Path) -> None:
        self.reader = reader
        self.database = database

    @classmethod
    def open(cls, data_dir: Path) -> Self:
        """Open the log in a data directory. Raises NotFound when there is none, EventLogError when it is unreadable."""
        path = log_path(data_dir)
        if not path.exists():
            raise NotFound(
                f"there is no event log in {data_dir}", hint="omni serve makes one; --data-dir names another"
            )
        return cls.at(path)

    @classmethod
    def at(cls, database: Path) -> Self:
        """Open one log file. Raises EventLogError when it cannot be read."""
        return cls(open_reader(database, log_codec()), database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the log."""
        self.reader.close()

    def board(self, until: int | None = None, count: Count = nothing) -> Board:
        """All open tasks and the newest ended ones as of a position; None: as of now."""
        board = Board()
        for recorded in self._counted(count, until):
            boards.evolve(board, recorded.stream, recorded.event, recorded.at_ms, recorded.position)  # type: ignore[arg-type]
        return board

    def resolve(self, prefix: str) -> str:
        """The one id that starts with `prefix`. Raises Ambiguous, NotFound."""
        if len(prefix) < MIN_PREFIX:
            raise Ambiguous(f"{prefix!r} is too short for an id: {MIN_PREFIX} characters at least", hint="omni tasks")
        found = self._ids(prefix, SHOWN + 1)
        if not found:
            raise NotFound(f"no task has an id that starts with {prefix}", hint="omni tasks")
        if len(found) == 1:
            return found[0]
        listed = "\n".join(f"  {each}" for each in found[:SHOWN])
        more = "\n  and more" if len(found) > SHOWN else ""
        raise Ambiguous(
            f"{prefix} stands for several tasks:\n{listed}{more}", hint="omni task show, with more of the id"
        )

    def task(self, prefix: str) -> dict[str, Any]:
        """One task, from its stream alone. Raises Ambiguous, NotFound."""
        return task_view(self.folded(self.resolve(prefix))[0])

    def events(self, prefix: str, after: int = 0) -> list[dict[str, Any]]:
        """The events of one task after a position."""
        recorded = self.folded(self.resolve(prefix))[1]
        return [event_view(each) for each in recorded if each.position > after]

    def why(self, prefix: str) -> dict[str, Any]:
        """Why a task went where it went."""
        return decision_view(*self.folded(self.resolve(prefix)))

    def tasks(
        self, state: str | None = None, limit: int = 50, before: str | None = None, count: Count = nothing
    ) -> dict[str, Any]:
        """A page of tasks, newest first: `{tasks, next}`; `next` goes on as `before`."""
        of_state = (t for t in self._newest(state, before, count) if state is None or t.state == state)
        found = list(islice(of_state, limit + 1))
        more = found[limit - 1].id if len(found) > limit else None
        return {"tasks": [task_view(each) for each in found[:limit]], "next": more}

    def status(self, count: Count = nothing, at: Millis = 0) -> dict[str, Any]:
        """Executors and task counts as the log left them; nobody knows how the executors are now.

        Spending is that of the newest day with calls, or nothing when it is over at `at`.
        """
        board, counts = Board(), Counter[str]()
        for recorded in self._counted(count):
            boards.evolve(board, recorded.stream, recorded.event, recorded.at_ms, recorded.position)  # type: ignore[arg-type]
            if ended := ev.TASK_ENDS.get(type(recorded.event)):
                counts[ended] += 1
        counts.update(str(t.state) for t in board.tasks.values() if not t.ended)
        executors = [_executor_view(spec, board) for spec in board.settings.executors]
        spend = spend_view(budget.as_of(budget.spend(board), at))
        head = self.reader.head.position
        dispatch = dispatch_view(starts.report(board)) if board.pause else None
        return {"executors": executors, "counts": dict(counts), "spend": spend, "dispatch": dispatch, "position": head}

    def _counted(self, count: Count, until: int | None = None) -> Iterator[Recorded]:
        for done, recorded in enumerate(self.reader.read(prefixes=boards.STREAMS, until=until)):
            if done % REPORT_EVERY == 0:
                count(done)
            yield recorded

    def _newest(self, state: str | None, before: str | None, count: Count) -> Iterator[Task]:
        if state is not None and state not in ENDED:  # few tasks are open, and the board holds every one of them
            yield from (
                t for _, t in sorted(self.board(None, count).tasks.items(), reverse=True) if _older(t.id, before)
            )
            return
        for done, task_id in enumerate(self._backwards("", before)):
            if done % REPORT_EVERY == 0:
                count(done)
            yield self.folded(task_id)[0]

    def _backwards(self, prefix: str, before: str | None) -> Iterator[str]:
        """All ids with a prefix, greatest first: the log lists them forwards, so go down digit by digit."""
        if before is not None and prefix > before:
            return
        found = self._ids(prefix, _PAGE)
        if len(found) < _PAGE:
            yield from (each for each in reversed(found) if _older(each, before))
            return
        for digit in _NEWEST_FIRST:
            yield from self._backwards(prefix + digit, before)

    def _ids(self, prefix: str, limit: int) -> list[str]:
        found = self.reader.find_streams(ev.TASK_PREFIX + prefix, limit)
        return [each.removeprefix(ev.TASK_PREFIX) for each in found]

    def ids(self, before: str | None = None) -> Iterator[str]:
        """All tasks that ever were, newest first, read as they are asked for."""
        return self._backwards("", before)

    def folded(self, task_id: str, until: int | None = None) -> tuple[Task, list[Recorded]]:
        """One task and its events, as of a position; None: as of now. Raises NotFound when there was none by then."""
        recorded = self.reader.stream(ev.TASK_PREFIX + task_id)
        if until is not None and recorded and recorded[0].position > until:
            born = recorded[0].position
            raise NotFound(f"task {task_id} was created at position {born}, after {until}", hint=f"omni why {task_id}")
        return self._fold(task_id, [each for each in recorded if until is None or each.position <= until])

    def _fold(self, task_id: str, recorded: list[Recorded]) -> tuple[Task, list[Recorded]]:
        if not recorded:
            raise NotFound(f"no task has the id {task_id}", hint="omni tasks")
        first, *rest = recorded
        if not isinstance(first.event, ev.TaskCreated):
            raise CorruptLog(f"the stream of task {task_id} does not start with its creation", hint="omni verify")
        task = tasks.created(task_id, first.event, first.at_ms, first.position)
        for each in rest:
            task = tasks.evolve(task, each.event, each.at_ms, each.position)  # type: ignore[arg-type]
        return task, recorded


def _older(task_id: str, before: str | None) -> bool:
    return before is None or task_id < before


def _executor_view(spec: Any, board: Board) -> dict[str, Any]:
    return {
        "name": spec.name,
        "types": list(spec.types),
        "keywords": list(spec.keywords),
        "health": {"state": "unknown", "reason": spec.unavailable or "not asked: read from the log", "until": None},
        "running": len(board.at("running", spec.name)),
        "queued": sum(1 for _ in board.queued(spec.name)),
    }

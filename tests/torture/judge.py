"""Holds the log against what clients were told and what executors began.

Theory of operation. The judge reads the log with the reader that every command uses, and keeps one `Life` a task.
What may follow what is written down here once more, from the design and not from the code: an event is legal after the
events of BEFORE, and an attempt moves as ATTEMPT_MOVES says. A late outcome is legal whenever there was an attempt.

    task      created ─► routed | held ─► planned … ─► completed | failed | cancelled     at most one end
    attempt   planned ─► started ─► succeeded | failed | interrupted | cancelled;  interrupted ─► succeeded
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.torture.load import Ack, Book

from omni.actors.router import Router
from omni.domain import board as boards
from omni.domain import events as ev
from omni.domain.board import Board
from omni.eventlog.reader import open_reader
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.store import EventReader, Recorded
from omni.eventlog.upcasters import log_codec
from omni.runtime.kernel import Kernel
from omni.runtime.ports import SystemClock

ENDS = {"task.completed": "completed", "task.failed": "failed", "task.cancelled": "cancelled"}
LATE = "attempt.late_outcome"
BEFORE: dict[str, set[str]] = {
    "task.created": {""},
    "task.routed": {
        "task.created",
        "task.routed",
        "task.held",
        "task.resolved",
        "attempt.failed",
        "attempt.interrupted",
    },
    "task.held": {"task.created", "task.routed", "task.resolved", "attempt.failed", "attempt.interrupted"},
    "task.resolved": {"task.held"},
    "task.cancel_requested": {"attempt.planned", "attempt.started"},
    "attempt.planned": {"task.routed", "attempt.failed", "attempt.interrupted"},
    "attempt.started": {"attempt.planned", "task.cancel_requested"},
    "attempt.succeeded": {
        "attempt.planned",
        "attempt.started",
        "task.cancel_requested",
        "attempt.interrupted",
        "task.held",
        "task.routed",
    },
    "attempt.failed": {"attempt.planned", "attempt.started"},
    "attempt.interrupted": {"attempt.planned", "attempt.started"},
    "attempt.cancelled": {"attempt.planned", "attempt.started", "task.cancel_requested"},
    "task.completed": {"attempt.succeeded", "task.resolved"},
    "task.failed": {"attempt.failed", "attempt.interrupted", "task.resolved"},
    "task.cancelled": {"attempt.cancelled", "task.routed", "task.held", "attempt.failed", "attempt.interrupted"},
}
ATTEMPT_MOVES: dict[str, set[str]] = {
    "started": {"planned"},
    "succeeded": {"planned", "started", "interrupted"},
    "failed": {"planned", "started"},
    "interrupted": {"planned", "started"},
    "cancelled": {"planned", "started"},
}
# Written together with what follows them, so that no crash can leave one of them alone at the end.
NEVER_LAST = {"task.created", "task.resolved", "attempt.succeeded", "attempt.cancelled"}
MAX_BEGUN = 3


class Life:
    """One task, as its stream tells it."""

    def __init__(self) -> None:
        self.last = ""
        self.version = 0
        self.end = ""
        self.held = False
        self.key = ""
        self.attempt = 0
        self.attempt_state = ""
        self.keys: dict[int, tuple[str, str]] = {}  # attempt → (executor's key, policy)
        self.retries_decided = 0

    def take(self, row: Recorded) -> Iterator[str]:
        """Apply one event; yield what is wrong with it."""
        tag = str(row.event.__struct_config__.tag)
        self.version += 1
        if row.version != self.version:
            yield f"version {row.version} where {self.version} is next"
        if tag == LATE:
            if not self.attempt:
                yield "a late outcome without an attempt"
            return
        if self.end:
            yield f"{tag} after the end ({self.end})"
        if self.last not in BEFORE[tag]:
            yield f"{tag} after {self.last or 'nothing'}"
        yield from self._attempt(tag, row.event)
        self._task(tag, row.event)

    def _attempt(self, tag: str, event: Any) -> Iterator[str]:
        room, _, word = tag.partition(".")
        if room != "attempt":
            return
        if word == "planned":
            if event.n != self.attempt + 1 or self.attempt_state in {"planned", "started"}:
                yield f"attempt {event.n} planned after attempt {self.attempt} ({self.attempt_state})"
            self.keys[event.n] = (event.key, event.policy)
        elif event.n != self.attempt or self.attempt_state not in ATTEMPT_MOVES[word]:
            yield f"attempt {event.n} {word} while attempt {self.attempt} is {self.attempt_state or 'missing'}"
        self.attempt, self.attempt_state = event.n, word

    def _task(self, tag: str, event: Any) -> None:
        self.last = tag
        self.held = tag == "task.held"
        self.end = ENDS.get(tag, "")
        if isinstance(event, ev.TaskCreated):
            self.key = event.spec.idempotency_key or ""
        if isinstance(event, ev.TaskResolved) and event.decision == "retry":
            self.retries_decided += 1

    @property
    def at_rest(self) -> bool:
        return bool(self.end) or self.held


class Judge:
    """Reads one log again and again, each time only what is new, and remembers everything that is wrong."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.lives: dict[str, Life] = defaultdict(Life)
        self.board = Board()
        self.position = 0
        self.wrong: list[str] = []
        self._seen = 0

    def read(self) -> None:
        """Take in what was written since the last look, every hash recomputed."""
        with _reading(self._data_dir) as log:
            for row in log.read(self.position, check=True):
                if row.position != self.position + 1:
                    self.wrong.append(f"position {row.position} where {self.position + 1} is next")
                self.position = row.position
                self._take(row)

    def glance(self, book: Book) -> list[str]:
        """What is wrong with the log so far, and with what clients were told since the last glance."""
        found = [*self.wrong, *self._streams(), *self._told(book.acks[self._seen :])]
        self._seen = len(book.acks)
        return found

    def compare(self, book: Book, ledgers: Iterable[Path]) -> list[str]:
        """Everything that is wrong, against what clients were told and what executors began."""
        found = [*self.wrong, *self._streams(), *self._told(book.acks), *self._keys(book)]
        return found + [each for path in ledgers for each in self._begun(path)]

    def restored(self) -> list[str]:
        """What is wrong with the ways to the present: from the beginning, and from the snapshot on."""
        with _reading(self._data_dir) as log:
            return list(_ways_to_now(log, Snapshots(self._data_dir / "snapshots")))

    def open_tasks(self) -> list[str]:
        """The tasks that have neither ended nor wait for a person."""
        return [f"{task_id} ends with {life.last}" for task_id, life in self.lives.items() if not life.at_rest]

    def _take(self, row: Recorded) -> None:
        if row.stream.startswith(ev.TASK_PREFIX):
            task_id = row.stream.removeprefix(ev.TASK_PREFIX)
            self.wrong += [f"{task_id}@{row.position}: {each}" for each in self.lives[task_id].take(row)]
        if row.stream.startswith((ev.TASK_PREFIX, ev.ROUTER_STREAM)):
            boards.evolve(self.board, row.stream, row.event, row.at_ms, row.position)  # type: ignore[arg-type]

    def _streams(self) -> Iterator[str]:
        for task_id, life in self.lives.items():
            if life.last in NEVER_LAST:
                yield f"{task_id} stops at {life.last}: half a transaction"

    def _told(self, acks: Iterable[Ack]) -> Iterator[str]:
        for ack in acks:
            life = self.lives.get(ack.task_id)
            if life is None:
                yield f"{ack.task_id} was acknowledged as {ack.state} and is lost"
            elif ack.state in ENDS.values() and life.end != ack.state:
                yield f"{ack.task_id} was told to be {ack.state}; the log says {life.end or life.last}"
            if ack.position > self.position:
                yield f"{ack.task_id} was told at position {ack.position}; the log ends at {self.position}"

    def _keys(self, book: Book) -> Iterator[str]:
        made = Counter(life.key for life in self.lives.values() if life.key)
        yield from (f"key {key} made {count} tasks" for key, count in made.items() if count > 1)
        told: dict[str, set[str]] = defaultdict(set)
        for ack in book.acks:
            if ack.key:
                told[ack.key].add(ack.task_id)
        yield from (f"key {key} was answered with {ids}" for key, ids in told.items() if len(ids) > 1)

    def _begun(self, ledger: Path) -> Iterator[str]:
        begun: Counter[tuple[str, int]] = Counter()
        for line in ledger.read_text("ascii").splitlines():
            entry = json.loads(line)
            if "begin" in entry:
                begun[entry["begin"], entry["attempt"]] += 1
                life = self.lives.get(entry["begin"])
                planned = life.keys.get(entry["attempt"]) if life else None
                if planned is None or planned[0] != entry["key"]:
                    yield f"{ledger.name}: {entry} began, and the log planned {planned}"
        yield from (
            f"{ledger.name}: {task} attempt {n} began {times} times" for (task, n), times in begun.items() if times > 1
        )
        yield from self._repeated(begun)

    def _repeated(self, begun: Counter[tuple[str, int]]) -> Iterator[str]:
        attempts = Counter(task for task, _ in begun)
        for task_id, n in begun:
            life = self.lives.get(task_id, Life())
            policy = life.keys.get(n, ("", ""))[1]
            allowed = (1 if policy in {"ask", "fail"} else MAX_BEGUN) + life.retries_decided
            if attempts[task_id] > allowed:
                decided = f"{life.retries_decided} decisions"
                yield f"{task_id} under {policy} began {attempts[task_id]} attempts after {decided}"


def _ways_to_now(log: EventReader, snapshots: Snapshots) -> Iterator[str]:
    from_start: Kernel[Board] = Kernel(Router(), log, SystemClock(), None)  # type: ignore[arg-type]
    from_snapshot: Kernel[Board] = Kernel(Router(), log, SystemClock(), snapshots)  # type: ignore[arg-type]
    from_start.refold()
    from_snapshot.refold()
    one, other = from_start.state.snapshot(), from_snapshot.state.snapshot()
    if one != other:
        yield "the board folded from the log differs from the one restored from the snapshot"


def _reading(data_dir: Path) -> Any:
    from contextlib import closing

    return closing(open_reader(data_dir / "omni.db", log_codec()))

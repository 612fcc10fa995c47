"""Real actors in real threads: what a turn may do, and what happens when it cannot."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from omni.actors.soft import Quiet
from omni.domain import commands as cmd
from omni.domain.effects import Outcome, Send
from omni.domain.errors import LogUnavailable
from omni.domain.events import Event
from omni.eventlog.codec import Codec
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry, EventStore, Head, OutcomeUnknown
from omni.runtime.kernel import Kernel
from omni.runtime.ports import SystemClock
from omni.runtime.post import Post
from omni.runtime.supervisor import RESTARTS, Supervisor

STREAM = "counter"


class Counted(Event, frozen=True, tag="test.counted"):
    """One more."""

    by: int


class Count(msgspec.Struct, frozen=True, tag=True):
    """Ask for one more; `request` is answered with the sum."""

    request: str
    by: int = 1


class Kept(msgspec.Struct, frozen=True, tag=True):
    """A report: nobody waits for an answer, and it must not be lost."""

    by: int = 1


class Counter(Quiet):
    """Adds up; a request for 13 cannot be decided, one for 666 breaks the state."""

    name = "counter"
    prefixes: tuple[str, ...] = (STREAM,)

    def initial(self) -> list[int]:
        return []

    def handle(self, state: list[int], envelope: cmd.Envelope) -> Outcome:
        message = envelope.message
        if isinstance(message, Kept):
            return Outcome([(STREAM, Counted(message.by))])
        if not isinstance(message, Count):
            return Outcome()
        if message.by == 13:
            raise ValueError("thirteen")
        total = sum(state) + message.by
        return Outcome([(STREAM, Counted(message.by))], [Send("out", (message.request, total))])

    def evolve(self, state: list[int], stream: str, event: Any, at: int, position: int) -> None:
        if event.by == 666:
            raise RuntimeError("the state is broken")
        state.append(event.by)

    def version(self, state: list[int], stream: str) -> int:
        return len(state)

    def refuse(self, message: Any, refusal: cmd.Refusal) -> Sequence[Send]:
        return [Send("out", (message.request, refusal.kind))] if isinstance(message, Count) else []


class Flaky:
    """A real store that refuses to append while `broken` holds an error; everything else is passed on."""

    def __init__(self, store: SqliteEventStore) -> None:
        self.store = store
        self.broken: Callable[[], Exception] | None = None

    def append(self, entries: Sequence[Entry], *, from_reserve: bool = False) -> int:
        if self.broken:
            raise self.broken()
        return self.store.append(entries, from_reserve=from_reserve)

    @contextmanager
    def exclusive(self) -> Iterator[Head]:
        with self.store.exclusive() as head:
            yield head

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Running:
    """A counter under a supervisor, with a queue for its answers."""

    def __init__(self, path: Path) -> None:
        self.store = Flaky(SqliteEventStore.open(path, Codec(Counted)))
        self.post = Post()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.gave_up = threading.Event()
        self.post.register("out", lambda _, messages: self._collect(messages))
        self.post.register("timers", self._ring)
        self.supervisor = Supervisor(self.post, SystemClock(), lambda _: self.gave_up.set())
        store: EventStore = self.store
        self.kernel: Kernel[Any] = Kernel(Counter(), store, SystemClock())
        self.supervisor.start(self.kernel)

    def ask(self, *requests: tuple[str, int]) -> list[Any]:
        """Send requests together and collect as many answers."""
        self.post.send("counter", "test", [Count(name, by) for name, by in requests])
        return [self.answers.get(timeout=10) for _ in requests]

    def _collect(self, answers: Sequence[tuple[str, Any]]) -> None:
        for answer in answers:
            self.answers.put(answer)

    def recorded(self) -> list[int]:
        events: list[Any] = [row.event for row in self.store.store.read()]
        return [event.by for event in events]

    def _ring(self, sender: str, wishes: Sequence[cmd.WakeAt]) -> None:
        for wish in wishes:
            wait_s = max(0, wish.at - SystemClock().wall_ms()) / 1000
            timer = threading.Timer(wait_s, self.post.send, (wish.actor, "timers", (cmd.TimerFired(wish.key),)))
            timer.daemon = True
            timer.start()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    under = Running(tmp_path / "log.db")
    yield under
    under.supervisor.stop()
    under.store.store.close()


def test_what_is_answered_is_in_the_log(running: Running) -> None:
    assert running.ask(("a", 1), ("b", 2)) == [("a", 1), ("b", 3)]
    assert running.recorded() == [1, 2]


def test_a_message_that_cannot_be_decided_costs_only_itself(running: Running) -> None:
    assert running.ask(("a", 1), ("bad", 13), ("b", 2)) == [("a", 1), ("bad", "internal"), ("b", 3)]
    assert running.recorded() == [1, 2]


def test_a_message_that_breaks_the_state_is_found_and_dropped_and_its_neighbours_go_through(running: Running) -> None:
    answers = running.ask(("a", 1), ("bad", 666), ("b", 2))
    assert sorted(answers) == [("a", 1), ("b", 3), ("bad", "internal")]
    assert running.recorded() == [1, 2]
    assert not running.gave_up.is_set()


def test_a_failed_append_is_answered_from_the_log_after_the_restart(running: Running) -> None:
    errors = iter([RuntimeError("the outcome is unknown")])

    def once() -> Exception:
        running.store.broken = None
        return next(errors)

    running.store.broken = once
    assert running.ask(("a", 5)) == [("a", 5)]
    assert running.recorded() == [5]


def test_a_full_disk_refuses_requests_and_goes_on_by_itself(running: Running) -> None:
    assert running.ask(("a", 1)) == [("a", 1)]
    running.store.broken = lambda: LogUnavailable("the disk is full", hint="df -h")
    assert running.ask(("b", 2)) == [("b", "storage_unavailable")]
    assert running.ask(("c", 3)) == [("c", "storage_unavailable")]
    running.store.broken = None
    answer: tuple[str, Any] = ("", "storage_unavailable")
    deadline = threading.Event()
    for _ in range(100):
        (answer,) = running.ask(("d", 4))
        if answer[1] != "storage_unavailable":
            break
        deadline.wait(0.1)
    assert answer == ("d", 5)
    assert running.recorded() == [1, 4]


def test_a_commit_whose_outcome_is_unknown_is_looked_up_and_nothing_is_refused_or_doubled(running: Running) -> None:
    really = running.store.store.append

    def committed_and_then_failed(entries: Sequence[Entry], *, from_reserve: bool = False) -> int:
        running.store.append = Flaky.append.__get__(running.store)  # type: ignore[method-assign]
        really(entries, from_reserve=from_reserve)
        raise OutcomeUnknown("the disk failed while it committed")

    running.store.append = committed_and_then_failed  # type: ignore[method-assign]
    assert running.ask(("a", 5)) == [("a", 10)]  # a counter has no ids: it counts the repeated message again
    assert running.recorded() == [5, 5]
    assert not running.gave_up.is_set()


def test_an_actor_that_keeps_dying_makes_the_daemon_give_up(running: Running) -> None:
    running.store.broken = lambda: RuntimeError("every time")
    running.post.send("counter", "test", [Count(str(n)) for n in range(RESTARTS + 2)])
    assert running.gave_up.wait(10)


def test_messages_for_an_actor_that_is_down_wait_for_its_successor(running: Running) -> None:
    running.post.send("counter", "test", [Count("bad", 666)])
    answers = running.ask(*((str(n), 1) for n in range(200)))
    answers.append(running.answers.get(timeout=10))
    assert len(answers) == 201
    assert running.recorded() == [1] * 200


def test_a_full_disk_refuses_requests_behind_any_number_of_reports(running: Running) -> None:
    running.store.broken = lambda: LogUnavailable("the disk is full", hint="df -h")
    running.post.send("counter", "test", [Kept() for _ in range(600)])
    assert running.ask(("a", 1)) == [("a", "storage_unavailable")]


def test_what_waits_is_taken_before_the_actor_stops(tmp_path: Path) -> None:
    under = Running(tmp_path / "log.db")
    under.post.send("counter", "test", [Count(str(n)) for n in range(2_000)])
    under.supervisor.stop()
    recorded = len(under.recorded())
    under.store.store.close()
    assert recorded == 2_000

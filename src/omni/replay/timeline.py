"""What happened, event by event, in words: for one task, one executor, some types of event, or all of it.

A task's rows come from its own stream, found by index, and the modes from the edges in the health stream: neither walks
the log. The same holds for events of the Router, of health and of the system alone. Everything else is one walk over
the stretch, of which events of other types are not even decoded.

Memory, however long the log is: one batch of the reader (2,000 events), the edges of the mode, and which executor had
which attempt of the LIVES_KEPT tasks seen last. A task that is not among them, as after a start in the middle, is
looked up in its own stream. What was in force before the first row (mode, attempts) is looked up the same way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import msgspec

from omni.domain import events as ev
from omni.domain.values import Millis, Mode
from omni.eventlog.store import EventReader
from omni.replay.history import REPORT_EVERY, Count, History, nothing
from omni.replay.words import When, moment_in_utc, sentence

LIVES_KEPT = 10_000
EVENT_TYPES = tuple(sorted(ev.type_of(kind) for kind in get_args(ev.AnyEvent)))
MODE_EDGE = "health.mode_changed"
FIRST_MODE: Mode = "NORMAL"  # of a log where health has said nothing yet
_LIFE = ("attempt.planned", "call.reserved")  # what has to be known of a task to say who had its attempts
_OWN_STREAMS = {ev.ROUTER_STREAM, ev.HEALTH_STREAM, ev.SYSTEM_STREAM}  # named like the events in them


class Row(msgspec.Struct, frozen=True):
    """One event. `since_ms` counts from the first row shown; `mode` is the one in force once the event had happened.

    `lane` is the executor that it is about, or else who keeps the record: tasks, router, calls, health, system.
    `attempt` and `executor` are those of the attempt that the event belongs to or ends; 0 outside of any. `text` is
    for people.
    """

    position: int
    at_ms: Millis
    since_ms: int
    mode: Mode
    lane: str
    stream: str
    task_id: str
    attempt: int
    executor: str
    type: str
    text: str


class Wanted(msgspec.Struct, frozen=True):
    """Which rows: of one task (any unique beginning of its id), with `after < position <= until` (None: to the end), of
    one executor, and of events whose names begin with one of these, as `task.held`, `task.` or `attempt`.
    """

    task: str = ""
    after: int = 0
    until: int | None = None
    executor: str = ""
    events: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """The names of events that are wanted; empty for all of them."""
        return tuple(name for name in EVENT_TYPES if self.events and name.startswith(self.events))


def timeline(
    history: History, wanted: Wanted, count: Count = nothing, language: str = "en", when: When = moment_in_utc
) -> Iterator[Row]:
    """Yield the rows in the order of the log. Raises Ambiguous, NotFound for the task.

    `count` is told now and then how many positions have been passed; `when` writes a moment in milliseconds for people.
    """
    reader = history.reader
    until = reader.head.position if wanted.until is None else wanted.until
    if wanted.events and not wanted.types:
        return
    if wanted.task:
        stream = ev.TASK_PREFIX + history.resolve(wanted.task)
        facts: Iterable[_Fact] = reader.facts(0, (stream,), until=until)
        moded = _with_edges(facts, reader, wanted.after, until)
    else:
        streams, types = _where(wanted.types)
        facts = reader.facts(wanted.after, streams, until=until, types=types)
        moded = _with_modes(facts, mode_at(reader, wanted.after))
    yield from _rows(_Lives(reader), moded, wanted, count, language, when)


def mode_at(reader: EventReader, position: int) -> Mode:
    """The mode in force after a position, whatever the events around it are."""
    found = reader.last(ev.HEALTH_STREAM, MODE_EDGE, position)
    return found.event.after if found else FIRST_MODE  # type: ignore[attr-defined]


def _where(types: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The streams to read, all for none, and what to read of them: what is wanted, and what has to be known of it."""
    if not types:
        return (), ()
    own = {name.partition(".")[0] for name in types}
    if own <= _OWN_STREAMS:  # few events in streams of their own: no walk over the log
        return tuple(sorted({*own, ev.HEALTH_STREAM})), tuple({*types, MODE_EDGE})
    return (), tuple({*types, MODE_EDGE, *_LIFE})


_Fact = tuple[int, str, Millis, Any]
_Moded = tuple[Mode, _Fact]


def _rows(
    lives: _Lives, moded: Iterable[_Moded], wanted: Wanted, count: Count, language: str, when: When
) -> Iterator[Row]:
    types, began, told = set(wanted.types), None, wanted.after
    for mode, (position, stream, at_ms, event) in moded:
        if position - told >= REPORT_EVERY:
            count(position - wanted.after)
            told = position
        n, executor = lives.see(position, stream, event)
        name = ev.type_of(event)
        if position <= wanted.after or (types and name not in types) or wanted.executor not in {"", executor}:
            continue
        began = at_ms if began is None else began
        body = msgspec.to_builtins(event)
        lane, task = executor or _keeper(stream), _task_of(stream, event)
        text = sentence(name, body, language, when)
        yield Row(position, at_ms, at_ms - began, mode, lane, stream, task, n, executor, name, text)


def _with_modes(facts: Iterable[_Fact], mode: Mode) -> Iterator[_Moded]:
    """A walk that meets every edge of the mode itself."""
    for fact in facts:
        if isinstance(fact[3], ev.ModeChanged):
            mode = fact[3].after
        yield mode, fact


def _with_edges(facts: Iterable[_Fact], reader: EventReader, after: int, until: int) -> Iterator[_Moded]:
    """Facts of other streams, with the edges looked up beside them."""
    mode, edge = FIRST_MODE, None
    edges: Iterator[_Fact] = iter(())
    for fact in facts:
        if fact[0] > after and edge is None:
            mode = mode_at(reader, fact[0])
            edges = reader.facts(fact[0], (ev.HEALTH_STREAM,), until=until, types=(MODE_EDGE,))
            edge = next(edges, _NO_EDGE)
        while edge is not None and edge[0] < fact[0]:
            mode, edge = edge[3].after, next(edges, _NO_EDGE)
        yield mode, fact


_NO_EDGE: _Fact = (1 << 62, "", 0, None)


class _Life:
    """Who had which attempt of one task, and which attempt made which call."""

    __slots__ = ("calls", "executors")

    def __init__(self) -> None:
        self.executors: dict[int, str] = {}
        self.calls: dict[str, int] = {}

    def note(self, event: Any) -> None:
        if isinstance(event, ev.AttemptPlanned):
            self.executors[event.n] = event.route.executor
        elif isinstance(event, ev.CallReserved):
            self.calls[event.call] = event.n

    @property
    def last(self) -> int:
        return max(self.executors, default=0)


class _Lives:
    """Says of each event, in the order of the log, which attempt and executor it belongs to."""

    def __init__(self, reader: EventReader) -> None:
        self._reader = reader
        self._known: OrderedDict[str, _Life] = OrderedDict()

    def see(self, position: int, stream: str, event: Any) -> tuple[int, str]:
        """The attempt and the executor of this event; 0 and "" where there is none."""
        if not stream.startswith(ev.TASK_PREFIX):
            return 0, getattr(event, "executor", "")
        if isinstance(event, ev.TaskCreated):
            self._keep(stream, _Life())
            return 0, ""
        if isinstance(event, ev.TaskRouted):
            return 0, event.route.executor if event.route else ""
        find = _ATTEMPT_OF.get(type(event))
        if find is None:
            return 0, ""
        life = self._known.get(stream) or self._look_up(stream, position)
        life.note(event)
        n = find(life, event)
        if type(event) in ev.TASK_ENDS:
            self._known.pop(stream, None)
        return n, life.executors.get(n, "")

    def _look_up(self, stream: str, position: int) -> _Life:
        life = _Life()
        for *_, event in self._reader.facts(0, (stream,), until=position, types=_LIFE):
            life.note(event)
        return self._keep(stream, life)

    def _keep(self, stream: str, life: _Life) -> _Life:
        self._known[stream] = life
        if len(self._known) > LIVES_KEPT:
            self._known.popitem(last=False)
        return life


_ATTEMPT_OF: dict[type[Any], Callable[[_Life, Any], int]] = {
    **dict.fromkeys(
        (
            ev.AttemptPlanned,
            ev.AttemptStarted,
            *ev.ATTEMPT_ENDS,
            ev.LateOutcomeArrived,
            ev.CallReserved,
            ev.CallRefused,
        ),
        lambda _, event: int(event.n),
    ),
    ev.CallSettled: lambda life, event: life.calls.get(event.call, life.last),
    ev.TaskCompleted: lambda _, event: int(event.attempt),
    ev.TaskFailed: lambda life, _: life.last,
    ev.TaskCancelled: lambda life, _: life.last,
}


def _keeper(stream: str) -> str:
    return "tasks" if stream.startswith(ev.TASK_PREFIX) else stream


def _task_of(stream: str, event: Any) -> str:
    """The task of an event; also of the few that name one outside of its stream."""
    own = stream.startswith(ev.TASK_PREFIX)
    return stream.removeprefix(ev.TASK_PREFIX) if own else str(getattr(event, "task_id", ""))

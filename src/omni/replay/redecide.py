"""Decides every recorded command again and compares.

Theory of operation. The rows of one message share boot, cause and actor, and stand together. The first row of a
decision carries the message; from that and the state before it, the rules must give exactly the rows that follow, and
after them `settle` must give the rest, until it is quiet. Rows whose message decided nothing follow from `settle`
alone. The state goes on by what is recorded, whatever was decided, so that one divergence is not a hundred.

    decided again      the rules give what is recorded
    divergence         they give something else: the first is kept with both sides, all are counted
    other rules        as a divergence, but another version recorded it: its rules may have been others
    undecided          nobody can say: the payload is erased, the log ends within it, it never kept an input, or another
                       version wrote what this one cannot read

All rows of one message bear its time. No boot is excused by a version that its own start does not give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from omni import __version__
from omni.domain import board as boards
from omni.domain import brainstem, dispatch, executor_watch, system
from omni.domain import events as ev
from omni.domain import health as healths
from omni.domain.board import Board, Fact
from omni.domain.commands import Envelope
from omni.domain.executor_watch import Executors
from omni.domain.health import Health
from omni.domain.system import SystemState
from omni.domain.values import Millis
from omni.eventlog.store import Recorded
from omni.replay import evidence
from omni.replay.evidence import Undecided
from omni.replay.inputs import ERASED, MISSING, Inputs, Unreadable, is_erased

CUT_SHORT = "the log ends within it"
UNAPPLIED = (KeyError, IndexError, AttributeError, TypeError, ValueError, AssertionError)

Decided = Sequence[tuple[str, Any]]
Failed = Callable[[Recorded, Exception], None]


class Difference(msgspec.Struct, frozen=True):
    """One field that is not the same."""

    field: str
    recorded: Any
    decided: Any


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """One event that the rules do not give; null stands for none. `command` is null where only the state decided."""

    position: int
    stream: str
    at_ms: Millis
    boot: str
    cause: str
    actor: str
    command: Any = None
    sender: str = ""
    recorded: Any = None
    decided: Any = None
    fields: tuple[Difference, ...] = ()
    recorded_by: str = ""
    decided_by: str = __version__


class Redecided(msgspec.Struct, frozen=True, kw_only=True):
    """What came of deciding again. `commands` by what they asked, `settled` followed from the state alone."""

    commands: int = 0
    settled: int = 0
    undecided: dict[str, int] = {}
    divergences: int = 0
    other_rules: int = 0
    first: Divergence | None = None


def joined(parts: Sequence[Redecided]) -> Redecided:
    """What came of all parts of a log."""
    undecided: Counter[str] = Counter()
    for part in parts:
        undecided.update(part.undecided)
    firsts = [part.first for part in parts if part.first is not None]
    grave = [each for part in parts if part.divergences and (each := part.first) is not None]
    return Redecided(
        commands=sum(part.commands for part in parts),
        settled=sum(part.settled for part in parts),
        undecided=dict(undecided.most_common()),
        divergences=sum(part.divergences for part in parts),
        other_rules=sum(part.other_rules for part in parts),
        first=next(iter([*grave, *firsts]), None),
    )


class State:
    """What the three writers hold, folded from what is recorded."""

    def __init__(self) -> None:
        self.board = Board()
        self.health = Health()
        self.executors: Executors = {}
        self.system = SystemState()
        self.versions: dict[str, str] = {}  # of Omni, by the boots that they had

    def evolve(self, row: Recorded) -> None:
        """Apply one recorded event."""
        stream, event = row.stream, row.event
        if stream.startswith(ev.TASK_PREFIX) or stream in boards.OWN_STREAMS:  # nearly all of a log
            boards.evolve(self.board, stream, event, row.at_ms, row.position)  # type: ignore[arg-type]
        elif stream == ev.SYSTEM_STREAM:
            if isinstance(event, ev.DaemonStarted):
                self.versions[row.boot] = event.version
            system.evolve(self.system, event, row.at_ms)  # type: ignore[arg-type]
        elif isinstance(event, ev.ExecutorHealthChanged):
            executor_watch.evolve(self.executors, event, row.at_ms)
        elif stream == ev.HEALTH_STREAM:
            healths.evolve(self.health, event, row.at_ms)


class _Writer:
    """One actor that writes: what it decides by a message, and what follows from its state alone."""

    def __init__(
        self,
        inputs: Inputs,
        decide: Callable[[Envelope, Sequence[Recorded]], Decided],
        settle: Callable[[Millis], Decided],
    ) -> None:
        self.read = inputs.read
        self.decide = decide
        self.settle = settle


class Redecide:
    """Takes the rows of a log in order; `failed` hears of events that cannot be applied."""

    def __init__(self, failed: Failed, erased: frozenset[str] = frozenset()) -> None:
        self.state = State()
        self._failed = failed
        self._erased = erased
        self._gone: set[str] = set()  # streams of which something was erased
        self._rows: list[Recorded] = []
        self._inputs_kept = False  # once a log keeps any, it keeps all
        self._doubted: set[str] = set()  # boots that did not start as is recorded: no version excuses them
        self._found: list[Divergence] = []  # the first of each boot
        self._diverged: Counter[str] = Counter()
        self._undecided: Counter[str] = Counter()
        self._commands = self._settled = 0
        self._writers = self._make_writers(erased)

    def __call__(self, row: Recorded) -> None:
        """Take the next row."""
        rows = self._rows
        if rows and (rows[0].cause != row.cause or rows[0].boot != row.boot or rows[0].actor != row.actor):
            self._decide(row.boot)
        self._rows.append(row)

    def pass_over(self, rows: Iterator[Recorded]) -> None:
        """Take rows that somebody else decides again, all at once. Raises one of UNAPPLIED at what does not fit."""
        boards.fold(self.state.board, self._passed(rows))

    def finish(self, *, ends: bool = True) -> Redecided:
        """Decide what is left, and tell what came of it all; `ends`: the log has no more than this."""
        self._decide("" if ends or not self._rows else self._rows[0].boot)
        first = min(self._found, key=lambda each: (self._tolerated(each.boot), each.position), default=None)
        if first is not None:
            first = msgspec.structs.replace(first, recorded_by=self.state.versions.get(first.boot, ""))
        other = sum(count for boot, count in self._diverged.items() if self._tolerated(boot))
        return Redecided(
            commands=self._commands,
            settled=self._settled,
            undecided=dict(self._undecided.most_common()),
            divergences=self._diverged.total() - other,
            other_rules=other,
            first=first,
        )

    def _tolerated(self, boot: str) -> bool:
        return boot not in self._doubted and self.state.versions.get(boot, __version__) != __version__

    def _make_writers(self, erased: frozenset[str]) -> dict[str, _Writer]:
        state = self.state
        return {
            "router": _Writer(
                Inputs(dispatch.TAKES, erased),
                lambda envelope, _: dispatch.decide(state.board, envelope).events,
                lambda at: dispatch.settle(state.board, at).events,
            ),
            "brainstem": _Writer(
                Inputs(brainstem.TAKES, erased),
                lambda envelope, _: brainstem.decide(state.system, envelope).events,
                lambda _: (),
            ),
            "health": _Writer(
                Inputs(evidence.TAKES, erased),
                lambda envelope, rows: _healthy(
                    evidence.decide(state.health, state.executors, envelope, [row.event for row in rows])
                ),
                lambda at: _healthy(evidence.settle(state.health, at)),
            ),
        }

    # --- one message ----------------------------------------------------------------------------------------------

    def _decide(self, next_boot: str) -> None:
        """Decide about the rows of one message; `next_boot` wrote the row after them, nobody if that is empty."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        first = rows[0]
        writer = self._writers.get(first.actor)
        if writer is None:
            self._unknown(rows, f"nothing is known of how {first.actor} decides", last=not next_boot)
            return
        try:
            envelope = self._envelope(writer, first)
            done, other = self._compare(writer, envelope, rows)
        except Unreadable as why:
            self._unknown(rows, str(why), last=not next_boot)
            return
        except Undecided as why:
            self._undecidable(rows, str(why))
            return
        if done == len(rows) and other is None:
            self._commands += envelope is not None
            self._settled += envelope is None
            return
        self._differs(rows, done, other, envelope, last=not next_boot)

    def _unknown(self, rows: list[Recorded], why: str, *, last: bool) -> None:
        """What this version cannot read another one may have written, but not this one."""
        if why == ERASED or self._tolerated(rows[0].boot):
            self._undecidable(rows, why)
        else:
            self._differs(rows, 0, (rows[0].stream, {"error": why}), None, last=last)

    def _envelope(self, writer: _Writer, first: Recorded) -> Envelope | None:
        if first.input is None:
            return None
        self._inputs_kept = True
        sender, message = writer.read(first.input)
        return Envelope(first.cause, first.at_ms, first.mono_ms, sender, message)

    def _compare(
        self, writer: _Writer, envelope: Envelope | None, rows: list[Recorded]
    ) -> tuple[int, tuple[str, Any] | None]:
        """How many rows the rules give, and what else they give in place of the next one. All those are applied."""
        done, count, at = 0, len(rows), rows[0].at_ms
        try:
            step = writer.decide(envelope, rows) if envelope else writer.settle(at)
            while True:
                for each in step:
                    if done == count:
                        return done, each
                    row = rows[done]
                    if row.stream != each[0] or row.event != each[1] or not _same_time(row, rows[0]):
                        return done, each
                    self._evolve(row)
                    done += 1
                step = writer.settle(at)
                if not step:
                    return done, None
        except UNAPPLIED as error:  # no message that fails leads to an event
            return done, (rows[0].stream, {"error": repr(error)})

    def _differs(
        self, rows: list[Recorded], done: int, other: tuple[str, Any] | None, envelope: Envelope | None, *, last: bool
    ) -> None:
        first = rows[0]
        if why := self._excuse(rows, done, other, last=last):
            self._undecidable(rows, why, done)
            return
        if any(isinstance(row.event, ev.DaemonStarted) for row in rows[done:]):
            self._doubted.add(first.boot)
        if not self._diverged[first.boot]:
            self._found.append(_divergence(rows, done, other, envelope))
        self._diverged[first.boot] += 1
        self._go_on(rows, done)

    def _excuse(self, rows: list[Recorded], done: int, other: tuple[str, Any] | None, *, last: bool) -> str:
        """Why the rows differ without being wrong; empty when there is no reason."""
        if self._gone and (self._gone & {row.stream for row in rows} or (other and other[0] in self._gone)):
            return ERASED
        if not self._inputs_kept:
            return MISSING
        return CUT_SHORT if last and done == len(rows) else ""

    def _undecidable(self, rows: list[Recorded], why: str, done: int = 0) -> None:
        self._undecided[why] += 1
        self._go_on(rows, done)

    def _go_on(self, rows: list[Recorded], done: int) -> None:
        for row in rows[done:]:
            self._evolve(row)

    def _passed(self, rows: Iterator[Recorded]) -> Iterator[Fact]:
        for row in rows:
            if self._erased:
                self._remember(row)
            if row.input is not None:
                self._inputs_kept = True
            if row.stream in (ev.HEALTH_STREAM, ev.SYSTEM_STREAM):
                self.state.evolve(row)
            else:
                yield row.position, row.stream, row.at_ms, row.event

    def _remember(self, row: Recorded) -> None:
        if is_erased(row.event, self._erased):
            self._gone.add(row.stream)

    def _evolve(self, row: Recorded) -> None:
        if self._erased:
            self._remember(row)
        try:
            self.state.evolve(row)
        except UNAPPLIED as error:
            self._failed(row, error)


def _same_time(row: Recorded, first: Recorded) -> bool:
    return row.at_ms == first.at_ms and row.mono_ms == first.mono_ms


def _healthy(events: Sequence[Any]) -> Decided:
    return [(ev.HEALTH_STREAM, event) for event in events]


# --- both sides -----------------------------------------------------------------------------------------------------


def _divergence(
    rows: list[Recorded], done: int, other: tuple[str, Any] | None, envelope: Envelope | None
) -> Divergence:
    row = rows[min(done, len(rows) - 1)]
    recorded = (row.stream, row.event) if done < len(rows) else None
    stands, would = _plain(recorded), _plain(other)
    return Divergence(
        position=row.position,
        stream=row.stream if recorded or other is None else other[0],
        at_ms=row.at_ms,
        boot=row.boot,
        cause=row.cause,
        actor=row.actor,
        command=msgspec.to_builtins(envelope.message) if envelope else None,
        sender=envelope.sender if envelope else "",
        recorded=stands,
        decided=would,
        fields=(*_differences("", stands, would), *_times(row, rows[0])) if stands and would else (),
    )


def _times(row: Recorded, first: Recorded) -> Iterator[Difference]:
    for name in ("at_ms", "mono_ms"):
        yield from _differences(name, getattr(row, name), getattr(first, name))


def _plain(side: tuple[str, Any] | None) -> Any:
    return {"stream": side[0], "event": msgspec.to_builtins(side[1])} if side else None


def _differences(path: str, recorded: Any, decided: Any) -> Iterator[Difference]:
    """Field by field, as deep as both sides have the same shape."""
    if recorded == decided:
        return
    if isinstance(recorded, dict) and isinstance(decided, dict):
        for name in [*recorded, *(each for each in decided if each not in recorded)]:
            yield from _differences(f"{path}.{name}" if path else str(name), recorded.get(name), decided.get(name))
    elif isinstance(recorded, list | tuple) and isinstance(decided, list | tuple) and len(recorded) == len(decided):
        for at, (one, two) in enumerate(zip(recorded, decided, strict=True)):
            yield from _differences(f"{path}[{at}]", one, two)
    else:
        yield Difference(path, recorded, decided)

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

What is decided is compared with the text of a row first: the same text is the same event, so that most bodies are never
read. Only where the texts differ is a row read and compared by its meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from omni.domain.folding import fold
from omni.domain.health import Health
from omni.domain.system import SystemState
from omni.domain.values import Millis
from omni.eventlog.chain import ACTOR, AT_MS, BODY, BOOT, CAUSE, INPUT, MONO_MS, POSITION, SCHEMA, STREAM, TYPE
from omni.eventlog.payloads import is_stub
from omni.eventlog.store import Recorded, Row
from omni.eventlog.upcasters import log_codec
from omni.replay import evidence
from omni.replay.divergence import Divergence, Redecided, divergence
from omni.replay.evidence import Undecided
from omni.replay.inputs import ERASED, MISSING, Inputs, Unreadable, is_erased

CUT_SHORT = "the log ends within it"
UNAPPLIED = (KeyError, IndexError, AttributeError, TypeError, ValueError, AssertionError)

Decided = Sequence[tuple[str, Any]]
Failed = Callable[[Recorded, Exception], None]


class State:
    """What the three writers hold, folded from what is recorded."""

    def __init__(self) -> None:
        self.board = Board()
        self.health = Health()
        self.executors: Executors = {}
        self.system = SystemState()
        self.versions: dict[str, str] = {}  # of Omni, by the boots that they had

    def evolve(self, row: Row, event: Any) -> None:
        """Apply one recorded event."""
        stream, at = row[STREAM], row[AT_MS]
        if stream.startswith(ev.TASK_PREFIX) or stream in boards.OWN_STREAMS:  # nearly all of a log
            boards.evolve(self.board, stream, event, at, row[POSITION])
        elif stream == ev.SYSTEM_STREAM:
            if isinstance(event, ev.DaemonStarted):
                self.versions[row[BOOT]] = event.version
            system.evolve(self.system, event, at)
        elif isinstance(event, ev.ExecutorHealthChanged):
            executor_watch.evolve(self.executors, event, at)
        elif stream == ev.HEALTH_STREAM:
            healths.evolve(self.health, event, at)


class _Writer:
    """One actor that writes: what it decides by a message, and what follows from its state alone."""

    def __init__(
        self,
        inputs: Inputs,
        decide: Callable[[Envelope, Sequence[Row]], Decided],
        settle: Callable[[Millis], Decided],
    ) -> None:
        self.read = inputs.read
        self.decide = decide
        self.settle = settle


class Redecide:
    """Takes the rows of a log in order, which `read` can read; `failed` hears of events that cannot be applied."""

    def __init__(self, read: Callable[[Row], Recorded], failed: Failed, erased: frozenset[str] = frozenset()) -> None:
        self.state = State()
        self._read = read
        self._failed = failed
        self._holds = log_codec().holds
        self._erased = erased
        self._gone: set[str] = set()  # streams of which something was erased
        self._rows: list[Row] = []
        self._message: tuple[Any, ...] = ()  # whose rows they are
        self._inputs_kept = False  # once a log keeps any, it keeps all
        self._doubted: set[str] = set()  # boots that did not start as is recorded: no version excuses them
        self._found: list[Divergence] = []  # the first of each boot
        self._diverged: Counter[str] = Counter()
        self._undecided: Counter[str] = Counter()
        self._commands = self._settled = 0
        self._writers = self._make_writers(erased)

    def __call__(self, row: Row) -> None:
        """Take the next row."""
        message = row[BOOT : CAUSE + 1]
        if message != self._message:
            self._decide(row[BOOT])
            self._message = message
        self._rows.append(row)

    def pass_over(self, rows: Iterable[tuple[Row, Any]]) -> None:
        """Take rows and their events that somebody else decides again, all at once.

        Raises one of UNAPPLIED at what does not fit.
        """
        fold(self.state.board, self._passed(rows))

    def finish(self, *, ends: bool = True) -> Redecided:
        """Decide what is left, and tell what came of it all; `ends`: the log has no more than this."""
        self._decide("" if ends or not self._rows else self._rows[0][BOOT])
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
                    evidence.decide(state.health, state.executors, envelope, [self._read(row).event for row in rows])
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
        writer = self._writers.get(rows[0][ACTOR])
        if writer is None:
            self._unknown(rows, f"nothing is known of how {rows[0][ACTOR]} decides", last=not next_boot)
            return
        try:
            envelope = self._envelope(writer, rows[0])
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

    def _unknown(self, rows: list[Row], why: str, *, last: bool) -> None:
        """What this version cannot read another one may have written, but not this one."""
        if why == ERASED or self._tolerated(rows[0][BOOT]):
            self._undecidable(rows, why)
        else:
            self._differs(rows, 0, (rows[0][STREAM], {"error": why}), None, last=last)

    def _envelope(self, writer: _Writer, first: Row) -> Envelope | None:
        if first[INPUT] is None:
            return None
        self._inputs_kept = True
        small = isinstance(first[INPUT], str) and not is_stub(first[INPUT])
        sender, message = writer.read(first[INPUT] if small else self._read(first).input or b"")
        return Envelope(first[CAUSE], first[AT_MS], first[MONO_MS], sender, message)

    def _compare(
        self, writer: _Writer, envelope: Envelope | None, rows: list[Row]
    ) -> tuple[int, tuple[str, Any] | None]:
        """How many rows the rules give, and what else they give in place of the next one. All those are applied."""
        done, count, at, mono, holds = 0, len(rows), rows[0][AT_MS], rows[0][MONO_MS], self._holds
        try:
            step = writer.decide(envelope, rows) if envelope else writer.settle(at)
            while True:
                for stream, event in step:
                    if done == count:
                        return done, (stream, event)
                    row = rows[done]
                    if row[STREAM] != stream or row[AT_MS] != at or row[MONO_MS] != mono:
                        return done, (stream, event)
                    if not holds(row[TYPE], row[SCHEMA], row[BODY], event) and self._read(row).event != event:
                        return done, (stream, event)
                    self._evolve(row, event)
                    done += 1
                step = writer.settle(at)
                if not step:
                    return done, None
        except UNAPPLIED as error:  # no message that fails leads to an event
            return done, (rows[0][STREAM], {"error": repr(error)})

    def _differs(
        self, rows: list[Row], done: int, other: tuple[str, Any] | None, envelope: Envelope | None, *, last: bool
    ) -> None:
        if why := self._excuse(rows, done, other, last=last):
            self._undecidable(rows, why, done)
            return
        boot, recorded = rows[0][BOOT], [self._read(row) for row in rows]
        if any(isinstance(row.event, ev.DaemonStarted) for row in recorded[done:]):
            self._doubted.add(boot)
        if not self._diverged[boot]:
            self._found.append(divergence(recorded, done, other, envelope))
        self._diverged[boot] += 1
        self._go_on(rows, done)

    def _excuse(self, rows: list[Row], done: int, other: tuple[str, Any] | None, *, last: bool) -> str:
        """Why the rows differ without being wrong; empty when there is no reason."""
        if self._gone and (self._gone & {row[STREAM] for row in rows} or (other and other[0] in self._gone)):
            return ERASED
        if not self._inputs_kept:
            return MISSING
        return CUT_SHORT if last and done == len(rows) else ""

    def _undecidable(self, rows: list[Row], why: str, done: int = 0) -> None:
        self._undecided[why] += 1
        self._go_on(rows, done)

    def _go_on(self, rows: list[Row], done: int) -> None:
        for row in rows[done:]:
            self._evolve(row, self._read(row).event)

    def _passed(self, rows: Iterable[tuple[Row, Any]]) -> Iterator[Fact]:
        for row, event in rows:
            if self._erased:
                self._remember(row, event)
            if row[INPUT] is not None:
                self._inputs_kept = True
            if row[STREAM] in (ev.HEALTH_STREAM, ev.SYSTEM_STREAM):
                self.state.evolve(row, event)
            else:
                yield row[POSITION], row[STREAM], row[AT_MS], event

    def _remember(self, row: Row, event: Any) -> None:
        if is_erased(event, self._erased):
            self._gone.add(row[STREAM])

    def _evolve(self, row: Row, event: Any) -> None:
        if self._erased:
            self._remember(row, event)
        try:
            self.state.evolve(row, event)
        except UNAPPLIED as error:
            self._failed(self._read(row), error)


def _healthy(events: Sequence[Any]) -> Decided:
    return [(ev.HEALTH_STREAM, event) for event in events]

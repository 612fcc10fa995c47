"""The rules of a log, written a second time: what may follow what, and not calls of the code that wrote the log.

A mistake there must not vouch for itself. (That the same code decides alike again is the matter of `redecide`.)

    a boot is over when another begins, and within one no actor's running time goes back
    what one message led to bears one time
    nothing ──created──► alive ──planned──► open attempt ──started──► open attempt ──outcome──► alive
                         alive ──completed, failed, cancelled──► ended      (once; only late outcomes and bills follow)
    modes and suspensions: `omni.replay.modes`
    a model call: reserved under an open attempt, or for none ──► settled   (once, whenever)

What breaks a rule is a finding; the first ones are kept in full, and all are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from omni.domain import events as ev
from omni.domain.board import OWN_STREAMS, Board
from omni.eventlog.chain import CAUSE, POSITION, STREAM
from omni.eventlog.store import Recorded, Row
from omni.replay.modes import SILENT, ModeCheck, Wrong

KEEP_FINDINGS = 100

_CALLS = frozenset({ev.CallReserved, ev.CallSettled, ev.CallRefused})
# What has its own word for coming after the end of a task.
_STAND_AFTER_END = frozenset({*ev.TASK_ENDS, ev.LateOutcomeArrived, ev.TaskCreated})


class Finding(msgspec.Struct, frozen=True):
    """One thing that should not be in a log."""

    position: int
    stream: str
    rule: str
    detail: str


class Counted(msgspec.Struct, frozen=True):
    """What a log holds."""

    events: int
    streams: int
    tasks: int
    ended: int
    open: int
    by_type: dict[str, int]


class Standing(msgspec.Struct, frozen=True):
    """How many tasks are open at a position, and which model calls."""

    tasks: int
    calls: tuple[str, ...]


def standing_of(board: Board) -> Standing:
    """What is open by a rebuilt state."""
    return Standing(board.open_tasks, tuple(sorted(board.ledger.open)))


def differences(position: int, by_rules: Standing, by_state: Standing) -> Iterator[Finding]:
    """What the rules hold open and the state does not, or the other way round."""
    for what, rules, state in (
        ("tasks", by_rules.tasks, by_state.tasks),
        ("calls", len(by_rules.calls), len(by_state.calls)),
    ):
        if rules != state or (what == "calls" and by_rules.calls != by_state.calls):
            detail = f"{rules} {what} are open by the rules, {state} in the rebuilt state"
            yield Finding(position, "", "state.differs", detail)


class _Life(msgspec.Struct):
    """What has to be remembered of one task to judge its next event."""

    attempts: int = 0
    attempt: str = ""  # planned, started, interrupted, or closed
    ended: str = ""


class RuleCheck:
    """Takes every event of a log in order."""

    def __init__(self) -> None:
        self.violations = 0
        self.findings: list[Finding] = []
        self._position = 0
        self._versions: dict[str, int] = {}
        self._boot = ""
        self._boots: set[str] = set()  # that are over
        self._mono_ms: dict[str, int] = {}  # of this boot, by actor
        self._message, self._at_ms, self._at_mono_ms = "", 0, 0  # of the row before
        self._lives: dict[str, _Life] = {}
        self._by_type: Counter[type[Any]] = Counter()
        self._calls: set[str] = set()  # reserved, and not settled
        self._modes = ModeCheck()

    def __call__(self, row: Row, event: Any) -> None:
        """Judge the next row, which holds this event."""
        self._order(row)
        stream, of = row[STREAM], type(event)
        self._by_type[of] += 1
        wrong = self._modes(stream, event) if of not in SILENT else []
        if (life := self._lives.get(stream)) is not None and of not in _CALLS:  # nearly all of a log
            wrong += _live_on(life, event)
        elif stream.startswith(ev.TASK_PREFIX) or stream in OWN_STREAMS:
            wrong += self._judge(stream, event)
        for rule, detail in wrong:
            self._find(row, rule, detail)

    @property
    def events(self) -> int:
        """How many were judged."""
        return self._by_type.total()

    def end(self, head: int) -> None:
        """Compare where the judged events end with where the log ends."""
        if self._position != head:
            self.note(Finding(head, "", "position.gap", f"the log ends at {self._position}, not at {head}"))

    def standing(self) -> Standing:
        """What is open now, by the rules."""
        return Standing(sum(1 for life in self._lives.values() if not life.ended), tuple(sorted(self._calls)))

    def compare(self, head: int, board: Board) -> None:
        """Compare what is open now with what the state rebuilt from the log says, where the rules found nothing."""
        if not self.violations:
            for finding in differences(head, self.standing(), standing_of(board)):
                self.note(finding)

    def counted(self) -> Counted:
        """What there was."""
        ended = sum(1 for life in self._lives.values() if life.ended)
        return Counted(
            events=self.events,
            streams=len(self._versions),
            tasks=len(self._lives),
            ended=ended,
            open=len(self._lives) - ended,
            by_type={ev.type_of(of): count for of, count in self._by_type.most_common()},
        )

    def note(self, finding: Finding) -> None:
        """Keep a finding, or count it where there are too many."""
        self.violations += 1
        if len(self.findings) < KEEP_FINDINGS:
            self.findings.append(finding)

    def unapplied(self, recorded: Recorded, error: Exception) -> None:
        """An event that does not fit the state."""
        detail = f"{ev.type_of(recorded.event)} cannot be applied: {error!r}"
        self.note(Finding(recorded.position, recorded.stream, "fold.failed", detail))

    def _order(self, row: Row) -> None:
        position, stream, version, _, _, at_ms, mono_ms, boot, actor, cause = row[: CAUSE + 1]
        if position != self._position + 1:
            self._find(row, "position.gap", f"follows position {self._position}")
        if version != (expected := self._versions.get(stream, 0) + 1):
            self._find(row, "version.gap", f"version {version}, expected {expected}")
        if boot != self._boot:
            self._another_boot(row, boot)
        if mono_ms < self._mono_ms.get(actor, mono_ms):
            self._find(row, "time.back", f"{actor} wrote it before what it wrote earlier in this boot")
        if cause == self._message and (at_ms != self._at_ms or mono_ms != self._at_mono_ms):
            self._find(row, "time.apart", f"it bears another time than what {cause} led to beside it")
        self._message, self._at_ms, self._at_mono_ms = cause, at_ms, mono_ms
        self._position, self._versions[stream], self._mono_ms[actor] = position, version, mono_ms

    def _another_boot(self, row: Row, boot: str) -> None:
        """One daemon writes at a time: a boot that is over does not come back."""
        if boot in self._boots:
            self._find(row, "boot.again", f"boot {boot} was over, {self._boot} had begun")
        self._boots.add(self._boot)
        self._boot, self._message = boot, ""
        self._mono_ms = {}

    def _judge(self, stream: str, event: Any) -> Wrong:
        """Judge what is no step in the life of a task that is known."""
        if type(event) in _CALLS:
            return self._judge_call(self._lives.get(stream), event)
        if stream in OWN_STREAMS:
            return []
        self._lives[stream] = life = _Life()
        if type(event) is ev.TaskCreated:
            return []
        return [("task.unborn", f"{ev.type_of(event)} before the task was created"), *_live_on(life, event)]

    def _judge_call(self, life: _Life | None, event: ev.CallEvent) -> Wrong:
        """A call is reserved once, under an open attempt or none, and settled once, be it after the task's end."""
        known = event.call in self._calls
        if isinstance(event, ev.CallReserved):
            self._calls.add(event.call)
            idle = life is not None and (life.attempt not in {"planned", "started"} or life.attempts != event.n)
            wrong = [("call.reserved_twice", f"{event.call} is open already")] if known else []
            return wrong + ([("call.without_attempt", f"for attempt {event.n}, which is not open")] if idle else [])
        if isinstance(event, ev.CallSettled) and not known:
            return [("call.unknown", f"{event.call} is not open")]
        if isinstance(event, ev.CallSettled):
            self._calls.remove(event.call)
        return []

    def _find(self, row: Row, rule: str, detail: str) -> None:
        self.note(Finding(row[POSITION], row[STREAM], rule, detail))


def _live_on(life: _Life, event: Any) -> Wrong:
    """Judge an event in the life of a task that exists, and remember what it changed."""
    of, wrong = type(event), []
    if life.ended and of not in _STAND_AFTER_END:
        wrong.append(("task.after_end", f"{ev.type_of(event)} after {life.ended}"))
    if of in _STEPS:
        before, after = _STEPS[of]
        if event.n != life.attempts:
            wrong.append(("attempt.number", f"{ev.type_of(event)} for attempt {event.n}; the last is {life.attempts}"))
        elif life.attempt not in before:
            wrong.append(("attempt.order", f"{ev.type_of(event)} while attempt {event.n} is {life.attempt}"))
        life.attempt = after
    elif of in _RULES:
        wrong += _RULES[of](life, event)
    return wrong


def _created(life: _Life, event: ev.TaskCreated) -> Wrong:
    return [("task.created_twice", "the task exists already")]


def _late(life: _Life, event: ev.LateOutcomeArrived) -> Wrong:
    return [] if event.n <= life.attempts else [("attempt.unknown", f"a late outcome for attempt {event.n}")]


def _ended(life: _Life, event: Any) -> Wrong:
    wrong: Wrong = []
    if life.ended:
        wrong = [("task.second_end", f"{ev.type_of(event)} after {life.ended}")]
    elif life.attempt in {"planned", "started"}:
        wrong = [("task.ended_with_open_attempt", f"{ev.type_of(event)} while attempt {life.attempts} has no outcome")]
    life.ended = ev.type_of(event)
    return wrong


def _planned(life: _Life, event: ev.AttemptPlanned) -> Wrong:
    wrong = []
    if life.attempt in {"planned", "started"}:
        wrong.append(("attempt.two_open", f"attempt {event.n} while {life.attempts} has no outcome"))
    if event.n != life.attempts + 1:
        wrong.append(("attempt.number", f"attempt {event.n} after {life.attempts}"))
    life.attempts, life.attempt = event.n, "planned"
    return wrong


# What an attempt must be for this to happen to it, and what it is then. What really finished wins: a success may follow
# an interruption, as long as the task has not ended.
_STEPS: dict[type[Any], tuple[tuple[str, ...], str]] = {
    ev.AttemptStarted: (("planned",), "started"),
    ev.AttemptSucceeded: (("started", "planned", "interrupted"), "closed"),
    ev.AttemptFailed: (("started", "planned"), "closed"),
    ev.AttemptInterrupted: (("started", "planned"), "interrupted"),
    ev.AttemptCancelled: (("started", "planned"), "closed"),
}
_RULES: dict[type[Any], Callable[[_Life, Any], Wrong]] = {
    ev.TaskCreated: _created,
    ev.AttemptPlanned: _planned,
    ev.LateOutcomeArrived: _late,
    **dict.fromkeys(ev.TASK_ENDS, _ended),
}

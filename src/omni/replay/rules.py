"""The rules of a log, written a second time: what may follow what, and not calls of the code that wrote the log.

A mistake there must not vouch for itself. (That the same code decides alike again is the matter of `redecide`.)

    a boot is over when another begins, and within one no actor's running time goes back
    nothing ──created──► alive ──planned──► open attempt ──started──► open attempt ──outcome──► alive
                         alive ──completed, failed, cancelled──► ended      (once; only late outcomes and bills follow)
    modes and suspensions: `omni.replay.modes`
    a model call: reserved under an open attempt, or for none ──► settled   (once, whenever)

What breaks a rule is a finding; the first ones are kept in full, and all are counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from omni.domain import events as ev
from omni.domain.board import OWN_STREAMS, Board
from omni.eventlog.store import Recorded
from omni.replay.modes import SILENT, ModeCheck

KEEP_FINDINGS = 100

_TERMINAL = (ev.TaskCompleted, ev.TaskFailed, ev.TaskCancelled)
_CALLS = (ev.CallReserved, ev.CallSettled, ev.CallRefused)
_OUTCOMES = (ev.AttemptSucceeded, ev.AttemptFailed, ev.AttemptInterrupted, ev.AttemptCancelled)


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


class _Life(msgspec.Struct):
    """What has to be remembered of one task to judge its next event."""

    attempts: int = 0
    attempt: str = ""  # planned, started, interrupted, or closed
    ended: str = ""


class RuleCheck:
    """Takes every event of a log in order."""

    def __init__(self) -> None:
        self.events = 0
        self.violations = 0
        self.findings: list[Finding] = []
        self._position = 0
        self._versions: dict[str, int] = {}
        self._boot = ""
        self._boots: set[str] = set()  # that are over
        self._mono_ms: dict[str, int] = {}  # of this boot, by actor
        self._lives: dict[str, _Life] = {}
        self._by_type: Counter[type[Any]] = Counter()
        self._calls: set[str] = set()  # reserved, and not settled
        self._modes = ModeCheck()

    def __call__(self, recorded: Recorded) -> None:
        self.events += 1
        self._by_type[type(recorded.event)] += 1
        self._order(recorded)
        if type(recorded.event) not in SILENT:
            for rule, detail in self._modes(recorded.stream, recorded.event):
                self._find(recorded, rule, detail)
        if recorded.stream.startswith(ev.TASK_PREFIX) or recorded.stream in OWN_STREAMS:
            for rule, detail in self._judge(recorded):
                self._find(recorded, rule, detail)

    def end(self, head: int, board: Board) -> None:
        """Compare what was judged with what the state rebuilt from the log says."""
        if self._position != head:
            self.note(Finding(head, "", "position.gap", f"the log ends at {self._position}, not at {head}"))
        alive = sum(1 for life in self._lives.values() if not life.ended)
        if not self.violations and alive != board.open_tasks:
            detail = f"{alive} tasks are open by the rules, {board.open_tasks} in the rebuilt state"
            self.note(Finding(head, "", "state.differs", detail))
        if not self.violations and self._calls != board.ledger.open.keys():
            detail = f"{len(self._calls)} calls are open by the rules, {len(board.ledger.open)} in the rebuilt state"
            self.note(Finding(head, "", "state.differs", detail))

    def counted(self) -> Counted:
        """What there was."""
        ended = sum(1 for life in self._lives.values() if life.ended)
        return Counted(
            events=self.events,
            streams=len(self._versions),
            tasks=len(self._lives),
            ended=ended,
            open=len(self._lives) - ended,
            by_type={str(of.__struct_config__.tag): count for of, count in self._by_type.most_common()},
        )

    def note(self, finding: Finding) -> None:
        """Keep a finding, or count it where there are too many."""
        self.violations += 1
        if len(self.findings) < KEEP_FINDINGS:
            self.findings.append(finding)

    def unapplied(self, recorded: Recorded, error: Exception) -> None:
        """An event that does not fit the state."""
        self._find(recorded, "fold.failed", f"{_name(recorded.event)} cannot be applied: {error!r}")

    def _order(self, recorded: Recorded) -> None:
        if recorded.position != self._position + 1:
            self._find(recorded, "position.gap", f"follows position {self._position}")
        expected = self._versions.get(recorded.stream, 0) + 1
        if recorded.version != expected:
            self._find(recorded, "version.gap", f"version {recorded.version}, expected {expected}")
        self._position = recorded.position
        self._versions[recorded.stream] = recorded.version
        if recorded.boot != self._boot:
            self._another_boot(recorded)
        if recorded.mono_ms < self._mono_ms.get(recorded.actor, recorded.mono_ms):
            self._find(recorded, "time.back", f"{recorded.actor} wrote it before what it wrote earlier in this boot")
        self._mono_ms[recorded.actor] = recorded.mono_ms

    def _another_boot(self, recorded: Recorded) -> None:
        """One daemon writes at a time: a boot that is over does not come back."""
        if recorded.boot in self._boots:
            self._find(recorded, "boot.again", f"boot {recorded.boot} was over, {self._boot} had begun")
        self._boots.add(self._boot)
        self._boot = recorded.boot
        self._mono_ms = {}

    def _judge(self, recorded: Recorded) -> list[tuple[str, str]]:
        event = recorded.event
        life = self._lives.get(recorded.stream)
        if isinstance(event, _CALLS):
            return self._judge_call(life, event)
        if recorded.stream in OWN_STREAMS:
            return []
        if life is None:
            self._lives[recorded.stream] = life = _Life()
            if isinstance(event, ev.TaskCreated):
                return []
            return [("task.unborn", f"{_name(event)} before the task was created"), *_live_on(life, event)]
        if isinstance(event, ev.TaskCreated):
            return [("task.created_twice", "the task exists already")]
        return _live_on(life, event)

    def _judge_call(self, life: _Life | None, event: ev.CallEvent) -> list[tuple[str, str]]:
        """A call is reserved once, under an open attempt or none, and settled once, be it after the task's end."""
        known = event.call in self._calls
        if isinstance(event, ev.CallReserved):
            self._calls.add(event.call)
            idle = life is not None and (life.attempt not in {"planned", "started"} or life.attempts != event.n)
            wrong = [("call.reserved_twice", f"{event.call} is open already")] if known else []
            return wrong + ([("call.without_attempt", f"for attempt {event.n}, which is not open")] if idle else [])
        if isinstance(event, ev.CallSettled) and not known:
            return [("call.unknown", f"{event.call} is not open")]
        self._calls -= {event.call} if isinstance(event, ev.CallSettled) else set()
        return []

    def _find(self, recorded: Recorded, rule: str, detail: str) -> None:
        self.note(Finding(recorded.position, recorded.stream, rule, detail))


def _live_on(life: _Life, event: Any) -> list[tuple[str, str]]:
    """Judge an event in the life of a task that exists, and remember what it changed."""
    if isinstance(event, ev.LateOutcomeArrived):
        return [] if event.n <= life.attempts else [("attempt.unknown", f"a late outcome for attempt {event.n}")]
    wrong = [("task.after_end", f"{_name(event)} after {life.ended}")] if life.ended else []
    if isinstance(event, _TERMINAL):
        return _ended(life, event, wrong)
    if isinstance(event, ev.AttemptPlanned):
        return wrong + _planned(life, event)
    if isinstance(event, ev.AttemptStarted):
        return wrong + _step(life, event, ("planned",), "started")
    if isinstance(event, _OUTCOMES):
        return wrong + _outcome(life, event)
    return wrong


def _ended(life: _Life, event: Any, wrong: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if life.ended:
        wrong = [("task.second_end", f"{_name(event)} after {life.ended}")]
    elif life.attempt in {"planned", "started"}:
        wrong = [("task.ended_with_open_attempt", f"{_name(event)} while attempt {life.attempts} has no outcome")]
    life.ended = _name(event)
    return wrong


def _planned(life: _Life, event: ev.AttemptPlanned) -> list[tuple[str, str]]:
    wrong = []
    if life.attempt in {"planned", "started"}:
        wrong.append(("attempt.two_open", f"attempt {event.n} while {life.attempts} has no outcome"))
    if event.n != life.attempts + 1:
        wrong.append(("attempt.number", f"attempt {event.n} after {life.attempts}"))
    life.attempts, life.attempt = event.n, "planned"
    return wrong


def _outcome(life: _Life, event: Any) -> list[tuple[str, str]]:
    # What really finished wins: a success may follow an interruption, as long as the task has not ended.
    late = ("interrupted",) if isinstance(event, ev.AttemptSucceeded) else ()
    after = "interrupted" if isinstance(event, ev.AttemptInterrupted) else "closed"
    return _step(life, event, ("planned", "started", *late), after)


def _step(life: _Life, event: Any, allowed: tuple[str, ...], after: str) -> list[tuple[str, str]]:
    wrong = []
    if event.n != life.attempts:
        wrong.append(("attempt.number", f"{_name(event)} for attempt {event.n}; the last is {life.attempts}"))
    elif life.attempt not in allowed:
        wrong.append(("attempt.order", f"{_name(event)} while attempt {event.n} is {life.attempt}"))
    life.attempt = after
    return wrong


def _name(event: Any) -> str:
    return str(type(event).__struct_config__.tag)

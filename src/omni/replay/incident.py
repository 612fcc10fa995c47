"""An incident as figures and facts: what a report of a stretch of the log says, before anybody puts it into words.

One walk over the stretch, from the state in which it began (which tasks were open, whose calls they are). The figures
are those of `omni status`, `omni costs` and `omni verify` for the same stretch, from the same folds. Verification is of
the whole log.

Memory: the open tasks, the bounded lists here, and what `omni.replay.affected` says of itself.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from omni.domain import board as boards
from omni.domain import events as ev
from omni.domain.board import OWN_STREAMS, Board
from omni.domain.drill import MARK
from omni.domain.values import Cause, Evidence, Millis, Mode
from omni.domain.verdict import Verdict
from omni.replay.affected import Affected, AffectedTasks
from omni.replay.bands import Picture, picture
from omni.replay.cost_table import DayTable
from omni.replay.costs import Line
from omni.replay.history import REPORT_EVERY, Count, History, nothing
from omni.replay.state import state_at
from omni.replay.verify import Report, verify

MOST_CHANGES = 80
MOST_MOMENTS = 400
MOST_CHOICES = 60
RAW_EVENTS = 400

_ORDER: tuple[Mode, ...] = ("NORMAL", "DEGRADED", "BRAINSTEM")
# What a reader of the story needs to know beside tasks; anything else is in the raw events.
_MOMENTS = frozenset({
    ev.DaemonStarted, ev.DaemonStopped, ev.ConfigLoaded, ev.LossAccepted, ev.DrillBegun, ev.ProxyChanged,
    ev.CloudChanged, ev.KeyChanged, ev.BreakerChanged, ev.ExecutorHealthChanged, ev.ClockJumped, ev.ModeForced,
    ev.ModeChanged, ev.Suspended, ev.Restored, ev.LocalModelChanged, ev.NoticeQueued, ev.NoticeDropped,
    ev.RepairStarted, ev.RepairEnded, ev.RepairGivenUp, ev.DispatchPaused, ev.DispatchResumed,
})  # fmt: skip
_COUNTED: dict[type[Any], str] = {
    ev.TaskCreated: "created", ev.TaskCompleted: "completed", ev.TaskFailed: "failed", ev.TaskCancelled: "cancelled",
    ev.AttemptPlanned: "attempts", ev.AttemptSucceeded: "succeeded", ev.AttemptFailed: "attempts_failed",
    ev.AttemptInterrupted: "interrupted", ev.AttemptCancelled: "attempts_cancelled", ev.LateOutcomeArrived: "late",
    ev.NoticeQueued: "notices", ev.NoticeDropped: "notices_dropped", ev.RepairStarted: "repairs",
    ev.RepairGivenUp: "repairs_given_up", ev.DaemonStarted: "starts", ev.DrillBegun: "drills",
    ev.CallReserved: "calls", ev.CallRefused: "calls_refused",
}  # fmt: skip


class Change(msgspec.Struct, frozen=True):
    """One change of the mode. `noticed_ms` is from the first failure that led to it (None where it is a way back),
    `lasted_ms` until the next change (None: none followed); `suspended` tasks and `interrupted` attempts fell into that
    time. `drill`: what led to it was made up by one.
    """

    position: int
    at_ms: Millis
    before: Mode
    after: Mode
    cause: Cause
    reason: str
    evidence: tuple[Evidence, ...]
    noticed_ms: int | None
    drill: bool
    lasted_ms: int | None = None
    suspended: int = 0
    interrupted: int = 0


class Choice(msgspec.Struct, frozen=True):
    """Tasks that were routed alike: `tasks` of them, `example` the first, and who was out there and why."""

    executor: str
    tier: str
    model: str
    mode: str
    reason: str
    tasks: int
    example: str
    rejected: tuple[tuple[str, str], ...]


class Moment(msgspec.Struct, frozen=True):
    """One event of the story, with its body as the log has it."""

    position: int
    at_ms: Millis
    type: str
    body: dict[str, Any]
    task_id: str = ""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a report says. `open` counts tasks by state at the end, `open_before` all at the beginning.

    `mode_ms` is the time in each mode, `down_ms` that without a daemon. Lists are bounded; what is in them no more is
    counted beside them. `costs_by_day` is by day and
    model, `verdict` is None where nobody asked for it.
    """

    after: int
    until: int
    head: int
    from_ms: Millis | None
    until_ms: Millis | None
    events: int
    version: str
    config: str
    counts: dict[str, int]
    open: dict[str, int]
    open_before: int
    notices: dict[str, int]
    mode_ms: dict[str, int]
    down_ms: int
    picture: Picture
    changes: tuple[Change, ...]
    changes_more: int
    moments: tuple[Moment, ...]
    moments_more: int
    affected: tuple[Affected, ...]
    affected_tasks: int
    affected_by: dict[str, int]
    choices: tuple[Choice, ...]
    choices_more: int
    costs: Line
    costs_by_model: dict[str, Line]
    costs_by_day: dict[str, dict[str, Line]]
    verdict: Report | None
    raw: tuple[Moment, ...]

    @property
    def tasks_open(self) -> int:
        """How many tasks had not ended at the end."""
        return sum(self.open.values())


def incident(
    history: History, after: int, until: int | None, count: Count = nothing, *, check: bool = True
) -> Incident:
    """What happened in `after < position <= until` (None: to the end); `check` verifies the whole log as well.

    Raises EventLogError where the log cannot be read.
    """
    reader = history.reader
    head = reader.head.position
    until = head if until is None else min(until, head)
    told = _Telling(state_at(history, min(after, until), count).board)
    for done, (position, stream, at, event) in enumerate(reader.facts(after, (), until=until)):
        if done % REPORT_EVERY == 0:
            count(done)
        told.add(position, stream, at, event)
    drawn = picture(history, after, until, count)
    verdict = verify(history.database, count) if check else None
    started = reader.last(ev.SYSTEM_STREAM, "system.started", until)
    loaded = reader.last(ev.SYSTEM_STREAM, "system.config_loaded", until)
    ran = (started.event.version if started else "", loaded.event.digest if loaded else "")  # type: ignore[attr-defined]
    return told.incident(after, until, head, ran, drawn, verdict)


class _Telling:
    def __init__(self, board: Board) -> None:
        self._board = board
        self._affected = AffectedTasks(self._board)
        self._choices = _Choices()
        self._changes = _Changes()
        self._bill = DayTable()
        self._bill.begin(board)
        self._counts: Counter[str] = Counter()
        self._notices: Counter[str] = Counter()
        self._raw: list[Moment] = []
        self._moments: list[Moment] = []
        self._moments_seen = 0
        self._events = 0
        self._open_before = sum(not each.ended for each in board.tasks.values())
        self._from: Millis | None = None
        self._until: Millis | None = None

    def add(self, position: int, stream: str, at: Millis, event: Any) -> None:
        """Take in one event."""
        is_task = stream.startswith(ev.TASK_PREFIX)
        if is_task or stream in OWN_STREAMS:
            boards.evolve(self._board, stream, event, at, position)
            self._bill.add(stream, event, at)
        self._count(position, stream, at, event)
        if is_task:
            self._of_task(position, stream.removeprefix(ev.TASK_PREFIX), at, event)

    def _count(self, position: int, stream: str, at: Millis, event: Any) -> None:
        self._events += 1
        self._from = at if self._from is None else self._from
        self._until = at
        if name := _COUNTED.get(type(event)):
            self._counts[name] += 1
        if isinstance(event, ev.NoticeQueued):
            self._notices[event.kind] += 1
        self._changes.add(position, at, event)
        if len(self._raw) < RAW_EVENTS:
            self._raw.append(_moment(position, stream, at, event))
        if type(event) in _MOMENTS and not getattr(event, "to", ""):  # an answer to one chat is no part of the story
            self._moments_seen += 1
            if len(self._moments) < MOST_MOMENTS:
                self._moments.append(_moment(position, stream, at, event))

    def _of_task(self, position: int, task_id: str, at: Millis, event: Any) -> None:
        self._affected.add(position, task_id, at, event)
        if isinstance(event, ev.TaskRouted):
            self._choices.add(task_id, event)

    def incident(
        self, after: int, until: int, head: int, ran: tuple[str, str], drawn: Picture, verdict: Report | None
    ) -> Incident:
        """All of it; `ran` is the version and the configuration."""
        self._bill.close()
        open_tasks = Counter(str(each.state) for each in self._board.tasks.values() if not each.ended)
        changes, choices = self._changes.made(), self._choices.made()
        return Incident(
            after=after,
            until=until,
            head=head,
            from_ms=self._from,
            until_ms=self._until,
            events=self._events,
            version=ran[0],
            config=ran[1],
            counts=dict(self._counts),
            open=dict(open_tasks),
            open_before=self._open_before,
            notices=dict(self._notices),
            mode_ms=_mode_ms(drawn),
            down_ms=sum(_within(drawn, gap.from_ms, gap.until_ms) for gap in drawn.gaps),
            picture=drawn,
            changes=changes[:MOST_CHANGES],
            changes_more=max(0, len(changes) - MOST_CHANGES),
            moments=tuple(self._moments),
            moments_more=self._moments_seen - len(self._moments),
            affected=self._affected.listed(),
            affected_tasks=self._affected.tasks,
            affected_by=dict(self._affected.by_kind),
            choices=choices[:MOST_CHOICES],
            choices_more=max(0, len(choices) - MOST_CHOICES),
            costs=self._bill.total,
            costs_by_model=self._bill.models,
            costs_by_day=self._bill.cells,
            verdict=verdict,
            raw=tuple(self._raw),
        )


class _Changes:
    """Mode changes, and what fell into the time of each."""

    def __init__(self) -> None:
        self._made: list[Change] = []

    def add(self, position: int, at: Millis, event: Any) -> None:
        last = self._made[-1] if self._made else None
        if isinstance(event, ev.ModeChanged):
            if last is not None:
                self._made[-1] = msgspec.structs.replace(last, lasted_ms=at - last.at_ms)
            worse = _ORDER.index(event.after) > _ORDER.index(event.before)
            began = min((e.at for e in event.evidence if worse and e.verdict != Verdict.OK), default=None)
            self._made.append(
                Change(
                    position, at, event.before, event.after, event.cause, event.reason, event.evidence,
                    None if began is None else at - began,
                    any(each.detail.startswith(MARK) for each in event.evidence if each.verdict != Verdict.OK),
                )
            )  # fmt: skip
        elif last is not None and isinstance(event, ev.TaskSuspended):
            self._made[-1] = msgspec.structs.replace(last, suspended=last.suspended + 1)
        elif last is not None and isinstance(event, ev.AttemptInterrupted):
            self._made[-1] = msgspec.structs.replace(last, interrupted=last.interrupted + 1)

    def made(self) -> tuple[Change, ...]:
        return tuple(self._made)


class _Choices:
    """Routing decisions, those that are alike together."""

    def __init__(self) -> None:
        self._tasks: Counter[tuple[str, ...]] = Counter()
        self._first: dict[tuple[str, ...], tuple[str, ev.TaskRouted]] = {}

    def add(self, task_id: str, event: ev.TaskRouted) -> None:
        route = event.route
        where = (route.executor, route.tier, route.model, route.mode) if route else ("", "", "", "")
        key = (*where, event.reason)
        self._tasks[key] += 1
        self._first.setdefault(key, (task_id, event))

    def made(self) -> tuple[Choice, ...]:
        ranked = sorted(self._tasks.items(), key=lambda each: (-each[1], each[0]))
        return tuple(self._choice(key, tasks) for key, tasks in ranked)

    def _choice(self, key: tuple[str, ...], tasks: int) -> Choice:
        executor, tier, model, mode, reason = key
        example, event = self._first[key]
        out = tuple((each.executor, each.rejected) for each in event.candidates if each.rejected)
        return Choice(executor, tier, model, mode, reason, tasks, example, out)


def _moment(position: int, stream: str, at: Millis, event: Any) -> Moment:
    body = msgspec.to_builtins(event)
    task_id = stream.removeprefix(ev.TASK_PREFIX) if stream.startswith(ev.TASK_PREFIX) else ""
    return Moment(position, at, str(body.pop("type")), body, task_id)


def _mode_ms(drawn: Picture) -> dict[str, int]:
    spent: Counter[str] = Counter()
    for band in drawn.bands:
        spent[band.mode] += _within(drawn, band.from_ms, band.until_ms)
    return dict(spent)


def _within(drawn: Picture, begin: Millis, end: Millis | None) -> int:
    last = drawn.until_ms if end is None else min(end, drawn.until_ms)
    return max(0, last - max(begin, drawn.from_ms))

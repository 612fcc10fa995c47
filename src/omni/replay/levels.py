"""Service levels, straight from the log: overhead below 2 s, failover below 5 s, available more than 99 % of the time.

    figure          from                                                       bound
    overhead        attempt.planned ──▶ attempt.started, a task's first start  2 s     handing over; waiting is apart
    detection       first bad observation in the evidence ──▶ DEGRADED         5 s     when it broke, no log knows
    calls moved     reserved on the proxy ──▶ first byte from elsewhere        5 s     `omni.replay.trips`
    submission      a daemon held the log, of all the time                     99 %
    path            and the mode was not BRAINSTEM                             99 %
    completion      completed, of all tasks that completed or failed           99 %    whosever fault a failure was

A crash leaves no word: when its daemon died between the last event and the next start, nobody knows. So availability
has two ends, and only a stop in good order counts as down in both. Drills, known by what their observations say of
themselves, and a mode that a person asked for are told apart from outages and count against nothing. Requests that
were turned away leave no event: how many is None. A clock that was set moves what it ran through.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from itertools import chain
from typing import Any, Literal, TypeAlias

import msgspec

from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.drill import MARK
from omni.domain.ledger import DAY_MS
from omni.domain.task import Task
from omni.domain.values import AttemptState, Evidence, Millis, Mode
from omni.replay.bands import last_word
from omni.replay.history import REPORT_EVERY, Count, History, nothing
from omni.replay.level_figures import KINDS, Drill, Kind, Levels, ModeTime, Outage, Share, Spread
from omni.replay.state import state_at
from omni.replay.trips import Trips
from omni.replay.when import position_at

__all__ = ["Levels", "levels", "rolling"]

OVERHEAD_MS = 2_000
FAILOVER_MS = 5_000
WINDOW_DAYS = 30
KEPT = 200  # outages and drills that are listed, the newest; all are counted

Presence: TypeAlias = Literal["up", "stopped", "unclear"]
_DRILLED: dict[str, str] = {  # the mode that a drill of this fault has to lead to; "" for none
    "proxy-down": "DEGRADED",
    "proxy-hang": "DEGRADED",
    "cloud-down": "BRAINSTEM",
    "rate-limit": "",
    "quota": "",
}


def levels(history: History, since: Millis = 0, until: int | None = None, count: Count = nothing) -> Levels:
    """Service levels from a moment on, up to a position (None: to the end). Raises CorruptLog.

    Of what came before that moment only modes, starts and stops are read; tasks are taken as the state then has them,
    and calls that were under way are left out.
    """
    reader = history.reader
    end = reader.head.position if until is None else until
    begin = min(end, position_at(reader, since - 1))
    fold = _Fold(history, since)
    if begin:
        fold.begin(state_at(history, begin, count).board)
    types = [ev.type_of(kind) for kind in fold.book]
    before = reader.facts(0, (ev.HEALTH_STREAM, ev.SYSTEM_STREAM), until=begin, types=types)
    for done, (position, stream, at, event) in enumerate(
        chain(before, reader.facts(begin, (), until=end, types=types))
    ):
        if done % REPORT_EVERY == 0:
            count(done)
        fold.book[type(event)](position, stream, at, event)
    return fold.end(end, count)


def rolling(history: History, days: int = WINDOW_DAYS, now: Millis | None = None, count: Count = nothing) -> Levels:
    """Service levels of the last so many days before `now`, or before the log's last event."""
    end = now if now is not None else history.reader.at_ms(history.reader.head.position) or 0
    return levels(history, end - days * DAY_MS, None, count)


class _Life(msgspec.Struct):
    """A task that has not ended: when it came, and when the attempt was planned that is to be its first start."""

    created: Millis
    planned: Millis | None = None
    started: bool = False


class _Fold:
    def __init__(self, history: History, since: Millis) -> None:
        self._history = history
        self._since = since
        self._lives: dict[str, _Life] = {}
        self._all = Counter[str]()  # with what was open before: that does not begin with a window
        self._in = Counter[str]()
        self._kinds = Counter[str]()
        self._spans = Counter[tuple[Presence, Mode, Kind]]()
        self._presence: Presence | None = None
        self._seen: Millis = since  # up to here the time is accounted for
        self._now: Outage | None = None
        self._modes = {kind: {mode: ModeTime() for mode in ("DEGRADED", "BRAINSTEM")} for kind in KINDS}
        self._outages: deque[Outage] = deque(maxlen=KEPT)
        self._drills: deque[Drill] = deque(maxlen=KEPT)
        self._drill: Drill | None = None
        self._trips = Trips(since)
        self._overhead, self._waited = Spread(OVERHEAD_MS), Spread()
        self._detection, self._moved = Spread(FAILOVER_MS), Spread(FAILOVER_MS)
        self.book: dict[type[Any], Callable[[int, str, Millis, Any], None]] = {
            ev.DaemonStarted: self._up,
            ev.DaemonStopped: self._down,
            ev.ModeChanged: self._mode,
            ev.DrillBegun: self._begun,
            ev.TaskCreated: self._created,
            ev.AttemptPlanned: self._planned,
            ev.AttemptStarted: self._started,
            ev.AttemptSucceeded: self._started,  # a dry run answers without having begun
            **dict.fromkeys(ev.TASK_ENDS, self._ended),
            ev.CallReserved: self._reserved,
            ev.CallSettled: self._settled,
        }

    def begin(self, board: Board) -> None:
        """Take the tasks that are open before all that is read."""
        self._lives = {task.stream: _life(task) for task in board.tasks.values() if not task.ended}
        self._all["created"] = len(self._lives)

    # --- time -----------------------------------------------------------------------------------------------------

    def _up(self, position: int, _: str, at: Millis, event: ev.DaemonStarted) -> None:
        if self._presence == "up":  # the one before it left without a word
            last = last_word(self._history.reader, position)
            self._pass(last.at_ms if last else at)
            self._presence = "unclear"
            self._in["crashes"] += at >= self._since
        self._pass(at)
        self._presence = "up"

    def _down(self, _position: int, _stream: str, at: Millis, event: ev.DaemonStopped) -> None:
        self._pass(at)
        self._presence = "stopped"

    def _pass(self, at: Millis) -> None:
        """Book the time since the last change under what was true in it."""
        if self._presence is None:
            self._since = self._seen = max(self._since, at)  # there is no time before the first daemon
        spent = max(0, at - self._seen)
        if spent and self._presence:
            mode: Mode = self._now.mode if self._now else "NORMAL"
            self._spans[self._presence, mode, self._now.kind if self._now else "outage"] += spent
        self._seen = max(self._seen, at)

    # --- modes and drills -----------------------------------------------------------------------------------------

    def _mode(self, position: int, _: str, at: Millis, event: ev.ModeChanged) -> None:
        if event.before == event.after:
            return
        self._pass(at)
        self._leave(at)
        if event.after == "NORMAL":
            self._back(at)
            return
        kind: Kind = "asked" if event.cause == "operator" else "drill" if _made_up(event.evidence) else "outage"
        sign = min((each.at for each in event.evidence if each.verdict != "ok"), default=None)
        took_ms = None if sign is None or kind == "asked" else max(0, at - sign)
        self._now = Outage(event.after, event.cause, kind, position, at, sign, took_ms)
        if kind == "outage" and event.after == "DEGRADED" and took_ms is not None and at >= self._since:
            self._detection.add(took_ms)
        if self._drill and kind == "drill" and not self._drill.mode:
            self._drill.mode, self._drill.detected_ms = event.after, at - self._drill.begun_ms

    def _leave(self, at: Millis) -> None:
        """The mode that was in force is over."""
        if self._now is not None:
            self._keep(msgspec.structs.replace(self._now, ended_ms=at), at)
        self._now = None

    def _keep(self, outage: Outage, until: Millis) -> None:
        """Book a stay in a mode, as far as it lies in the window."""
        if until <= self._since:
            return
        self._outages.append(outage)
        spent = max(0, until - max(outage.began_ms, self._since))  # a clock may have been set back meanwhile
        sums = self._modes[outage.kind][outage.mode]
        sums.times, sums.total_ms, sums.longest_ms = (
            sums.times + 1,
            sums.total_ms + spent,
            max(spent, sums.longest_ms),
        )

    def _begun(self, position: int, _: str, at: Millis, event: ev.DrillBegun) -> None:
        self._judge()
        self._drill = Drill(event.fault, position, at, event.until_ms)
        if at >= self._since:
            self._drills.append(self._drill)
            self._in["drills"] += 1

    def _back(self, at: Millis) -> None:
        """The mode is NORMAL again; before the end of a drill that is not yet the way out of it."""
        if self._drill and self._drill.mode and at >= self._drill.until_ms:
            self._drill.back_ms = at - self._drill.until_ms
            self._judge()

    def _judge(self) -> None:
        """Nothing more is to come of the drill."""
        if self._drill:
            back = self._drill.back_ms is not None or not self._drill.mode
            as_wanted = self._drill.mode == _DRILLED.get(self._drill.fault)
            self._drill.ok = as_wanted and back and not self._drill.tasks_failed
        self._drill = None

    # --- tasks ----------------------------------------------------------------------------------------------------

    def _created(self, _: int, stream: str, at: Millis, event: ev.TaskCreated) -> None:
        self._lives[stream] = _Life(at)
        self._all["created"] += 1
        self._in["created"] += at >= self._since

    def _planned(self, _: int, stream: str, at: Millis, event: ev.AttemptPlanned) -> None:
        life = self._lives.get(stream)
        if life is None or life.started:
            return
        if life.planned is None and at > life.created and at >= self._since:
            self._waited.add(at - life.created)
        life.planned = at

    def _started(self, _: int, stream: str, at: Millis, event: Any) -> None:
        life = self._lives.get(stream)
        if life is None or life.started or life.planned is None:
            return
        life.started = True
        if at >= self._since:
            self._overhead.add(max(0, at - life.planned))

    def _ended(self, _: int, stream: str, at: Millis, event: Any) -> None:
        if self._lives.pop(stream, None) is None:
            self._all["doubled"] += 1
            return
        self._all["ended"] += 1
        failed = isinstance(event, ev.TaskFailed)
        if failed and self._drill and (self._now or at < self._drill.until_ms):
            self._drill.tasks_failed += 1
        if at >= self._since:
            self._in[ev.type_of(event)] += 1
            self._kinds.update([event.error.kind] if failed else [])

    # --- calls ----------------------------------------------------------------------------------------------------

    def _reserved(self, _: int, stream: str, at: Millis, event: ev.CallReserved) -> None:
        self._trips.reserved(event, at)

    def _settled(self, _: int, stream: str, at: Millis, event: ev.CallSettled) -> None:
        took_ms = self._trips.settled(event)
        if took_ms is not None and at >= self._since:
            self._moved.add(took_ms)

    # --- the end --------------------------------------------------------------------------------------------------

    def end(self, until: int, count: Count) -> Levels:
        """Account for what still lasts, and add up."""
        reader, tasks = self._history.reader, self._all
        at = max(reader.at_ms(until) or 0, self._seen)
        if self._presence:
            self._pass(at)
        if self._now is not None:
            self._keep(self._now, at)
        if self._drill and at >= self._drill.until_ms and self._now is None:
            self._judge()
        alive = state_at(self._history, until, count).board.open_tasks
        done, failed = self._in["task.completed"], self._in["task.failed"]
        return Levels(
            since_ms=self._since,
            until_ms=at,
            overhead=self._overhead,
            waited=self._waited,
            detection=self._detection,
            calls_moved=self._moved,
            calls_unanswered=self._trips.unanswered,
            modes={kind: {str(mode): each for mode, each in of.items()} for kind, of in self._modes.items()},
            submission=self._share(lambda _mode, _kind: True),
            path=self._share(lambda mode, kind: mode != "BRAINSTEM" or kind != "outage"),
            completion=_exactly(done, done + failed),
            up_ms=self._spent("up"),
            stopped_ms=self._spent("stopped"),
            unclear_ms=self._spent("unclear"),
            crashes=self._in["crashes"],
            created=self._in["created"],
            completed=done,
            failed=failed,
            cancelled=self._in["task.cancelled"],
            open=alive,
            lost=tasks["created"] - tasks["ended"] - alive,
            doubled=tasks["doubled"],
            failed_by_kind=dict(sorted(self._kinds.items())),
            outages=list(self._outages),
            drills=list(self._drills),
            drills_held=self._in["drills"],
        )

    def _spent(self, presence: Presence) -> int:
        return sum(ms for (each, _, _), ms in self._spans.items() if each == presence)

    def _share(self, counts: Callable[[Mode, Kind], bool]) -> Share:
        """The part of all the time in which a daemon was there and this held: for sure, and at most."""
        whole = sum(self._spans.values())
        held = Counter[str]()
        for (presence, mode, kind), ms in self._spans.items():
            held[presence] += ms if counts(mode, kind) else 0
        return Share(held["up"] / whole, (held["up"] + held["unclear"]) / whole) if whole else Share(None, None)


def _life(task: Task) -> _Life:
    started = any(each.started_at is not None or each.state is AttemptState.SUCCEEDED for each in task.attempts)
    return _Life(task.created_at, task.last.planned_at if task.last else None, started)


def _exactly(part: int, whole: int) -> Share:
    return Share(part / whole, part / whole) if whole else Share(None, None)


def _made_up(evidence: tuple[Evidence, ...]) -> bool:
    """Whether a drill made up every failure that was observed."""
    bad = [each for each in evidence if each.verdict != "ok"]
    return bool(bad) and all(each.detail.startswith(MARK) for each in bad)

"""What the promises allow, written from their words and not from the rules: a judge that reads the log as it grows.

A task's life is a walk through LIFE. States in PASSING must not be the last thing in the log: what follows from them
belongs into the same commit, or a crash would leave a task that nobody moves.

    new ─┬─> queued ──> planned ──> started ──> won ──> ended
         └─> held      (failed, unknown, stopped: how an attempt can end otherwise)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from omni.domain.values import StartGuard

OUTCOMES = {
    "attempt.succeeded": "won",
    "attempt.failed": "failed",
    "attempt.interrupted": "unknown",
    "attempt.cancelled": "stopped",
}
LIFE: dict[str, dict[str, str]] = {
    "nothing": {"task.created": "new"},
    "new": {"task.routed": "queued", "task.held": "held"},
    "queued": {
        "task.routed": "queued",
        "task.held": "held",
        "attempt.planned": "planned",
        "task.cancelled": "ended",
        "attempt.succeeded": "won",
    },
    "planned": {"attempt.started": "started", "task.cancel_requested": "planned", **OUTCOMES},
    "started": {"task.cancel_requested": "started", **OUTCOMES},
    "won": {"task.completed": "ended"},
    "failed": {"task.failed": "ended", "task.held": "held"},
    "unknown": {"task.failed": "ended", "task.held": "held"},
    "stopped": {"task.cancelled": "ended", "task.held": "held"},
    "nobody": {"task.held": "held"},
    "held": {
        "task.resolved": "resolved",
        "task.routed": "queued",
        "task.cancelled": "ended",
        "attempt.succeeded": "won",
    },
    "retry": {"task.routed": "queued", "task.held": "held"},
    "accept": {"task.completed": "ended"},
    "fail": {"task.failed": "ended"},
    "ended": {},
}
PASSING = {"new", "nobody", "won", "failed", "unknown", "stopped", "retry", "accept", "fail"}
TERMINAL = {"task.completed", "task.failed", "task.cancelled"}
NEVER_BEGAN = {"unavailable", "rate_limited"}
ATTEMPTS = 3
HOUR_MS = 3_600_000


@dataclass
class Try:
    """One attempt as the log tells it."""

    n: int
    executor: str
    policy: str
    key: str
    handle: str
    planned_at: int
    outcome: str = ""
    orderly: bool = False  # stopped by its own executor, which goes on

    @property
    def uses_up(self) -> bool:
        """Whether it may have run in vain: three of these are enough."""
        return not self.orderly and self.outcome in {"interrupted", "succeeded", "cancelled", "failed", ""}


@dataclass
class Life:
    """One task as the log tells it."""

    id: str
    state: str = "nothing"
    version: int = 0
    spec: Any = None
    route: str = ""
    tries: list[Try] = field(default_factory=list)
    held: str = ""
    decided: bool = False  # a person said "retry" since the last attempt ended
    cancel: bool = False
    terminal: str = ""
    suspended: bool = False  # it waits for the cloud; what else is true of it stays true
    joined: int = 0
    not_before: int | None = None
    created_at: int = 0

    @property
    def in_vain(self) -> bool:
        """Whether nothing comes of it any more, so that the same wish is another task."""
        return self.terminal in {"task.failed", "task.cancelled"} or (self.cancel and not self.terminal)

    @property
    def open(self) -> bool:
        return self.state in {"planned", "started"}


class Judge:
    """Reads every row in order and objects to what should never have been written."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.keys: dict[str, str] = {}
        self.asked: dict[Any, Life] = {}  # the newest by client and payload
        self.versions: dict[str, int] = {}
        self.position = 0
        self.slots: dict[str, int] = {}
        self.ready: set[str] = set()
        self.boots = 0
        self.mode = "NORMAL"
        self.ramp = 0
        self.cloudless: set[str] = set()  # the executors that can do without
        self.cleared = True  # the first probes of this boot are in, or there are none
        self.watched = False
        self._allowed: dict[str, int] = {}
        self._queued: dict[str, Life] = {}  # may go now; looked at again at each plan, so it is worth an index
        self._open: dict[str, Life] = {}
        self._touched: set[str] = set()
        self._suspended: dict[str, None] = {}
        self.calls: set[str] = set()  # to models, under way
        self.guard = StartGuard(0)
        self.begins_none = ""  # why nothing may be planned
        self._starts: list[int] = []  # that no stop took back
        self._looping = False  # by these it has to be paused

    def see(self, row: Any) -> None:
        assert row.position == self.position + 1, f"gap in the log before {row.position}"
        self.position = row.position
        assert row.version == self.versions.get(row.stream, 0) + 1, f"{row.stream} jumps to version {row.version}"
        self.versions[row.stream] = row.version
        name = type(row.event).__struct_config__.tag
        if row.stream.startswith("task-"):
            self._task(self.lives.setdefault(row.stream[5:], Life(row.stream[5:])), name, row)
        elif row.stream == "router":
            self._dispatch(name, row)
            self._router(name, row.event)

    def at_rest(self) -> None:
        """Between commits, no task may stand where only Omni itself could move it on, and would not."""
        assert not self._looping, f"it goes on after {len(self._starts)} starts"
        stuck = {i: self.lives[i].state for i in self._touched if self.lives[i].state in PASSING}
        self._touched.clear()
        assert not stuck, f"half a decision in the log: {stuck}"
        for executor, slots in self.slots.items():
            running = self.running(executor)
            assert running <= slots, f"{executor} runs {running} of {slots}"
        if self.mode != "BRAINSTEM" and not self.ramp:
            waiting = [i for i in self._suspended if self.lives[i].suspended]
            assert not waiting, f"wait for a cloud that is there: {waiting}"

    def running(self, executor: str) -> int:
        return sum(1 for life in self._open.values() if life.tries[-1].executor == executor)

    def _dispatch(self, name: str, row: Any) -> None:
        """Too many starts too close together, and no stop between them: a pause, which a word or time ends."""
        if name == "router.started":
            recent = [at for at in self._starts if abs(row.at_ms - at) < self.guard.within_ms]
            self._starts = [*recent, row.at_ms]
            self._looping, self.begins_none = 0 < self.guard.most < len(self._starts), ""
        elif name == "router.dispatch_paused":
            assert self._looping, f"paused after {len(self._starts)} starts"
            assert row.event.starts == len(self._starts), f"{row.event.starts} starts, not {len(self._starts)}"
            self._looping, self.begins_none = False, "paused"
        elif name == "router.dispatch_resumed":
            assert self.begins_none == "paused", "resumed, and not paused"
            self.begins_none = ""
        elif name == "router.stopped":
            self._starts, self.begins_none = [], "stopped"

    def _router(self, name: str, event: Any) -> None:
        if name == "router.started":
            self.ready.clear()
            self.boots += 1
            self.cleared = False
        elif name == "router.mode_noted":
            self.mode, self.cleared = event.mode, event.cleared
            self.ramp = 0 if event.mode == "BRAINSTEM" else self.ramp
        elif name == "router.ramp_moved":
            assert self.mode != "BRAINSTEM", "a ramp without a cloud"
            assert event.window <= max(1, 2 * self.ramp), f"the ramp leaps from {self.ramp} to {event.window}"
            self.ramp = event.window
        elif name == "router.configured":
            # An attempt of an earlier configuration may hold a slot that no longer exists; see `_planned`.
            self.slots = {}
            self._allowed = {e.name: e.max_concurrency for e in event.settings.executors}
            self.ready &= set(self._allowed) - set(event.anew)  # what is connected anew has to be seen again
            self.cloudless = {e.name for e in event.settings.executors if not e.needs_cloud}
            self.watched = event.settings.watched
        elif name != "router.executor_noted":
            return
        elif event.health.state == "ready":
            self.ready.add(event.executor)
        else:
            self.ready.discard(event.executor)

    def _task(self, life: Life, name: str, row: Any) -> None:
        if name == "attempt.late_outcome":
            assert any(t.n == row.event.n for t in life.tries), f"{life.id}: late outcome of no attempt"
            return
        if name.startswith("call."):
            self._call(life, name, row.event)
            return
        if name in {"task.suspended", "task.restored"}:
            self._suspension(life, name)
            return
        allowed = LIFE[life.state]
        assert name in allowed, f"{life.id}: {name} while {life.state}"
        before, life.state = life.state, allowed[name]
        self._touched.add(life.id)
        if life.state in {"planned", "started"}:
            self._open[life.id] = life
        else:
            self._open.pop(life.id, None)
        self._queued.pop(life.id, None)
        check = _CHECKS.get(name)
        if check is not None:
            check(self, life, row, before)
        if life.state == "queued":
            self._queued[life.id] = life

    def _suspension(self, life: Life, name: str) -> None:
        assert life.suspended == (name == "task.restored"), f"{life.id}: {name} twice"
        assert life.state in {"queued", "planned", "started"}, f"{life.id}: {name} while {life.state}"
        held_back = self.mode == "BRAINSTEM"
        if name == "task.restored":
            assert not held_back, f"{life.id}: restored without a cloud"
        else:
            executor = life.tries[-1].executor if life.open else life.route
            assert held_back or self.ramp, f"{life.id}: suspended in {self.mode}"
            assert executor not in self.cloudless, f"{life.id}: suspended, and {executor} needs no cloud"
        life.suspended = not life.suspended
        self._suspended[life.id] = None

    def _call(self, life: Life, name: str, event: Any) -> None:
        """Reserved under the attempt that runs, settled once and whenever."""
        if name == "call.settled":
            assert event.call in self.calls, f"{life.id}: {event.call} is settled, and was not open"
            self.calls.discard(event.call)
        if name == "call.reserved":
            assert event.call not in self.calls, f"{life.id}: {event.call} is reserved twice"
            assert life.open, f"{life.id}: a call while {life.state}"
            assert event.n == life.tries[-1].n, f"{life.id}: a call for attempt {event.n}"
            self.calls.add(event.call)

    # --- what a single event may say ------------------------------------------------------------------------------

    def _created(self, life: Life, row: Any, before: str) -> None:
        life.spec = row.event.spec
        key = life.spec.idempotency_key
        if key:
            assert key not in self.keys, f"key {key} made both {self.keys[key]} and {life.id}"
            self.keys[key] = life.id
        life.created_at = row.at_ms
        self._asked_for(life, row)

    def _asked_for(self, life: Life, row: Any) -> None:
        """A client that repeats itself has made no second task of what goes on, is done, or waits for a word."""
        if life.spec.idempotency_key or not row.event.digest:
            return
        wish = row.event.client, msgspec.json.encode(life.spec)
        earlier, self.asked[wish] = self.asked.get(wish), life
        within_ms = msgspec.json.decode(row.input)["message"].get("repeat_within_ms", 0)
        if earlier is not None and abs(row.at_ms - earlier.created_at) <= within_ms:
            assert earlier.in_vain, f"{life.id} is {earlier.id} once more, which is {earlier.terminal or earlier.state}"

    def _routed(self, life: Life, row: Any, before: str) -> None:
        if before == "held":
            assert row.event.route is not None, f"{life.id} was moved from nobody to nobody"
            assert life.held in {"no_executor", "budget"}, (
                f"{life.id} went on by itself although it was held: {life.held}"
            )
        if row.event.route is None:
            life.state = "nobody"
            return
        life.route, life.joined = row.event.route.executor, row.position
        if before != "queued":
            life.not_before = None

    def _held(self, life: Life, row: Any, before: str) -> None:
        life.held, life.not_before = row.event.held.kind, None
        life.suspended = False
        if before == "unknown":
            assert life.held == "interrupted", f"{life.id}: an unknown outcome held as {life.held}"
        if before == "stopped":
            assert life.held == "budget", f"{life.id}: stopped, and held as {life.held}"
        if before == "failed":
            assert life.tries[-1].outcome == "unsent" or life.held == "budget", f"{life.id}: a failure was held"

    def _resolved(self, life: Life, row: Any, before: str) -> None:
        life.state = row.event.decision
        life.decided = life.decided or row.event.decision == "retry"
        life.not_before = None
        assert row.event.decision != "accept" or life.held == "interrupted", f"{life.id}: accepted, and never ran"

    def _cancel(self, life: Life, row: Any, before: str) -> None:
        assert not life.cancel, f"{life.id}: cancel requested twice"
        life.cancel = True

    def _planned(self, life: Life, row: Any, before: str) -> None:
        event = row.event
        executor = event.route.executor
        assert event.n == len(life.tries) + 1, f"{life.id}: attempt {event.n} after {len(life.tries)}"
        assert executor == life.route, f"{life.id}: planned on {executor}, routed to {life.route}"
        assert executor in self.ready, f"{life.id}: planned on {executor}, which is not ready"
        assert not life.suspended, f"{life.id}: planned although it is suspended"
        assert not self.begins_none, f"{life.id}: planned while {self.begins_none}"
        if executor not in self.cloudless:
            assert self.mode != "BRAINSTEM", f"{life.id}: planned without a cloud"
            assert self.cleared or not self.watched, f"{life.id}: planned before the first probes"
        assert event.route.mode == self.mode, f"{life.id}: planned for {event.route.mode} in {self.mode}"
        repeats = life.tries and life.tries[-1].outcome == "interrupted" and not life.decided
        if repeats:  # so that an executor can recognise what it may have done already
            assert event.key == life.tries[-1].key, f"{life.id}: repeated under another key"
            assert event.route.executor == life.tries[-1].executor, f"{life.id}: repeated by another executor"
        else:
            assert event.key not in {t.key for t in life.tries}, f"{life.id}: key {event.key} used twice"
        assert not life.cancel, f"{life.id}: planned although it is to be cancelled"
        if life.tries:
            self._repeat(life, event, row.at_ms)
        if life.not_before is None:
            self._my_turn(life, executor)
        else:
            assert row.at_ms >= life.not_before, f"{life.id}: went {life.not_before - row.at_ms} ms too early"
        new = Try(event.n, executor, event.policy, event.key, event.handle, row.at_ms)
        life.tries.append(new)
        life.decided, life.not_before = False, None
        self.slots[executor] = self._allowed[executor]
        assert self.running(executor) <= self._allowed[executor], f"{executor} is given more than its slots"

    def _repeat(self, life: Life, event: Any, at: int) -> None:
        """An attempt that may have run is repeated by a person's word, or by the policy it was planned under."""
        last = life.tries[-1]
        if last.outcome == "unsent" or life.decided:
            assert not event.resume, f"{life.id}: resumes what never ran"
            return
        if life.held == "budget" and last.outcome in {"cancelled", "failed"}:
            assert last.policy in {"retry", "resume"}, f"{life.id}: {last.policy} goes on for money alone"
            return
        assert last.outcome == "interrupted", f"{life.id}: attempt after one that {last.outcome}"
        assert last.policy in {"retry", "resume"}, f"{life.id}: {last.policy} repeated without a decision"
        assert sum(1 for t in life.tries if t.uses_up) < ATTEMPTS, f"{life.id}: more than {ATTEMPTS} attempts"
        if last.policy == "resume":
            assert event.resume, f"{life.id}: begun anew where it could only be resumed"
            assert event.handle == last.handle, f"{life.id}: resumed under another handle"
            assert event.route.executor == last.executor, f"{life.id}: {event.route.executor} resumes {last.executor}"

    def _my_turn(self, life: Life, executor: str) -> None:
        ahead = [
            other.id
            for other in self._queued.values()
            if other.route == executor and other.not_before is None
            if (-other.spec.priority, other.joined) < (-life.spec.priority, life.joined)
        ]
        assert not ahead, f"{life.id} overtook {ahead}"

    def _started(self, life: Life, row: Any, before: str) -> None:
        assert row.event.n == len(life.tries), f"{life.id}: attempt {row.event.n} started, {len(life.tries)} is open"

    def _succeeded(self, life: Life, row: Any, before: str) -> None:
        last = self._ends(life, row, "succeeded")
        if before in {"queued", "held"}:
            assert last == "interrupted", f"{life.id}: won while {before}, after it {last}"

    def _failed(self, life: Life, row: Any, before: str) -> None:
        event = row.event
        assert not life.cancel, f"{life.id}: failed although it was cancelled"
        unsent = event.error.kind in NEVER_BEGAN
        assert unsent or not life.suspended, f"{life.id}: failed for want of a cloud"
        self._ends(life, row, "unsent" if unsent else "failed")
        if event.retry_at is not None:
            assert unsent, f"{life.id}: {event.error.kind} is repeated"
            self._again(life, row)

    def _interrupted(self, life: Life, row: Any, before: str) -> None:
        assert not life.cancel, f"{life.id}: interrupted, and its cancel forgotten"
        self._ends(life, row, "interrupted")
        last = life.tries[-1]
        last.orderly = row.event.orderly
        if row.event.retry_at is not None:
            assert last.policy in {"retry", "resume"}, f"{life.id}: {last.policy} is repeated unasked"
            assert not row.event.orderly or last.policy == "resume", f"{life.id}: {last.policy} cannot go on in order"
            in_time = row.event.orderly or row.at_ms - last.planned_at <= HOUR_MS
            assert in_time, f"{life.id}: repeated after more than an hour"
            self._again(life, row)

    def _attempt_cancelled(self, life: Life, row: Any, before: str) -> None:
        self._ends(life, row, "cancelled")

    def _ends(self, life: Life, row: Any, outcome: str) -> str:
        last = life.tries[-1]
        assert row.event.n == last.n, f"{life.id}: outcome of attempt {row.event.n} while {last.n} is the last"
        before, last.outcome = last.outcome, outcome
        life.decided = False
        return before

    def _again(self, life: Life, row: Any) -> None:
        life.state, life.joined, life.not_before = "queued", row.position, row.event.retry_at

    def _terminal(self, life: Life, row: Any, before: str) -> None:
        assert not life.terminal, f"{life.id} ended twice"
        life.terminal = type(row.event).__struct_config__.tag
        life.suspended = False
        if life.terminal == "task.failed":
            policy = life.tries[-1].policy if life.tries else ""
            assert before != "unknown" or policy == "fail", f"{life.id}: an unknown outcome became a failure"
            assert before != "failed" or life.tries[-1].outcome == "failed", f"{life.id}: failed, and never began"


_CHECKS: dict[str, Any] = {
    "task.created": Judge._created,
    "task.routed": Judge._routed,
    "task.held": Judge._held,
    "task.resolved": Judge._resolved,
    "task.cancel_requested": Judge._cancel,
    "task.completed": Judge._terminal,
    "task.failed": Judge._terminal,
    "task.cancelled": Judge._terminal,
    "attempt.planned": Judge._planned,
    "attempt.started": Judge._started,
    "attempt.succeeded": Judge._succeeded,
    "attempt.failed": Judge._failed,
    "attempt.interrupted": Judge._interrupted,
    "attempt.cancelled": Judge._attempt_cancelled,
}

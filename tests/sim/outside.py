"""What stands outside of Omni: two clocks, executors with a ledger of what they began, a client with a memory.

A crash of Omni ends none of these. The ledger and the client's memory are what its promises are checked against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from omni.domain import commands as cmd
from omni.domain.task import Task
from omni.domain.values import Result, TaskError, TaskSpec

Tell = Callable[[Any], None]
REST_MS = 4_000


class VirtualClock:
    """Wall and monotonic time that move only when they are told to."""

    def __init__(self) -> None:
        self.wall = 1_790_000_000_000
        self.mono = 5_000

    def wall_ms(self) -> int:
        return self.wall

    def mono_ms(self) -> int:
        return self.mono

    def run(self, ms: int) -> None:
        self.wall += ms
        self.mono += ms

    def jump(self, ms: int) -> None:
        """Somebody sets the clock, or the machine sleeps: only the wall clock moves."""
        self.wall += ms


@dataclass
class Work:
    """One attempt as its executor sees it; it knows nothing of Omni's crashes."""

    task_id: str
    n: int
    executor: str
    state: str = "running"  # running, finished, dead


class Ledger:
    """What was really begun. The same attempt begun twice is the one thing that must never happen."""

    def __init__(self) -> None:
        self.work: dict[tuple[str, int], Work] = {}
        self.sessions: dict[str, str] = {}  # handle → the executor that made it

    def begin(self, start: cmd.StartAttempt) -> Work:
        which = (start.task_id, start.n)
        assert which not in self.work, f"attempt {start.n} of {start.task_id} was begun twice"
        executor = start.route.executor
        if start.resume:
            owner = self.sessions.get(start.handle, executor)
            assert owner == executor, f"{executor} was told to resume a session of {owner}"
        self.sessions.setdefault(start.handle, executor)
        self.work[which] = Work(start.task_id, start.n, executor)
        return self.work[which]

    def crash(self, survivors: int) -> None:
        """Omni's process has died; the bits of `survivors` say which running work goes on without it."""
        for i, work in enumerate(w for w in self.work.values() if w.state == "running"):
            if not survivors >> (i % 8) & 1:
                work.state = "dead"


@dataclass
class Call:
    """One attempt as the hands see it. `handed` has not begun; `gone` lost its connection; `over` has reported."""

    task_id: str
    n: int
    state: str
    start: cmd.StartAttempt | None = None
    stop: bool = False
    report: Any = None

    @property
    def live(self) -> bool:
        return self.state in {"handed", "begun", "reconciling"}

    def steps(self, ledger: Ledger) -> list[str]:
        """What can happen to it next."""
        if self.state == "handed":
            return ["stopped", "begin"] if self.stop else ["begin", "begin", "begin", "unavailable", "rate_limited"]
        if self.state == "begun":
            stops = ["stopped", "stop_unconfirmed"] if self.stop else []
            return [*stops, "succeed", "started", "die", "fail", "progress", "time_out", "resumable_die", "rest"]
        if self.state == "reconciling":
            work = ledger.work.get((self.task_id, self.n))
            if work is None:
                return ["interrupted", "never_began"]
            return {"running": ["adopt", "resumable"], "finished": ["fetch", "interrupted"]}.get(
                work.state, ["interrupted", "resumable"]
            )
        return ["repeat", "late_success", "late_failure", "late_start", "late_interruption", "repeat"]


class Hands:
    """Stands where the connections to executors are. Trusts its caller: handed something twice, it begins it twice."""

    def __init__(self, ledger: Ledger, tell: Tell) -> None:
        self._ledger = ledger
        self._tell = tell
        self.calls: list[Call] = []

    def receive(self, message: Any) -> None:
        match message:
            case cmd.StartAttempt(task_id, n):
                self.calls.append(Call(task_id, n, "handed", message))
            case cmd.CancelAttempt(task_id, n):
                for call in self._of(task_id, n):
                    call.stop = True
            case cmd.ReconcileAttempt(task_id, n):
                if not any(c.live for c in self._of(task_id, n)):
                    self.calls.append(Call(task_id, n, "reconciling"))

    def act(self, pick: int, what: int) -> str:
        """One call takes one of the steps that are open to it."""
        if not self.calls:
            return "nothing"
        call = self.calls[pick % len(self.calls)]
        steps = call.steps(self._ledger)
        name = steps[what % len(steps)]
        self.take(call, name)
        return name

    def take(self, call: Call, step: str) -> None:
        """A call takes a step by its name; the names stand in `Call.steps`."""
        getattr(self, "_" + step)(call)

    def finish(self) -> int:
        """Everything that hangs comes to an end; how many calls that were."""
        live = [c for c in self.calls if c.live]
        for call in live:
            if call.state == "reconciling":
                self._interrupted(call)
            elif call.stop:
                self._stopped(call)
            else:
                if call.state == "handed":
                    self._begin(call)
                self._succeed(call)
        return len(live)

    def _of(self, task_id: str, n: int) -> list[Call]:
        return [c for c in self.calls if (c.task_id, c.n) == (task_id, n)]

    # --- steps of one call ----------------------------------------------------------------------------------------

    def _begin(self, call: Call) -> None:
        assert call.start is not None
        self._ledger.begin(call.start)
        call.state = "begun"

    def _unavailable(self, call: Call) -> None:
        self._end(call, cmd.ReportFailed(call.task_id, call.n, TaskError("unavailable", "connection refused")))

    def _rate_limited(self, call: Call) -> None:
        self._end(call, cmd.ReportFailed(call.task_id, call.n, TaskError("rate_limited", "come back later")))

    _never_began = _unavailable

    def _started(self, call: Call) -> None:
        self._tell(cmd.ReportStarted(call.task_id, call.n, 4242, 77, f"session-{call.task_id}-{call.n}"))

    def _progress(self, call: Call) -> None:
        self._tell(cmd.ProgressMade(call.task_id, call.n, 0.5, 1.0, "half way"))

    def _succeed(self, call: Call) -> None:
        self._work(call, "finished")
        self._end(call, cmd.ReportSucceeded(call.task_id, call.n, Result(f"done {call.n}"), cost_usd=0.01))

    def _fail(self, call: Call) -> None:
        self._work(call, "dead")
        self._end(call, cmd.ReportFailed(call.task_id, call.n, TaskError("failed", "it said no")))

    def _time_out(self, call: Call) -> None:
        self._work(call, "dead")
        self._end(call, cmd.ReportFailed(call.task_id, call.n, TaskError("idle_timeout", "too quiet")))

    def _die(self, call: Call) -> None:
        """The connection is lost after sending; whether the work goes on, nobody can say."""
        self._end(call, cmd.ReportInterrupted(call.task_id, call.n, "the connection died"))
        call.state = "gone"

    def _resumable_die(self, call: Call) -> None:
        self._end(call, cmd.ReportInterrupted(call.task_id, call.n, "the connection died", resumable=True))
        call.state = "gone"

    def _rest(self, call: Call) -> None:
        """The executor stops it in order, because of a limit that is its own and not the task's."""
        if call.start:
            self._tell(cmd.ExecutorPaused(call.start.route.executor, REST_MS, "its account's limit"))
        words = "the account's limit is reached"
        self._end(call, cmd.ReportInterrupted(call.task_id, call.n, words, True, orderly=True, retry_after_ms=REST_MS))
        self._work(call, "dead")

    _interrupted, _resumable = _die, _resumable_die

    def _stopped(self, call: Call) -> None:
        self._work(call, "dead")
        self._end(call, cmd.ReportCancelled(call.task_id, call.n))

    def _stop_unconfirmed(self, call: Call) -> None:
        self._end(call, cmd.ReportCancelled(call.task_id, call.n, confirmed=False))

    def _adopt(self, call: Call) -> None:
        call.state = "begun"
        self._started(call)

    def _fetch(self, call: Call) -> None:
        self._end(call, cmd.ReportSucceeded(call.task_id, call.n, Result(f"done {call.n}")))

    # --- what should not come any more, and does ------------------------------------------------------------------

    def _repeat(self, call: Call) -> None:
        self._tell(call.report)

    def _late_success(self, call: Call) -> None:
        self._work(call, "finished")
        self._tell(cmd.ReportSucceeded(call.task_id, call.n, Result("after all")))

    def _late_failure(self, call: Call) -> None:
        self._tell(cmd.ReportFailed(call.task_id, call.n, TaskError("failed", "after all not")))

    def _late_start(self, call: Call) -> None:
        self._tell(cmd.ReportStarted(call.task_id, call.n, 1, 1))

    def _late_interruption(self, call: Call) -> None:
        self._tell(cmd.ReportInterrupted(call.task_id, call.n, "lost, at last"))

    def _end(self, call: Call, report: Any) -> None:
        call.state, call.report = "over", report
        self._tell(report)

    def _work(self, call: Call, state: str) -> None:
        work = self._ledger.work.get((call.task_id, call.n))
        if work is not None:
            work.state = state


@dataclass
class Client:
    """Asks, and remembers for good what it was told."""

    open: dict[str, Any] = field(default_factory=dict)  # request → what was asked; lost with the connection
    asked: dict[str, Any] = field(default_factory=dict)
    acknowledged: dict[str, TaskSpec] = field(default_factory=dict)  # task → what was asked for
    keys: dict[str, tuple[TaskSpec, str]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)  # request → kind
    seen: list[str] = field(default_factory=list)  # every id that was ever submitted

    def ask(self, message: Any) -> Any:
        self.open[message.request] = self.asked[message.request] = message
        return message

    def hung_up(self) -> None:
        """The process at the other end has died: what was not answered stays open for ever."""
        self.open.clear()

    def receive(self, message: Any) -> None:
        if not isinstance(message, cmd.Reply):
            return
        question = self.open.pop(message.request, None)
        assert question is not None, f"{message.request} was answered twice, or never asked"
        if isinstance(message.payload, cmd.Refusal):
            assert message.payload.kind != "internal", f"{question} → {message.payload.message}"
            self.refused[message.request] = message.payload.kind
        elif isinstance(message.payload, Task):
            self._told(question, message.payload)

    def _told(self, question: Any, task: Task) -> None:
        match question:
            case cmd.Submit(_, task_id, spec, _, _, within_ms):
                self._accepted(task_id, spec, task, within_ms)
            case cmd.CancelTask(_, task_id):
                assert task.id == task_id
                assert task.ended or task.cancel_requested, f"{task_id}: cancel acknowledged, and not noted"
                if not task.ended or task.state == "cancelled":
                    self.cancelled.add(task_id)
            case cmd.RetryTask(_, task_id, new_id):
                assert task.id in {task_id, new_id}
                self.acknowledged.setdefault(task.id, task.spec)
            case cmd.ResolveTask(_, task_id) | cmd.GetTask(_, task_id):
                assert task.id == task_id
        if getattr(question, "until_end", False):
            assert task.ended or task.state == "held", f"{task.id}: answered as {task.state}, before its end"

    def _accepted(self, task_id: str, spec: TaskSpec, task: Task, within_ms: int) -> None:
        asked = replace(task.spec, retry_of=None) if within_ms else task.spec  # one that was tried again stands for it
        assert asked == spec, f"{task_id} was acknowledged as something else"
        self.acknowledged[task.id] = task.spec
        if not spec.idempotency_key:
            assert within_ms or task.id == task_id
            return
        first_spec, first_id = self.keys.setdefault(spec.idempotency_key, (spec, task.id))
        assert (first_spec, first_id) == (spec, task.id), f"{spec.idempotency_key} stands for two tasks"

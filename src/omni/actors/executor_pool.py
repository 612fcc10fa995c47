"""ExecutorPool: hands attempts to executors, at most once each, and brings back what became of them.

It owns nothing durable. What it remembers, which attempts it has already handed over in the life of this process,
only serves to ignore a Router that says something twice after a restart. The real work is done by the hands on the
asyncio loop; a dry-run executor (`null:`) is answered here, at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from omni.actors.soft import Quiet
from omni.domain import commands as cmd
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.template import Template, compile_template, values_for
from omni.domain.values import Result, TaskError

NAME = "pool"
HANDS = "hands"
ROUTER = "router"
GATEWAY = "gateway"
HEALTH = "health"

REMEMBERED = 8_192  # reported attempts; more than all slots together, for each keeps its slot until the Router knows


class PoolState:
    """Attempts handed over in this process: those that run, and the last that were reported, oldest first."""

    def __init__(self) -> None:
        self.running: set[tuple[str, int]] = set()
        self.reported: OrderedDict[tuple[str, int], None] = OrderedDict()

    def first_time(self, task_id: str, n: int) -> bool:
        """Whether this attempt has not been handed over yet; from now on it has."""
        if (task_id, n) in self.running or (task_id, n) in self.reported:
            return False
        self.running.add((task_id, n))
        return True

    def ended(self, task_id: str, n: int) -> None:
        """Remember an attempt whose outcome is on its way: the Router may say it again before it has heard."""
        self.running.discard((task_id, n))
        self.reported[task_id, n] = None
        if len(self.reported) > REMEMBERED:
            self.reported.popitem(last=False)


class ExecutorPool(Quiet):
    """Behaviour between Router and hands; `dry_run` maps the names of `null:` executors to their arguments."""

    name = NAME

    def __init__(self, dry_run: Mapping[str, Template]) -> None:
        self._dry_run = dry_run

    def initial(self) -> PoolState:
        return PoolState()

    def handle(self, state: PoolState, envelope: cmd.Envelope) -> Outcome:
        message = envelope.message
        match message:
            case cmd.StartAttempt():
                return self._start(state, message)
            case cmd.CancelAttempt() | cmd.PauseAttempt():
                return self._pass_on(message)
            case cmd.ReconcileAttempt():
                return self._reconcile(message)
            case cmd.ProgressMade():
                return Outcome((), [Send(GATEWAY, message)])
            case cmd.ExecutorObserved() | cmd.ExecutorPaused():
                return Outcome((), [Send(HEALTH, message)])
            case cmd.Boot():
                return Outcome((), self._dry_ones_ready())
            case cmd.StaffChanged():
                return self._change_staff(message)
            case cmd.DaemonDown():
                return Outcome((), [Send(HANDS, message)])
            case cmd.TimerFired() | cmd.ActorRestarted():
                return NOTHING
        return self._report(state, message)

    def _change_staff(self, message: cmd.StaffChanged) -> Outcome:
        """Other dry runs, which outlive a restart of this actor as the first ones do; the rest is for the hands."""
        self._dry_run = {name: compile_template(each) for name, each in message.dry_runs.items()}
        return Outcome((), [Send(HANDS, message), *self._dry_ones_ready()])

    def _dry_ones_ready(self) -> list[Send]:
        return [Send(HEALTH, cmd.ExecutorObserved(name, ok=True, detail="dry run")) for name in self._dry_run]

    def _report(self, state: PoolState, report: Any) -> Outcome:
        if not isinstance(report, cmd.ReportStarted):
            state.ended(report.task_id, report.n)
        return Outcome((), [Send(ROUTER, report)])

    def _start(self, state: PoolState, start: cmd.StartAttempt) -> Outcome:
        if not state.first_time(start.task_id, start.n):
            return NOTHING
        template = self._dry_run.get(start.route.executor)
        if template is None:
            return Outcome((), [Send(HANDS, start)])
        return self._report(state, _rehearse(template, start))

    def _pass_on(self, wish: cmd.CancelAttempt | cmd.PauseAttempt) -> Outcome:
        if wish.executor in self._dry_run:
            return NOTHING  # it has answered already
        return Outcome((), [Send(HANDS, wish)])

    def _reconcile(self, message: cmd.ReconcileAttempt) -> Outcome:
        if message.executor not in self._dry_run:
            return Outcome((), [Send(HANDS, message)])
        # A dry run has no effect outside the log, so there is nothing to lose and nothing to run twice.
        error = TaskError("unavailable", "the daemon ended before the dry run was recorded")
        return Outcome((), [Send(ROUTER, cmd.ReportFailed(message.task_id, message.n, error))])


def _rehearse(template: Template, start: cmd.StartAttempt) -> cmd.ReportSucceeded:
    """The arguments that a real executor would have been called with."""
    return cmd.ReportSucceeded(start.task_id, start.n, Result("dry run", template.fill(values_for(start))))

"""The second reading of a log: what is recorded, and what another policy would have made of it (ADR-0049).

Theory of operation. The log is read once, in order. Each event is first judged, from the state before it, and then
applied to both sides: the recorded board, and the shadow that holds what the policy would have.

    created, routed      routed again: the same, another executor, another model, nobody
    planned              may it start by the policy's budget, mode and slots?
    call reserved        asked for again under the policy's caps and the shadow's own spending
    call refused, held   the same question from the other side: would it have been let go?
    health, modes        derived again from recorded edges (`modes`)

A task that fares otherwise has left what the log can tell: how it would have ended and how long it would have taken is
unknown, and only what its recorded tokens cost elsewhere can be said. What others would have done because of it (a slot
that it takes, room under a cap that it leaves) is counted where it follows from recorded facts, else told as unknown.

Memory: the Router's board (open tasks and the newest 10,000 that ended), the shadow's ledger (62 days), and one small
record for each task that changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from omni.domain import board as boards
from omni.domain import events as ev
from omni.domain.errors import Refused
from omni.domain.task import Task
from omni.domain.values import Millis, Route
from omni.eventlog.store import EventReader, Recorded
from omni.replay.what_if.caps import Caps
from omni.replay.what_if.decisions import Routing
from omni.replay.what_if.figures import Answer
from omni.replay.what_if.money import Purse
from omni.replay.what_if.pace import Pace
from omni.replay.what_if.policy import Policy, PriceOf, nothing_known, ways_in
from omni.replay.what_if.waits import Waits
from omni.replay.what_if.world import Life, Moment, World, chosen

STREAMS = (*boards.STREAMS, ev.HEALTH_STREAM, ev.SYSTEM_STREAM)
REPORT_EVERY = 10_000
_CALL_EVENTS = (ev.CallReserved, ev.CallSettled, ev.CallRefused)


class NothingRecorded(Refused):
    """The log holds no configuration that anything was decided by."""

    kind = "usage"


def what_if(
    reader: EventReader,
    policy: Policy | None,
    *,
    price: PriceOf = nothing_known,
    after: int = 0,
    until: int | None = None,
    count: Callable[[int], None] = lambda _: None,
) -> Answer:
    """Put a policy in force after a position, up to another one; None: the recorded ones, which change nothing.

    Raises NothingRecorded for a log without any configuration.
    """
    end = reader.head.position if until is None else min(until, reader.head.position)
    second = SecondReading(policy, price, after, end)
    for done, recorded in enumerate(reader.read(prefixes=STREAMS, until=end)):
        if done % REPORT_EVERY == 0:
            count(done)
        second.add(recorded)
    if not second.configured:
        raise NothingRecorded(
            f"the log holds no configuration up to position {end}: nothing was decided there", hint="omni serve"
        )
    return second.close()


class SecondReading:
    """Takes the events of a log one by one."""

    def __init__(self, policy: Policy | None, price: PriceOf, after: int, until: int) -> None:
        self.answer = Answer(after, until)
        self.configured = False
        self._now = Moment(after, 0)
        self._world = World(policy, price, self.answer)
        self._purse = Purse(self._world)
        self._caps = Caps(self._world)
        self._waits = Waits(self._world, self._purse)
        self._routing = Routing(self._world, self._purse, self._waits)
        self._pace = Pace(self._world)
        self._judges: dict[type[Any], Callable[[Moment, Any, Task, Life], None]] = {
            ev.TaskRouted: self._routing.routed,
            ev.TaskResolved: self._resolved,
            ev.TaskHeld: self._held,
            ev.TaskCancelled: self._cancelled,
            ev.TaskSuspended: self._suspended,
            ev.AttemptPlanned: self._planned,
            ev.AttemptSucceeded: self._succeeded,
        }

    def add(self, recorded: Recorded) -> None:
        """Take in one event."""
        self.take(recorded.position, recorded.stream, recorded.at_ms, recorded.event)

    def take(self, position: int, stream: str, at: Millis, event: Any) -> None:
        """Take in one event."""
        self._now = now = Moment(position, at, stream)
        if not self._world.active and position > self.answer.after:
            self._begin(now)
        self.answer.events += self._world.active
        if stream == ev.HEALTH_STREAM:
            self._health(now, event)
        elif stream == ev.SYSTEM_STREAM:
            self._system(event)
        elif stream == ev.ROUTER_STREAM:
            self._router(now, event)
        else:
            self._task(now, event)

    def close(self) -> Answer:
        """Count what is still open, and give the answer."""
        for task_id, life in self._world.lives.items():
            if life.change is not None:
                self._count(life)
            if (task := self._world.board.tasks.get(task_id)) is not None:
                self._waits.ended(replace(self._now, stream=task.stream), task, life)
            self._world.close(life, "", None)
        self._purse.close()
        self.answer.cost.unknown_tasks = sum(change.costs_unknown for change in self.answer.changes)
        return self.answer

    # --- streams ------------------------------------------------------------------------------------------------------

    def _begin(self, now: Moment) -> None:
        self._world.active = True
        self._world.configure(self._world.board.settings)
        self._world.modes.begin(now.at)
        self._waits.look(now)
        self._routing.moved_on(now)
        self._routing.released(now)

    def _health(self, now: Moment, event: Any) -> None:
        world = self._world
        world.modes.evolve(event, now.at, active=world.active)
        if world.active and world.modes.differs(now.at) and "BRAINSTEM" in world.modes.possible(now.at):
            self._cut_off(now)

    def _cut_off(self, now: Moment) -> None:
        """Whatever runs in a cloud that may have been gone would perhaps have been suspended."""
        board = self._world.board
        for name in board.spots("running"):
            for task_id in list(board.at("running", name)):
                life = self._world.life(task_id)
                if self._needs_cloud(name) and not life.final:
                    self._world.unsure(now, board.tasks[task_id], life, "it may have been suspended for the cloud")

    def _system(self, event: Any) -> None:
        if isinstance(event, ev.ConfigLoaded):
            ladders = self._world.ladders
            ladders.recorded_paths, ladders.recorded_behind = ways_in(event.body)
            self._world.configure(self._world.board.settings)

    def _router(self, now: Moment, event: Any) -> None:
        world = self._world
        self._evolve(now, event)
        if isinstance(event, ev.RoutingConfigured):
            self.configured = True
            world.configure(event.settings)
            self._waits.look(now)
        back = isinstance(event, ev.ExecutorNoted) and event.health.state == "ready"
        if back or isinstance(event, ev.RoutingConfigured):
            self._routing.released(now)

    def _task(self, now: Moment, event: Any) -> None:
        world = self._world
        task_id = now.stream[len(ev.TASK_PREFIX) :] if now.stream != ev.CALLS_STREAM else ""
        if isinstance(event, ev.TaskCreated):
            world.lives[task_id] = new = Life()
            self._count(new)
            if world.active:
                self._routing.created(now, event.spec, new, task_id)
            return self._evolve(now, event)
        task = world.board.tasks.get(task_id)
        if isinstance(event, _CALL_EVENTS):
            return self._call(now, event, task)
        if task is None:
            return self._evolve(now, event)
        life = world.lives.get(task_id)
        if life is None:  # it has ended: only late words follow
            return self._evolve(now, event)
        return self._lives_on(now, event, task, life)

    def _call(self, now: Moment, event: Any, task: Task | None) -> None:
        if isinstance(event, ev.CallReserved):
            self._purse.reserved(now, event, task)
        elif isinstance(event, ev.CallSettled):
            self._purse.settled(now, event, self._world.board.ledger.open.get(event.call))
        else:
            self._purse.refused(now, event, task)
        self._evolve(now, event)
        if isinstance(event, ev.CallSettled):
            self._waits.look(now)

    def _lives_on(self, now: Moment, event: Any, task: Task, life: Life) -> None:
        """Judge one event in the life of a task, and apply it."""
        judge = self._judges.get(type(event))
        self._count(life)
        if judge is not None:
            judge(now, event, task, life)
        if type(event) in ev.ATTEMPT_ENDS:
            self._pace.ended(now, event, task, life)
        self._evolve(now, event)
        if isinstance(event, ev.TaskRouted | ev.TaskRestored) and self._world.active:
            self._pace.queued(self._world.board.tasks[task.id], life)
        if (ended := ev.TASK_ENDS.get(type(event))) is not None:
            took_ms = now.at - task.created_at if ended == "completed" and self._world.active else None
            self._world.close(life, ended, took_ms)
            self._world.lives.pop(task.id, None)

    def _evolve(self, now: Moment, event: Any) -> None:
        boards.evolve(self._world.board, now.stream, event, now.at, now.position)

    def _count(self, life: Life) -> None:
        if self._world.active and not life.counted:
            life.counted = True
            self.answer.tasks += 1

    # --- single events ------------------------------------------------------------------------------------------------

    def _resolved(self, now: Moment, event: ev.TaskResolved, task: Task, life: Life) -> None:
        life.asked_again = event.decision == "retry"
        if life.asked_again:
            self._waits.asked(now, task, life)
        else:
            self._waits.ended(now, task, life)

    def _cancelled(self, now: Moment, event: ev.TaskCancelled, task: Task, life: Life) -> None:
        self._waits.ended(now, task, life)

    def _held(self, now: Moment, event: ev.TaskHeld, task: Task, life: Life) -> None:
        if not self._world.active:
            return
        at_start = event.capped is not None and task.capped is None and task.open_attempt is None
        if at_start and not life.final:
            self._held_at_start(now, event, task, life)
        self._waits.held(event, task, life)
        life.held_recorded = True
        life.held |= not life.final and not (life.change and life.change.means.weight > 2)

    def _held_at_start(self, now: Moment, event: ev.TaskHeld, task: Task, life: Life) -> None:
        """The record had no money to start it: would the policy have had?"""
        over = self._caps.at_dispatch(now, task, life)
        if isinstance(over, ev.TaskHeld):
            life.capped, life.sooner = over.capped, False
            return
        route, why = (over.route, over.reason) if over is not None else (life.route, "there is room under the caps")
        was = chosen(task.route, event.held.reason)
        self._world.turn(now, task, life, "let_on", was, chosen(route, why))

    def _planned(self, now: Moment, event: ev.AttemptPlanned, task: Task, life: Life) -> None:
        world = self._world
        if world.active and not life.final:
            self._start_again(now, event, task, life)
        if life.change is not None and life.change.fate == "let_on":
            life.change.ran_later = True
        if not world.active:
            life.route = event.route
        life.planned = event.route

    def _start_again(self, now: Moment, event: ev.AttemptPlanned, task: Task, life: Life) -> None:
        world, name = self._world, event.route.executor
        over = self._caps.at_dispatch(now, task, life)
        if isinstance(over, ev.TaskHeld):
            return self._purse.hold(now, task, life, over, "it was started")
        if over is not None:
            life.route = over.route
            return world.turn(
                now, task, life, "other_model", chosen(event.route, "it was started"), chosen(over.route, over.reason)
            )
        if self._caps.doubtful_start(now.at, life):
            return world.unsure(
                now, task, life, "the day's spending has parts that nobody knows: it may have been held"
            )
        if self._may_be_cut_off(now, name):
            return world.unsure(now, task, life, "it may have waited for the cloud")
        return self._pace.planned(now, event, task, life)

    def _may_be_cut_off(self, now: Moment, name: str) -> bool:
        """Whether the policy may have been without the cloud that it needs for an attempt which the record made."""
        world = self._world
        if not self._needs_cloud(name):
            return False
        possible = world.modes.possible(now.at) if world.modes.differs(now.at) else {world.board.mode}
        return "BRAINSTEM" in possible and not (world.board.needs_cloud(name) and world.board.mode == "BRAINSTEM")

    def _suspended(self, now: Moment, event: ev.TaskSuspended, task: Task, life: Life) -> None:
        world = self._world
        name = (task.open_attempt.route if task.open_attempt else task.route or _NOBODY).executor
        differs = world.modes.differs(now.at)
        if world.active and not life.final and (differs or not self._needs_cloud(name)):
            world.unsure(now, task, life, "it may not have been suspended")

    def _succeeded(self, now: Moment, event: ev.AttemptSucceeded, task: Task, life: Life) -> None:
        if task.meter.n != event.n:  # else its calls were metered, and that outweighs what the executor says
            self._purse.unmetered(event, life)

    def _needs_cloud(self, name: str) -> bool:
        spec = self._world.shadow.executors.get(name)
        return spec is None or spec.needs_cloud


_NOBODY = Route("")

"""Routing a second time: every recorded decision is put again at the recorded health and the policy's mode.

A difference may come from the configuration, or from rules that have changed since: then today's rules choose otherwise
by the recorded configuration too, and the reason says so.
"""

from __future__ import annotations

from msgspec.structs import replace

from omni.domain import attempt as attempts
from omni.domain import dispatch, routing
from omni.domain import events as ev
from omni.domain.routing import Choice
from omni.domain.task import Task
from omni.domain.values import Held, Mode, Route, TaskSpec, TaskState
from omni.replay.what_if.caps import Caps
from omni.replay.what_if.figures import Chosen, Fate
from omni.replay.what_if.money import Purse
from omni.replay.what_if.waits import Waits
from omni.replay.what_if.world import Life, Moment, World, chosen, key_of, same_way

_NEWER_RULES = "by today's rules, the configuration being the same: "


class Routing:
    """Puts routing decisions again."""

    def __init__(self, world: World, purse: Purse, waits: Waits) -> None:
        self._world = world
        self._purse = purse
        self._waits = waits
        self._caps = Caps(world)

    def created(self, now: Moment, spec: TaskSpec, life: Life, task_id: str) -> None:
        """A task that names what the policy lacks would not have been accepted."""
        missing = self._missing(spec)
        if missing:
            self._world.answer.refused += 1
            was, then = Chosen(reason="it was accepted"), Chosen(reason=missing)
            self._world.turn(replace(now, stream=task_id), None, life, "refused", was, then)

    def routed(self, now: Moment, event: ev.TaskRouted, task: Task, life: Life) -> None:
        """Put one recorded decision again."""
        again, life.asked_again = life.asked_again, False
        if not self._world.active:
            life.route = event.route
            return None
        if life.final:
            return None
        self._world.answer.decisions += 1
        if event.route is not None and not event.candidates:
            return self._degraded(now, event, task, life)
        if task.state is TaskState.HELD and task.capped is not None and not self._caps.fits(now, task, life):
            over = ev.TaskHeld(task.held or _STILL, task.capped)
            return self._purse.hold(now, task, life, over, "there was room under the caps again")
        if task.state is TaskState.HELD and task.capped is not None and not self._waits.goes_on(now, task, life):
            return None
        if self._is_reroute(task, again=again) and self._stays(task, life):
            return self._compare(now, event, task, life, {life.route}, "its executor was not gone")
        choices = [self._choice(task, mode) for mode in self._modes(now)]
        reason = choices[0].reason
        return self._compare(now, event, task, life, {each.route for each in choices}, reason)

    def released(self, now: Moment) -> None:
        """See who of the stranded would have found an executor that the record does not know."""
        world = self._world
        if not world.active or world.policy is None:
            return
        for task_id in list(world.board.at("stranded")):
            task, life = world.board.tasks[task_id], world.life(task_id)
            if life.change is not None:
                continue
            then, was = self._choice(task, world.board.mode), self._recorded(task)
            if then.route is not None and was.route is None:
                self._let_on(now, task, life, chosen(None, was.reason), then.route, then.reason)

    def moved_on(self, now: Moment) -> None:
        """The policy begins: see who waits for, or runs on, an executor that it lacks."""
        world = self._world
        for task_id, life in world.lives.items() if world.policy is not None else ():
            task = world.board.tasks[task_id]
            attempt = task.open_attempt
            route = attempt.route if attempt else task.route
            if task.state is TaskState.HELD or route is None or not self._is_lacking(route.executor):
                continue
            if attempt is not None:
                world.unsure(now, task, life, "the policy does not have the executor that it runs on")
                continue
            then = self._choice(task, world.board.mode)
            life.route = then.route
            was, will = chosen(route, "it waited there"), chosen(then.route, then.reason)
            world.turn(now, task, life, "elsewhere" if then.route else "held", was, will)

    # --- comparing ----------------------------------------------------------------------------------------------------

    def _compare(
        self, now: Moment, event: ev.TaskRouted, task: Task, life: Life, routes: set[Route | None], reason: str
    ) -> None:
        """Compare the choices of every possible mode with the recorded one."""
        found = {key_of(route) for route in routes}
        if len(found) > 1:
            return self._world.unsure(now, task, life, "the choice depends on the mode, which is not known for then")
        route = next(iter(routes))
        if same_way(route, event.route):
            life.route = event.route
            return None
        if self._by_newer_rules(task, route):
            reason = f"{_NEWER_RULES}{reason}"
        return self._differs(now, event, task, life, route, reason)

    def _differs(
        self, now: Moment, event: ev.TaskRouted, task: Task, life: Life, route: Route | None, reason: str
    ) -> None:
        was, then = chosen(event.route, event.reason), chosen(route, reason)
        life.route = route
        if route is None:
            return self._world.turn(now, task, life, "held", was, then)
        if event.route is None:
            return self._let_on(now, task, life, was, route, reason)
        fate = _fate(event.route, route)
        if fate == "elsewhere":
            self._world.answer.doubt("slots", "moved tasks take slots where others may have had to wait", now.at)
        return self._world.turn(now, task, life, fate, was, then)

    def _let_on(self, now: Moment, task: Task, life: Life, was: Chosen, route: Route, reason: str) -> None:
        life.route = route
        self._world.turn(now, task, life, "let_on", was, chosen(route, reason))

    def _degraded(self, now: Moment, event: ev.TaskRouted, task: Task, life: Life) -> None:
        """The record put a task on a free tier for want of money: would the policy have?"""
        over = self._caps.at_dispatch(now, task, life)
        if isinstance(over, ev.TaskHeld):
            return self._purse.hold(now, task, life, over, event.reason)
        route = over.route if over is not None else life.route
        if same_way(route, event.route):
            life.route = event.route
            return None
        reason = over.reason if over is not None else "there is room under the caps"
        return self._differs(now, event, task, life, route, reason)

    def _is_lacking(self, executor: str) -> bool:
        return executor in self._world.board.executors and executor not in self._world.shadow.executors

    def _by_newer_rules(self, task: Task, route: Route | None) -> bool:
        return same_way(self._recorded(task).route, route)

    # --- what is asked with -------------------------------------------------------------------------------------------

    def _choice(self, task: Task, mode: Mode) -> Choice:
        return dispatch.choose(task.spec, self._world.shadow.settings, self._world.board.health, mode)

    def _recorded(self, task: Task) -> Choice:
        """What today's rules choose by the recorded configuration."""
        board = self._world.board
        return dispatch.choose(task.spec, board.settings, board.health, board.mode)

    def _modes(self, now: Moment) -> list[Mode]:
        """The modes that the policy may have been in: the Router's own, where it is the recorded one."""
        world = self._world
        return sorted(world.modes.possible(now.at)) if world.modes.differs(now.at) else [world.board.mode]

    def _missing(self, spec: TaskSpec) -> str:
        """Why a task would have been refused at the door; empty when it would not, or was just as wrong then."""
        tried, recorded = self._world.shadow, self._world.board
        if spec.executor and spec.executor not in tried.executors and spec.executor in recorded.executors:
            return f"it names the executor {spec.executor}, which the policy does not have"
        names = {tier.name for tier in tried.settings.tiers}
        if spec.tier and names and spec.tier not in names:
            return f"it names the tier {spec.tier}, which the policy does not have"
        return ""

    def _is_reroute(self, task: Task, *, again: bool) -> bool:
        """Whether the record routed the task again because its executor was gone."""
        return task.state is TaskState.IDLE and task.route is not None and not again

    def _stays(self, task: Task, life: Life) -> bool:
        """Whether the policy would have left the task where it was."""
        name = life.route.executor if life.route else ""
        spec = self._world.shadow.executors.get(name)
        if spec is None:
            return False
        gone = bool(routing.unusable(spec, self._world.board.health.get(name)))
        return not gone or (attempts.uncertain(task) and not spec.unavailable)


_STILL = Held("budget", "there is still no room under the caps", ("retry", "fail"))


def _fate(was: Route, then: Route) -> Fate:
    """What becomes of a task on another route; by another tier alone the same model does the same work."""
    if was.executor != then.executor:
        return "elsewhere"
    return "other_model" if was.model != then.model else "other_price"

"""Caps a second time: whether a call or a start would fit under the policy's, by the shadow's own spending.

How the tokens of an estimate were guessed is not written down. A call on another way is asked for between two bounds:

    estimate × the smaller price ratio   does not fit    refused, whatever it was
    estimate × the greater price ratio   fits            let go
    between the two                                      nobody can say
"""

from __future__ import annotations

import msgspec

from omni.domain import budget
from omni.domain import events as ev
from omni.domain.budget import Ask, Cap
from omni.domain.task import Task
from omni.domain.values import TASK_CAP, Millis, Tier, Usage
from omni.replay.what_if.policy import Way
from omni.replay.what_if.world import Life, Moment, World, same_way

_MILLION = 1_000_000
_PROBES = (Usage(input_tokens=_MILLION), Usage(output_tokens=_MILLION))


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """What a call may have been estimated at."""

    low: float | None
    high: float | None

    @property
    def exact(self) -> bool:
        """Whether it is known."""
        return self.low == self.high


class Caps:
    """Asks the rules of budgets on the shadow side."""

    def __init__(self, world: World) -> None:
        self._world = world

    def at_dispatch(self, now: Moment, task: Task, life: Life) -> ev.TaskHeld | ev.TaskRouted | None:
        """What stands against starting a task by the policy, as the rules of dispatch have it."""
        return budget.at_dispatch(self._world.shadow, self._world.stand_in(task, life), now.at)

    def doubtful_start(self, at: Millis, life: Life) -> bool:
        """Whether money that nobody knows may stand against a start on a paid tier."""
        rules = self._world.shadow.settings.budget
        capped = rules.daily_usd is not None or bool(rules.channel_usd)
        paid = any(t.paid for t in self._world.shadow.settings.tiers if life.route and t.name == life.route.tier)
        return capped and paid and self._world.day(at) in self._world.doubtful_days

    def fits(self, now: Moment, task: Task, life: Life) -> bool:
        """Whether a task that a day's cap holds would go on now."""
        if task.capped is None or self._world.shadow.settings.budget.at_cap == "degrade":
            return True
        ask = Ask(task.capped.tier, task.capped.channel, task.capped.estimate_usd)
        return self.hit(now.at, ask, task, life) is None

    def hit(self, at: Millis, ask: Ask, task: Task | None, life: Life) -> Cap | None:
        """The first cap that a paid call would go over on the shadow side."""
        shadow = self._world.shadow
        stand_in = self._world.stand_in(task, life) if task else None
        return budget.hit(budget.caps(shadow, shadow.settings.budget, stand_in, self._world.day(at), ask), ask)

    def in_doubt(self, at: Millis, task: Task | None, life: Life, way: Way, bounds: Bounds) -> str:
        """Why nobody can say that a call fits which seems to; empty when it does."""
        shadow, day = self._world.shadow, self._world.day(at)
        stand_in = self._world.stand_in(task, life) if task else None
        high = Ask(way.tier, way.channel, bounds.high)
        caps = list(budget.caps(shadow, shadow.settings.budget, stand_in, day, high))
        names = {cap.name for cap in caps}
        if names - {TASK_CAP} and day in self._world.doubtful_days:
            return "the day's spending has parts that nobody knows"
        if TASK_CAP in names and life.doubtful:
            return "the task's spending has parts that nobody knows"
        if caps and not bounds.exact and (bounds.high is None or budget.hit(caps, high) is not None):
            return "its estimate would have been another, and how it was guessed is not written down"
        return ""

    def bounds(self, event: ev.CallReserved, was: Way, way: Way) -> Bounds:
        """The estimate of a call on its new way: the recorded one, scaled by what the prices differ by."""
        if (way.channel, way.model) == (was.channel, was.model) and event.estimate_usd is not None:
            return Bounds(event.estimate_usd, event.estimate_usd)
        new = [self._world.price(way.channel, way.model, usage) for usage in _PROBES]
        old = [self._world.price(was.channel, was.model, usage) for usage in _PROBES]
        if (way.channel, way.model) == (was.channel, was.model) and (way.paid == was.paid or None in new):
            return Bounds(None, None)  # nobody could estimate it then, so it asked for no room
        if None in new and event.estimate_usd is None:
            return Bounds(None, None)
        ratios = [n / o for n, o in zip(new, old, strict=True) if n is not None and o]
        if event.estimate_usd is None or len(ratios) < len(_PROBES):
            return Bounds(0.0, None)
        return Bounds(event.estimate_usd * min(ratios), event.estimate_usd * max(ratios))

    def as_tried(self, ask: Ask, life: Life, task: Task | None) -> Ask:
        """A refused call as it would have been asked for on the task's new route: its estimate is not known then."""
        if task is None or life.route is None or task.route is None or same_way(life.route, task.route):
            return ask
        return Ask(life.route.tier, ask.channel, None) if ask.tier == task.route.tier else ask

    def is_paid(self, ask: Ask, was: str) -> bool:
        """Whether a call that was refused for money would cost any: it does unless its tier is free now."""
        old: Tier | None = next((t for t in self._world.ladders.recorded if t.name == was), None)
        new: Tier | None = next((t for t in self._world.ladders.tried if t.name == ask.tier), None)
        return new is None or new.paid or (old is not None and not old.paid)

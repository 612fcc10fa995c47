"""Both sides of a second reading: the recorded board, and a shadow of what the policy would have."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from omni.domain import budget
from omni.domain.board import Board
from omni.domain.task import Task
from omni.domain.values import Capped, Millis, Route, RoutingSettings
from omni.replay.what_if.figures import FATES, FINAL, RECORDED, UNKNOWN, Answer, Change, Chosen, Fate
from omni.replay.what_if.modes import Modes
from omni.replay.what_if.policy import Ladders, Policy, PriceOf


class Life(msgspec.Struct):
    """One task on the shadow side. `route` is the policy's, `planned` the recorded one of its last attempt."""

    route: Route | None = None
    planned: Route | None = None
    spent_usd: float = 0.0
    doubtful: int = 0  # calls of its own whose cost by the policy is not known
    counted: bool = False
    held: bool = False  # in the range, before anything changed for it
    held_recorded: bool = False
    asked_again: bool = False  # a person's retry was the last word
    waited: bool = False  # it queued while all slots were taken
    capped: Capped | None = None  # the cap that it would have been held at, where it is held on both sides
    sooner: bool = False  # and there was room by the policy before there was in the record
    change: Change | None = None

    @property
    def final(self) -> bool:
        """Whether nothing more can be said of it."""
        return self.change is not None and self.change.means.weight >= FINAL


class Moment(msgspec.Struct, frozen=True, gc=False):
    """Where in the log the reading stands."""

    position: int
    at: Millis
    stream: str = ""


class World:
    """What all parts of the reading share. Mutable."""

    def __init__(self, policy: Policy | None, price: PriceOf, answer: Answer) -> None:
        self.board = Board()
        self.shadow = Board()  # of it settings, executors and ledger are kept, and nothing else
        self.policy = policy
        self.price = price
        self.answer = answer
        self.ladders = Ladders()
        self.modes = Modes(policy.health if policy else None, answer)
        self.lives: dict[str, Life] = {}
        self.active = False
        self.doubtful_days: dict[int, int] = {}
        self.disturbed: set[str] = set()  # executors whose work would have taken another time

    def life(self, task_id: str) -> Life:
        """The shadow side of a task; one that ended long ago has an empty one."""
        return self.lives.get(task_id) or Life()

    def configure(self, recorded: RoutingSettings) -> None:
        """Follow new settings of the record; by a policy of one's own only the owner's midnight comes from there."""
        tried = recorded
        if self.policy is not None and self.active:
            offset = recorded.budget.utc_offset_ms
            given = self.policy.routing
            tried = replace(given, budget=replace(given.budget, utc_offset_ms=offset))
        self.shadow.settings = tried
        self.shadow.executors = {each.name: each for each in tried.executors}
        self.ladders.recorded, self.ladders.tried = recorded.tiers, tried.tiers
        own = self.policy is not None and self.active
        self.ladders.tried_paths = self.policy.paths if own and self.policy else self.ladders.recorded_paths
        self.ladders.tried_behind = self.policy.behind if own and self.policy else self.ladders.recorded_behind

    def stand_in(self, task: Task, life: Life) -> Task:
        """The task as the policy's side has it: its route, and what its calls came to."""
        return replace(task, route=life.route, meter=replace(task.meter, spent_usd=life.spent_usd))

    def day(self, at: Millis) -> int:
        """The owner's day."""
        return budget.today(self.shadow, at)

    def turn(self, now: Moment, task: Task | None, life: Life, fate: Fate, was: Chosen, then: Chosen) -> None:
        """Note that a task fares otherwise from here on; of two fates the heavier one stays."""
        change = life.change
        if change is None:
            task_id = task.id if task else now.stream
            life.change = change = Change(task_id, now.position, now.at, fate, was, then)
            self.answer.changes.append(change)
        elif FATES[fate].weight <= change.means.weight:
            return
        else:
            change.fate, change.policy = fate, then
        if FATES[fate].calls == UNKNOWN:
            self.in_doubt(self.day(now.at))
        if fate == "let_on":
            self.answer.doubt("let_on", "tasks that were let on may have been held later", now.at)
        if FATES[fate].outcome != RECORDED:
            self.disturbed |= {was.executor, then.executor}

    def unsure(self, now: Moment, task: Task, life: Life, why: str) -> None:
        """Nothing can be said of this task from here on."""
        was = chosen(task.route, "as recorded")
        self.turn(now, task, life, "unsure", was, Chosen(was.executor, was.tier, was.model, why))

    def in_doubt(self, day: int) -> None:
        """A day's spending holds something that nobody knows."""
        self.doubtful_days[day] = self.doubtful_days.get(day, 0) + 1

    def close(self, life: Life, ended: str, took_ms: int | None) -> None:
        """Count a task whose life has ended, or that the range ends with. `took_ms`: it completed in so long."""
        change = life.change
        if change is not None:
            change.ended = ended
        if not life.counted:
            return
        means = change.means if change else None
        outcome = means.outcome if means else RECORDED
        self.answer.held.count(was=life.held_recorded, now=_held_now(life, outcome))
        self.answer.held.by_price |= outcome == "held" and bool(self.answer.cost.repriced)
        failed = ended == "failed"
        stays = failed if outcome == RECORDED else None if outcome == UNKNOWN else False
        self.answer.failed.count(was=failed, now=stays)
        if took_ms is not None:
            self.answer.latency.count(took_ms, means.latency if means else RECORDED)


def _held_now(life: Life, outcome: str) -> bool | None:
    """Whether it would have been held; None where nobody can say."""
    if life.held or outcome == "held":
        return True
    if outcome == RECORDED:
        return life.held_recorded
    if outcome == UNKNOWN:
        return False if life.change is not None and life.change.fate == "let_on" else None
    return False


def chosen(route: Route | None, reason: str) -> Chosen:
    """A route as one side of a change."""
    return Chosen(route.executor, route.tier, route.model, reason) if route else Chosen(reason=reason)


def key_of(route: Route | None) -> tuple[str, str, str]:
    """A route without the mode that it was chosen in."""
    return (route.executor, route.tier, route.model) if route else ("", "", "")


def same_way(one: Route | None, other: Route | None) -> bool:
    """Whether two routes lead to the same executor, tier and model."""
    return key_of(one) == key_of(other)

"""Held at a cap on both sides: when, and by whom, a task would have been let on by the policy.

A held task goes on by itself on the next day, or when a call comes to less than it had reserved; or it waits for a
person. Which of them it is, the policy may see otherwise than the record did:

    by itself in the record, by the policy not                it stays held
    by a person in the record, on a later day than it would   nobody knows what came of it from that day on
      have gone on by itself
    it would have had room earlier                            it went on earlier, nobody knows when
"""

from __future__ import annotations

from msgspec.structs import replace

from omni.domain import budget
from omni.domain import events as ev
from omni.domain.budget import Ask
from omni.domain.task import Task
from omni.domain.values import TASK_CAP, Capped, Held, TaskState
from omni.replay.what_if.caps import Caps
from omni.replay.what_if.money import Purse
from omni.replay.what_if.world import Life, Moment, World, chosen

_BY_A_PERSON = Held("budget", "by this cap it waits for a person", ("retry", "fail"))


class Waits:
    """Compares how tasks that are held at a cap go on."""

    def __init__(self, world: World, purse: Purse) -> None:
        self._world = world
        self._purse = purse
        self._caps = Caps(world)

    def look(self, now: Moment) -> None:
        """Money may have come free: note who would have gone on by the policy, and has no room in the record."""
        world = self._world
        if not world.active or world.policy is None:
            return
        for task_id in world.board.at("capped"):
            task, life = world.board.tasks[task_id], world.life(task_id)
            if life.sooner or life.final or not self._by_itself(task, life) or self._fits_in_record(now, task):
                continue
            life.sooner = self._caps.fits(now, task, life)

    def held(self, event: ev.TaskHeld, task: Task, life: Life) -> None:
        """The record holds a task at a cap: whether it may be repeated is known by now, and the same for the policy."""
        if event.capped is None or life.capped is None:
            return
        alone = _is_for_a_day(life.capped)
        if alone and not _is_for_a_day(event.capped):
            again = budget.held(task, life.capped).capped
            alone = again is not None and again.alone
        elif alone:
            alone = event.capped.alone
        life.capped = replace(life.capped, alone=alone)

    def goes_on(self, now: Moment, task: Task, life: Life) -> bool:
        """A held task goes on by itself in the record; whether it would by the policy."""
        assert task.capped is not None
        if not self._by_itself(task, life):
            over = ev.TaskHeld(_BY_A_PERSON, life.capped or task.capped)
            self._purse.hold(now, task, life, over, "it went on by itself")
            return False
        self._let_go(now, task, life, early=life.sooner)
        return True

    def asked(self, now: Moment, task: Task, life: Life) -> None:
        """A person lets a held task go on in the record."""
        if not self._is_held(task, life) or self._overslept(now, task, life):
            return
        assert task.capped is not None
        self._let_go(now, task, life, early=life.sooner or (self._by_itself(task, life) and not task.capped.alone))

    def ended(self, now: Moment, task: Task, life: Life) -> None:
        """A held task ends in the record, or the record ends with it."""
        if self._is_held(task, life) and not self._overslept(now, task, life) and life.sooner:
            self._world.unsure(now, task, life, "it would have gone on: there was room under the caps again")

    def _let_go(self, now: Moment, task: Task, life: Life, *, early: bool) -> None:
        if early:
            was, then = chosen(task.route, "it went on"), chosen(life.route, "it may have gone on sooner")
            self._world.turn(now, task, life, "other_time", was, then)
        life.sooner, life.capped = False, None

    def _is_held(self, task: Task, life: Life) -> bool:
        held = task.state is TaskState.HELD and task.capped is not None
        return held and self._world.active and not life.final

    def _overslept(self, now: Moment, task: Task, life: Life) -> bool:
        """Whether a person was waited for until after the day on which it would have gone on by itself."""
        assert task.capped is not None
        held = life.capped or task.capped
        if task.capped.alone or not held.alone or self._world.day(now.at) <= held.day:
            return False
        self._world.unsure(now, task, life, "it would have gone on by itself when the next day began")
        return True

    def _by_itself(self, task: Task, life: Life) -> bool:
        return bool(held.alone) if (held := life.capped or task.capped) else False

    def _fits_in_record(self, now: Moment, task: Task) -> bool:
        assert task.capped is not None
        board, day = self._world.board, budget.today(self._world.board, now.at)
        ask = Ask(task.capped.tier, task.capped.channel, task.capped.estimate_usd)
        return budget.hit(budget.caps(board, board.settings.budget, task, day, ask), ask) is None


def _is_for_a_day(capped: Capped) -> bool:
    """Whether the next day makes room, so that nobody has to be asked if only the work may be repeated."""
    return capped.at_cap == "hold" and capped.cap != TASK_CAP

"""Slots, time limits and crash policies a second time: what they say of when and how attempts end.

Where a limit on slots is lower, a task that the record began while as many ran as the policy allows would have waited,
and so might all that followed it on that executor: until it has been without work for so long that whatever was put off
is done, had it been done one by one. Where the limit is higher, those that queued while all slots were taken might have
gone sooner. And whoever waited for a slot behind work that the policy would have made otherwise, began at another time.
How much sooner or later is not said: nobody knows in what order they would have ended.
"""

from __future__ import annotations

import msgspec

from omni.domain import events as ev
from omni.domain.task import Task
from omni.domain.values import Attempt, ExecutorSpec, Millis
from omni.replay.what_if.figures import Chosen
from omni.replay.what_if.world import Life, Moment, World, chosen


class Lane(msgspec.Struct):
    """How busy one executor was: since when it was never idle, the work done since, and whether some was put off."""

    since: Millis = 0
    work_ms: int = 0
    at: Millis = 0
    put_off: bool = False

    def pass_to(self, at: Millis, running: int) -> None:
        """Add the work of the time that has passed with so many attempts running."""
        if not running and at >= self.since + self.work_ms:
            self.since, self.work_ms, self.put_off = at, 0, False
        self.work_ms += max(0, at - self.at) * running
        self.at = at


class Pace:
    """Compares what was recorded of attempts with the executors of the policy."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lanes: dict[str, Lane] = {}

    def queued(self, task: Task, life: Life) -> None:
        """Remember whether a task that joins a queue finds all slots taken."""
        board, name = self._world.board, task.route.executor if task.route else ""
        life.waited = board.free_slots(name) <= 0 or board.waiting.get(name, 0) > 1  # one of them is itself

    def planned(self, now: Moment, event: ev.AttemptPlanned, task: Task, life: Life) -> None:
        """See whether the attempt would have begun when it did."""
        old, new = self._specs(event.route.executor)
        if life.waited and event.route.executor in self._world.disturbed:
            was = chosen(task.route, "it waited for a slot")
            return self._moves(now, task, life, was, "what ran before it would have taken another time")
        if old is None or new is None or old.max_concurrency == new.max_concurrency:
            return None
        lane = self._lane(now, old.name)
        running = self._running(old.name)
        was = chosen(task.route, f"{running} ran beside it, of {old.max_concurrency} at once")
        if new.max_concurrency < old.max_concurrency:
            lane.put_off |= running >= new.max_concurrency
            if lane.put_off:
                self._moves(now, task, life, was, f"{new.max_concurrency} at once: it may have had to wait")
        elif life.waited:
            self._moves(now, task, life, was, f"{new.max_concurrency} at once: it may have begun sooner")
        return None

    def ended(self, now: Moment, event: object, task: Task, life: Life) -> None:
        """See whether an attempt would have ended as it did under the policy's time limits and crash policy."""
        attempt = task.open_attempt
        if attempt is None:
            return
        old, new = self._specs(attempt.route.executor)
        if old is not None:
            self._lane(now, old.name)
        if new is None or life.final or self._world.policy is None:
            return
        why = _crash(event, attempt, new) or _limits(event, attempt, new, task, now.at)
        if why:
            self._world.unsure(now, task, life, why)

    def _moves(self, now: Moment, task: Task, life: Life, was: Chosen, why: str) -> None:
        self._world.turn(now, task, life, "other_time", was, chosen(life.route, why))

    def _specs(self, name: str) -> tuple[ExecutorSpec | None, ExecutorSpec | None]:
        return self._world.board.executors.get(name), self._world.shadow.executors.get(name)

    def _lane(self, now: Moment, name: str) -> Lane:
        lane = self._lanes.setdefault(name, Lane(now.at, 0, now.at))
        lane.pass_to(now.at, self._running(name))
        return lane

    def _running(self, name: str) -> int:
        board = self._world.board
        return len(board.at("running", name)) + len(board.at("suspended", name))


def _crash(event: object, attempt: Attempt, new: ExecutorSpec) -> str:
    if isinstance(event, ev.AttemptInterrupted) and not event.orderly and new.on_crash != attempt.policy:
        return f"after an interruption its executor follows {new.on_crash}, not {attempt.policy}"
    return ""


def _limits(event: object, attempt: Attempt, new: ExecutorSpec, task: Task, at: Millis) -> str:
    limit_ms = int(task.spec.timeout_s * 1000) if task.spec.timeout_s else new.timeout_ms
    if isinstance(event, ev.AttemptFailed) and event.error.kind == "timeout":
        if (limit_ms, new.idle_timeout_ms) != (attempt.timeout_ms, attempt.idle_timeout_ms):
            return "it was stopped for being too slow, and the limit is another"
        return ""
    took_ms = at - (attempt.started_at or attempt.planned_at)
    if limit_ms < attempt.timeout_ms and took_ms > limit_ms:
        return f"it took {took_ms / 1000:.0f} s, and would have been stopped after {limit_ms / 1000:.0f} s"
    return ""

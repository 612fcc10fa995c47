"""Why a task went where it went: the decision, the moment it was made in, and what would have led elsewhere.

The card speaks of the newest decision up to a position, and of the moment before that decision: what was known then,
not what became known later. A decision is one of routing (who, on which tier), or one of the budget at the start of an
attempt, which may move a task to a free tier or hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from omni.domain import events as ev
from omni.domain.task import Task
from omni.domain.values import ExecutorHealth, Millis, Route
from omni.domain.view import decision_view, money, timestamp
from omni.eventlog.store import Recorded
from omni.replay.history import Count, History, nothing
from omni.replay.otherwise import Change, Situation, changes, chosen
from omni.replay.state import StateAt, View, settings_hash, state_at
from omni.replay.state_views import executor_health_view

_UNKNOWN = ExecutorHealth()


class Card(msgspec.Struct, frozen=True):
    """One task's decision as of `position`. `reproduced`: today's rules decide the same; None where nothing is decided.

    `otherwise` is empty where they do not: what other rules would have done in other circumstances, nobody can say.
    """

    position: int
    told: View
    then: View
    route: Route | None
    reproduced: bool | None
    otherwise: tuple[Change, ...] = ()

    def view(self) -> View:
        """As JSON: all that `explain_task` says, and beside it the moment and the changes."""
        return {
            **self.told,
            "as_of": self.position,
            "chosen": _route_view(self.route),
            "then": self.then,
            "reproduced": self.reproduced,
            "otherwise": [change.view() for change in self.otherwise],
        }


class _Decision(msgspec.Struct, frozen=True):
    """The event that decided; `at_start` when the budget did."""

    row: Recorded
    at_start: bool


def card(history: History, task_id: str, at: int | None = None, count: Count = nothing) -> Card:
    """Explain the newest decision up to a position; None: up to now. `task_id` may be a beginning of it.

    Raises NotFound for a task that there was not by then, Ambiguous, CorruptLog.
    """
    position = history.reader.head.position if at is None else at
    task, recorded = history.folded(history.resolve(task_id), position)
    decision = _decision(task, recorded)
    before = position if decision is None else decision.row.position - 1
    state = state_at(history, before, count)
    told = decision_view(task, recorded)
    configured = history.reader.last(ev.SYSTEM_STREAM, "system.config_loaded", before)
    then = _then(state, task, decision.row.at_ms if decision else state.at_ms, configured)
    if decision is None:
        return Card(position, told, then, None, None)
    situation = _situation(history, state, decision, recorded)
    found = chosen(situation)
    route = _route_of(decision.row)
    reproduced = found.what == ((route.executor, route.tier, route.model) if route else ("", "", ""))
    return Card(position, told, then, route, reproduced, tuple(changes(situation)) if reproduced else ())


def _decision(task: Task, recorded: Sequence[Recorded]) -> _Decision | None:
    """The newest event that says where the task goes, or that it does not start for want of money."""
    last = next((row for row in reversed(recorded) if _decides(row)), None)
    if last is None:
        return None
    event = last.event
    moved_by_budget = isinstance(event, ev.TaskRouted) and event.route is not None and not event.candidates
    return _Decision(last, at_start=moved_by_budget or isinstance(event, ev.TaskHeld))


def _decides(row: Recorded) -> bool:
    """A task that was held for a call, which goes over some channel, was held by that and not before its start."""
    event = row.event
    if isinstance(event, ev.TaskHeld):
        return event.capped is not None and not event.capped.channel
    return isinstance(event, ev.TaskRouted)


def _route_of(row: Recorded) -> Route | None:
    return row.event.route if isinstance(row.event, ev.TaskRouted) else None


def _situation(history: History, state: StateAt, decision: _Decision, recorded: Sequence[Recorded]) -> Situation:
    """The task and the world as they were before the decision, for the rules to be asked again."""
    row = decision.row
    first = recorded[0]
    before = max(row.position - 1, first.position)
    task, _ = history.folded(first.stream.removeprefix(ev.TASK_PREFIX), before)
    board = state.board
    return Situation(task, board.settings, dict(board.health), board.mode, board.ledger, row.at_ms, decision.at_start)


def _then(state: StateAt, task: Task, at: Millis, configured: Recorded | None) -> View:
    """What was known when it was decided: health, mode, the money of that day, configuration."""
    board, health = state.board, state.health
    return {
        "position": state.position,
        "at": timestamp(state.at_ms) if state.position else None,
        "mode": {
            "mode": board.mode,
            "cause": health.cause or None,
            "reason": health.reason,
            "since": timestamp(health.since or None),
        },
        "executors": [
            {
                "name": spec.name,
                **executor_health_view(board.health.get(spec.name, _UNKNOWN)),
                "unavailable": spec.unavailable or None,
                "running": len(board.at("running", spec.name)) + len(board.at("suspended", spec.name)),
                "slots": spec.max_concurrency,
            }
            for spec in board.settings.executors
        ],
        "budget": {**state.spend(at), "task_usd": _own_cap(task), "task_spent_usd": _spent(state, task)},
        "configuration": _configuration(configured),
        "settings_hash": settings_hash(board.settings),
        "complexity_threshold": board.settings.complexity_threshold,
    }


def _own_cap(task: Task) -> float | None:
    return None if task.spec.budget_usd is None else money(task.spec.budget_usd)


def _spent(state: StateAt, task: Task) -> float:
    known = state.board.tasks.get(task.id)
    return money(known.meter.spent_usd) if known else 0.0


def _configuration(configured: Recorded | None) -> View | None:
    if configured is None or not isinstance(configured.event, ev.ConfigLoaded):
        return None
    digest, since = configured.event.digest, timestamp(configured.at_ms)
    return {"digest": digest, "position": configured.position, "at": since}


def _route_view(route: Route | None) -> dict[str, Any] | None:
    if route is None:
        return None
    return {
        "executor": route.executor,
        "tier": route.tier or None,
        "model": route.model or None,
        "mode": route.mode,
    }

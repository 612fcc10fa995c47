"""What people and programs see of a task: the shape of the contract, in plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from omni.domain.commands import DispatchReport, Spend
from omni.domain.events import TaskRouted
from omni.domain.task import Task
from omni.domain.values import Attempt, Millis, Route

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def task_view(task: Task) -> dict[str, Any]:
    """Render a task with all keys of the contract; absent values are null, times RFC 3339 in UTC."""
    spec, route = task.spec, task.route
    return {
        "id": task.id,
        "description": spec.description,
        "type": task.kind or spec.type,
        "state": str(task.state),
        "executor": route.executor if route else spec.executor,
        "tier": (route.tier if route else spec.tier) or None,
        "model": (route.model if route else spec.model) or None,
        "priority": spec.priority,
        "complexity": task.complexity,
        "labels": list(spec.labels),
        "attempt": len(task.attempts),
        "attempts": [_attempt_view(a) for a in task.attempts],
        "result": None
        if task.result is None
        else {"content": task.result.content, "structured": task.result.structured},
        "error": _plain(task.error),
        "cost_usd": None if task.cost_usd is None else money(task.cost_usd),
        "usage": _plain(task.usage),
        "held": _plain(task.held),
        "cancel_requested": task.cancel_requested,
        "retry_of": spec.retry_of,
        "session": next((a.session for a in reversed(task.attempts) if a.session), None),
        "created_at": timestamp(task.created_at),
        "updated_at": timestamp(task.updated_at),
        "ended_at": timestamp(task.ended_at),
        "retry_at": timestamp(task.retry_at),
        "position": task.position,
        "reply_to": spec.reply_to,
    }


class Row(Protocol):
    """A recorded event, as far as a view needs it."""

    @property
    def position(self) -> int: ...
    @property
    def at_ms(self) -> Millis: ...
    @property
    def event(self) -> Any: ...
    @property
    def actor(self) -> str: ...


def event_view(row: Row) -> dict[str, Any]:
    """One event of the log: position, time, type, writer and body."""
    body = msgspec.to_builtins(row.event)
    return {
        "position": row.position,
        "at": timestamp(row.at_ms),
        "type": body.pop("type"),
        "actor": row.actor,
        "body": body,
    }


def decision_view(task: Task, recorded: Sequence[Row]) -> dict[str, Any]:
    """The newest routing decision and those before it, how the attempts went, and what or until when it waits."""
    made = [_decision_view(row) for row in recorded if isinstance(row.event, TaskRouted)]
    view = task_view(task)
    return {
        "task_id": task.id,
        "state": view["state"],
        "decision": made[-1] if made else None,
        "earlier": made[:-1],
        "held": view["held"],
        "attempts": view["attempts"],
        "retry_at": view["retry_at"],
    }


def dispatch_view(report: DispatchReport) -> dict[str, Any]:
    """Whether attempts begin: `open`, `paused` after a crash loop, or `stopping`; why, since when and until when."""
    return {
        "state": report.state,
        "reason": pause_reason(report),
        "since": timestamp(report.since or None),
        "until": timestamp(report.until or None),
    }


def pause_reason(report: DispatchReport) -> str | None:
    """Why nothing is begun, and what a person can do about it."""
    if report.state == "stopping":
        return "the daemon is being stopped"
    if report.state == "open":
        return None
    return f"it was started {report.starts} times in a short while and never stopped; to go on: omni mode auto"


def spend_view(spend: Spend) -> dict[str, Any]:
    """What was spent on one day, which ends at `day_ends`, and the caps; amounts in US dollars.

    `kept_usd` are estimates that stand for bills nobody knows; `unknown_calls` have no known bill.
    """
    budget = spend.budget
    return {
        "day_ends": timestamp(spend.until),
        "billed_usd": money(spend.billed_usd),
        "imputed_usd": money(spend.imputed_usd),
        "reserved_usd": money(spend.reserved_usd),
        "kept_usd": money(spend.kept_usd),
        "unknown_calls": spend.unknown,
        "caps": {
            "daily_usd": budget.daily_usd,
            "task_usd": budget.task_usd,
            "channel_usd": dict(budget.channel_usd),
            "at_cap": budget.at_cap,
        },
    }


def money(usd: float) -> float:
    """A sum without the dust that adding up floats leaves."""
    return round(usd, 9)


def timestamp(at: Millis | None) -> str | None:
    """RFC 3339 in UTC with milliseconds, or null."""
    if at is None:
        return None
    seconds, ms = divmod(at, 1000)
    return f"{_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=256)  # a task's times, and those of its neighbours, mostly share their second
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def _decision_view(row: Row) -> dict[str, Any]:
    event = row.event
    route = event.route or Route("")
    return {
        "position": row.position,
        "at": timestamp(row.at_ms),
        "executor": route.executor or None,
        "tier": route.tier or None,
        "model": route.model or None,
        "mode": route.mode,
        "type": event.kind,
        "complexity": event.complexity,
        "reason": event.reason,
        "signals": list(event.signals),
        "candidates": [
            {"executor": c.executor, "score": c.score, "reasons": list(c.reasons), "rejected": c.rejected or None}
            for c in event.candidates
        ],
    }


def _attempt_view(attempt: Attempt) -> dict[str, Any]:
    return {
        "n": attempt.n,
        "executor": attempt.route.executor,
        "route": {"tier": attempt.route.tier or None, "model": attempt.route.model or None, "mode": attempt.route.mode},
        "state": str(attempt.state),
        "started_at": timestamp(attempt.started_at or attempt.planned_at),
        "ended_at": timestamp(attempt.ended_at),
        "error": _plain(attempt.error),
        "handle": attempt.handle,
    }


def _plain(value: msgspec.Struct | None) -> Any:
    return None if value is None else msgspec.to_builtins(value)

"""Why a task went where it went: the decision as it was recorded, with everybody who was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omni.domain.events import TaskRouted
from omni.domain.task import Task
from omni.domain.view import task_view, timestamp
from omni.eventlog.store import Recorded


def decision_view(task: Task, recorded: Sequence[Recorded]) -> dict[str, Any]:
    """The newest decision and those before it, how the attempts went, and what a held task waits for."""
    made = [_decision(each, each.event) for each in recorded if isinstance(each.event, TaskRouted)]
    view = task_view(task)
    return {
        "task_id": task.id,
        "state": view["state"],
        "decision": made[-1] if made else None,
        "earlier": made[:-1],
        "held": view["held"],
        "attempts": view["attempts"],
    }


def _decision(recorded: Recorded, event: TaskRouted) -> dict[str, Any]:
    return {
        "position": recorded.position,
        "at": timestamp(recorded.at_ms),
        "executor": event.route.executor,
        "tier": event.route.tier or None,
        "model": event.route.model or None,
        "mode": event.route.mode,
        "type": event.kind,
        "complexity": event.complexity,
        "reason": event.reason,
        "signals": list(event.signals),
        "candidates": [
            {"executor": c.executor, "score": c.score, "reasons": list(c.reasons), "rejected": c.rejected or None}
            for c in event.candidates
        ],
    }

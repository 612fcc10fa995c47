"""What callers see of pages, the system, executors, events and decisions, in plain JSON values."""

from __future__ import annotations

from typing import Any

from omni.domain.commands import ComponentReport, ExecutorReport, NoteMode, SystemReport, TaskPage
from omni.domain.values import ExecutorHealth
from omni.domain.view import dispatch_view, spend_view, task_view, timestamp


def page_view(page: TaskPage) -> dict[str, Any]:
    """`{tasks, next}`; `next` is null on the last page."""
    return {"tasks": [task_view(each) for each in page.tasks], "next": page.next or None}


def system_view(report: SystemReport) -> dict[str, Any]:
    """Mode and why, components with their evidence, executors and their queues, tasks by state, log position."""
    return {
        **mode_view(report.health.mode),
        "components": [component_view(each) for each in report.health.components],
        "executors": [executor_view(each) for each in report.executors],
        "tasks": dict(report.counts),
        "spend": spend_view(report.spend) if report.spend else None,
        "dispatch": dispatch_view(report.dispatch),
        "position": report.position,
    }


def mode_view(note: NoteMode) -> dict[str, Any]:
    """The mode, what it follows from, and since when."""
    return {
        "mode": note.mode,
        "cause": note.cause or None,
        "reason": note.reason or None,
        "since": timestamp(note.since or None),
    }


def component_view(report: ComponentReport) -> dict[str, Any]:
    """One component: how it is, since when and until when, and the observations that say so."""
    return {
        "kind": report.kind,
        "name": report.name,
        "state": report.state,
        "since": timestamp(report.since or None),
        "until": timestamp(report.until),
        "reason": report.reason or None,
        "evidence": [
            {"at": timestamp(e.at), "source": e.source, "verdict": e.verdict, "detail": e.detail or None}
            for e in report.evidence
        ],
    }


def executor_view(report: ExecutorReport) -> dict[str, Any]:
    """One executor: what it is for, how it is, what it is doing."""
    spec = report.spec
    return {
        "name": spec.name,
        "types": list(spec.types),
        "keywords": list(spec.keywords),
        "local": spec.local,
        "gpu": spec.gpu,
        "always_on": spec.always_on,
        "needs_cloud": spec.needs_cloud,
        "max_concurrency": spec.max_concurrency,
        "health": health_view(report.health, spec.unavailable),
        "since": timestamp(report.since or None),
        "tools": list(report.tools),
        "running": report.running,
        "queued": report.queued,
    }


def health_view(health: ExecutorHealth, unavailable: str = "") -> dict[str, Any]:
    """State, reason and, while paused, until when; a standing reason outweighs what was observed."""
    if unavailable:
        return {"state": "failed", "reason": unavailable, "until": None}
    return {"state": health.state, "reason": health.reason or None, "until": timestamp(health.until_ms)}

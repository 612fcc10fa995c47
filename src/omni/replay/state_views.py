"""What each actor knew at one moment, in plain JSON values with stable keys and times in RFC 3339."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import msgspec

from omni.domain import events as ev
from omni.domain import starts
from omni.domain.board import Board
from omni.domain.executor_watch import Executors, Watched
from omni.domain.health import Breaker, Component, Health, Key, explain
from omni.domain.system import SystemState
from omni.domain.values import Evidence, ExecutorHealth, ExecutorSpec
from omni.domain.view import dispatch_view, timestamp
from omni.eventlog.store import Recorded

View: TypeAlias = dict[str, Any]
_UNKNOWN = ExecutorHealth()


def router_view(board: Board, executors: Executors, settings_hash: str) -> View:
    """What dispatch went by: executors as the Router knew them, the mode it had noted, the ramp."""
    return {
        "boot": board.boot or None,
        "booted": board.booted,
        "settings_hash": settings_hash,
        "mode": board.mode,
        "cleared": board.cleared,
        "dispatch": dispatch_view(starts.report(board)),
        "ramp": {"window": board.ramp, "until": timestamp(board.ramp_until or None), "running": list(board.ramped)},
        "executors": [_executor_view(spec, board, executors.get(spec.name)) for spec in board.settings.executors],
        "calls": [msgspec.to_builtins(call) for call in board.ledger.open.values()],
    }


def health_view(health: Health, turned: Recorded | None) -> View:
    """The mode with what led to it, and every component; `turned` is the last event that changed the mode."""
    return {
        "boot": health.boot or None,
        "mode": _mode_view(health, turned),
        "proxy": _component_view(health.proxy),
        "clouds": [{"name": name, **_component_view(cloud)} for name, cloud in health.clouds.items()],
        "keys": [_key_view(cloud, role, key) for (cloud, role), key in health.keys.items()],
        "breakers": [_breaker_view(*name, breaker) for name, breaker in health.breakers.items()],
    }


def system_view(
    state: SystemState, started: Recorded | None, configured: Recorded | None, drilled: Recorded | None
) -> View:
    """The daemon, its configuration, what it owed to people, repairs and drills."""
    return {
        "running": state.running,
        "boot": state.boot or None,
        "daemon": _daemon_view(started),
        "configuration": _configuration_view(state, configured),
        "mode": state.mode,
        "outbox": list(_outbox(state)),
        "repair": _repair_view(state),
        "drill": _drill_view(drilled),
        "local_model": state.local or None,
    }


def executor_health_view(health: ExecutorHealth) -> View:
    """One executor's health."""
    return {"state": health.state, "reason": health.reason, "until": timestamp(health.until_ms)}


def evidence_view(evidence: Iterable[Evidence]) -> list[View]:
    """Observations, oldest first."""
    return [{"at": timestamp(e.at), "source": e.source, "verdict": e.verdict, "detail": e.detail} for e in evidence]


def _executor_view(spec: ExecutorSpec, board: Board, watched: Watched | None) -> View:
    name = spec.name
    known = watched.health if watched else _UNKNOWN
    return {
        "name": name,
        "types": list(spec.types),
        "unavailable": spec.unavailable or None,
        "noted": executor_health_view(board.health.get(name, _UNKNOWN)),
        "health": {**executor_health_view(known), "since": timestamp(watched.since if watched else None)},
        "running": len(board.at("running", name)) + len(board.at("suspended", name)),
        "queued": sum(1 for _ in board.queued(name)),
        "waiting": sum(1 for _ in board.waiting_for(name)),
        "slots": spec.max_concurrency,
    }


def _mode_view(health: Health, turned: Recorded | None) -> View:
    event = turned.event if turned is not None and isinstance(turned.event, ev.ModeChanged) else None
    return {
        "mode": health.mode,
        "cause": health.cause or None,
        "reason": health.reason,
        "since": timestamp(health.since or None),
        "forced_by": (health.forced_by or "a person") if health.forced else None,
        "position": turned.position if turned else None,
        "evidence": evidence_view(event.evidence if event else ()),
    }


def _component_view(known: Component) -> View:
    return {
        "state": known.state,
        "since": timestamp(known.since or None),
        "reason": explain(known.evidence) if known.state == "down" else "",
        "recoveries": [timestamp(up) for up in known.ups],
        "evidence": evidence_view(known.evidence),
    }


def _key_view(cloud: str, role: str, key: Key) -> View:
    times = {"since": timestamp(key.since or None), "until": timestamp(key.until)}
    return {"name": f"{cloud}/{role}", "state": key.state, **times, "evidence": evidence_view(key.evidence)}


def _breaker_view(channel: str, model: str, breaker: Breaker) -> View:
    return {
        "name": f"{channel}/{model}",
        "state": breaker.state,
        "since": timestamp(breaker.since or None),
        "until": timestamp(breaker.until),
        "reason": breaker.reason,
        "evidence": evidence_view(breaker.evidence),
    }


def _daemon_view(started: Recorded | None) -> View | None:
    if started is None or not isinstance(started.event, ev.DaemonStarted):
        return None
    event, since = started.event, timestamp(started.at_ms)
    return {"version": event.version, "pid": event.pid, "started_at": since, "position": started.position}


def _configuration_view(state: SystemState, configured: Recorded | None) -> View | None:
    if configured is None:
        return None
    return {"digest": state.config_digest, "position": configured.position, "at": timestamp(configured.at_ms)}


def _outbox(state: SystemState) -> Iterator[View]:
    for key, notice in state.outbox.items():
        owed = {sink or "(every sink)": keys[key] for (sink, _), keys in state.lanes.items() if key in keys}
        yield {
            "key": key,
            "kind": notice.kind,
            "at": timestamp(notice.at),
            "to": notice.to or None,
            "facts": dict(notice.facts),
            "owed": [{"name": sink, "failed": failed} for sink, failed in owed.items()],
        }


def _repair_view(state: SystemState) -> View:
    return {
        "task_id": state.repair or None,
        "of_this_outage": state.repairs,
        "not_before": timestamp(state.repair_at or None),
        "last_outcome": state.last_outcome or None,
        "given_up": state.given_up,
        "called_off": list(state.unwanted),
    }


def _drill_view(drilled: Recorded | None) -> View | None:
    if drilled is None or not isinstance(drilled.event, ev.DrillBegun):
        return None
    begun, until = timestamp(drilled.at_ms), timestamp(drilled.event.until_ms)
    return {"fault": drilled.event.fault, "begun_at": begun, "until": until, "position": drilled.position}

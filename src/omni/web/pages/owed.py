"""Notices that the log says are owed to somebody and were not delivered yet."""

from __future__ import annotations

from typing import Any

from omni.domain import events as ev
from omni.domain import system
from omni.domain.system import SystemState
from omni.domain.view import timestamp
from omni.notify.texts import Language, render
from omni.replay.history import History

SHOWN = 10


def notices(history: History, language: Language) -> list[dict[str, Any]]:
    """The newest of them, in words, with the sinks that have yet to take each and how often they were tried."""
    state = system.initial()
    for _, _, at, event in history.reader.facts(0, (ev.SYSTEM_STREAM,)):
        system.evolve(state, event, at)
    return [_view(state, key, language) for key in reversed(state.outbox)][:SHOWN]


def _view(state: SystemState, key: str, language: Language) -> dict[str, Any]:
    notice = state.outbox[key]
    lanes = {lane: keys[key] for lane, keys in state.lanes.items() if key in keys}
    return {
        "key": key,
        "kind": notice.kind,
        "text": render(notice.kind, notice.facts, language),
        "at": timestamp(notice.at),
        "tries": max(lanes.values(), default=0),
        "sinks": sorted({sink for sink, _ in lanes if sink}),
    }

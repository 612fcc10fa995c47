"""The state of Brainstem: the fold of the stream `system`, one table of what each event changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from omni.domain import events as ev
from omni.domain.values import Millis, Mode, NoticeSink, RepairSettings, Telling

REMEMBERED = 1_000  # words of `Tell.dedup`
NOT_WANTED = "not wanted any more"


Lane: TypeAlias = tuple[str, str]  # a sink, and the one address that its notices are for; "" for the owner's


class Notice(msgspec.Struct, frozen=True):
    """One piece of news that is still owed to a sink; `to` is the one address that it is meant for."""

    key: str
    kind: str
    facts: dict[str, str]
    at: Millis
    to: str = ""


class SystemSnapshot(msgspec.Struct, frozen=True):
    """Everything that the system stream has led to, so that `restore` gives an equal state."""

    version: int
    boot: str
    running: bool
    config_digest: str
    mode: Mode
    reason: str
    telling: Telling
    outbox: tuple[Notice, ...]
    lanes: tuple[tuple[Lane, tuple[tuple[str, int], ...]], ...]
    dedups: tuple[tuple[str, int], ...]
    heard_to: int
    settings: RepairSettings
    repair: str
    unwanted: tuple[str, ...]
    repairs: int
    repair_at: Millis
    last_outcome: str
    given_up: bool
    nobody_told: bool
    drill_until: Millis
    local: str
    sleep_tries: int


class SystemState:
    """What the system stream says so far. Mutable, owned by one actor, rebuilt from the log."""

    def __init__(self) -> None:
        self.version = 0
        self.boot = ""
        self.running = False  # a daemon took the log and has not let go of it
        self.config_digest = ""
        self.mode: Mode = "NORMAL"
        self.reason = ""
        self.telling = Telling()
        self.outbox: OrderedDict[str, Notice] = OrderedDict()  # by key: what is owed to anybody
        self.lanes: dict[Lane, OrderedDict[str, int]] = {}  # keys in order, and how often each has failed there
        self.dedups: OrderedDict[str, int] = OrderedDict()  # and where in the log that of which they tell stands
        self.heard_to = 0  # what stands up to here in the log has been heard of, be its name forgotten or not
        self.settings = RepairSettings()
        self.repair = ""  # the task of the open one
        self.unwanted: OrderedDict[str, None] = OrderedDict()  # called off; until it has ended, its cancel may be lost
        self.repairs = 0  # of this outage
        self.repair_at: Millis = 0  # not before; 0 for at once
        self.last_outcome = ""
        self.given_up = False
        self.nobody_told = False  # that nobody can repair
        self.drill_until: Millis = 0  # a fault is made on purpose, or was
        self.local = ""
        self.sleep_tries = 0

    @property
    def lingering(self) -> bool:
        """Whether the local model may still be in memory although nobody needs it."""
        return self.mode != "BRAINSTEM" and self.local not in {"", "unloaded"}

    def sink(self, name: str) -> NoticeSink | None:
        """The sink of this name, if this boot has one."""
        return next((sink for sink in self.telling.sinks if sink.name == name), None)

    def snapshot(self) -> SystemSnapshot:
        """What has to be saved so that `restore` gives an equal state."""
        ordered = {
            "outbox": tuple(self.outbox.values()),
            "lanes": tuple((lane, tuple(keys.items())) for lane, keys in self.lanes.items()),
            "dedups": tuple(self.dedups.items()),
            "unwanted": tuple(self.unwanted),
        }
        return SystemSnapshot(**{**vars(self), **ordered})


def serves(sink: NoticeSink, to: str) -> bool:
    """Whether a notice for this address is owed to the sink."""
    return sink.addressed if to else sink.owner


def initial() -> SystemState:
    """The state before any event."""
    return SystemState()


def restore(snapshot: SystemSnapshot) -> SystemState:
    """Build the state that `snapshot` was taken of."""
    state = SystemState()
    vars(state).update(msgspec.structs.asdict(snapshot))
    state.outbox = OrderedDict((notice.key, notice) for notice in snapshot.outbox)
    state.lanes = {lane: OrderedDict(keys) for lane, keys in snapshot.lanes}
    state.dedups = OrderedDict(snapshot.dedups)
    state.unwanted = OrderedDict.fromkeys(snapshot.unwanted)
    return state


def evolve(state: SystemState, event: ev.SystemEvent, at: Millis) -> None:
    """Apply one recorded event of the system stream."""
    state.version += 1
    if apply := _EVOLVE.get(type(event)):
        apply(state, event, at)


def _started(state: SystemState, event: ev.DaemonStarted, at: Millis) -> None:
    state.boot, state.running = event.boot, True
    _ordered(state, event.repair, event.telling)


def _ordered(state: SystemState, repair: RepairSettings, telling: Telling) -> None:
    """How repairs are made and whom notices are owed to, from here on."""
    state.settings, state.telling = repair, telling
    _name_lanes(state)


def _name_lanes(state: SystemState) -> None:
    """What was owed to all sinks together, by a version that knew no others, is owed to each that there is now."""
    unnamed = [] if state.sink("") else list(state.lanes.pop(("", ""), ()))
    for key in unnamed:
        _owe(state, state.outbox[key])


def _owe(state: SystemState, notice: Notice) -> None:
    for sink in state.telling.sinks:
        if serves(sink, notice.to):
            state.lanes.setdefault((sink.name, notice.to), OrderedDict())[notice.key] = 0


def _stopped(state: SystemState, event: ev.DaemonStopped, at: Millis) -> None:
    state.running = False


def _configured(state: SystemState, event: ev.ConfigLoaded, at: Millis) -> None:
    state.config_digest = event.digest
    if event.repair is not None and event.telling is not None:
        _ordered(state, event.repair, event.telling)


def _followed(state: SystemState, event: ev.ModeFollowed, at: Millis) -> None:
    state.mode, state.reason = event.mode, event.reason
    if event.mode == "NORMAL":  # the outage is over: the next one begins a new count
        state.repairs = state.repair_at = 0
        state.nobody_told = False
        state.last_outcome = ""


def _queued(state: SystemState, event: ev.NoticeQueued, at: Millis) -> None:
    state.outbox[event.key] = notice = Notice(event.key, event.kind, event.facts, at, event.to)
    _owe(state, notice)
    state.nobody_told = state.nobody_told or event.kind == "no_repair"
    if event.dedup:
        state.dedups[event.dedup] = event.about
        if len(state.dedups) > REMEMBERED:
            state.heard_to = max(state.heard_to, state.dedups.popitem(last=False)[1])


def _gone(state: SystemState, event: ev.NoticeDelivered | ev.NoticeDropped, at: Millis) -> None:
    for lane, keys in list(state.lanes.items()):
        if event.sink in ("", lane[0]):
            keys.pop(event.key, None)
            if not keys:
                del state.lanes[lane]
    if not any(event.key in keys for keys in state.lanes.values()):
        state.outbox.pop(event.key, None)


def _delayed(state: SystemState, event: ev.NoticeDelayed, at: Millis) -> None:
    state.lanes[event.sink, state.outbox[event.key].to][event.key] += 1


def _repair_started(state: SystemState, event: ev.RepairStarted, at: Millis) -> None:
    state.repair, state.repairs = event.task_id, event.n
    state.given_up = False


def _repair_ended(state: SystemState, event: ev.RepairEnded, at: Millis) -> None:
    if event.task_id in state.unwanted:
        del state.unwanted[event.task_id]
        return
    state.repair, state.repair_at = "", event.next_at or 0
    if event.outcome == NOT_WANTED:
        state.unwanted[event.task_id] = None
        if len(state.unwanted) > REMEMBERED:
            state.unwanted.popitem(last=False)
    else:
        state.last_outcome = event.outcome


def _repair_given_up(state: SystemState, event: ev.RepairGivenUp, at: Millis) -> None:
    state.given_up = True


def _drilled(state: SystemState, event: ev.DrillBegun, at: Millis) -> None:
    state.drill_until = event.until_ms


def _local_changed(state: SystemState, event: ev.LocalModelChanged, at: Millis) -> None:
    state.sleep_tries = state.sleep_tries + 1 if event.state == "failed" and state.lingering else 0
    state.local = event.state


_EVOLVE: dict[type[Any], Callable[[SystemState, Any, Millis], None]] = {
    ev.DaemonStarted: _started,
    ev.DaemonStopped: _stopped,
    ev.ConfigLoaded: _configured,
    ev.ModeFollowed: _followed,
    ev.NoticeQueued: _queued,
    ev.NoticeDelivered: _gone,
    ev.NoticeDropped: _gone,
    ev.NoticeDelayed: _delayed,
    ev.RepairStarted: _repair_started,
    ev.RepairEnded: _repair_ended,
    ev.RepairGivenUp: _repair_given_up,
    ev.DrillBegun: _drilled,
    ev.LocalModelChanged: _local_changed,
}

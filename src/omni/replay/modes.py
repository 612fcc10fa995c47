"""Judges modes and suspensions in a log by the failover rules, written a second time as what may follow what.

health   proxy, clouds, keys ──► the mode that a `mode_changed` must name        (BRAINSTEM by hand outweighs all)
router   paused after a crash loop, or stopped ──► plans nothing
         notes a mode that health has named ──► what needs the cloud is suspended, planned, restored accordingly
"""

from __future__ import annotations

from typing import Any

from omni.domain import events as ev
from omni.domain.values import Mode

Wrong = list[tuple[str, str]]

# What most of a log is made of, and says nothing about health, modes or suspensions.
SILENT: frozenset[type[Any]] = frozenset(
    {
        ev.TaskCreated,
        ev.TaskRouted,
        ev.AttemptStarted,
        ev.AttemptSucceeded,
        ev.AttemptFailed,
        ev.AttemptInterrupted,
        ev.CallReserved,
        ev.CallSettled,
        ev.NoticeQueued,
        ev.NoticeDelivered,
    }
)

# Why the Router begins no attempt from then on.
_DISPATCH: dict[type[Any], str] = {
    ev.RouterStarted: "",
    ev.DispatchPaused: "dispatch is paused after a crash loop",
    ev.DispatchResumed: "",
    ev.RouterStopped: "the daemon is being stopped",
}


class ModeCheck:
    """Remembers as much of health, mode and suspensions as it takes to judge the next event."""

    def __init__(self) -> None:
        self._proxy = "absent"
        self._clouds: dict[str, str] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._forced = False
        self._mode: Mode = "NORMAL"
        self._named: list[Mode] = ["NORMAL"]  # what the Router noted last, and what health has named since, in order
        self._watched = False
        self._noted: Mode = "NORMAL"
        self._ramp = 0
        self._cloudless: set[str] = set()
        self._suspended: set[str] = set()
        self._begins_none = ""  # why the Router begins no attempt: a crash loop, or a stop

    def __call__(self, stream: str, event: Any) -> Wrong:
        """What is wrong with this event; nothing for one that says nothing about modes."""
        match event:
            case ev.ModeChanged():
                return self._changed(event)
            case ev.ModeNoted():
                return self._note(event)
            case ev.TaskSuspended() | ev.TaskRestored():
                return self._suspension(stream, event)
            case ev.AttemptPlanned():
                return self._planned(stream, event)
            case ev.TaskCompleted() | ev.TaskFailed() | ev.TaskCancelled() | ev.TaskHeld():
                self._suspended.discard(stream)
            case ev.RoutingConfigured(settings):
                self._cloudless = {e.name for e in settings.executors if not e.needs_cloud}
            case ev.RampMoved(window):
                self._ramp = window
            case _ if type(event) in _DISPATCH:
                self._begins_none = _DISPATCH[type(event)]
            case _:
                self._health(event)
        return []

    def _health(self, event: Any) -> None:
        match event:
            case ev.HealthConfigured(settings):
                self._watched = True
                self._proxy = ("up" if self._proxy == "absent" else self._proxy) if settings.proxy else "absent"
                self._clouds = {name: self._clouds.get(name, "up") for name in settings.clouds}
                known = {name: self._keys.get((name, "backup"), "absent") for name in settings.clouds}
                for name, state in known.items():
                    there = name in settings.backup_keys
                    kept = state if state != "absent" else "ok"
                    self._keys[name, "backup"] = kept if there else "absent"
            case ev.ProxyChanged(state):
                self._proxy = state
            case ev.CloudChanged(cloud, state):
                self._clouds[cloud] = state
            case ev.KeyChanged(cloud, key, key_state):
                self._keys[cloud, key] = key_state
            case ev.ModeForced(brainstem):
                self._forced = brainstem

    def _follows(self) -> set[Mode]:
        """The modes that this health allows; two where a key may have come out of its cooldown by itself."""
        up = [name for name, state in self._clouds.items() if state == "up"]
        if self._forced or (self._clouds and not up):
            return {"BRAINSTEM"}
        if self._proxy != "down":
            return {"NORMAL"}
        keys = {self._keys.get((name, "backup"), "absent") for name in up}
        if "ok" in keys:
            return {"DEGRADED"}
        return {"DEGRADED", "BRAINSTEM"} if "cooldown" in keys else {"BRAINSTEM"}

    def _changed(self, event: ev.ModeChanged) -> Wrong:
        wrong = [] if event.before == self._mode else [("mode.order", f"from {event.before}, but it was {self._mode}")]
        self._mode = event.after
        self._named.append(event.after)
        allowed = self._follows()
        if event.after not in allowed:
            wrong.append(("mode.differs", f"{event.after}, but this health means {' or '.join(sorted(allowed))}"))
        return wrong

    def _note(self, event: ev.ModeNoted) -> Wrong:
        """Every note names a mode of health's, and none that came before the last one that was noted."""
        self._noted = event.mode
        self._ramp = 0 if event.mode == "BRAINSTEM" else self._ramp
        if event.mode in self._named:
            del self._named[: self._named.index(event.mode)]
            return []
        self._named = [self._mode]
        unfounded = f"the Router took note of {event.mode}, which health did not name"
        return [("mode.unfounded", unfounded)] if self._watched else []

    def _suspension(self, stream: str, event: ev.TaskSuspended | ev.TaskRestored) -> Wrong:
        suspends = isinstance(event, ev.TaskSuspended)
        twice = (stream in self._suspended) == suspends
        self._suspended ^= set() if twice else {stream}
        wrong = [("task.suspended_twice", "it is in that state already")] if twice else []
        if suspends and self._noted != "BRAINSTEM" and not self._ramp:
            wrong.append(("task.suspended_for_nothing", f"in {self._noted}"))
        if not suspends and self._noted == "BRAINSTEM":
            wrong.append(("task.restored_too_early", "the cloud is still gone"))
        return wrong

    def _planned(self, stream: str, event: ev.AttemptPlanned) -> Wrong:
        wrong = [("attempt.while_suspended", f"attempt {event.n}")] if stream in self._suspended else []
        if self._begins_none:
            wrong.append(("attempt.while_paused", self._begins_none))
        if self._noted == "BRAINSTEM" and event.route.executor not in self._cloudless:
            wrong.append(("attempt.without_cloud", f"{event.route.executor} needs the cloud, which is gone"))
        return wrong

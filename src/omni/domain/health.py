"""What is known of the proxy, the clouds, their keys and single models: the fold of the stream `health`.

Theory of operation. Every edge is an event, and this state is nothing but their fold: it survives a restart. What led
to an edge (streaks, windows) is soft and stands in `omni.domain.symptoms`. The mode is never set, it follows from this
state (`omni.domain.mode`); the last one written down is kept here beside what it was derived from.

    proxy, cloud   up ⇄ down                           absent: not configured
    key            ok → invalid → ok                   refused, and mended by a person
                   ok → cooldown ──until──▶ ok again   out of credit
    breaker        closed → open ──until──▶ half-open ──OK──▶ closed
                              ▲─────────────────┘ failure: longer than before

Times are wall-clock milliseconds of the events. Where the wall clock was set back, they are moved with it; where nobody
saw that, a wait that begins in the future, or ends further away than any wait lasts, is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import (
    PROXY,
    BreakerState,
    Cause,
    ComponentState,
    Evidence,
    HealthSettings,
    KeyRole,
    KeyState,
    Millis,
    Mode,
)

HOUR_MS = 3_600_000
LONGEST_WAIT_MS = 600_000  # of keys and breakers; a Retry-After beyond it is not believed
UPS_KEPT = 20  # twice as many as any rule asks for
BREAKERS_KEPT = 200  # callers name models as they like: what nobody has used for longest is forgotten
ROLES: tuple[KeyRole, ...] = ("primary", "backup")


class Component(msgspec.Struct, frozen=True):
    """The proxy or a cloud. `waits_from`: when the dwell began; `ups`: when it came back lately."""

    state: ComponentState = "up"
    since: Millis = 0
    waits_from: Millis = 0
    ups: tuple[Millis, ...] = ()
    network: bool = False
    evidence: tuple[Evidence, ...] = ()

    def recoveries(self, at: Millis) -> int:
        """How often it came back within the hour before `at`."""
        return sum(1 for up in self.ups if 0 <= at - up < HOUR_MS)


class Key(msgspec.Struct, frozen=True):
    """One key of one cloud."""

    state: KeyState = "ok"
    since: Millis = 0
    until: Millis | None = None
    evidence: tuple[Evidence, ...] = ()

    def good(self, at: Millis) -> bool:
        """Whether it may be used: one out of credit may be tried again when its time is over."""
        return self.state == "ok" or (self.state == "cooldown" and is_over(self.until, at))


class Breaker(msgspec.Struct, frozen=True):
    """One model on one channel; `opened` counts how often in a row, and the pause grows with it."""

    state: BreakerState = "closed"
    since: Millis = 0
    until: Millis | None = None
    opened: int = 0
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()


class Health(msgspec.Struct):
    """Everything durable. Mutable, owned by one actor, rebuilt from the log; `revision` counts its events."""

    boot: str = ""
    settings: HealthSettings = HealthSettings()
    proxy: Component = Component("absent")
    clouds: dict[str, Component] = msgspec.field(default_factory=dict)
    keys: dict[tuple[str, KeyRole], Key] = msgspec.field(default_factory=dict)
    breakers: dict[tuple[str, str], Breaker] = msgspec.field(default_factory=dict)
    forced: bool = False
    forced_by: str = ""
    mode: Mode = "NORMAL"
    cause: Cause = ""
    reason: str = ""
    since: Millis = 0
    revision: int = 0

    @property
    def targets(self) -> tuple[str, ...]:
        """What is to be looked at."""
        return targets(self.settings)

    def key(self, cloud: str, role: KeyRole) -> Key:
        """One key as it is known."""
        return self.keys.get((cloud, role), Key("absent"))


def targets(settings: HealthSettings) -> tuple[str, ...]:
    """What these settings want to be looked at."""
    return ((PROXY,) if settings.proxy else ()) + settings.clouds


def is_over(until: Millis | None, at: Millis) -> bool:
    """Whether a wait has ended; one that ends further away than any wait lasts was begun before the clock was set."""
    return until is None or not 0 < until - at <= LONGEST_WAIT_MS


def evolve(health: Health, event: Any, at: Millis) -> None:
    """Apply one recorded event of the health stream; events about executors are not its own."""
    if apply := _EVOLVE.get(type(event)):
        health.revision += 1
        apply(health, event, at)


# --- what each event changes ----------------------------------------------------------------------------------------


def _started(health: Health, event: ev.HealthStarted, at: Millis) -> None:
    health.boot, health.since = event.boot, health.since or at
    health.proxy = _without_future(health.proxy, at)
    health.clouds = {name: _without_future(cloud, at) for name, cloud in health.clouds.items()}


def _without_future(component: Component, at: Millis) -> Component:
    """Forget when it came back by a clock that was set back since: those hours would count a second time."""
    return replace(component, ups=tuple(up for up in component.ups if up <= at))


def _configured(health: Health, event: ev.HealthConfigured, at: Millis) -> None:
    settings, new = event.settings, Component(since=at, waits_from=at)
    health.settings = settings
    if not settings.proxy:
        health.proxy = Component("absent", at)
    elif health.proxy.state == "absent":
        health.proxy = new
    health.clouds = {name: health.clouds.get(name, new) for name in settings.clouds}
    health.keys = {(cloud, role): _key(health, cloud, role, at) for cloud in settings.clouds for role in ROLES}
    channels = {*settings.clouds, *((PROXY,) if settings.proxy else ())}
    health.breakers = {name: each for name, each in health.breakers.items() if name[0] in channels}


def _key(health: Health, cloud: str, role: KeyRole, at: Millis) -> Key:
    there = cloud in (health.settings.primary_keys if role == "primary" else health.settings.backup_keys)
    known = health.key(cloud, role)
    if there == (known.state != "absent"):
        return known
    return Key("ok" if there else "absent", at)


def _proxy(health: Health, event: ev.ProxyChanged, at: Millis) -> None:
    health.proxy = _changed(health.proxy, event.state, event.evidence, at)


def _cloud(health: Health, event: ev.CloudChanged, at: Millis) -> None:
    known = health.clouds.get(event.cloud, Component())
    health.clouds[event.cloud] = replace(_changed(known, event.state, event.evidence, at), network=event.network)


def _changed(known: Component, state: ComponentState, evidence: tuple[Evidence, ...], at: Millis) -> Component:
    ups = (*known.ups, at)[-UPS_KEPT:] if state == "up" else known.ups
    return Component(state, at, at, ups, evidence=evidence)


def _key_changed(health: Health, event: ev.KeyChanged, at: Millis) -> None:
    health.keys[event.cloud, event.key] = Key(event.state, at, event.until_ms, event.evidence)


def _breaker(health: Health, event: ev.BreakerChanged, at: Millis) -> None:
    name = event.channel, event.model
    known = health.breakers.pop(name, Breaker())
    if event.state == "closed":
        return
    opened = known.opened + 1
    health.breakers[name] = Breaker("open", at, event.until_ms, opened, event.reason, event.evidence)
    if len(health.breakers) > BREAKERS_KEPT:
        del health.breakers[next(iter(health.breakers))]


def _jumped(health: Health, event: ev.ClockJumped, at: Millis) -> None:
    """Move what has begun with the clock. A clock that went on (it may have been sleep) lets waits end as told."""
    by = event.by_ms
    _each_component(health, lambda c: replace(c, waits_from=c.waits_from + by))
    if by < 0:
        _each_component(health, lambda c: replace(c, ups=tuple(up + by for up in c.ups)))
        _each_wait(health, lambda until: until + by)


def _forced(health: Health, event: ev.ModeForced, at: Millis) -> None:
    health.forced, health.forced_by = event.brainstem, event.by


def _mode(health: Health, event: ev.ModeChanged, at: Millis) -> None:
    if event.before != event.after:
        health.since = at
    health.mode, health.cause, health.reason = event.after, event.cause, event.reason


def _each_component(health: Health, change: Callable[[Component], Component]) -> None:
    health.proxy = change(health.proxy)
    health.clouds = {name: change(each) for name, each in health.clouds.items()}


def _each_wait(health: Health, change: Callable[[Millis], Millis]) -> None:
    for key_name, key in health.keys.items():
        if key.until is not None:
            health.keys[key_name] = replace(key, until=change(key.until))
    for name, breaker in health.breakers.items():
        if breaker.until is not None:
            health.breakers[name] = replace(breaker, until=change(breaker.until))


_EVOLVE: dict[type[Any], Callable[[Health, Any, Millis], None]] = {
    ev.HealthStarted: _started,
    ev.HealthConfigured: _configured,
    ev.ProxyChanged: _proxy,
    ev.CloudChanged: _cloud,
    ev.KeyChanged: _key_changed,
    ev.BreakerChanged: _breaker,
    ev.ClockJumped: _jumped,
    ev.ModeForced: _forced,
    ev.ModeChanged: _mode,
}


# --- what others are told -------------------------------------------------------------------------------------------


def note(health: Health, *, cleared: bool) -> cmd.NoteMode:
    """The mode, for Router, Brainstem and whoever asked."""
    return cmd.NoteMode(health.mode, health.cause, health.reason, cleared, health.since)


def report(health: Health, *, cleared: bool) -> cmd.HealthReported:
    """All components and the mode, for Gateway and model port."""
    return cmd.HealthReported(note(health, cleared=cleared), tuple(_components(health)))


def _components(health: Health) -> Iterator[cmd.ComponentReport]:
    if health.settings.proxy:
        yield _component("proxy", PROXY, health.proxy)
    for name, cloud in health.clouds.items():
        yield _component("cloud", name, cloud)
    for (name, role), key in health.keys.items():
        reason = _KEY_REASONS[key.state]
        yield cmd.ComponentReport("key", f"{name}/{role}", key.state, key.since, key.until, reason, key.evidence)
    for (channel, model), each in health.breakers.items():
        name = f"{channel}/{model}"
        yield cmd.ComponentReport("breaker", name, each.state, each.since, each.until, each.reason, each.evidence)


def _component(kind: str, name: str, known: Component) -> cmd.ComponentReport:
    reason = explain(known.evidence) if known.state == "down" else ""
    return cmd.ComponentReport(kind, name, known.state, known.since, None, reason, known.evidence)


def explain(evidence: tuple[Evidence, ...]) -> str:
    """The last observation in words."""
    if not evidence:
        return "nothing was observed"
    last = evidence[-1]
    word = last.verdict.replace("_", " ")
    return f"{word}: {last.detail}" if last.detail else word


_KEY_REASONS: dict[KeyState, str] = {
    "ok": "",
    "invalid": "the cloud refuses this key",
    "cooldown": "out of credit",
    "absent": "no such key is configured",
}

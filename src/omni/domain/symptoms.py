"""From single observations to edges of health: streaks, windows, and the rules by which they count.

Theory of operation. What one observation says stands in `omni.domain.verdict`. Here it is added to what was seen
before, and the rules say whether that makes an edge. An edge ends the streak that led to it and takes the observations
along as its evidence. All of this is soft: it begins anew with every process, and after a jump of the clock.

    proxy    up → down   failures in a row, or too many among the last outcomes; a probe that timed out says nothing
                         while real calls get through
             down → up   successes in a row, once a dwell is over that doubles with every return of the last hour
    cloud    up → down   failures in a row that span a while: one broken second is none of the cloud's doing
             down → up   successes in a row, one more for every return of the last hour
    key      by the cloud's own word on a call or ping that was made with it
    breaker  a limit opens it at once, errors when they are many; what comes after its pause closes or reopens it

Probes, pings and real calls count alike. Times: `at` wall clock, `mono` running time, both in milliseconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple, TypeAlias

import msgspec

from omni.domain import events as ev
from omni.domain.commands import Observed
from omni.domain.health import BREAKERS_KEPT, LONGEST_WAIT_MS, Breaker, Component, Health, Key, is_over
from omni.domain.values import (
    PROXY,
    ComponentState,
    Evidence,
    HealthSettings,
    KeyState,
    Millis,
    Source,
    Thresholds,
)
from omni.domain.verdict import MEANING, Verdict

COOLDOWN_MS = 600_000  # of a key that is out of credit
PAUSE_MS = 30_000  # of a breaker, doubled each time that it opens again
SHORTEST_PAUSE_MS = 1_000  # "try again at once" is not taken at its word
EVIDENCE_KEPT = 5
DETAIL_KEPT = 200

_Events: TypeAlias = list[ev.HealthEvent]


class Look(NamedTuple):
    """One observation, and what it says of whom it looked at; `alive` is None where that is nothing."""

    verdict: Verdict
    alive: bool | None
    evidence: Evidence
    mono: Millis

    @property
    def called(self) -> bool:
        """Whether it was a real call."""
        return self.evidence.source == "call"


class Streak(msgspec.Struct, frozen=True):
    """Outcomes of one kind in a row. `began` is the running time of the first; `network`: all were NO_ROUTE."""

    alive: bool = True
    count: int = 0
    began: Millis = 0
    network: bool = False
    evidence: tuple[Evidence, ...] = ()

    def add(self, look: Look) -> Streak:
        """The streak with one more outcome; a new one when the outcome is of the other kind."""
        no_route = look.verdict is Verdict.NO_ROUTE
        if self.count == 0 or look.alive is not self.alive:
            return Streak(bool(look.alive), 1, look.mono, no_route, (look.evidence,))
        kept = (*self.evidence[:1], *self.evidence[1:][2 - EVIDENCE_KEPT :], look.evidence)
        return Streak(self.alive, self.count + 1, self.began, self.network and no_route, kept)


class Window(msgspec.Struct, frozen=True):
    """The last outcomes, oldest first, as (good, evidence)."""

    outcomes: tuple[tuple[bool, Evidence], ...] = ()

    def add(self, rules: Thresholds, *, good: bool, evidence: Evidence) -> Window:
        """The window with one more outcome; the oldest leave it."""
        return Window((*self.outcomes, (good, evidence))[-max(1, rules.rate_window) :])

    def too_many(self, rules: Thresholds) -> bool:
        """Whether failures are as frequent as the rules forbid."""
        seen = len(self.outcomes)
        return seen >= max(1, rules.rate_minimum) and self.failures * 100 >= rules.rate_percent * seen

    @property
    def failures(self) -> int:
        """How many outcomes are bad."""
        return sum(1 for good, _ in self.outcomes if not good)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All of it, good and bad: a rate is made of both."""
        return tuple(evidence for _, evidence in self.outcomes)


class Symptoms:
    """What was observed since the last edge, in this process. Mutable, owned by one actor, never written down."""

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.clock: tuple[Millis, Millis] | None = None
        self.grace_until: Millis | None = None  # running time
        self.forget()

    def forget(self) -> None:
        """Void all streaks and windows."""
        self.proxy = Streak()
        self.window = Window()
        self.got_through: Millis | None = None  # running time of the last real call that the proxy served
        self.clouds: dict[str, Streak] = {}
        self.models: OrderedDict[tuple[str, str], Window] = OrderedDict()

    def keep_only(self, targets: Collection[str]) -> None:
        """Void what was observed of whoever is not watched any more: watched again, it begins anew."""
        self.answered &= set(targets)
        if PROXY not in targets:
            self.proxy, self.window, self.got_through = Streak(), Window(), None
        self.clouds = {name: each for name, each in self.clouds.items() if name in targets}
        for name in [name for name in self.models if name[0] not in targets]:
            del self.models[name]

    def suspects(self, health: Health, target: str) -> bool:
        """Whether the last outcomes of something that counts as up were failures."""
        known, streak = (
            (health.proxy, self.proxy)
            if target == PROXY
            else (health.clouds.get(target, Component()), self.clouds.get(target, Streak()))
        )
        return known.state == "up" and not streak.alive

    def cleared(self, health: Health) -> bool:
        """Whether everything that is watched has answered a probe in this process."""
        return self.answered.issuperset(health.targets)


# --- what a person, a start or a clock changes ----------------------------------------------------------------------


def start(health: Health, boot: str, settings: HealthSettings) -> _Events:
    """A new boot, and new settings if they are."""
    started: _Events = [ev.HealthStarted(boot)] if boot != health.boot else []
    return [*started, ev.HealthConfigured(settings)] if settings != health.settings else started


def force(health: Health, by: str, *, brainstem: bool) -> _Events:
    """A person asks for BRAINSTEM, or gives the decision back; asking twice changes nothing."""
    return [ev.ModeForced(brainstem, by)] if brainstem != health.forced else []


def tick(health: Health, symptoms: Symptoms, at: Millis, mono: Millis) -> _Events:
    """Compare both clocks with the message before; a jump voids streaks and begins the grace."""
    before, symptoms.clock = symptoms.clock, (at, mono)
    by_ms = (at - before[0]) - (mono - before[1]) if before else 0
    rules = health.settings.thresholds
    if abs(by_ms) <= rules.jump_ms:
        return []
    symptoms.forget()
    symptoms.grace_until = mono + rules.grace_ms
    return [ev.ClockJumped(by_ms)]


# --- what an observation changes ------------------------------------------------------------------------------------


def observe(health: Health, symptoms: Symptoms, seen: Observed, at: Millis, mono: Millis) -> _Events:
    """Add one observation to the symptoms; the edges that follow. Whoever is not watched is not heard of."""
    if seen.target not in health.targets:
        return []
    look = _look(symptoms, seen, at, mono)
    if not look.called:
        symptoms.answered.add(seen.target)
    if seen.target == PROXY:
        return [*_proxy(health, symptoms, look, at), *_model(health, symptoms, seen, look, at)]
    return [
        *_cloud(health, symptoms, seen.target, look, at),
        *_key(health, seen, look, at),
        *_model(health, symptoms, seen, look, at),
    ]


def _look(symptoms: Symptoms, seen: Observed, at: Millis, mono: Millis) -> Look:
    verdict = Verdict(seen.verdict)
    alive = MEANING[verdict].alive
    if alive is False and _in_grace(symptoms, mono):
        alive = None
    source: Source = "call" if seen.source == "call" else "ping" if seen.source == "ping" else "probe"
    return Look(verdict, alive, Evidence(at, source, verdict.value, seen.detail[:DETAIL_KEPT]), mono)


def _in_grace(symptoms: Symptoms, mono: Millis) -> bool:
    return symptoms.grace_until is not None and mono < symptoms.grace_until


def _proxy(health: Health, symptoms: Symptoms, look: Look, at: Millis) -> _Events:
    rules = health.settings.thresholds
    if look.called and look.verdict is Verdict.OK:
        symptoms.got_through = look.mono
    if look.alive is None or _only_slow(symptoms, look, rules):
        return []
    symptoms.proxy = symptoms.proxy.add(look)
    symptoms.window = symptoms.window.add(rules, good=look.alive, evidence=look.evidence)
    state = proxy_edge(health.proxy, symptoms.proxy, symptoms.window, rules, at)
    if state is None:
        return []
    streak, window = symptoms.proxy, symptoms.window
    symptoms.proxy, symptoms.window = Streak(), Window()
    in_a_row = streak.alive is (state == "up") and (state == "up" or streak.count >= rules.proxy_failures)
    return [ev.ProxyChanged(state, streak.evidence if in_a_row else window.evidence)]


def _only_slow(symptoms: Symptoms, look: Look, rules: Thresholds) -> bool:
    """Whether a probe timed out at a proxy that real calls get through."""
    got_through = symptoms.got_through
    hung = look.verdict is Verdict.HUNG and not look.called
    return hung and got_through is not None and look.mono - got_through <= rules.proxy_recent_ms


def proxy_edge(
    known: Component, streak: Streak, window: Window, rules: Thresholds, at: Millis
) -> ComponentState | None:
    """What the proxy's last outcomes make of it; None when it stays what it is."""
    if known.state == "up":
        in_a_row = not streak.alive and streak.count >= rules.proxy_failures
        return "down" if in_a_row or window.too_many(rules) else None
    steady = streak.alive and streak.count >= rules.proxy_successes
    return "up" if steady and not 0 <= at - known.waits_from < dwell_ms(known, rules, at) else None


def dwell_ms(known: Component, rules: Thresholds, at: Millis) -> int:
    """How long the proxy stays down at least: the more often it came back lately, the longer."""
    return min(rules.dwell_cap_ms, rules.dwell_ms << min(known.recoveries(at), 32))


def _cloud(health: Health, symptoms: Symptoms, name: str, look: Look, at: Millis) -> _Events:
    if look.alive is None:
        return []
    streak = symptoms.clouds.get(name, Streak()).add(look)
    state = cloud_edge(health.clouds[name], streak, health.settings.thresholds, at, look.mono)
    symptoms.clouds[name] = Streak() if state else streak
    return [ev.CloudChanged(name, state, streak.network, streak.evidence)] if state else []


def cloud_edge(known: Component, streak: Streak, rules: Thresholds, at: Millis, mono: Millis) -> ComponentState | None:
    """What a cloud's last outcomes make of it; None when it stays what it is."""
    if known.state == "up":
        gone = not streak.alive and streak.count >= rules.cloud_failures and mono - streak.began >= rules.cloud_span_ms
        return "down" if gone else None
    wanted = max(rules.cloud_successes, min(rules.cloud_successes_cap, rules.cloud_successes + known.recoveries(at)))
    return "up" if streak.alive and streak.count >= wanted else None


# --- keys -----------------------------------------------------------------------------------------------------------

_KEY_STATES: dict[Verdict, KeyState] = {
    Verdict.OK: "ok",
    Verdict.KEY_REJECTED: "invalid",
    Verdict.OUT_OF_CREDIT: "cooldown",
}


def _key(health: Health, seen: Observed, look: Look, at: Millis) -> _Events:
    state = _KEY_STATES.get(look.verdict)
    if seen.key is None or state is None or not key_edge(health.key(seen.target, seen.key), state, look, at):
        return []
    until = at + COOLDOWN_MS if state == "cooldown" else None
    return [ev.KeyChanged(seen.target, seen.key, state, until, (look.evidence,))]


def key_edge(known: Key, state: KeyState, look: Look, at: Millis) -> bool:
    """Whether a key's state changes. A free ping cannot tell that a call would be paid for again."""
    if known.state == "absent":
        return False
    if known.state != "cooldown":
        return known.state != state
    over = is_over(known.until, at)
    if state == "ok":
        return over or look.called or not any(each.source == "call" for each in known.evidence)
    return over or state != "cooldown"


# --- breakers -------------------------------------------------------------------------------------------------------

_FAILING = frozenset({Verdict.SERVER_ERROR, Verdict.BAD_ANSWER, Verdict.BROKEN_STREAM})


def _model(health: Health, symptoms: Symptoms, seen: Observed, look: Look, at: Millis) -> _Events:
    """What a real call says about its model on its channel."""
    name = seen.target, seen.model
    known = health.breakers.get(name, Breaker())
    in_doubt = look.verdict in _FAILING and _in_grace(symptoms, look.mono)
    if not look.called or in_doubt or (known.state == "open" and not is_over(known.until, at)):
        return []
    if look.verdict is Verdict.RATE_LIMITED:
        reason, pause = "it has reached its limit", _limit_ms(known, seen.retry_after_ms)
        return [_opened(symptoms, name, reason, at + pause, (look.evidence,))]
    if look.verdict is Verdict.OK and known.state == "open":
        symptoms.models.pop(name, None)
        return [ev.BreakerChanged(*name, "closed", evidence=(look.evidence,))]
    if look.verdict is not Verdict.OK and look.verdict not in _FAILING:
        return []
    return _rated(health, symptoms, name, known, look, at)


def _rated(
    health: Health, symptoms: Symptoms, name: tuple[str, str], known: Breaker, look: Look, at: Millis
) -> _Events:
    rules, good = health.settings.thresholds, look.verdict is Verdict.OK
    window = symptoms.models.pop(name, Window()).add(rules, good=good, evidence=look.evidence)
    symptoms.models[name] = window
    if len(symptoms.models) > BREAKERS_KEPT:
        symptoms.models.popitem(last=False)
    half_open = known.state == "open"
    if not half_open and not window.too_many(rules):
        return []
    reason = f"{window.failures} of its last {len(window.outcomes)} calls failed" if not half_open else "it fails again"
    return [_opened(symptoms, name, reason, at + pause_ms(known), window.evidence)]


def _opened(
    symptoms: Symptoms, name: tuple[str, str], reason: str, until: Millis, evidence: tuple[Evidence, ...]
) -> ev.BreakerChanged:
    symptoms.models.pop(name, None)
    return ev.BreakerChanged(*name, "open", reason, until, evidence)


def _limit_ms(known: Breaker, retry_after_ms: int | None) -> int:
    """How long a limited model is left alone: as long as it says, within reason."""
    if retry_after_ms is None:
        return pause_ms(known)
    floor = pause_ms(known) if known.opened else SHORTEST_PAUSE_MS
    return min(LONGEST_WAIT_MS, max(floor, retry_after_ms))


def pause_ms(known: Breaker) -> int:
    """How long a breaker that opens stays open: 30 s, doubled for each time in a row, 10 min at most."""
    return min(LONGEST_WAIT_MS, PAUSE_MS << min(known.opened, 32))

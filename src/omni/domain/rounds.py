"""When to look at the proxy and the clouds again.

Theory of operation. Each target has one timer, and it stands for one of two things: the next look, or, while a look is
out, the end of all patience with it. So no target is ever looked at twice at once, and a look whose answer never comes
ends nothing but itself.

    timer ──▶ look sent, timer = patience ──answer──▶ timer = next look
                     └──patience is over──▶ look sent again

    proxy   every 2 s; 500 ms after a failure that has not been decided yet
    cloud   every 30 s; every 2.5 s while in doubt: it failed, and counts as up, or a call just failed in the proxy

What real calls show can bring the next look forward, never closer to the one before than the pace while in doubt.
Times are running time in milliseconds.
"""

from __future__ import annotations

import msgspec

from omni.domain.commands import Observed, Probe, WakeIn
from omni.domain.effects import Send
from omni.domain.health import Health
from omni.domain.symptoms import Symptoms
from omni.domain.values import PROXY, Millis, Thresholds
from omni.domain.verdict import MEANING, Verdict

NAME = "health"
PROBES = "probes"
TIMERS = "timers"

DOUBT_MS = 10_000  # for so long clouds are watched closely after a call that failed inside the proxy
SPARE_MS = 5_000  # beyond the time that a look may take; it may take that time twice, when this process stood still
SHORTEST_MS = 100

_UPSTREAM = frozenset({Verdict.SERVER_ERROR, Verdict.SLOW})  # through the proxy: it may be its cloud


class Watch(msgspec.Struct):
    """One target: when the last look began, whether its answer is due, and when the timer rings."""

    sent: Millis | None = None
    out: bool = False
    due: Millis | None = None


class Rounds:
    """All targets. Soft: a process begins with a look at each."""

    def __init__(self) -> None:
        self.watches: dict[str, Watch] = {}
        self.doubt_until: Millis | None = None

    def of(self, target: str) -> Watch:
        """The watch of one target."""
        return self.watches.setdefault(target, Watch())

    def doubts(self, mono: Millis) -> bool:
        """Whether a call has just failed inside the proxy."""
        return self.doubt_until is not None and mono < self.doubt_until


def begin(rounds: Rounds, targets: tuple[str, ...], rules: Thresholds, mono: Millis) -> list[Send]:
    """Look at everything now, but for what is being looked at."""
    return [send for target in targets if not rounds.of(target).out for send in _look(rounds, target, rules, mono)]


def resume(targets: tuple[str, ...], rules: Thresholds) -> list[Send]:
    """Look at everything once the looks that may be out have been answered."""
    return [_wake(target, _timeout_ms(target, rules)) for target in targets]


def rung(rounds: Rounds, health: Health, target: str, mono: Millis) -> list[Send]:
    """The timer of a target has rung."""
    rules, watch = health.settings.thresholds, rounds.of(target)
    if target not in health.targets:
        rounds.watches.pop(target, None)
        return []
    left = _patience_ms(target, rules) - (mono - watch.sent) if watch.out and watch.sent is not None else 0
    if left > 0:  # it rang for a look that was brought forward meanwhile
        return [_set(rounds, target, left, mono)]
    return _look(rounds, target, rules, mono)


def seen(rounds: Rounds, health: Health, symptoms: Symptoms, what: Observed, mono: Millis) -> list[Send]:
    """Something was observed, and the symptoms know of it already."""
    if what.target not in health.targets:
        return []
    if what.source == "call":
        return _after_call(rounds, health, symptoms, what, mono)
    rounds.of(what.target).out = False
    return [_set(rounds, what.target, _delay_ms(rounds, health, symptoms, what.target, mono), mono)]


def _after_call(rounds: Rounds, health: Health, symptoms: Symptoms, what: Observed, mono: Millis) -> list[Send]:
    rules, verdict = health.settings.thresholds, Verdict(what.verdict)
    sends: list[Send] = []
    if what.target == PROXY and verdict in _UPSTREAM:
        rounds.doubt_until = mono + DOUBT_MS
        sends += [send for name in health.settings.clouds for send in _hurry(rounds, name, rules, mono)]
    failed = MEANING[verdict].alive is False and symptoms.suspects(health, what.target)
    if failed:
        sends += _hurry(rounds, what.target, rules, mono, mono + _close_ms(what.target, rules))
    elif what.target == PROXY and verdict is Verdict.SLOW:
        sends += _hurry(rounds, PROXY, rules, mono)
    return sends


def _hurry(rounds: Rounds, target: str, rules: Thresholds, mono: Millis, not_before: Millis = 0) -> list[Send]:
    """Bring the next look forward, as far as the one before it allows."""
    watch = rounds.of(target)
    earliest = max(not_before, (watch.sent if watch.sent is not None else mono) + _close_ms(target, rules))
    if watch.out or (watch.due is not None and watch.due <= max(mono, earliest)):
        return []
    if earliest <= mono:
        return _look(rounds, target, rules, mono)
    return [_set(rounds, target, earliest - mono, mono)]


def _delay_ms(rounds: Rounds, health: Health, symptoms: Symptoms, target: str, mono: Millis) -> int:
    rules = health.settings.thresholds
    if symptoms.suspects(health, target) or (target != PROXY and rounds.doubts(mono)):
        return _close_ms(target, rules)
    sent = rounds.of(target).sent
    every = rules.proxy_every_ms if target == PROXY else rules.cloud_every_ms
    return max(SHORTEST_MS, every - (mono - sent if sent is not None else 0))


def _close_ms(target: str, rules: Thresholds) -> int:
    """The pace while in doubt; that of a cloud lets the last of its failures be far enough from the first."""
    if target == PROXY:
        return max(SHORTEST_MS, rules.proxy_confirm_ms)
    return max(SHORTEST_MS, -(-rules.cloud_span_ms // max(1, rules.cloud_failures - 1)))


def _timeout_ms(target: str, rules: Thresholds) -> int:
    return rules.proxy_timeout_ms if target == PROXY else rules.cloud_timeout_ms


def _patience_ms(target: str, rules: Thresholds) -> int:
    return 2 * _timeout_ms(target, rules) + SPARE_MS


def _look(rounds: Rounds, target: str, rules: Thresholds, mono: Millis) -> list[Send]:
    watch = rounds.of(target)
    watch.sent, watch.out = mono, True
    patience = _set(rounds, target, _patience_ms(target, rules), mono)
    return [Send(PROBES, Probe(target, _timeout_ms(target, rules))), patience]


def _set(rounds: Rounds, target: str, delay_ms: int, mono: Millis) -> Send:
    rounds.of(target).due = mono + delay_ms
    return _wake(target, delay_ms)


def _wake(target: str, delay_ms: int) -> Send:
    return Send(TIMERS, WakeIn(NAME, delay_ms, target))

"""The mode by other thresholds, keys and clouds, as far as recorded facts go.

Theory of operation. The log holds edges, not observations. So each recorded edge is asked whether its evidence would
have made it under the new thresholds too, and the health that follows is derived a second time. Where the evidence does
not say, the component is in doubt, for a bounded time, and every mode that its two states lead to is possible:

    edge down   evidence meets the new thresholds     down, as recorded
                it does not                           in doubt, until the recorded return and the longest new dwell
    edge up     it meets them                         up, as recorded
                it does not, or the dwell is longer   in doubt for a dwell
                they are lower                        it might have come earlier: in doubt since the earliest moment
    a component or key that the record did not watch  in doubt for as long as it is configured

Lower thresholds might also have made edges out of observations that nobody wrote down, and other intervals would have
made other observations. That is told once for all, as a doubt without a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

from msgspec.structs import replace

from omni.domain import events as ev
from omni.domain import health as facts
from omni.domain.health import Component, Health, Key
from omni.domain.mode import derive
from omni.domain.symptoms import EVIDENCE_KEPT, dwell_ms
from omni.domain.values import PROXY, Evidence, HealthSettings, Millis, Mode, Thresholds
from omni.domain.verdict import MEANING, Verdict
from omni.replay.what_if.figures import Answer

MOST_IN_DOUBT = 6  # two states each; with more, every mode is possible
ALL: frozenset[Mode] = frozenset({"NORMAL", "DEGRADED", "BRAINSTEM"})
_Name: TypeAlias = tuple[str, ...]
# fewer of these make a fault out of less; observations would have been others with any other of `_OBSERVED`
_LOWER = ("proxy_failures", "rate_percent", "rate_minimum", "cloud_failures", "cloud_span_ms")
_OBSERVED = (
    "proxy_every_ms", "proxy_timeout_ms", "proxy_confirm_ms", "proxy_recent_ms", "rate_window", "cloud_every_ms",
    "cloud_timeout_ms", "jump_ms", "grace_ms",
)  # fmt: skip


class Modes:
    """Health as it was recorded, and as it may have been. Without settings of its own it follows the record."""

    def __init__(self, tried: HealthSettings | None, answer: Answer) -> None:
        self.recorded = Health()
        self.tried = Health()
        self._settings = tried
        self._answer = answer
        self._doubt: dict[_Name, Millis | None] = {}  # what is in doubt, and until when
        self._earlier: dict[_Name, Millis] = {}  # down, and from then on possibly up again
        self.same = True

    def evolve(self, event: Any, at: Millis, *, active: bool) -> None:
        """Apply one event of the health stream to both sides."""
        facts.evolve(self.recorded, event, at)
        if isinstance(event, ev.HealthConfigured):
            self._configured(event, at, active=active)
        elif isinstance(event, ev.ProxyChanged | ev.CloudChanged) and not self.same and active:
            self._edge(event, at)
        elif not (isinstance(event, ev.CloudChanged) and event.cloud not in self.tried.clouds):
            facts.evolve(self.tried, event, at)

    def begin(self, at: Millis) -> None:
        """From here on the new settings are in force."""
        if self.recorded.revision:  # else the record's own settings are still to come
            self._configured(ev.HealthConfigured(self.recorded.settings), at, active=True)

    def possible(self, at: Millis) -> frozenset[Mode]:
        """Every mode that the new settings may have led to by now."""
        doubtful = list(self._in_doubt(at))
        if len(doubtful) > MOST_IN_DOUBT:
            return ALL
        return frozenset(self._derived(states, at) for states in product(*doubtful))

    def differs(self, at: Millis) -> bool:
        """Whether the mode is, or may be, another than in the record."""
        return not self.same and self.possible(at) != {derive(self.recorded, at).mode}

    # --- settings -----------------------------------------------------------------------------------------------------

    def _configured(self, event: ev.HealthConfigured, at: Millis, *, active: bool) -> None:
        settings = self._settings if self._settings is not None and active else event.settings
        self.same = settings == self.recorded.settings
        facts.evolve(self.tried, ev.HealthConfigured(settings), at)
        self._doubt = {} if self.same else dict.fromkeys(self._unwatched(settings))
        if not self.same:
            self._tell(self.recorded.settings.thresholds, settings.thresholds)
            self._tell_unwatched()

    def _unwatched(self, settings: HealthSettings) -> Iterator[_Name]:
        known = self.recorded.settings
        if settings.proxy and not known.proxy:
            yield (PROXY,)
        yield from ((cloud,) for cloud in settings.clouds if cloud not in known.clouds)
        yield from ((cloud, "backup") for cloud in settings.backup_keys if cloud not in known.backup_keys)

    def _tell(self, old: Thresholds, new: Thresholds) -> None:
        lower = [name for name in _LOWER if getattr(new, name) < getattr(old, name)]
        other = [name for name in _OBSERVED if getattr(new, name) != getattr(old, name)]
        if lower:
            what = f"lower thresholds ({', '.join(lower)}) may have tripped on observations that the log does not hold"
            self._answer.doubt("thresholds", f"{what}; the figures hold for the failovers that are recorded")
        if other:
            what = f"with other probes ({', '.join(other)}) other observations would have been made"
            self._answer.doubt("probes", f"{what}; the figures hold for the ones that are recorded")

    def _tell_unwatched(self) -> None:
        names = [" ".join(name) for name in self._doubt]
        if names:
            self._answer.doubt("unwatched", f"nobody watched {', '.join(names)} then: its state is not known")

    # --- edges --------------------------------------------------------------------------------------------------------

    def _edge(self, event: ev.ProxyChanged | ev.CloudChanged, at: Millis) -> None:
        name = PROXY if isinstance(event, ev.ProxyChanged) else event.cloud
        known = self._component(name)
        if known is None:
            return
        if event.state == "down":
            self._down(event, name, at)
        elif event.state == "up":
            self._up(event, name, known, at)

    def _down(self, event: ev.ProxyChanged | ev.CloudChanged, name: str, at: Millis) -> None:
        facts.evolve(self.tried, event, at)
        if not self._would_fail(name, event.evidence):
            self._doubt[name,] = None
            self._answer.doubt("edges", "failovers whose recorded evidence does not meet the new thresholds", at)
        elif (earliest := self._earliest_up(name, at)) is not None:
            self._earlier[name,] = earliest

    def _up(self, event: ev.ProxyChanged | ev.CloudChanged, name: str, known: Component, at: Millis) -> None:
        new = self.tried.settings.thresholds
        dwell = dwell_ms(known, new, at) if name == PROXY else 0
        late = known.state == "down" and at - known.waits_from < dwell
        doubtful = (name,) in self._doubt or late or not self._would_return(name, event.evidence)
        pause = max(dwell, new.proxy_every_ms if name == PROXY else new.cloud_every_ms)
        facts.evolve(self.tried, event, at)
        self._earlier.pop((name,), None)
        self._doubt.pop((name,), None)
        if doubtful:
            self._doubt[name,] = at + pause
            self._answer.doubt("returns", "returns that may have come later under the new thresholds", at)

    def _would_fail(self, name: str, evidence: tuple[Evidence, ...]) -> bool:
        old, new = self.recorded.settings.thresholds, self.tried.settings.thresholds
        bad = [MEANING[Verdict(each.verdict)].alive is False for each in evidence]
        row = _trailing(bad)
        if name == PROXY:
            row = max(row, old.proxy_failures) if row >= min(EVIDENCE_KEPT, old.proxy_failures) else row
            windowed = sum(bad) * 100 >= new.rate_percent * len(bad) and new.rate_minimum <= len(bad) <= new.rate_window
            return row >= new.proxy_failures or windowed
        row = max(row, old.cloud_failures) if row >= min(EVIDENCE_KEPT, old.cloud_failures) else row
        span = evidence[-1].at - evidence[0].at if evidence else 0
        return row >= new.cloud_failures and span >= new.cloud_span_ms

    def _would_return(self, name: str, evidence: tuple[Evidence, ...]) -> bool:
        old, new = self.recorded.settings.thresholds, self.tried.settings.thresholds
        if name == PROXY:
            return new.proxy_successes <= old.proxy_successes
        return new.cloud_successes <= old.cloud_successes and new.cloud_successes_cap <= old.cloud_successes_cap

    def _earliest_up(self, name: str, at: Millis) -> Millis | None:
        """From when on the new thresholds may have let it return; None where not earlier than the recorded ones."""
        old, new = self.recorded.settings.thresholds, self.tried.settings.thresholds
        known = self._component(name)
        if name != PROXY or known is None:
            fewer = new.cloud_successes < old.cloud_successes or new.cloud_successes_cap < old.cloud_successes_cap
            return at if fewer else None
        sooner = dwell_ms(known, new, at) < dwell_ms(self.recorded.proxy, old, at)
        return at + dwell_ms(known, new, at) if sooner or new.proxy_successes < old.proxy_successes else None

    # --- what may be --------------------------------------------------------------------------------------------------

    def _component(self, name: str) -> Component | None:
        if name == PROXY:
            return self.tried.proxy if self.tried.settings.proxy else None
        return self.tried.clouds.get(name)

    def _in_doubt(self, at: Millis) -> Iterator[tuple[tuple[_Name, bool], ...]]:
        """For each doubtful component or key both of its states: whether it is well."""
        for name, until in list(self._doubt.items()):
            if until is not None and at >= until:
                del self._doubt[name]
            else:
                yield (name, True), (name, False)
        for name, earliest in self._earlier.items():
            if at >= earliest and name not in self._doubt:
                yield (name, True), (name, False)

    def _derived(self, states: tuple[tuple[_Name, bool], ...], at: Millis) -> Mode:
        proxy, clouds, keys = self.tried.proxy, dict(self.tried.clouds), dict(self.tried.keys)
        for name, well in states:
            if len(name) == 2:
                keys[name[0], "backup"] = Key("ok" if well else "invalid")
            elif name == (PROXY,):
                proxy = replace(proxy, state="up" if well else "down")
            elif name[0] in clouds:
                clouds[name[0]] = replace(clouds[name[0]], state="up" if well else "down")
        return derive(replace(self.tried, proxy=proxy, clouds=clouds, keys=keys), at).mode


def _trailing(bad: list[bool]) -> int:
    """How many at the end are bad in a row."""
    good = next((n for n, each in enumerate(reversed(bad)) if not each), None)
    return len(bad) if good is None else good

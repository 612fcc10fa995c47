"""The rules of health without actors, threads or disk: two driven clocks, observations, and what is written down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from omni.domain import events as ev
from omni.domain import health as facts
from omni.domain import mode, symptoms
from omni.domain.commands import Observed
from omni.domain.health import Health
from omni.domain.symptoms import Symptoms
from omni.domain.values import PROXY, HealthSettings, KeyRole, Millis, Mode, Thresholds

RULES = Thresholds()
CLOUDS = ("east", "west")
BOTH = HealthSettings(proxy=True, clouds=CLOUDS, primary_keys=CLOUDS, backup_keys=CLOUDS)
NO_PROXY = HealthSettings(clouds=CLOUDS, primary_keys=CLOUDS, backup_keys=CLOUDS)
ONLY_PROXY = HealthSettings(proxy=True)

MINUTE, HOUR = 60_000, 3_600_000


class Ward:
    """Feeds observations to the rules; keeps the events of the last one, and the whole log."""

    def __init__(self, settings: HealthSettings = BOTH) -> None:
        self.wall: Millis = 1_700_000_000_000
        self.mono: Millis = 5_000
        self.settings = settings
        self.log: list[tuple[Any, Millis]] = []
        self.decided_at = self.wall
        self.boots = 0
        self.start()

    def start(self, settings: HealthSettings | None = None, down_ms: int = 0) -> list[Any]:
        """A new process on the same log, `down_ms` after the old one."""
        self.settings = settings or self.settings
        self.wall += down_ms
        self.mono = 5_000
        self.boots += 1
        self.health, self.symptoms = replayed(self.log), Symptoms()
        symptoms.tick(self.health, self.symptoms, self.wall, self.mono)
        return self._write(symptoms.start(self.health, f"boot-{self.boots}", self.settings))

    def see(
        self,
        target: str,
        verdict: str = "ok",
        source: str = "",
        *,
        key: KeyRole | None = None,
        model: str = "",
        retry_after_ms: int | None = None,
    ) -> list[Any]:
        """One observation; the events that follow, the change of mode included."""
        source = source or ("probe" if target == PROXY else "ping")
        seen = Observed(target, source, verdict, f"{verdict} at {self.mono}", key, model, retry_after_ms)
        jumped = symptoms.tick(self.health, self.symptoms, self.wall, self.mono)
        return self._write(jumped or symptoms.observe(self.health, self.symptoms, seen, self.wall, self.mono))

    def calls(self, target: str, verdict: str = "ok", model: str = "m", **more: Any) -> list[Any]:
        return self.see(target, verdict, "call", model=model, **more)

    def force(self, *, brainstem: bool) -> list[Any]:
        return self._write(symptoms.force(self.health, "owner", brainstem=brainstem))

    def run(self, ms: int) -> None:
        self.wall += ms
        self.mono += ms

    def jump(self, ms: int) -> None:
        """The clock is set, or the machine sleeps."""
        self.wall += ms

    def series(self, target: str, verdicts: Iterable[str], every_ms: int = 2_000) -> list[Any]:
        """Observations at a steady pace, the clock moving before each; all events."""
        found: list[Any] = []
        for verdict in verdicts:
            self.run(every_ms)
            found += self.see(target, verdict)
        return found

    def kill(self, target: str, verdict: str = "refused") -> None:
        """Fail until it counts as down."""
        self.series(target, [verdict] * 3, 2_500)

    def state(self, target: str) -> str:
        return (self.health.proxy if target == PROXY else self.health.clouds[target]).state

    @property
    def mode(self) -> Mode:
        return self.health.mode

    @property
    def modes(self) -> list[Mode]:
        return [event.after for event, _ in self.log if isinstance(event, ev.ModeChanged)]

    def _write(self, events: Iterable[ev.HealthEvent]) -> list[Any]:
        written: list[Any] = []
        self.decided_at = self.wall
        for event in events:
            self._apply(event, written)
        if changed := mode.change(self.health, self.wall):
            self._apply(changed, written)
        assert mode.change(self.health, self.wall) is None
        return written

    def _apply(self, event: Any, written: list[Any]) -> None:
        facts.evolve(self.health, event, self.wall)
        self.log.append((event, self.wall))
        written.append(event)


def replayed(log: list[tuple[Any, Millis]]) -> Health:
    health = Health()
    for event, at in log:
        facts.evolve(health, event, at)
    return health


def kinds(events: Iterable[Any]) -> list[str]:
    return [type(event).__name__ for event in events]

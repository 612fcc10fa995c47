"""The real HealthMonitor and its kernel over a real log; the outside is the test's: clocks, timers, a proxy and clouds.

Time passes only in `run`: timers ring when they are due, and a look is answered when the outside has an answer. What
the outside is like stands in `world`: a verdict for each target. With `silent` nobody answers, as if the adapter died.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from omni.actors.health_monitor import HealthMonitor
from omni.domain import commands as cmd
from omni.domain import health as facts
from omni.domain.effects import Send
from omni.domain.health import Health
from omni.domain.mode import derive
from omni.domain.values import PROXY, HealthSettings, KeyRole, Thresholds
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Recorded
from omni.eventlog.upcasters import log_codec
from omni.runtime.kernel import Kernel

CLOUDS = ("east", "west")
BOTH = HealthSettings(proxy=True, clouds=CLOUDS, primary_keys=CLOUDS, backup_keys=CLOUDS)
RULES = Thresholds()
ANSWER_MS = 5
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


class Lookout:
    """One daemon's HealthMonitor; `directory` holds the log that outlives it."""

    def __init__(self, directory: Path, settings: HealthSettings = BOTH) -> None:
        self.wall, self.mono = 1_700_000_000_000, 5_000
        self.settings = settings
        self.directory = directory
        self.world: dict[str, str] = {}
        self.keys: dict[tuple[str, KeyRole], str] = {}
        self.silent = False
        self.turns: Counter[str] = Counter()
        self.looks: list[tuple[int, str]] = []  # every look that was asked for, by wall clock
        self.lives = 0
        self.mirror, self.rows = Health(), list[Recorded]()  # what the log alone says, read as it grows
        self.store: SqliteEventStore
        self.boot()

    # --- the two clocks -------------------------------------------------------------------------------------------

    def wall_ms(self) -> int:
        return self.wall

    def mono_ms(self) -> int:
        return self.mono

    def run(self, ms: int) -> None:
        """Let time pass: answers arrive and timers ring in their order."""
        end = self.mono + ms
        while moments := [when for when in self._moments() if when <= end]:
            self._pass(max(0, min(moments) - self.mono))
            self._happen()
        self._pass(end - self.mono)

    def jump(self, ms: int) -> None:
        self.wall += ms

    # --- the daemon -----------------------------------------------------------------------------------------------

    def boot(self, settings: HealthSettings | None = None, down_ms: int = 0) -> None:
        """Start a new daemon on the log; all that was only in memory is gone."""
        if self.lives:
            self.store.close()
        self.settings = settings or self.settings
        self.wall += down_ms
        self.mono = 5_000
        self.lives += 1
        self.store = SqliteEventStore.open(self.directory / "omni.db", log_codec())
        self.kernel = Kernel(HealthMonitor(), self.store, self)
        self.out: dict[str, list[int]] = {}  # target → when its looks will be answered
        self.orphans: list[tuple[int, str]] = []
        self.timers: dict[str, int] = {}
        self.told: dict[str, list[Any]] = {}
        self.kernel.refold()
        self.put(cmd.StartWatch(self.store.boot, self.settings))

    def die(self) -> None:
        """The actor dies and is started anew, as its supervisor does. Looks of the one before are still answered."""
        for target in list(self.out):
            self.disown(target)
        self.kernel.refold()
        self._carry(self.kernel.owed())

    def disown(self, target: str) -> None:
        """The look under way is nobody's any more; its answer comes all the same."""
        self.orphans += [(when, target) for when in self.out.pop(target, ())]

    def put(self, *messages: Any) -> list[Any]:
        """One turn; the events that it wrote."""
        before = len(self.rows)
        self._carry(self.kernel.turn([("test", each) for each in messages]))
        self.check()
        return [row.event for row in self.rows[before:]]

    def call(self, target: str, verdict: str = "ok", **more: Any) -> list[Any]:
        return self.put(cmd.Observed(target, "call", verdict, "as told", **more))

    def close(self) -> None:
        self.store.close()

    # --- what it says ---------------------------------------------------------------------------------------------

    @property
    def health(self) -> Health:
        return self.kernel.state.health  # type: ignore[no-any-return]

    @property
    def mode(self) -> str:
        """The mode as the Router was told it."""
        return str(self.last("router").mode)

    def last(self, whom: str) -> Any:
        return self.told[whom][-1]

    def recorded(self) -> list[Any]:
        return [row.event for row in self.rows]

    def looked(self, target: str, since: int = 0) -> list[int]:
        """When a target was looked at, in milliseconds after `since`."""
        return [when - since for when, whom in self.looks if whom == target and when >= since]

    # --- what must always hold ------------------------------------------------------------------------------------

    def check(self) -> None:
        state = self.kernel.state
        self._read()
        assert state.version == len(self.rows)
        assert self.health == self.mirror
        assert derive(self.health, self.wall) == (self.health.mode, self.health.cause)
        assert self.last("router") == self.last("brainstem") == facts.note(self.health, cleared=state.cleared)
        assert self.last("gateway") == self.last("port") == facts.report(self.health, cleared=state.cleared)
        for target in self.health.targets:
            assert len(self.out.get(target, ())) <= 1, f"{target} is looked at twice at once"
            assert target in self.timers, f"nobody will look at {target} again"

    # --- inside ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        position = self.rows[-1].position if self.rows else 0
        for row in self.store.read(position) if self.store.head.position > position else ():
            facts.evolve(self.mirror, row.event, row.at_ms)
            self.rows.append(row)

    def _pass(self, ms: int) -> None:
        self.wall += ms
        self.mono += ms

    def _moments(self) -> list[int]:
        orphans = (when for when, _ in self.orphans)
        return [*self.timers.values(), *orphans, *(when for looks in self.out.values() for when in looks)]

    def _happen(self) -> None:
        """The next thing that is due: an answer, else a timer."""
        for target, looks in self.out.items():
            if looks and looks[0] <= self.mono:
                looks.pop(0)
                self.put(self._answer(target))
                return
        if due := [each for each in self.orphans if each[0] <= self.mono]:
            self.orphans.remove(due[0])
            self.put(self._answer(due[0][1]))
            return
        key = next(key for key, when in self.timers.items() if when <= self.mono)
        del self.timers[key]
        self.put(cmd.TimerFired(key))

    def _carry(self, sends: list[Send]) -> None:
        for send in sends:
            match send.message:
                case cmd.Probe(target=target, timeout_ms=timeout_ms):
                    self._begin_look(target, timeout_ms)
                case cmd.WakeIn(actor="health", delay_ms=delay_ms, key=key):
                    self.timers[key] = self.mono + delay_ms
                case _:
                    self.told.setdefault(send.to, []).append(send.message)

    def _begin_look(self, target: str, timeout_ms: int) -> None:
        self.looks.append((self.wall, target))
        if not self.silent:
            late = self.world.get(target) == "hung"
            self.out.setdefault(target, []).append(self.mono + (timeout_ms if late else ANSWER_MS))

    def _answer(self, target: str) -> cmd.Observed:
        verdict = self.world.get(target) or "ok"
        if target == PROXY:
            return cmd.Observed(target, "probe", verdict, "as told")
        role: KeyRole = "backup" if self.turns[target] % 2 else "primary"
        self.turns[target] += 1
        return cmd.Observed(target, "ping", self.keys.get((target, role), "") or verdict, "as told", role)

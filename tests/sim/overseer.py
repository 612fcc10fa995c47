"""Judges HealthMonitor and Brainstem by the words of the failover rules, from the log as it grows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.sim.model import Life
from tests.sim.sky import CLOUDS, Sky

from omni.domain import health as healths
from omni.domain.health import Health
from omni.domain.system import Lane, serves
from omni.domain.values import PROXY, Telling

DAY_MS = 86_400_000


class Overseer:
    """Keeps a health of its own, folded row by row, and what Brainstem has promised."""

    def __init__(self, telling: Telling) -> None:
        self.telling = telling
        self.health = Health()
        self.mode = "NORMAL"
        self.followed = "NORMAL"
        self.repair = ""
        self.undelivered: dict[Lane, list[str]] = {}  # keys in order
        self.delivered: set[tuple[str, str]] = set()  # sink and key
        self.queued: dict[str, Any] = {}  # by key
        self.queued_at: dict[str, int] = {}
        self.names: dict[str, str] = {}  # the names under which notices were asked for, and their keys
        self.given_up: set[str] = set()
        self.local = ""

    def see(self, row: Any) -> None:
        name = type(row.event).__struct_config__.tag
        if row.stream == "health":
            healths.evolve(self.health, row.event, row.at_ms)
            if name == "health.mode_changed":
                self._mode(row.event)
        elif row.stream == "system":
            self._system(name, row.event, row.at_ms)

    def at_rest(self, state: Any, at: int) -> None:
        """Between turns: memory is what the log says, and the mode is what health says."""
        if not self.health.boot:
            return
        assert state.health == self.health, "HealthMonitor remembers something else than the log"
        proxy, clouds = self.health.proxy.state, self.health.clouds
        up = [name for name in clouds if clouds[name].state == "up"]
        direct = [name for name in up if self.health.key(name, "backup").good(at)]
        if self.health.forced:
            return
        if up and (proxy == "up" or direct):
            # A backup key may have come out of its cooldown since the last message; then the next one tells.
            assert self.mode != "BRAINSTEM" or self._waits_for_key(), f"a way is there: {proxy}, {up}, {direct}"
        if not up:
            assert self.mode == "BRAINSTEM", "no cloud is up"

    def at_end(self, sky: Sky) -> None:
        """All is well again, and everything has been said."""
        assert self.followed == "NORMAL", f"Brainstem is still in {self.followed}"
        assert not self.repair, "a repair is open although the proxy is well"
        assert not any(self.undelivered.values()), f"never told: {self.undelivered}"
        assert sky.model == "unloaded", "the local model was forgotten in memory"
        assert self.delivered <= set(sky.heard), "delivered to nobody"

    def all_answered(self, lives: Iterable[Life], sky: Sky) -> None:
        """Whoever wanted to know how a task ends was told so, unless the way there was shut for a whole day."""
        for life in lives:
            if not life.spec.reply_to or not life.terminal:
                continue
            key = self.names.get(f"answer:{life.id}:{life.terminal.removeprefix('task.')}", "")
            assert key, f"{life.id}: nobody was told that it ended"
            assert ("chat", key) in sky.heard or key in self.given_up, f"{life.id}: its answer reached nobody"

    def _waits_for_key(self) -> bool:
        keys = self.health.keys.values()
        return self.health.proxy.state == "down" and any(key.state == "cooldown" for key in keys)

    def _mode(self, event: Any) -> None:
        assert event.before == self.mode, f"the mode was {self.mode}, and not {event.before}"
        assert event.evidence or event.cause == "operator" or self.mode == "BRAINSTEM", f"no evidence for {event.after}"
        self.mode = event.after

    def _system(self, name: str, event: Any, at: int) -> None:
        if name == "system.mode_followed":
            self.followed = event.mode
        elif name == "system.repair_started":
            assert not self.repair, "two repairs at once"
            assert self.followed == "DEGRADED", f"a repair in {self.followed}"
            self.repair = event.task_id
        elif name == "system.repair_ended" and event.task_id == self.repair:
            self.repair = ""
        elif name == "system.notice_queued":
            self._owed(event, at)
        elif name == "system.notice_delivered":
            self._in_turn(event)
            self._settled(event)
            self.delivered.add((event.sink, event.key))
        elif name == "system.notice_dropped":
            assert at - self.queued_at[event.key] >= DAY_MS, f"{event.key} is given up too early: {event.detail}"
            self._settled(event)
            self.given_up.add(event.key)

    def _owed(self, event: Any, at: int) -> None:
        assert event.key not in self.queued, f"{event.key} stands for two notices"
        assert not event.dedup or event.dedup not in self.names, f"{event.dedup} is told twice"
        self.names[event.dedup], self.queued[event.key], self.queued_at[event.key] = event.key, event, at
        for sink in self.telling.sinks:
            if serves(sink, event.to):
                self.undelivered.setdefault((sink.name, event.to), []).append(event.key)

    def _in_turn(self, event: Any) -> None:
        """In a lane one comes after the other; in quiet hours the exceptions pass by what waits."""
        lane = self.undelivered[event.sink, self.queued[event.key].to]
        before = lane[: lane.index(event.key)]
        passed = [key for key in before if not self._may_pass(event, key)]
        assert not passed, f"{event.key} was told before its turn, which was that of {passed}"

    def _may_pass(self, event: Any, other: str) -> bool:
        kinds = self.telling.quiet.kinds if self.telling.quiet else ()
        return (
            not self.queued[other].to and self.queued[event.key].kind in kinds and self.queued[other].kind not in kinds
        )

    def _settled(self, event: Any) -> None:
        self.undelivered[event.sink, self.queued[event.key].to].remove(event.key)


TARGETS = (PROXY, *CLOUDS)

"""Judges HealthMonitor and Brainstem by the words of the failover rules, from the log as it grows."""

from __future__ import annotations

from typing import Any

from tests.sim.sky import CLOUDS, TELLING, Sky

from omni.domain import health as healths
from omni.domain.health import Health
from omni.domain.system import serves
from omni.domain.values import PROXY


class Overseer:
    """Keeps a health of its own, folded row by row, and what Brainstem has promised."""

    def __init__(self) -> None:
        self.health = Health()
        self.mode = "NORMAL"
        self.followed = "NORMAL"
        self.repair = ""
        self.undelivered: dict[str, list[str]] = {sink.name: [] for sink in TELLING.sinks}  # keys in order
        self.delivered: set[tuple[str, str]] = set()  # sink and key
        self.local = ""

    def see(self, row: Any) -> None:
        name = type(row.event).__struct_config__.tag
        if row.stream == "health":
            healths.evolve(self.health, row.event, row.at_ms)
            if name == "health.mode_changed":
                self._mode(row.event)
        elif row.stream == "system":
            self._system(name, row.event)

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

    def _waits_for_key(self) -> bool:
        keys = self.health.keys.values()
        return self.health.proxy.state == "down" and any(key.state == "cooldown" for key in keys)

    def _mode(self, event: Any) -> None:
        assert event.before == self.mode, f"the mode was {self.mode}, and not {event.before}"
        assert event.evidence or event.cause == "operator" or self.mode == "BRAINSTEM", f"no evidence for {event.after}"
        self.mode = event.after

    def _system(self, name: str, event: Any) -> None:
        if name == "system.mode_followed":
            self.followed = event.mode
        elif name == "system.repair_started":
            assert not self.repair, "two repairs at once"
            assert self.followed == "DEGRADED", f"a repair in {self.followed}"
            self.repair = event.task_id
        elif name == "system.repair_ended" and event.task_id == self.repair:
            self.repair = ""
        elif name == "system.notice_queued":
            self._owed(event)
        elif name == "system.notice_delivered":
            assert self.undelivered[event.sink][0] == event.key, "told before its turn"
            self._settled(event)
            self.delivered.add((event.sink, event.key))
        elif name == "system.notice_dropped":
            self._settled(event)

    def _owed(self, event: Any) -> None:
        for sink in TELLING.sinks:
            assert (sink.name, event.key) not in self.delivered, f"{event.key} is told twice"
            assert event.key not in self.undelivered[sink.name], f"{event.key} is told twice"
            if serves(sink, event.to):
                self.undelivered[sink.name].append(event.key)

    def _settled(self, event: Any) -> None:
        if event.sink:
            self.undelivered[event.sink].remove(event.key)


TARGETS = (PROXY, *CLOUDS)

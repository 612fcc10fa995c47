"""What the HealthMonitor tells at an edge."""

from __future__ import annotations

from typing import Any

from omni.actors.health_monitor import HealthMonitor
from omni.domain import commands as cmd


class Watch:
    """A HealthMonitor with its own clock; gives the status that the Gateway is told."""

    def __init__(self) -> None:
        self.monitor = HealthMonitor()
        self.state: Any = self.monitor.initial()

    def see(self, at: int, *, ok: bool) -> cmd.ExecutorStatus:
        seen = cmd.ExecutorObserved("peer", ok, "")
        outcome = self.monitor.handle(self.state, cmd.Envelope("m", at, at, "pool", seen))
        for stream, event in outcome.events:
            self.monitor.evolve(self.state, stream, event, at, at)
        (status,) = [send.message for send in outcome.sends if send.to == "gateway"]
        assert isinstance(status, cmd.ExecutorStatus)
        return status


def test_health_is_told_with_the_time_since_when_it_holds() -> None:
    watch = Watch()
    told = [
        watch.see(1_000, ok=True),
        watch.see(2_000, ok=True),
        watch.see(3_000, ok=False),
        watch.see(4_000, ok=False),
    ]
    assert [(status.health.state, status.since) for status in told] == [
        ("ready", 1_000), ("ready", 1_000), ("ready", 1_000), ("failed", 4_000),
    ]  # fmt: skip

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

        self.events: list[Any] = []

    def see(self, at: int, *, ok: bool, detail: str = "") -> cmd.ExecutorStatus:
        seen = cmd.ExecutorObserved("peer", ok, detail)
        outcome = self.monitor.handle(self.state, cmd.Envelope("m", at, at, "pool", seen))
        for stream, event in outcome.events:
            self.monitor.evolve(self.state, stream, event, at, at)
            self.events.append(event)
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


def test_a_failure_that_reads_differently_at_each_try_is_one_event_and_people_hear_its_latest_words() -> None:
    watch = Watch()
    told = [watch.see(n, ok=False, detail=f"exit code 1, pid {n}") for n in range(1, 6)]
    assert len(watch.events) == 1
    assert [status.health.reason for status in told] == [f"exit code 1, pid {n}" for n in range(1, 6)]

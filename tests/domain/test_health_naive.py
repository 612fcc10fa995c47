"""What counters of consecutive failures do where the rules of health do better."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from tests.domain.naive import Naive
from tests.domain.ward import MINUTE, Ward

HALF_A_DAY = 12 * 60 * MINUTE


class Both:
    """The same observations for both rules."""

    def __init__(self) -> None:
        self.naive, self.ours = Naive(), Ward()

    def see(self, target: str, verdict: str = "ok", source: str = "") -> None:
        self.naive.see(target, verdict, source)
        self.ours.see(target, verdict, source)

    def probe(self, good: Callable[[], bool], verdict: str, for_ms: int, *, calls: bool = False) -> None:
        """Probes of the proxy at their pace, with a real call that gets through before each if there are `calls`."""
        end = self.ours.mono + for_ms
        while self.ours.mono < end:
            if calls:
                self.see("proxy", "ok", "call")
            ok = good()
            self.see("proxy", "ok" if ok else verdict)
            self.ours.run(2_000 if ok or self.ours.mode != "NORMAL" else 500)


def test_two_slow_probes_in_a_hundred_beside_healthy_calls_are_no_reason_to_leave_normal() -> None:
    both, chance = Both(), random.Random(1)
    both.probe(lambda: chance.random() >= 0.02, "hung", HALF_A_DAY, calls=True)
    assert both.naive.modes.count("DEGRADED") >= 3
    assert both.ours.modes == []


def test_a_proxy_that_answers_every_second_time_is_down() -> None:
    both = Both()
    turns = itertools.cycle([False, True])
    both.probe(lambda: next(turns), "refused", MINUTE)
    assert both.naive.modes == []
    assert both.ours.modes == ["DEGRADED"]


def test_a_proxy_that_loses_seventy_of_a_hundred_does_not_flap() -> None:
    both, chance = Both(), random.Random(2)
    both.probe(lambda: chance.random() >= 0.7, "refused", 60 * MINUTE)
    assert len(both.naive.modes) > 100
    assert len(both.ours.modes) <= 22  # each return doubles the dwell, so that an hour has room for ten outages
    assert both.ours.modes[0] == "DEGRADED"


def test_one_dead_cloud_of_two_is_no_reason_to_stop() -> None:
    both = Both()
    for _ in range(20):
        both.ours.run(30_000)
        both.see("east", "refused")
        both.see("west")
    assert both.naive.modes == ["BRAINSTEM"]
    assert both.ours.modes == []
    assert both.ours.health.clouds["east"].state == "down"


def test_a_proxy_too_busy_for_its_probes_that_serves_its_calls_is_up() -> None:
    both = Both()
    both.probe(lambda: False, "hung", 10 * MINUTE, calls=True)
    assert both.naive.modes == ["DEGRADED"]
    assert both.ours.modes == []

"""The rule that suggests itself, kept for comparison: counters of consecutive failures that set the mode.

Two failed probes of the proxy in a row: DEGRADED, and one good one ends it. Three failed pings of a cloud in a row:
BRAINSTEM, and one good one of that cloud ends it. Real calls are not looked at.
"""

from __future__ import annotations

from collections import Counter

from omni.domain.values import PROXY, Mode
from omni.domain.verdict import MEANING, Verdict

LIMITS = {PROXY: 2}
CLOUD_LIMIT = 3


class Naive:
    """Takes the same observations; `modes` are those that it went through."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self.mode: Mode = "NORMAL"
        self.modes: list[Mode] = []

    def see(self, target: str, verdict: str = "ok", source: str = "") -> None:
        alive = MEANING[Verdict(verdict)].alive
        if source == "call" or alive is None:
            return
        self.failures[target] = 0 if alive else self.failures[target] + 1
        tripped = [t for t, count in self.failures.items() if count >= LIMITS.get(t, CLOUD_LIMIT)]
        mode: Mode = "NORMAL" if not tripped else "DEGRADED" if tripped == [PROXY] else "BRAINSTEM"
        if mode != self.mode:
            self.mode = mode
            self.modes.append(mode)

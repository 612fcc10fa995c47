"""What is above in a history: how the proxy and each cloud answer now, in which words and after how long."""

from __future__ import annotations

from omni.domain.values import PROXY
from omni.domain.verdict import Verdict

Look = tuple[Verdict, str, int]  # what it shows, in words, after so many milliseconds

CALL_MS = 10_000  # so long a call waits for a cloud that is silent

ANSWERS: dict[str, Look] = {
    "well": (Verdict.OK, "HTTP 200", 180),
    "dead": (Verdict.REFUSED, "connection refused", 2),
    "drilled": (Verdict.REFUSED, "drill: connection refused", 2),
    "hung": (Verdict.HUNG, "no answer in time", -1),  # as long as the asker waits
    "cut off": (Verdict.NO_ROUTE, "network is unreachable", 3),
}


class Sky:
    """Moods by target; without a network no cloud can be reached, the proxy on this machine can."""

    def __init__(self) -> None:
        self.moods: dict[str, str] = {}
        self.network = True

    def look(self, target: str, timeout_ms: int) -> Look:
        """What a probe, ping or call meets now."""
        mood = self.moods.get(target, "well")
        if target != PROXY and not self.network:
            mood = "cut off"
        verdict, detail, took_ms = ANSWERS[mood]
        return verdict, detail, timeout_ms if took_ms < 0 else (8 if target == PROXY and mood == "well" else took_ms)

    def call(self, channel: str) -> Look:
        """What a model call meets; a proxy without a network cannot pass it on."""
        if channel == PROXY and not self.network and self.moods.get(PROXY, "well") == "well":
            return Verdict.SERVER_ERROR, "HTTP 500: no connection to the provider", 4_000
        return self.look(channel, CALL_MS)

    def become(self, target: str, mood: str) -> None:
        """From now on the target answers so."""
        self.moods[target] = mood

    def lose_network(self) -> None:
        """The cable is pulled."""
        self.network = False

    def find_network(self) -> None:
        """It is plugged in again."""
        self.network = True

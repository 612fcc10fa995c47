"""What is above: the proxy, two clouds, the network between, a local model, a user's ear. Each is as the test wants it.

They answer when they are told to, in any order, sometimes twice, sometimes never: an adapter may die with its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omni.domain import commands as cmd
from omni.domain.values import PROXY, HealthSettings, KeyRole, NoticeSink, QuietHours, Telling
from omni.domain.verdict import Verdict

Post = Callable[[str, str, Any], None]  # to, sender, message

CLOUDS = ("anthropic", "openrouter")
SETTINGS = HealthSettings(proxy=True, clouds=CLOUDS, primary_keys=CLOUDS, backup_keys=CLOUDS)
TELLING = Telling((NoticeSink("log"), NoticeSink("chat", people=True, addressed=True)))
NIGHT = QuietHours(22 * 60, 7 * 60, ("executor_paused", "cloud_offline", "cloud_restored"))
PROXY_MOODS = {"up": Verdict.OK, "dead": Verdict.REFUSED, "frozen": Verdict.HUNG}
CLOUD_MOODS = {
    "up": Verdict.OK,
    "down": Verdict.REFUSED,
    "silent": Verdict.HUNG,
    "ill": Verdict.SERVER_ERROR,
    "strict": Verdict.KEY_REJECTED,
    "limited": Verdict.RATE_LIMITED,
    "unpaid": Verdict.OUT_OF_CREDIT,
}


class Sky:
    """The world as it is, and the questions about it that have no answer yet."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self.moods = {PROXY: "up", **dict.fromkeys(CLOUDS, "up")}
        self.network = True
        self.asked: list[cmd.Probe] = []
        self.model = "unloaded"
        self.deaf = False  # the chat takes no notice; the log takes each
        self.heard: list[tuple[str, str]] = []  # sink and key
        self._wishes: list[Any] = []

    @property
    def has_path(self) -> bool:
        """Whether a model call could be answered by anybody, with the keys there are."""
        reachable = [c for c in CLOUDS if self.network and self.moods[c] not in {"down", "silent"}]
        good = [c for c in reachable if self.moods[c] not in {"strict", "unpaid"}]
        return bool(good) or (self.moods[PROXY] == "up" and bool(reachable))

    def heal(self) -> None:
        """All is well."""
        self.moods = dict.fromkeys(self.moods, "up")
        self.network, self.deaf = True, False

    def receive(self, message: Any) -> None:
        """A question or a wish comes in; nothing happens yet."""
        if isinstance(message, cmd.Probe):
            self.asked.append(message)
        else:
            if not isinstance(message, cmd.Deliver):  # the local model does what was asked of it last
                self._wishes = [wish for wish in self._wishes if isinstance(wish, cmd.Deliver)]
            self._wishes.append(message)

    def crash(self) -> None:
        """The adapters die with the process; the world stays as it is."""
        self.asked, self._wishes = [], []

    def answer(self, pick: int, *, twice: bool = False) -> bool:
        """One thing that was asked is answered; whether there was any."""
        waiting = [*self.asked, *self._wishes]
        if not waiting:
            return False
        message = waiting[pick % len(waiting)]
        if isinstance(message, cmd.Probe):
            self.asked.remove(message)
            seen = self.seen(message.target, "probe" if message.target == PROXY else "ping", pick)
        else:
            self._wishes.remove(message)
            seen = self._done(message)
        for _ in range(2 if twice else 1):
            self._post(*seen)
        return True

    def seen(self, target: str, source: str, pick: int = 0) -> tuple[str, str, Any]:
        """What a look at a target, or a call to it, shows now."""
        if target == PROXY:
            return ("health", "probes", cmd.Observed(PROXY, source, PROXY_MOODS[self.moods[PROXY]], "as it is"))
        verdict = CLOUD_MOODS[self.moods[target]] if self.network else Verdict.NO_ROUTE
        role: KeyRole = "backup" if pick % 2 else "primary"
        retry = (None, 2_000, 10**12)[pick % 3] if verdict is Verdict.RATE_LIMITED else None
        return ("health", "probes", cmd.Observed(target, source, verdict, "as it is", role, retry_after_ms=retry))

    def _done(self, wish: Any) -> tuple[str, str, Any]:
        if isinstance(wish, cmd.Deliver):
            ok = wish.sink == "log" or not self.deaf
            self.heard += [(wish.sink, wish.key)] if ok else []
            return ("brainstem", "notifier", cmd.Delivered(wish.key, ok, detail="nobody listens", sink=wish.sink))
        self.model = "loaded" if isinstance(wish, cmd.WakeLocal) else "unloaded"
        state = "checked" if self.model == "loaded" else "unloaded"
        return ("brainstem", "local", cmd.LocalObserved(state))

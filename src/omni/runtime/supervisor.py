"""Starts actors, restarts the ones that die, and gives up when dying becomes a habit."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pykka
import structlog

from omni.domain.commands import ActorRestarted
from omni.runtime.kernel import Kernel
from omni.runtime.ports import Clock
from omni.runtime.post import Post
from omni.runtime.shell import Mailbox, Shell

log = structlog.get_logger()

RESTARTS = 5  # within WINDOW_MS for one actor; then the daemon ends and the service manager starts it from the log
WINDOW_MS = 60_000


class Supervisor:
    """Owns the shells. A restarted actor keeps its name and mailbox, and reads its state from the log."""

    def __init__(self, post: Post, clock: Clock, give_up: Callable[[str], None]) -> None:
        self._post = post
        self._clock = clock
        self._give_up = give_up
        self._lock = threading.Lock()
        self._kernels: dict[str, Kernel[Any]] = {}
        self._mailboxes: dict[str, Mailbox] = {}
        self._deaths: dict[str, deque[int]] = {}
        self._stopping = False
        self.restarts: Counter[str] = Counter()  # by actor, since this process began

    def start(self, kernel: Kernel[Any]) -> None:
        """Read the actor's state from the log and let it run."""
        name = kernel.behaviour.name
        kernel.refold()
        mailbox = Mailbox()
        self._kernels[name], self._mailboxes[name], self._deaths[name] = kernel, mailbox, deque()
        self._post.register(name, mailbox.deliver)
        Shell.start(kernel, mailbox, self._post, self.on_death)

    def on_death(self, name: str, error: BaseException) -> None:
        """Start a successor, unless this actor has died too often. Runs on the dying thread."""
        with self._lock:
            if self._stopping:
                return
            log.error("actor.died", actor=name, error=repr(error))
            if self._too_often(name):
                self._stopping = True
                self._give_up(f"actor {name} died {RESTARTS + 1} times within a minute: {error!r}")
                return
            try:
                self._restart(name)
            except Exception as fatal:  # the log itself cannot be read: no actor can go on from that
                self._stopping = True
                self._give_up(f"actor {name} could not be restarted: {fatal!r}")

    def depths(self) -> dict[str, int]:
        """How many messages wait for each actor, by name."""
        return {name: len(mailbox.queue) for name, mailbox in self._mailboxes.items()}

    def state(self, name: str) -> Any:
        """The state of an actor, which belongs to its thread: others may look at single values, never change any."""
        return self._kernels[name].state

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the actors in reverse order of their start; each finishes the turn it is in."""
        with self._lock:
            self._stopping = True
        for mailbox in reversed(self._mailboxes.values()):
            if mailbox.ref is not None and mailbox.ref.is_alive():
                try:
                    mailbox.ref.stop(block=True, timeout=timeout_s)
                except pykka.Timeout:  # the log keeps all that was said; what is not said yet is owed at the next start
                    log.warning("actor.slow_to_stop", after_s=timeout_s)

    def _restart(self, name: str) -> None:
        kernel, mailbox = self._kernels[name], self._mailboxes[name]
        kernel.refold()
        self.restarts[name] += 1
        for send in kernel.owed():  # before the successor runs: the state is nobody else's yet
            self._post.send(send.to, name, (send.message,))
        Shell.start(kernel, mailbox, self._post, self.on_death)
        for other in self._kernels.keys() - {name}:
            self._post.send(other, "supervisor", (ActorRestarted(name),))

    def _too_often(self, name: str) -> bool:
        now, deaths = self._clock.mono_ms(), self._deaths[name]
        deaths.append(now)
        while deaths and now - deaths[0] > WINDOW_MS:
            deaths.popleft()
        return len(deaths) > RESTARTS

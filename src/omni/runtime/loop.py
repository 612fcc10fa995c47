"""Where threads meet the asyncio loop: a mailbox that is emptied on the loop, and timers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from omni.domain.commands import TimerFired, WakeAt, WakeIn
from omni.runtime.ports import Clock
from omni.runtime.post import Post

log = structlog.get_logger()
LONGEST_SLEEP_MS = 60_000  # a timer looks at the wall clock again at least this often: the clock may have been set


class LoopMailbox:
    """Take messages from any thread and hand them to `receive` on the loop, in order, one wake-up for many."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[Any], None]) -> None:
        self._loop = loop
        self._receive = receive
        self._queue: deque[Any] = deque()
        self._awake = False

    def deliver(self, sender: str, messages: Sequence[Any]) -> None:
        """Queue messages; a loop that has closed takes no more and none are needed."""
        self._queue.extend(messages)
        if self._awake:
            return
        self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # the loop is closed: the daemon is past its end
            self._queue.clear()

    def _drain(self) -> None:
        self._awake = False  # clear first, look second: what comes meanwhile wakes us again
        for _ in range(len(self._queue)):
            message = self._queue.popleft()
            try:
                self._receive(message)
            except Exception:
                log.exception("loop_message.failed", message=type(message).__name__)


class Latecomer:
    """Keeps what is sent to an adapter that is not there yet, because loading it would hold up the port."""

    def __init__(self) -> None:
        self._receive: Callable[[Any], None] | None = None
        self._waiting: list[Any] = []

    def receive(self, message: Any) -> None:
        """Pass the message on, or keep it."""
        if self._receive is None:
            self._waiting.append(message)
        else:
            self._receive(message)

    def arrive(self, receive: Callable[[Any], None]) -> None:
        """The adapter is there: it gets what has waited, and from now on everything."""
        self._receive = receive
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            receive(message)


class Timers:
    """Answer `WakeAt` and `WakeIn` with `TimerFired`. Lost with the process; actors ask again.

    `WakeAt` goes by the wall clock, `WakeIn` by running time. Both stand under (actor, key), and the last wish counts.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, post: Post) -> None:
        self._loop = loop
        self._clock = clock
        self._post = post
        self._handles: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def receive(self, message: WakeAt | WakeIn) -> None:
        """Set or replace the timer of (actor, key). Runs on the loop."""
        previous = self._handles.pop((message.actor, message.key), None)
        if previous:
            previous.cancel()
        if isinstance(message, WakeIn):
            self._call(message.delay_ms, self._fire, message)
        else:
            self._arm(message)

    def stop(self) -> None:
        """Drop all timers."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def _arm(self, message: WakeAt) -> None:
        self._call(min(message.at - self._clock.wall_ms(), LONGEST_SLEEP_MS), self._ring, message)

    def _ring(self, message: WakeAt) -> None:
        if message.at > self._clock.wall_ms():
            self._arm(message)
        else:
            self._fire(message)

    def _call(self, delay_ms: int, ring: Callable[[Any], None], message: WakeAt | WakeIn) -> None:
        self._handles[message.actor, message.key] = self._loop.call_later(max(0, delay_ms) / 1000, ring, message)

    def _fire(self, message: WakeAt | WakeIn) -> None:
        self._handles.pop((message.actor, message.key), None)
        self._post.send(message.actor, "timers", (TimerFired(message.key),))

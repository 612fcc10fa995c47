"""The only doors to time and chance. Behaviours never pass through them; the shell stamps every message instead."""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import Protocol

from omni.domain.values import Millis


class Clock(Protocol):
    """Wall-clock time for people, monotonic time for durations; both in milliseconds."""

    def wall_ms(self) -> Millis: ...

    def mono_ms(self) -> Millis: ...


class Ids(Protocol):
    """Where names of new things come from."""

    def task_id(self) -> str: ...


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> Millis:
        """Milliseconds since the epoch; may jump."""
        return time.time_ns() // 1_000_000

    def mono_ms(self) -> Millis:
        """Milliseconds since some fixed moment; never jumps, stands still while the machine sleeps."""
        return time.monotonic_ns() // 1_000_000


class SystemIds:
    """UUIDv7 (RFC 9562): ids sort by time, and a counter keeps those of one millisecond in order."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._last = 0
        self._count = itertools.count()
        self._pool: list[int] = []  # of the system's randomness, drawn ahead: one system call for many ids

    def _chance(self) -> int:
        if not self._pool:
            self._pool.extend(memoryview(os.urandom(4096)).cast("Q"))
        return self._pool.pop()

    def task_id(self) -> str:
        """Make a new id; never equal to or smaller than the one before, even when the clock steps back."""
        with self._lock:
            now = max(self._clock.wall_ms(), self._last)
            if now > self._last:
                self._last, self._count = now, itertools.count()
            count = next(self._count)
            if count > 0xFFF:  # the 12 bits are used up: borrow the next millisecond
                self._last, self._count, now, count = now + 1, itertools.count(1), now + 1, 0
            chance = self._chance()
        tail = f"{(2 << 62) | (chance >> 2):016x}"
        stamp = f"{now:012x}"
        return f"{stamp[:8]}-{stamp[8:]}-7{count:03x}-{tail[:4]}-{tail[4:]}"


def utc_offset_ms() -> Millis:
    """How far this machine's time zone is ahead of UTC now; asked once at a boot, and written into the log."""
    return time.localtime().tm_gmtoff * 1000

"""Waiting in drills, and the bounds that drills share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from omni.domain.values import Millis
from omni.ops.record import Change
from omni.runtime.ports import SystemClock

LOOK_S = 0.1
MODE_WITHIN_S = 5.0
GRACE_S = 5.0  # beyond the pauses that are meant: probes come every 2 s, and two of them must succeed
FIRST_WITHIN_S = {"proxy-down": 1.0, "proxy-hang": 2.5}

Say: TypeAlias = Callable[[str], None]


def since(change: Change | None, began: Millis) -> float | None:
    """Seconds from `began` to a change of mode; None when there was none."""
    return None if change is None else (change.at - began) / 1000


async def passed(until: Millis) -> None:
    """Return at this time of the wall clock."""
    await asyncio.sleep(max(0, until - SystemClock().wall_ms()) / 1000)


async def comes(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether it came to hold in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while not holds():
        if loop.time() > until:
            return False
        await asyncio.sleep(LOOK_S)
    return True

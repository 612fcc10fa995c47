"""The faults of a soak as they are made, one after the other, and when each began and was over."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

import msgspec

from omni.domain.drill import Fault
from omni.domain.errors import OmniError
from omni.domain.values import PROXY, Millis
from omni.ops.load import AUTO, Called, Load
from omni.ops.pauses import LOOK_S, Say
from omni.ops.record import Record
from omni.ops.soak.faults import (
    IN_DAEMON,
    KINDS,
    Drawn,
    allow_writing,
    drawn,
    executor_of,
    forbid_writing,
    strike,
)
from omni.ops.throwaway import HEAVY, LIGHT, ThrowAway
from omni.runtime.ports import SystemClock

NORMAL_WITHIN_S = 45.0
ELSEWHERE_WITHIN_S = 20.0
SECOND_AFTER = 0.6  # of the first one's time: by then its failover has been measured


class Blow(msgspec.Struct):
    """One fault that was made: on the loop's clock and on the wall's. `failover_s` None: none was measured or wanted.

    `moved`: a first call elsewhere was wanted. `note`: what else there is to say of it.
    """

    kind: str
    began_s: float
    began_ms: Millis
    ended_s: float = 0.0
    ended_ms: Millis = 0
    moved: bool = False
    failover_s: float | None = None
    ready_s: float | None = None
    note: str = ""


class Storm:
    """Makes faults until it is told to stop; `blows` are those that were made, in order."""

    def __init__(self, daemon: ThrowAway, load: Load, record: Record, say: Say) -> None:
        self.blows: list[Blow] = []
        self.ends: list[int] = []  # exit codes of a daemon that nobody had killed
        self._daemon, self._load, self._record, self._say = daemon, load, record, say
        self._starting = asyncio.Lock()

    async def rage(self, chance: random.Random, pause_s: tuple[float, float], until_s: float) -> None:
        """Draw faults and make them, the last one before `until_s`, and see each to its end."""
        loop = asyncio.get_running_loop()
        for fault in drawn(chance, pause_s):
            await self._calm(min(loop.time() + fault.pause_s, until_s))
            if KINDS[fault.kind].from_normal:
                await self._normal(min(loop.time() + NORMAL_WITHIN_S, until_s))
            if loop.time() >= until_s:
                return
            await self._make(fault)

    async def _make(self, fault: Drawn) -> None:
        second = self._after(SECOND_AFTER * fault.lasts_s, fault) if fault.second else _nothing()
        await asyncio.gather(self._strike(fault.kind, fault.lasts_s), second)

    async def _after(self, wait_s: float, fault: Drawn) -> None:
        await asyncio.sleep(wait_s)
        await self._strike(fault.second, fault.second_lasts_s)

    async def _strike(self, kind: str, lasts_s: float) -> None:
        blow = Blow(kind, asyncio.get_running_loop().time(), SystemClock().wall_ms())
        self._say(f"{kind}, {lasts_s:.1f} s" if lasts_s else kind)
        self.blows.append(blow)
        try:
            await _HOW[kind](self, blow, lasts_s)
        finally:
            blow.ended_s, blow.ended_ms = asyncio.get_running_loop().time(), SystemClock().wall_ms()

    # --- each of them ---------------------------------------------------------------------------------------------

    async def inside(self, blow: Blow, lasts_s: float) -> None:
        """A fault at the seam where the daemon meets the world."""
        mode = (await self._mode()) or "unknown"
        try:
            await self._load.drill(cast("Fault", blow.kind), max(1.0, lasts_s))
        except OmniError as error:
            blow.note = f"not made: {error.message}"
            return
        if blow.kind in _ELSEWHERE and mode == "NORMAL":
            blow.moved = True
            blow.failover_s = await self._elsewhere(blow)
        elif blow.kind in _ELSEWHERE:
            blow.note = f"no failover to measure: the mode was {mode}"
        await asyncio.sleep(max(0.0, blow.began_s + lasts_s - asyncio.get_running_loop().time()))

    async def _elsewhere(self, blow: Blow) -> float | None:
        """Seconds from the fault to the first answer to a new call that came another way."""
        loop = asyncio.get_running_loop()
        model, is_elsewhere = _ELSEWHERE[blow.kind]
        while loop.time() < blow.began_s + ELSEWHERE_WITHIN_S:
            answer = await self._load.call(model)
            if answer.ok and is_elsewhere(answer):
                return loop.time() - blow.began_s
            await asyncio.sleep(LOOK_S)
        return None

    async def kill(self, blow: Blow, lasts_s: float) -> None:
        """SIGKILL, and a start at once: the soak stands in for the service manager."""
        async with self._starting:
            self._daemon.kill()
            await self._daemon.start()
        blow.ready_s = asyncio.get_running_loop().time() - blow.began_s

    async def executor_killed(self, blow: Blow, lasts_s: float) -> None:
        process = executor_of(self._daemon.pid, blow.kind.partition("-")[0])
        if process is None or not strike(process, signal.SIGKILL):
            blow.note = "it was not there"

    async def executor_frozen(self, blow: Blow, lasts_s: float) -> None:
        process = executor_of(self._daemon.pid, blow.kind.partition("-")[0])
        if process is None or not strike(process, signal.SIGSTOP):
            blow.note = "it was not there"
            return
        try:
            await asyncio.sleep(lasts_s)
        finally:
            if not strike(process, signal.SIGCONT):
                blow.note = "ended while it was frozen"

    async def disk_full(self, blow: Blow, lasts_s: float) -> None:
        forbid_writing(self._daemon.pid)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            allow_writing(self._daemon.pid)

    # --- between them ---------------------------------------------------------------------------------------------

    async def _calm(self, until_s: float) -> None:
        """Wait, and start a daemon again that has ended by itself, as a service manager does."""
        loop = asyncio.get_running_loop()
        while loop.time() < until_s:
            async with self._starting:
                if self._daemon.exit_code is not None:
                    self.ends.append(self._daemon.exit_code)
                    self._say(f"the daemon has ended by itself, with exit code {self._daemon.exit_code}")
                    await self._daemon.start()
            await asyncio.sleep(LOOK_S)

    async def _normal(self, until_s: float) -> None:
        """Wait until all is well, or no longer."""
        loop = asyncio.get_running_loop()
        while loop.time() < until_s and await self._mode() != "NORMAL":
            await self._calm(min(loop.time() + 2 * LOOK_S, until_s))

    async def _mode(self) -> str:
        with contextlib.suppress(OmniError):
            return str((await self._load.status()).get("mode", ""))
        return ""


async def _nothing() -> None:
    return


Way: TypeAlias = Callable[[Storm, Blow, float], Awaitable[None]]
_ELSEWHERE: dict[str, tuple[str, Callable[[Called], bool]]] = {
    "proxy-down": (AUTO, lambda answer: answer.channel != PROXY),
    "proxy-hang": (AUTO, lambda answer: answer.channel != PROXY),
    "rate-limit": (AUTO, lambda answer: answer.model != LIGHT),
    "quota": (HEAVY, lambda answer: answer.model == LIGHT),
}
_HOW: dict[str, Way] = {
    **dict.fromkeys(IN_DAEMON, Storm.inside),
    "kill": Storm.kill,
    **dict.fromkeys(("hand-kill", "worker-kill"), Storm.executor_killed),
    **dict.fromkeys(("hand-freeze", "worker-freeze"), Storm.executor_frozen),
    "disk-full": Storm.disk_full,
}

"""Waiting for a first byte without trusting the silence: waits that can be cut short, and looks at a silent proxy.

Theory of operation. A model may think for minutes, and a dead proxy is as silent. So when a call has waited a second,
the proxy is asked whether it lives, which a healthy one answers within milliseconds:

    call sent ──1 s──▶ look ──lives──▶ wait 2 s ──▶ look …
                         └──no answer within 1 s──▶ every call that waits for this proxy is cut: HUNG

Looks are shared: at most one begins in a second, however many calls wait. Only the call whose look it was reports it,
for one look is one piece of evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from omni.domain.verdict import Verdict
from omni.llm.answer import NoEvidence, UpstreamFailed

Look = Callable[[], Awaitable[str]]
T = TypeVar("T")


class Cut(NoEvidence):
    """A wait was ended from outside; what it tells about the other side has been reported already."""


class Patience:
    """One call's waiting; `cut` ends it from elsewhere on the loop, now or at its next wait."""

    def __init__(self) -> None:
        self._reason: UpstreamFailed | None = None
        self._timeout: asyncio.Timeout | None = None

    def cut(self, reason: UpstreamFailed) -> None:
        """Let the wait under way, or the next one, raise `reason`."""
        if self._reason is None:
            self._reason = reason
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def wait(self, begin: Callable[[], Awaitable[T]], within_s: float, late: str) -> T:
        """What `begin` brings. Raises UpstreamFailed(SLOW) with `late` when time is up, or what `cut` was given."""
        if (reason := self._reason) is not None:
            raise reason
        try:
            async with asyncio.timeout(within_s) as self._timeout:
                return await begin()
        except TimeoutError:
            raise self._ended_by(late) from None
        finally:
            self._timeout = None

    def _ended_by(self, late: str) -> UpstreamFailed:
        return self._reason or UpstreamFailed(Verdict.SLOW, late)


class Wait:
    """One call that waits for the first byte of the proxy's answer."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.timer: asyncio.TimerHandle | None = None


class ProxyWatch:
    """All calls that wait for the proxy. `look` asks it once and returns why it is taken for dead, empty if it lives.

    `look` must return within its own limit. Loop only.
    """

    def __init__(self, look: Look, *, first_s: float, next_s: float, apart_s: float) -> None:
        self._look = look
        self._first_s = first_s
        self._next_s = next_s
        self._apart_s = apart_s
        self._waits: set[Wait] = set()
        self._looking: asyncio.Task[None] | None = None
        self._last_look = float("-inf")

    def look_by(self, look: Look) -> None:
        """Ask in another way from the next look on."""
        self._look = look

    async def first_byte(self, patience: Patience, begin: Callable[[], Awaitable[T]], within_s: float) -> T:
        """What `begin` brings. Raises UpstreamFailed: HUNG when a look failed."""
        wait = Wait(patience)
        self._waits.add(wait)
        self._arm(wait, self._first_s)
        try:
            return await patience.wait(begin, within_s, f"no answer began within {within_s:g} s")
        finally:
            self._leave(wait)

    def cut(self, reason: UpstreamFailed, *, evidence: bool = True) -> None:
        """End every wait, the first one with `reason` where that is evidence, the others with what is none."""
        for number, wait in enumerate(tuple(self._waits)):
            first = evidence and not number
            wait.patience.cut(reason if first else Cut(reason.verdict, reason.detail))

    async def stop(self) -> None:
        """End a look that is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    def _leave(self, wait: Wait) -> None:
        self._waits.discard(wait)
        if wait.timer is not None:
            wait.timer.cancel()

    def _arm(self, wait: Wait, after_s: float) -> None:
        wait.timer = asyncio.get_running_loop().call_later(after_s, self._ring, wait)

    def _ring(self, wait: Wait) -> None:
        now = asyncio.get_running_loop().time()
        since = now - self._last_look
        if self._looking is not None:
            self._arm(wait, self._next_s)
        elif since < self._apart_s:
            self._arm(wait, self._apart_s - since)
        else:
            self._last_look = now
            self._looking = asyncio.create_task(self._ask())
            self._arm(wait, self._next_s)

    async def _ask(self) -> None:
        try:
            why = await self._look()
            if why:
                self.cut(UpstreamFailed(Verdict.HUNG, why))
        finally:
            self._looking = None

"""Faults made on purpose, for drills: what the wires would do, done at the seam where this process meets them.

Theory of operation. The daemon always has one `Faults`, and in normal life `active` is None: that one look is all it
costs. While a fault is active, channels, probes and the look at a silent proxy ask it first, and get the outcome that
the real thing would have: everything above them goes by its normal rules and cannot tell the difference. What is made
up says so (`drill: …`), so that evidence, notices and the log never pass for a real outage.

                 proxied call         direct call     proxy's liveliness   a cloud's ping
    proxy-down   refused              –               refused              –
    proxy-hang   silence              –               silence              –
    cloud-down   500 by the cloud     no route        –                    no route
    rate-limit   429, first tier      429, first tier –                    –
    quota        402, paid models     402, paid models –                   –

`proxy-down` breaks the calls that are with the proxy too, as a killed process does. Silence ends with the fault: what
still waits then goes on its way. A fault ends by itself, also when nobody is left who asked for it. Loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from omni.domain.commands import ComponentReport, DrillNoted, Observed, Probe
from omni.domain.drill import LONGEST_S, MARK, SHORTEST_S, WORDS, Drill, Fault
from omni.domain.hops import Hop, Paths
from omni.domain.values import LOCAL_MODEL, PROXY
from omni.domain.verdict import Verdict
from omni.llm.answer import Answer, Call, Opens, UpstreamFailed
from omni.llm.watch import Look
from omni.runtime.ports import Clock
from omni.runtime.post import Post

log = structlog.get_logger()

RETRY_AFTER_MS = 5_000


class Faults:
    """At most one fault at a time; `sever` is called when those who are with the proxy lose it.

    Brainstem hears of each, so that it stands in the event log and nobody is sent to repair a proxy that is well.
    """

    def __init__(self, paths: Paths, clock: Clock, post: Post | None = None) -> None:
        self.go_by(paths)
        self.active: Drill | None = None
        self.sever: Callable[[UpstreamFailed], None] = lambda _: None
        self._clock = clock
        self._post = post
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()

    def go_by(self, paths: Paths) -> None:
        """The ways that calls go from now on."""
        self._first_tier = next((tier.name for tier in paths.tiers if tier.runs_tasks), None)

    def inject(self, fault: Fault, seconds: float) -> Drill:
        """Begin a fault, in place of any other; it ends after `seconds`, kept within bounds."""
        self.clear()
        seconds = min(max(seconds, SHORTEST_S), LONGEST_S)
        now = self._clock.wall_ms()
        self.active = drill = Drill(fault, now, now + round(seconds * 1000))
        self._ended = asyncio.Event()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.clear)
        log.warning("drill.injected", fault=fault, seconds=seconds, what=WORDS[fault])
        if self._post:
            self._post.send("brainstem", "drill", (DrillNoted(fault, drill.until),))
        if fault == "proxy-down":
            self.sever(_failed(Verdict.CLOSED, "the connection was closed"))
        return drill

    def clear(self) -> None:
        """End the fault, if there is one; what was kept waiting goes on."""
        if self.active is None or self._timer is None:
            return
        log.warning("drill.ended", fault=self.active.fault)
        self._timer.cancel()
        self.active = None
        self._ended.set()

    @property
    def report(self) -> ComponentReport | None:
        """The fault as a line of the status; None when there is none."""
        drill = self.active
        if drill is None:
            return None
        reason = f"made on purpose by omni drill: {WORDS[drill.fault]}"
        return ComponentReport("drill", drill.fault, "active", drill.since, drill.until, reason)

    # --- what each seam asks while a fault is active ---------------------------------------------------------------

    def over_channels(self, channels: Opens) -> Opens:
        """The same channels, and the fault before them."""
        return _Channels(channels, self)

    def over_look(self, look: Look, within_s: float) -> Look:
        """The same look at the proxy, and the fault before it."""

        async def drilled() -> str:
            if self.active is not None and (why := await self._looked(within_s)):
                return why
            return await look()

        return drilled

    async def probed(self, probe: Probe) -> Observed | None:
        """What a probe finds; None: the fault is not about this, ask the real one."""
        fault = self.active.fault if self.active else None
        if probe.target != PROXY:
            return _seen(probe, Verdict.NO_ROUTE, "the network cannot be reached") if fault == "cloud-down" else None
        if fault == "proxy-down":
            return _seen(probe, Verdict.REFUSED, "connection refused")
        if fault == "proxy-hang":
            within_s = probe.timeout_ms / 1000
            await asyncio.sleep(within_s)
            return _seen(probe, Verdict.HUNG, f"no answer within {within_s:g} s")
        return None

    async def called(self, hop: Hop) -> None:
        """Let a call on its way out meet the fault: raise UpstreamFailed, wait, or do nothing."""
        if failed := self._failure(hop):
            raise failed
        await self.hold(hop)

    async def hold(self, hop: Hop) -> None:
        """Keep silent for as long as a proxy does that hangs."""
        if self.active and self.active.fault == "proxy-hang" and hop.channel == PROXY:
            await self._ended.wait()

    async def _looked(self, within_s: float) -> str:
        if self.active and self.active.fault == "proxy-down":
            return f"{MARK}the proxy is gone: connection refused"
        if self.active and self.active.fault == "proxy-hang":
            await asyncio.sleep(within_s)
            return f"{MARK}the proxy did not say within {within_s:g} s that it lives"
        return ""

    def _failure(self, hop: Hop) -> UpstreamFailed | None:
        if self.active is None or hop.channel == LOCAL_MODEL:
            return None
        proxied = hop.channel == PROXY
        match self.active.fault:
            case "proxy-down" if proxied:
                return _failed(Verdict.REFUSED, "connection refused")
            case "cloud-down" if proxied:
                return _failed(Verdict.SERVER_ERROR, "HTTP 500, the cloud cannot be reached", 500)
            case "cloud-down":
                return _failed(Verdict.NO_ROUTE, "the network cannot be reached")
            case "rate-limit" if hop.tier == self._first_tier:
                return _failed(Verdict.RATE_LIMITED, "HTTP 429", 429, RETRY_AFTER_MS)
            case "quota" if hop.paid:
                return _failed(Verdict.OUT_OF_CREDIT, "HTTP 402", 402)
            case _:
                return None


class _Channels:
    """Channels that meet the fault first, and again before an answer that began meanwhile is handed on."""

    def __init__(self, channels: Opens, faults: Faults) -> None:
        self._channels = channels
        self._faults = faults

    async def open(self, hop: Hop, call: Call) -> Answer:
        if self._faults.active is not None:
            await self._faults.called(hop)
        answer = await self._channels.open(hop, call)
        if self._faults.active is not None:
            await self._held(hop, answer)
        return answer

    async def count(self, hop: Hop, call: Call) -> bytes | None:
        if self._faults.active is not None:
            await self._faults.called(hop)
        return await self._channels.count(hop, call)

    async def _held(self, hop: Hop, answer: Answer) -> None:
        try:
            await self._faults.hold(hop)
        except BaseException:  # nobody waits for this answer any more
            await answer.aclose()
            raise


def _failed(
    verdict: Verdict, detail: str, status: int | None = None, retry_after_ms: int | None = None
) -> UpstreamFailed:
    return UpstreamFailed(verdict, MARK + detail, status=status, retry_after_ms=retry_after_ms)


def _seen(probe: Probe, verdict: Verdict, detail: str) -> Observed:
    source = "probe" if probe.target == PROXY else "ping"
    return Observed(probe.target, source, verdict.value, MARK + detail)

"""One call of one caller: hop after hop until an answer begins, then its bytes to the end.

Theory of operation. Until the first byte of an answer is at hand nothing has been promised, and a failure leads to the
next hop. From then on the caller holds half an answer, and a failure is an error in the dialect's own form.

    plan ──hop──▶ reserve ──▶ open ──first byte──▶ passing ──end──────▶ settled OK
      ▲              │denied    │failed               ├──broken───────▶ error event, settled BROKEN_STREAM
      │              ▼          ▼                     └──caller gone──▶ upstream closed, settled ABANDONED
      │            error     settled, observed
      └── another hop may do better ──┘

The plan is made anew for each hop, so that it is by the newest health. Nothing is tried twice, here or below. Each hop
is a call of its own in the books: `<call>/<k>`. An answer in one piece is read to its end before anything of it is
passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import msgspec
import structlog

from omni.domain.commands import CallAnswered, HealthReported, Observed, Refusal, ReserveCall, SettleCall
from omni.domain.hops import Asked, Hop, Paths, Plan, plan
from omni.domain.values import LOCAL_MODEL, PROXY
from omni.domain.verdict import MEANING, Verdict
from omni.llm import reply
from omni.llm.answer import Answer, Call, Meter, NoEvidence, Opens, UpstreamFailed
from omni.llm.books import Books
from omni.llm.keys import Holder
from omni.llm.passage import Limits, Passage, Stopping
from omni.llm.prices import Bill, Prices
from omni.llm.reply import PortAnswer
from omni.llm.watch import Patience, ProxyWatch
from omni.runtime.ports import Clock

log = structlog.get_logger()

MAX_HOPS = 8
WHOLE_ANSWER_BYTES = 64 * 1024 * 1024
NOTHING = Meter()
NO_BILL = Bill(None, None, "unknown")


class Means(msgspec.Struct):
    """What all journeys share; `health` is the newest report."""

    paths: Paths
    channels: Opens
    prices: Prices
    books: Books
    watch: ProxyWatch
    clock: Clock
    health: HealthReported
    limits: Limits
    stopping: bool = False


class Leg:
    """One hop on its way: what the books will want to know about it."""

    def __init__(self, call: str, hop: Hop, began: int) -> None:
        self.call = call
        self.hop = hop
        self.began = began
        self.first_byte_ms: int | None = None
        self.settled = False


class Journey:
    """One caller's call. `answer` begins it; `patience` is how others end its waiting."""

    def __init__(self, means: Means, call: Call, holder: Holder, done: Callable[[Journey], None]) -> None:
        self._means = means
        self._call = call
        self._holder = holder
        self._done = done
        self._asked = Asked(call.dialect, str(call.body.get("model") or ""), holder.direct)
        self._began = means.clock.mono_ms()
        self._tried: list[tuple[Hop, UpstreamFailed]] = []
        self._legs = 0
        self._proxy_lost = False
        self._free_only: Refusal | None = None
        self._is_over = False
        self.channel = ""  # where the call is now, or was last
        self.patience = Patience()

    async def answer(self) -> PortAnswer:
        """The first answer that begins, or the error that the caller is told."""
        try:
            return await self._travel()
        except BaseException:  # the caller is gone, or a bug: either way nobody goes on with this
            self._over(None, Verdict.ABANDONED)
            raise

    async def _travel(self) -> PortAnswer:
        while self._legs < MAX_HOPS and self._left_s > 0 and not self._means.stopping:
            route = self._plan()
            if not route.hops:
                return self._nowhere(route)
            self._legs += 1
            leg = Leg(f"{self._call.id}/{self._legs}", route.hops[0], self._means.clock.mono_ms())
            granted = await self._reserve(leg)
            if granted.refusal is None:
                told = await self._try(leg)
                if told is not None:
                    return told
            elif granted.degrade and leg.hop.paid and self._free_only is None:
                self._free_only = granted.refusal
            else:
                return self._denied(granted.refusal)
        return self._failed(self._tried[-1][1] if self._tried and not self._means.stopping else Stopping())

    def _plan(self) -> Plan:
        """The hops that are left; the first one is next."""
        means = self._means
        whole = plan(self._asked, means.paths, means.health, means.clock.wall_ms(), proxy_lost=self._proxy_lost)
        gone = {(hop.channel, hop.model, hop.key) for hop, _ in self._tried}
        free = self._free_only is not None
        left = (hop for hop in whole.hops if (hop.channel, hop.model, hop.key) not in gone and not (free and hop.paid))
        return Plan(tuple(left), whole.left_out)

    @property
    def _left_s(self) -> float:
        return self._means.limits.whole_s - (self._means.clock.mono_ms() - self._began) / 1000

    # --- one hop --------------------------------------------------------------------------------------------------

    async def _reserve(self, leg: Leg) -> CallAnswered:
        means, hop, holder = self._means, leg.hop, self._holder
        asked = ReserveCall(
            request=leg.call,
            call=leg.call,
            channel=hop.channel,
            model=hop.model,
            mode=means.health.mode.mode,
            task_id=holder.task_id,
            n=holder.n,
            client=holder.client,
            paid=hop.paid,
            estimate_usd=await means.prices.estimate(hop, self._call.body),
            tier=hop.tier,
        )
        return await means.books.reserve(asked, means.limits.reserve_s)

    async def _try(self, leg: Leg) -> PortAnswer | None:
        """The answer of one hop, an error that is final, or None: another hop may do better."""
        self.patience = Patience()
        self.channel = leg.hop.channel
        try:
            if self._means.stopping:
                raise Stopping  # noqa: TRY301 - the reservation is settled below, as after any failure
            answer = await self._open(leg)
            return self._pass_on(leg, answer) if answer.streaming else await self._whole(leg, answer)
        except UpstreamFailed as failed:
            self._note(leg, failed)
            return None if MEANING[failed.verdict].elsewhere else self._failed(failed)
        except BaseException:  # as in `answer`; a reservation stays open for nobody
            self._settle(leg, Verdict.ABANDONED)
            raise

    async def _open(self, leg: Leg) -> Answer:
        means, call = self._means, msgspec.structs.replace(self._call, id=leg.call)
        within_s = min(self._left_s, means.limits.first_byte_s if call.streaming else means.limits.whole_s)

        async def begin() -> Answer:
            return await means.channels.open(leg.hop, call)

        if leg.hop.channel == PROXY:
            answer = await means.watch.first_byte(self.patience, begin, within_s)
        else:
            answer = await self.patience.wait(begin, within_s, f"no answer began within {within_s:g} s")
        leg.first_byte_ms = means.clock.mono_ms() - leg.began
        self._observe(leg, Verdict.OK)
        return answer

    async def _whole(self, leg: Leg, answer: Answer) -> PortAnswer:
        """Read an answer in one piece; only then is it the caller's."""
        try:
            body = await self.patience.wait(lambda: _read(answer), self._left_s, "the answer did not end in time")
            await self._end(leg, Verdict.OK, answer)
            return PortAnswer(answer.status, answer.media_type, _headers(leg), body)
        finally:
            await answer.aclose()

    def _pass_on(self, leg: Leg, answer: Answer) -> PortAnswer:
        async def end(verdict: Verdict, detail: str) -> None:
            await self._end(leg, verdict, answer, detail)

        self._call = msgspec.structs.replace(self._call, body={})  # nobody will ask it again, and it may be large
        passage = Passage(answer, self.patience, self._means.limits, self._call.dialect, end)
        return PortAnswer(answer.status, answer.media_type, _headers(leg), events=passage)

    def _note(self, leg: Leg, failed: UpstreamFailed) -> None:
        """Write a hop down that brought nothing, and remember it for the next plan."""
        self._tried.append((leg.hop, failed))
        if leg.hop.channel == PROXY and MEANING[failed.verdict].alive is False:
            self._proxy_lost = True
        self._settle(leg, failed.verdict, failed.detail)
        if not isinstance(failed, NoEvidence):
            self._observe(leg, failed.verdict, failed)

    # --- how it ends ----------------------------------------------------------------------------------------------

    def _nowhere(self, route: Plan) -> PortAnswer:
        """No hop is left: the last failure, the budget's refusal, or why there was no way at all."""
        if self._tried:
            return self._failed(self._tried[-1][1])
        if self._free_only is not None:
            return self._denied(self._free_only)
        self._over(None, Verdict.NO_ROUTE)
        return reply.nowhere(self._call.dialect, self._means.health.mode, route, direct=self._holder.direct)

    def _denied(self, refusal: Refusal) -> PortAnswer:
        self._over(None, "denied")
        return reply.denied(self._call.dialect, refusal)

    def _failed(self, last: UpstreamFailed) -> PortAnswer:
        self._over(self._tried[-1][0] if self._tried else None, last.verdict)
        return reply.failed(self._call.dialect, self._tried, last)

    async def _end(self, leg: Leg, verdict: Verdict, answer: Answer, detail: str = "") -> None:
        """Close the books over an answer, passed on whole or in part."""
        if verdict is Verdict.BROKEN_STREAM:
            self._observe(leg, verdict, UpstreamFailed(verdict, detail))
        bill = await self._means.prices.bill(leg.hop, answer.meter)
        self._over(leg.hop, verdict, self._settle(leg, verdict, detail, answer.meter, bill))

    # --- the books ------------------------------------------------------------------------------------------------

    def _settle(
        self, leg: Leg, verdict: Verdict, detail: str = "", meter: Meter = NOTHING, bill: Bill = NO_BILL
    ) -> SettleCall | None:
        if leg.settled:
            return None
        leg.settled = True
        settled = SettleCall(
            call=leg.call,
            verdict=verdict.value,
            task_id=self._holder.task_id,
            billed_usd=bill.billed_usd,
            imputed_usd=bill.imputed_usd,
            source=bill.source,
            usage=meter.usage,
            model=meter.model or leg.hop.model,
            first_byte_ms=leg.first_byte_ms,
            duration_ms=self._means.clock.mono_ms() - leg.began,
            detail=detail,
        )
        self._means.books.settle(settled)
        return settled

    def _observe(self, leg: Leg, verdict: Verdict, failed: UpstreamFailed | None = None) -> None:
        if leg.hop.channel == LOCAL_MODEL:
            return  # no mode depends on it
        seen = Observed(
            target=leg.hop.channel,
            source="call",
            verdict=verdict.value,
            detail=failed.detail if failed else "",
            key=leg.hop.key,
            model=leg.hop.model,
            retry_after_ms=failed.retry_after_ms if failed else None,
        )
        self._means.books.observe(seen)

    def _over(self, hop: Hop | None, verdict: str, settled: SettleCall | None = None) -> None:
        """The one line that the log gets about a call."""
        if self._is_over:
            return
        self._is_over = True
        log.info(
            "call.ended",
            call=self._call.id,
            task=self._holder.task_id,
            attempt=self._holder.n,
            client=self._holder.client,
            dialect=self._call.dialect,
            channel=hop.channel if hop else "",
            model=hop.model if hop else self._asked.model,
            mode=self._means.health.mode.mode,
            verdict=str(verdict),
            hops=self._legs,
            first_byte_ms=settled.first_byte_ms if settled else None,
            duration_ms=self._means.clock.mono_ms() - self._began,
            billed_usd=settled.billed_usd if settled else None,
            imputed_usd=settled.imputed_usd if settled else None,
            source=settled.source if settled else "unknown",
        )
        self._done(self)


def _headers(leg: Leg) -> dict[str, str]:
    return {"x-omni-call": leg.call, "x-omni-channel": quote(leg.hop.channel)}


async def _read(answer: Answer) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in answer.chunks():
        parts.append(chunk)
        size += len(chunk)
        if size > WHOLE_ANSWER_BYTES:
            raise UpstreamFailed(Verdict.BAD_ANSWER, f"the answer has more than {WHOLE_ANSWER_BYTES} bytes")
    return b"".join(parts)

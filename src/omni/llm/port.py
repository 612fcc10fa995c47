"""The model port: every model call of every executor passes through here, in all modes.

Lives on the asyncio loop; `receive` belongs behind a LoopMailbox named "port". The HTTP side is
`omni.server.model_port`, which is handed a ModelPort as an object with these methods.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec

from omni.domain.commands import CallAnswered, HealthReported
from omni.domain.dialects import MESSAGES, model_entry, model_list
from omni.domain.hops import UNTOLD, Asked, Paths, plan
from omni.domain.values import PROXY
from omni.domain.verdict import Verdict
from omni.llm.answer import Call, Dialect, Opens, UpstreamFailed
from omni.llm.books import Books
from omni.llm.counting import count
from omni.llm.faults import Faults
from omni.llm.fresh import Failure, inquire
from omni.llm.journey import Journey, Means
from omni.llm.keys import OWNER, Holder, ModelKeys
from omni.llm.passage import Limits, Stopping
from omni.llm.prices import Prices
from omni.llm.probes import proxy_url
from omni.llm.reply import PortAnswer, error
from omni.llm.watch import Look, ProxyWatch
from omni.runtime.ports import Clock, Ids
from omni.runtime.post import Post

NAME = "port"
STOP_S = 2.0
LONGEST_MODEL = 200  # its name goes into the log with every call
PASSED_ON = ("anthropic-version", "anthropic-beta", "openai-beta")


class PortSettings(msgspec.Struct, frozen=True):
    """What the port goes by. `proxy` is the address of the LiteLLM proxy, empty for none.

    A proxied call without a first byte leads to a look at the proxy after `first_look_s`, then every `next_look_s`.
    """

    paths: Paths
    proxy: str = ""
    first_look_s: float = 0.7  # with the look itself and the next hop, a frozen proxy costs less than 2.5 s
    next_look_s: float = 2.0
    look_within_s: float = 1.0
    limits: Limits = Limits()


class ModelPort:
    """Takes calls in three dialects and brings answers, by whatever channel gives one."""

    def __init__(
        self,
        settings: PortSettings,
        channels: Opens,
        prices: Prices,
        keys: ModelKeys,
        *,
        post: Post,
        clock: Clock,
        ids: Ids,
        faults: Faults | None = None,
    ) -> None:
        channels, look = _ways(settings, channels, faults)
        if faults:
            faults.sever = self.sever
        watch = ProxyWatch(
            look,
            first_s=settings.first_look_s,
            next_s=settings.next_look_s,
            apart_s=settings.look_within_s,
        )
        self._books = Books(post)
        self._means = Means(settings.paths, channels, prices, self._books, watch, clock, UNTOLD, settings.limits)
        self._keys = keys
        self._ids = ids
        self._open: set[Journey] = set()
        self._counting: set[asyncio.Event] = set()  # each is set when a count is over
        self._leaving: list[tuple[set[Journey], asyncio.Event]] = []
        self._all_over = asyncio.Event()
        self._faults = faults

    # --- what comes by post ---------------------------------------------------------------------------------------

    def receive(self, message: HealthReported | CallAnswered) -> None:
        """Take the Router's answers, and HealthMonitor's word; a proxy that is down ends all waiting for it."""
        if isinstance(message, CallAnswered):
            self._books.receive(message)
            return
        self._means.health = message
        if any(each.kind == PROXY and each.state == "down" for each in message.components):
            self._means.watch.cut(UpstreamFailed(Verdict.HUNG, "the proxy is down"), evidence=False)

    def change(self, settings: PortSettings, channels: Opens, kinds: Mapping[str, str]) -> Coroutine[Any, Any, None]:
        """Go by these from the next hop on; what is returned ends when nothing is open that began before."""
        means, before = self._means, set(self._open)
        means.channels, look = _ways(settings, channels, self._faults)
        means.paths = settings.paths
        means.prices.go_by(kinds)
        means.watch.look_by(look)
        over = asyncio.Event()
        self._leaving.append((before, over))
        self._settle_leaving()
        return _all_of([over, *self._counting])

    def _settle_leaving(self) -> None:
        for journeys, over in self._leaving:
            if not journeys & self._open:
                over.set()
        self._leaving = [each for each in self._leaving if not each[1].is_set()]

    # --- what callers ask -----------------------------------------------------------------------------------------

    def holder(self, key: str) -> Holder | None:
        """Whom a key is for; None when it is not one of ours."""
        return self._keys.check(key)

    ready = True

    @property
    def owner(self) -> Holder:
        """The holder of the daemon's own token."""
        return OWNER

    async def handle(
        self, dialect: Dialect, body: dict[str, Any], headers: Mapping[str, str], holder: Holder, *, beta: bool = False
    ) -> PortAnswer:
        """Answer one call. Header names in lower case.

        Never raises for what upstream does: that is an answer too. Cancelled, it lets go of everything. The caller owes
        the answer an `aclose`.
        """
        call = self._call(dialect, body, headers, beta=beta)
        if isinstance(call, PortAnswer):
            return call
        journey = Journey(self._means, call, holder, self._over)
        self._open.add(journey)
        return await journey.answer()

    async def count(
        self, body: dict[str, Any], headers: Mapping[str, str], holder: Holder, *, beta: bool = False
    ) -> PortAnswer:
        """How many tokens a call in Anthropic's dialect would be, from whoever would get it; free, and in no books."""
        call = self._call("messages", body, headers, beta=beta)
        if isinstance(call, PortAnswer):
            return call
        means = self._means
        asked = Asked(call.dialect, str(body.get("model") or ""), holder.direct)
        over = asyncio.Event()
        self._counting.add(over)
        try:
            return await count(means.channels, plan(asked, means.paths, means.health, means.clock.wall_ms()), call)
        finally:
            self._counting.discard(over)
            over.set()

    def models(self, dialect: Dialect) -> bytes:
        """The models that can be asked for, in the dialect's own form."""
        return model_list(dialect, self._means.paths.model_names)

    def model(self, dialect: Dialect, name: str) -> bytes | None:
        """One of them; None for a name that is none of them."""
        return model_entry(dialect, name) if name in self._means.paths.model_names else None

    def _call(
        self, dialect: Dialect, body: dict[str, Any], headers: Mapping[str, str], *, beta: bool
    ) -> Call | PortAnswer:
        """The call, or what is said to one that names no model as models are named."""
        model = body.get("model") or ""
        if not isinstance(model, str) or len(model) > LONGEST_MODEL or not model.isprintable():
            return error(dialect, 400, f"`model` is a text of at most {LONGEST_MODEL} characters")
        passed_on = {name: headers[name] for name in PASSED_ON if name in headers}
        return Call(dialect, body, self._ids.task_id(), passed_on, beta and dialect == MESSAGES)

    async def stop(self) -> None:
        """End open calls with an error that says why, within STOP_S; before the door closes."""
        self._means.stopping = True
        for journey in tuple(self._open):
            journey.patience.cut(Stopping())
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_over.wait(), STOP_S)
        await self._means.watch.stop()

    def sever(self, reason: UpstreamFailed) -> None:
        """Let every call fail that is with the proxy now, whether its answer has begun or not."""
        for journey in tuple(self._open):
            if journey.channel == PROXY:
                journey.patience.cut(reason)

    def _over(self, journey: Journey) -> None:
        self._open.discard(journey)
        self._settle_leaving()
        if not self._open and self._means.stopping:
            self._all_over.set()


async def _all_of(events: list[asyncio.Event]) -> None:
    for each in events:
        await each.wait()


def _ways(settings: PortSettings, channels: Opens, faults: Faults | None) -> tuple[Opens, Look]:
    """The channels and the look at the proxy, with the faults of drills before them."""
    look = look_at(settings.proxy, settings.look_within_s)
    if faults is None:
        return channels, look
    return faults.over_channels(channels), faults.over_look(look, settings.look_within_s)


def look_at(proxy: str, within_s: float) -> Look:
    """How to ask a proxy whether it lives."""
    url = proxy_url(proxy)

    async def look() -> str:
        found = await inquire(url, within_s, via_environment=False)
        if isinstance(found, Failure):
            return f"the proxy shows no life: {found.detail}"
        status = found.status_code
        return f"the proxy says HTTP {status} of its own health" if status >= 500 else ""

    return look

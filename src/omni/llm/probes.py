"""Probes: one cheap, free look at the proxy or at a cloud, whenever HealthMonitor asks.

Every Probe gets exactly one Observed, within its time. The proxy is asked for its liveliness, never for `/health`,
which makes real, paid calls. A cloud is asked something that costs nothing, with its keys in turn, so that both are
known to be good before they are needed; Observed says which one it was.

A proxy that answers its liveliness with a 5xx is not alive: that answer depends on no upstream, and a reverse proxy in
front of a dead one answers 502. Any other answer shows that somebody serves there, be it a gateway without that page.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

import httpx
import structlog

from omni.config import Config, Provider
from omni.domain.commands import Observed, Probe
from omni.domain.values import PROXY, KeyRole, Millis
from omni.domain.verdict import Verdict
from omni.llm.faults import Faults
from omni.llm.fresh import ask, explain
from omni.runtime.ports import Clock
from omni.runtime.post import Post

log = structlog.get_logger()

NAME = "probes"
HEALTH = "health"
STALL_S = 0.25  # this much later than it should, and the time was lost by ourselves: it is no evidence
ANTHROPIC_VERSION = "2023-06-01"
LONGEST_RETRY_MS = 10**12  # a number that any reader can bear; what is believed of it is for HealthMonitor to say

_PATHS = {"anthropic": "/v1/models?limit=1", "openrouter": "/key", "openai": "/models"}
_VERDICTS = {
    401: Verdict.KEY_REJECTED,
    402: Verdict.OUT_OF_CREDIT,
    403: Verdict.KEY_REJECTED,
    429: Verdict.RATE_LIMITED,
}


class Probes:
    """Adapter between HealthMonitor and the world; `receive` belongs behind a LoopMailbox named "probes"."""

    def __init__(self, config: Config, post: Post, clock: Clock, faults: Faults | None = None) -> None:
        self._faults = faults
        self._proxy = proxy_url(config.lite_llm_url)
        self._clouds = {name: each for name, each in config.providers.items() if each.kind and each.api_base}
        self._keys = {name: _keys(config, name) for name in self._clouds}
        self._turns: Counter[str] = Counter()
        self._post = post
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    def receive(self, message: Probe) -> None:
        """Begin to look. Runs on the loop and returns at once."""
        task = asyncio.create_task(self._answer(message), name=f"probe {message.target}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Look no more; nothing is observed of what was under way."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, probe: Probe) -> None:
        try:
            seen = await self._look(probe)
        except Exception as error:  # without an answer HealthMonitor would take the silence for its own
            log.exception("probe.failed", target=probe.target)
            seen = _seen(probe.target, Verdict.NO_ROUTE, f"Omni could not ask: {type(error).__name__}")
        self._post.send(HEALTH, NAME, (seen,))

    async def _look(self, probe: Probe) -> Observed:
        if self._faults and self._faults.active and (seen := await self._faults.probed(probe)):
            return seen
        if probe.target == PROXY and self._proxy:
            return await self._ask(probe, self._proxy)
        provider = self._clouds.get(probe.target)
        if provider is None:
            return _seen(probe.target, Verdict.NO_ROUTE, "nothing is configured by this name")
        role, key = self._next_key(probe.target)
        return await self._ask(probe, ping_url(provider), _headers(provider, key), role)

    def _next_key(self, cloud: str) -> tuple[KeyRole | None, str]:
        keys, turn = self._keys[cloud], self._turns[cloud]
        self._turns[cloud] += 1
        return keys[turn % len(keys)] if keys else (None, "")

    async def _ask(
        self, probe: Probe, url: str, headers: Mapping[str, str] | None = None, role: KeyRole | None = None
    ) -> Observed:
        """Ask once; once more when the time ran out because this process stood still."""
        loop, roundabout = asyncio.get_running_loop(), probe.target != PROXY
        for _ in range(2):
            due = loop.time() + probe.timeout_ms / 1000
            try:
                async with (
                    asyncio.timeout_at(due),
                    ask("GET", url, headers=headers, via_environment=roundabout) as response,
                ):
                    return self._judge(probe.target, response, role)
            except TimeoutError:
                if loop.time() < due + STALL_S:
                    break
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                return _seen(probe.target, *explain(error))
        return _seen(probe.target, Verdict.HUNG, f"no answer within {probe.timeout_ms / 1000:g} s")

    def _judge(self, target: str, response: httpx.Response, role: KeyRole | None) -> Observed:
        status = response.status_code
        detail = f"HTTP {status}"
        if target == PROXY:
            return _seen(target, Verdict.CLOSED if status >= 500 else Verdict.OK, detail)
        verdict = _VERDICTS.get(status) or _by_class(status)
        if role is None and verdict is Verdict.KEY_REJECTED:
            return _seen(target, Verdict.OK, f"{detail}, asked without a key")
        limited = verdict is Verdict.RATE_LIMITED
        retry_after_ms = retry_after(response.headers, self._clock.wall_ms()) if limited else None
        return Observed(target, "ping", verdict.value, detail, role, retry_after_ms=retry_after_ms)


def proxy_url(base: str) -> str:
    """Where the proxy says that it lives; empty without a proxy. A base that ends in /v1 means the proxy itself."""
    return base.rstrip("/").removesuffix("/v1") + "/health/liveliness" if base else ""


def ping_url(provider: Provider) -> str:
    """What is asked of a cloud: its `ping` (an address, or a path below `api_base`), or what its kind has for free."""
    base = provider.api_base.rstrip("/")
    if provider.ping.startswith(("http://", "https://")):
        return provider.ping
    if provider.ping:
        return urljoin(f"{base}/", provider.ping.lstrip("/"))
    path = _PATHS[provider.kind or "openai"]
    return base + (path.removeprefix("/v1") if base.endswith("/v1") else path)


def retry_after(headers: Mapping[str, str], now: Millis) -> int | None:
    """Milliseconds from `now`, out of seconds or a date; None where it says neither."""
    said = headers.get("retry-after", "").strip()
    try:
        seconds = float(said)
        ms = seconds * 1000 if math.isfinite(seconds) else None
    except ValueError:
        ms = _until(said, now)
    return None if ms is None else int(min(max(0, ms), LONGEST_RETRY_MS))


def _until(date: str, now: Millis) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() * 1000 - now
    except (ValueError, OverflowError):
        return None


def _by_class(status: int) -> Verdict:
    if status >= 500:
        return Verdict.SERVER_ERROR
    return Verdict.CALLER_ERROR if status >= 400 else Verdict.OK


def _keys(config: Config, cloud: str) -> list[tuple[KeyRole | None, str]]:
    keys: dict[KeyRole, Mapping[str, str]] = {"primary": config.api_keys.primary, "backup": config.api_keys.backup}
    return [(role, by_cloud[cloud]) for role, by_cloud in keys.items() if by_cloud.get(cloud)]


def _headers(provider: Provider, key: str) -> dict[str, str]:
    if provider.kind == "anthropic":
        return {"anthropic-version": ANTHROPIC_VERSION} | ({"x-api-key": key} if key else {})
    return {"authorization": f"Bearer {key}"} if key else {}


def _seen(target: str, verdict: Verdict, detail: str) -> Observed:
    return Observed(target, "probe" if target == PROXY else "ping", verdict.value, detail)

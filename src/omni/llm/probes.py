"""Probes: one cheap, free look at the proxy or at a cloud, whenever HealthMonitor asks.

Every Probe gets exactly one Observed, within its time. The proxy is asked for its liveliness, never for `/health`,
which makes real, paid calls. A cloud is asked something that costs nothing, with its keys in turn, so that both are
known to be good before they are needed; Observed says which one it was.

A proxy that answers its liveliness with a 5xx is not alive: that answer depends on no upstream, and a reverse proxy in
front of a dead one answers 502. Any other answer shows that somebody serves there, be it a gateway without that page.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urljoin

import httpx
import structlog

from omni.config import Config, Provider
from omni.domain.commands import Observed, Probe
from omni.domain.values import PROXY, KeyRole
from omni.domain.verdict import Verdict
from omni.llm.classify import of_cloud_answer
from omni.llm.faults import Faults
from omni.llm.fresh import Failure, inquire
from omni.runtime.post import Post

log = structlog.get_logger()

NAME = "probes"
HEALTH = "health"
ANTHROPIC_VERSION = "2023-06-01"

_PATHS = {"anthropic": "/v1/models?limit=1", "openrouter": "/key", "openai": "/models"}


class Probes:
    """Adapter between HealthMonitor and the world; `receive` belongs behind a LoopMailbox named "probes"."""

    def __init__(self, config: Config, post: Post, faults: Faults | None = None) -> None:
        self._faults = faults
        self.go_by(config)
        self._turns: Counter[str] = Counter()
        self._post = post
        self._running: set[asyncio.Task[None]] = set()

    def go_by(self, config: Config) -> None:
        """Whom to ask where, and with which keys, from the next look on."""
        self._proxy = proxy_url(config.lite_llm_url)
        self._clouds = {name: each for name, each in config.providers.items() if each.kind and each.api_base}
        self._keys = {name: _keys(config, name) for name in self._clouds}

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
        return await self._ask(probe, ping_url(provider), ping_headers(provider, key), role)

    def _next_key(self, cloud: str) -> tuple[KeyRole | None, str]:
        keys, turn = self._keys[cloud], self._turns[cloud]
        self._turns[cloud] += 1
        return keys[turn % len(keys)] if keys else (None, "")

    async def _ask(
        self, probe: Probe, url: str, headers: Mapping[str, str] | None = None, role: KeyRole | None = None
    ) -> Observed:
        found = await inquire(url, probe.timeout_ms / 1000, headers=headers, via_environment=probe.target != PROXY)
        if isinstance(found, Failure):
            return _seen(probe.target, *found)
        return _of_proxy(found) if probe.target == PROXY else _of_cloud(probe.target, found, role)


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


def _of_proxy(response: httpx.Response) -> Observed:
    status = response.status_code
    return _seen(PROXY, Verdict.CLOSED if status >= 500 else Verdict.OK, f"HTTP {status}")


def _of_cloud(target: str, response: httpx.Response, role: KeyRole | None) -> Observed:
    status = response.status_code
    if status < 400:
        return Observed(target, "ping", Verdict.OK.value, f"HTTP {status}", role)
    verdict, detail, wait_ms = of_cloud_answer(status, response.headers, b"")
    if role is None and verdict is Verdict.KEY_REJECTED:
        return _seen(target, Verdict.OK, f"{detail}, asked without a key")
    limited = verdict is Verdict.RATE_LIMITED
    return Observed(target, "ping", verdict.value, detail, role, retry_after_ms=wait_ms if limited else None)


def _keys(config: Config, cloud: str) -> list[tuple[KeyRole | None, str]]:
    keys: dict[KeyRole, Mapping[str, str]] = {"primary": config.api_keys.primary, "backup": config.api_keys.backup}
    return [(role, by_cloud[cloud]) for role, by_cloud in keys.items() if by_cloud.get(cloud)]


def ping_headers(provider: Provider, key: str) -> dict[str, str]:
    """What a ping carries to show a key; nothing without one."""
    if provider.kind == "anthropic":
        return {"anthropic-version": ANTHROPIC_VERSION} | ({"x-api-key": key} if key else {})
    return {"authorization": f"Bearer {key}"} if key else {}


def _seen(target: str, verdict: Verdict, detail: str) -> Observed:
    return Observed(target, "probe" if target == PROXY else "ping", verdict.value, detail)

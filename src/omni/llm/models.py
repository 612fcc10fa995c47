"""Everything about models that runs on the loop: channels, port, probes, the local model; made and ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from omni.config import Config
from omni.config.settings import call_paths
from omni.llm import warm
from omni.llm.channels import Channels, make_channels, needs_library
from omni.llm.faults import Faults
from omni.llm.keys import ModelKeys
from omni.llm.local import LocalModel
from omni.llm.port import ModelPort, PortSettings
from omni.llm.prices import Prices
from omni.llm.probes import Probes
from omni.runtime.ports import Clock, Ids
from omni.runtime.post import Post

_CHANNELS_BY = ("lite_llm_url", "lite_llm_key", "api_keys", "providers", "brainstem")


class Models:
    """The adapters by the names that actors post to, and what the door and the hands need of them."""

    def __init__(
        self, config: Config, keys: ModelKeys, post: Post, clock: Clock, ids: Ids, faults: Faults | None = None
    ) -> None:
        self._config = config
        self._channels = make_channels(config)
        self.probes = Probes(config, post, faults)
        self.local = LocalModel(config.brainstem, post)
        self._closing: set[asyncio.Task[None]] = set()
        prices = Prices(_kinds(config))
        self.port = ModelPort(
            _settings(config), self._channels, prices, keys, post=post, clock=clock, ids=ids, faults=faults
        )

    @property
    def adapters(self) -> dict[str, Callable[[Any], None]]:
        """What receives messages, each to be put behind a LoopMailbox under its name."""
        return {"probes": self.probes.receive, "local": self.local.receive, "port": self.port.receive}

    def warm(self) -> None:
        """Begin to import the heavy library in a thread, where a call may need it; the port is open by now."""
        if needs_library(self._config):
            warm.warm()

    def change(self, config: Config) -> None:
        """Go by another configuration from now on; calls that are open end over the connections that they have."""
        before, self._config = self._config, config
        self.probes.go_by(config)
        self.local.go_by(config.brainstem)
        old = self._channels
        if any(getattr(before, name) != getattr(config, name) for name in _CHANNELS_BY):
            self._channels = make_channels(config)
        over = self.port.change(_settings(config), self._channels, _kinds(config))
        task = asyncio.create_task(self._close(old, over), name="channels that were before")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self.warm()

    async def _close(self, old: Channels, over: Coroutine[Any, Any, None]) -> None:
        try:
            await over
        finally:
            if old is not self._channels:
                await old.aclose()

    async def stop(self) -> None:
        """End probes, leave the local model as it is, and close all connections; the port has been stopped before."""
        await self.probes.stop()
        await self.local.stop()
        closing = list(self._closing)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        await self._channels.aclose()


def _settings(config: Config) -> PortSettings:
    return PortSettings(call_paths(config), config.lite_llm_url)


def _kinds(config: Config) -> dict[str, str]:
    return {name: each.kind for name, each in config.providers.items() if each.kind}

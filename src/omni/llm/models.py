"""Everything about models that runs on the loop: channels, port, probes, the local model; made and ended together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omni.config import Config
from omni.config.settings import call_paths
from omni.llm import warm
from omni.llm.channels import make_channels, needs_library
from omni.llm.faults import Faults
from omni.llm.keys import ModelKeys
from omni.llm.local import LocalModel
from omni.llm.port import ModelPort, PortSettings
from omni.llm.prices import Prices
from omni.llm.probes import Probes
from omni.runtime.ports import Clock, Ids
from omni.runtime.post import Post


class Models:
    """The adapters by the names that actors post to, and what the door and the hands need of them."""

    def __init__(
        self, config: Config, keys: ModelKeys, post: Post, clock: Clock, ids: Ids, faults: Faults | None = None
    ) -> None:
        self._config = config
        self._channels = make_channels(config)
        self.probes = Probes(config, post, faults)
        self.local = LocalModel(config.brainstem, post)
        kinds = {name: each.kind for name, each in config.providers.items() if each.kind}
        settings = PortSettings(call_paths(config), config.lite_llm_url)
        self.port = ModelPort(
            settings, self._channels, Prices(kinds), keys, post=post, clock=clock, ids=ids, faults=faults
        )

    @property
    def adapters(self) -> dict[str, Callable[[Any], None]]:
        """What receives messages, each to be put behind a LoopMailbox under its name."""
        return {"probes": self.probes.receive, "local": self.local.receive, "port": self.port.receive}

    def warm(self) -> None:
        """Begin to import the heavy library in a thread, where a call may need it; the port is open by now."""
        if needs_library(self._config):
            warm.warm()

    async def stop(self) -> None:
        """End probes, leave the local model as it is, and close all connections; the port has been stopped before."""
        await self.probes.stop()
        await self.local.stop()
        await self._channels.aclose()

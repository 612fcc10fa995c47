"""The names that may stand in labels of metrics.

Names come from the configuration. What it does not know is shown as `other`, so that nobody who names models or types
as he likes can make more series; what has no name is `none`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from omni.config import Config
from omni.config.settings import call_paths
from omni.domain.hops import Paths
from omni.domain.values import DAY_CAP, LOCAL_MODEL, PROXY, TASK_CAP

OTHER = "other"
NONE = "none"
KINDS = ("coding", "general", "always_on", "gpu")


class Names(msgspec.Struct, frozen=True):
    """The names that may stand in labels, from the configuration."""

    executors: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset(KINDS)
    tiers: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset({PROXY, LOCAL_MODEL})
    models: frozenset[str] = frozenset()

    @classmethod
    def of(cls, config: Config) -> Names:
        """What a configuration names."""
        paths = call_paths(config)
        return cls(
            executors=frozenset(config.executors),
            types=frozenset(KINDS).union(*(each.types for each in config.executors.values())),
            tiers=frozenset(each.name for each in paths.tiers),
            channels=frozenset({PROXY, LOCAL_MODEL, *(each.name for each in paths.providers)}),
            models=frozenset(_models(config, paths)),
        )

    @property
    def caps(self) -> frozenset[str]:
        """The names that caps may have."""
        return self.tiers | self.channels | {DAY_CAP, TASK_CAP}


def _models(config: Config, paths: Paths) -> Iterator[str]:
    yield from paths.model_names
    yield config.brainstem.model
    for tier in paths.tiers:
        yield from (tier.light, tier.heavy)
    for each in paths.providers:
        yield from (*each.models, *each.models.values(), each.default_model)


def known(name: str, names: frozenset[str]) -> str:
    """The name as it may stand in a label."""
    return name if name in names else OTHER if name else NONE

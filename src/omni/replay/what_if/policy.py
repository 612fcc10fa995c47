"""What is tried out: a configuration as far as routing, failover and budgets are decided by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from omni.config import Config, restore
from omni.config.prices import behind
from omni.config.settings import call_paths, health_settings, routing_settings
from omni.domain import hops
from omni.domain.commands import HealthReported, NoteMode
from omni.domain.hops import LITELLM, Asked, Hop, Paths, Provider, Rung
from omni.domain.values import PROXY, HealthSettings, Mode, Route, RoutingSettings, Tier, Usage

PriceOf: TypeAlias = Callable[[str, str, Usage], float | None]  # channel, model, tokens → US dollars, None: not known


class Policy(msgspec.Struct, frozen=True):
    """The settings that a history is decided by again; `paths` say over which channel a model is reached."""

    routing: RoutingSettings
    health: HealthSettings = HealthSettings()
    paths: Paths | None = None
    behind: dict[str, tuple[str, ...]] | None = None  # the models that the proxy's names stand for; None: not asked


class Way(msgspec.Struct, frozen=True, gc=False):
    """Where one model call goes, or would go; `paid`: whoever answers it sends a bill."""

    tier: str
    channel: str
    model: str
    paid: bool


def nothing_known(channel: str, model: str, usage: Usage) -> float | None:
    """The price list of callers who have none."""
    return None


def policy_of(config: Config) -> Policy:
    """What a configuration decides."""
    return Policy(routing_settings(config), health_settings(config), call_paths(config), behind(config))


def ways_in(body: Mapping[str, Any]) -> tuple[Paths | None, dict[str, tuple[str, ...]] | None]:
    """The ways of a configuration as the log holds it, and what the proxy's names mean; None where not readable."""
    try:
        config = restore(body)
        return call_paths(config), behind(config)
    except (msgspec.MsgspecError, TypeError, ValueError, KeyError):
        return None, None


class Ladders:
    """The tiers on both sides, and which way a recorded call would have gone by the new ones."""

    def __init__(self) -> None:
        self.recorded: tuple[Tier, ...] = ()
        self.tried: tuple[Tier, ...] = ()
        self.recorded_paths: Paths | None = None
        self.tried_paths: Paths | None = None
        self.recorded_behind: dict[str, tuple[str, ...]] | None = None
        self.tried_behind: dict[str, tuple[str, ...]] | None = None

    def moved(self, was: Way, mode: Mode, recorded: Route | None, tried: Route | None) -> Way | None:
        """The way of a recorded call by the new policy; None when nobody can say.

        `recorded` and `tried` are the routes of its attempt. A call on the attempt's own tier and model follows the
        route; any other keeps its tier.
        """
        follows = recorded is not None and was.tier == recorded.tier and was.model in self._names(was, recorded.model)
        if follows and tried is not None and recorded is not None and tried.model != recorded.model:
            return self._way(tried.tier, tried.model, was, mode)
        if follows and tried is not None and recorded is not None and tried.tier != recorded.tier:
            return self._way(tried.tier, tried.model, was, mode)
        return self._same_tier(was, mode)

    def stands_for_another(self, was: Way) -> bool:
        """Whether the name of a model stands for another one behind the proxy now."""
        if was.channel != PROXY or self.recorded_behind is None or self.tried_behind is None:
            return False
        return _meant(self.recorded_behind, was.model) != _meant(self.tried_behind, was.model)

    def free_instead(self, was: Way, mode: Mode) -> Way | None:
        """The way over the first tier that costs nothing."""
        free = next((tier for tier in self.tried if not tier.paid), None)
        model = (free.light_model or free.heavy_model) if free else ""
        return self._way(free.name, model, was, mode) if free else None

    def _same_tier(self, was: Way, mode: Mode) -> Way | None:
        if not was.tier:  # a model of the caller's own, that no tier names
            return was if not self._changed_provider(was) else None
        old, new = _tier(self.recorded, was.tier), _tier(self.tried, was.tier)
        if old is None or new is None:
            return None if new is None else was
        if self._changed_provider(was) or (channel := self._rung_channel(was.tier)) is None:
            return None
        if self._model_of(was, old) != self._model_of(was, new):
            return None  # whether the caller asked for the tier or for the model is not written down
        paid = was.paid if new.paid == old.paid else new.paid
        if was.paid and not old.paid:
            paid = True  # a way around the proxy is paid for, whatever its tier is
        if channel == "":
            return replace(was, paid=paid)
        way = self._way(new.name, was.model, was, mode)
        return way and replace(way, paid=paid if way.channel == was.channel else way.paid)

    def _model_of(self, was: Way, tier: Tier) -> tuple[str, ...]:
        """The models that decide where a call of this tier goes: the one it used, or all where it used another name."""
        old = _tier(self.recorded, was.tier)
        if old is not None and was.model == old.light_model:
            return (tier.light_model,)
        if old is not None and was.model == old.heavy_model:
            return (tier.heavy_model,)
        return (tier.light_model, tier.heavy_model)

    def _rung_channel(self, name: str) -> str | None:
        """Empty where the tier's channel is the same on both sides, its new channel where it is not."""
        if self.recorded_paths is None or self.tried_paths is None:
            return ""
        old, new = _rung(self.recorded_paths, name), _rung(self.tried_paths, name)
        if old is None or new is None:
            return None
        same = old.channel == new.channel and self.recorded_paths.proxy == self.tried_paths.proxy
        return "" if same else new.channel

    def _changed_provider(self, was: Way) -> bool:
        if was.channel == PROXY or self.recorded_paths is None or self.tried_paths is None:
            return False
        return _named(self.recorded_paths, was.channel) != _named(self.tried_paths, was.channel)

    def _names(self, was: Way, model: str) -> set[str]:
        """What a model may be called on the channel of a call."""
        provider = _provider(self.recorded_paths, was.channel)
        return {model, *((provider.models.get(model, ""), provider.default_model) if provider else ())} - {""}

    def _way(self, tier: str, model: str, was: Way, mode: Mode) -> Way | None:
        """The way to a model in a mode: over the channel of the recorded call, where it leads there too."""
        known = _tier(self.tried, tier)
        if self.tried_paths is None:
            return Way(tier, was.channel, model, known.paid if known else was.paid)
        found = [hop for hop in _hops(self.tried_paths, model, mode) if hop.tier == tier]
        same = [hop for hop in found if hop.channel == was.channel]
        hop = next(iter(same or found), None)
        return Way(hop.tier, hop.channel, hop.model, hop.paid) if hop else None


def _hops(paths: Paths, model: str, mode: Mode) -> tuple[Hop, ...]:
    return hops.plan(Asked("", model), paths, HealthReported(NoteMode(mode), ())).hops


def _tier(tiers: tuple[Tier, ...], name: str) -> Tier | None:
    return next((tier for tier in tiers if tier.name == name), None)


def _rung(paths: Paths, name: str) -> Rung | None:
    return next((rung for rung in paths.tiers if rung.name == name), None)


def _meant(behind: dict[str, tuple[str, ...]], name: str) -> set[str]:
    """What the proxy has behind a name; a name that is on no list means itself."""
    return {each if each.rpartition("/")[2] != name else name for each in behind.get(name, (name,))}


def _provider(paths: Paths | None, name: str) -> Provider | None:
    return next((each for each in paths.providers if each.name == name), None) if paths else None


def _named(paths: Paths, channel: str) -> tuple[dict[str, str], str] | None:
    """What a provider calls its models; keys come and go without a change of the price."""
    provider = _provider(paths, channel if channel != LITELLM else "")
    return (provider.models, provider.default_model) if provider else None

"""What keys from elsewhere add to a configuration that there is: what it says itself always stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omni.config.model import Config
from omni.config.problems import dotted

# An entry of these is one thing: half of it from here and half from there would be neither.
_WHOLE = frozenset({"mcp_servers", "runbook"})


def missing(add: Mapping[str, Any], said: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keys that `said`, the file as it is written, does not have."""
    found: dict[str, Any] = {}
    for name, value in add.items():
        there = said.get(name)
        if there is None:
            if path or name not in _outdone(said):
                found[name] = value
        elif _goes_on(value, there, path) and (more := missing(value, there, (*path, name))):
            found[name] = more
    return found


def _outdone(said: Mapping[str, Any]) -> frozenset[str]:
    """Keys that would silence what the file says elsewhere."""
    router = said.get("router")
    names = isinstance(router, dict) and (router.get("lightweight_model") or router.get("heavyweight_model"))
    return frozenset({"tiers"} if names else ())


def kept(add: Mapping[str, Any], said: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[str]:
    """The places at which the file says something else, which stays."""
    places: list[str] = []
    for name, value in add.items():
        there = said.get(name)
        if path == () and there is None and name in _outdone(said):
            places.append("router")
        if there is None or there == value:
            continue
        inner = kept(value, there, (*path, name)) if _goes_on(value, there, path) else [dotted((*path, name))]
        places += inner
    return places


def spelt_out(add: dict[str, Any], said: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The keys, and with them what the file leaves to be derived only as long as it does not have such keys."""
    if "providers" not in add or said.get("providers"):
        return add
    derived: dict[str, Any] = {
        name: {} for name in (*config.api_keys.primary, *config.api_keys.backup) if name in config.providers
    }
    return {**add, "providers": {**derived, **add["providers"]}}


def _goes_on(value: Any, there: Any, path: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and isinstance(there, dict) and path[:1] not in {(each,) for each in _WHOLE}

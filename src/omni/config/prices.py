"""litellm's own list of prices, read without importing litellm: what a model's tokens cost.

Unknown is None and is never made up. litellm prices unknown models at 0.0 without a word, and its list holds zeros for
services that are free or not priced yet: a zero counts here only for models that run on this machine.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from omni.config.model import Config
from omni.domain.values import LOCAL_MODEL, PROXY, Usage

LIST_NAME = "model_prices_and_context_window_backup.json"
_LOCAL = frozenset({"ollama", "ollama_chat", "lm_studio"})
_MODES = frozenset({"chat", "completion", "responses"})
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


class Rates(msgspec.Struct, frozen=True, gc=False):
    """US dollars for one token, from `above` input tokens on."""

    above: int
    input: float
    output: float
    cache_read: float
    cache_write: float


class Price(msgspec.Struct, frozen=True, gc=False):
    """One model's rates, the dearest step last."""

    provider: str
    max_output: int | None
    steps: tuple[Rates, ...]

    def of(self, usage: Usage) -> float:
        """What these tokens cost, in US dollars."""
        rates = [step for step in self.steps if usage.input_tokens >= step.above][-1]
        cached = usage.cache_read_tokens + usage.cache_write_tokens
        return (
            max(0, usage.input_tokens - cached) * rates.input
            + usage.cache_read_tokens * rates.cache_read
            + usage.cache_write_tokens * rates.cache_write
            + usage.output_tokens * rates.output
        )


FREE = Price("ollama", None, (Rates(0, 0.0, 0.0, 0.0, 0.0),))


def find(table: Mapping[str, Price], kind: str, model: str) -> Price | None:
    """One model's price. An empty `kind` is a proxy, which may name a model with its provider or without."""
    if kind in _LOCAL:
        return FREE
    provider, slash, name = model.partition("/")
    own = table.get(f"{kind}/{model}" if kind else model) or table.get(model)
    if own is None and slash:
        bare = table.get(name)
        own = bare if bare and bare.provider == provider else None
    if own is None or (kind and own.provider != kind):
        return None
    return own


def read_list(path: Path | None = None) -> dict[str, Price]:
    """Read the list of prices that comes with litellm; empty where there is none. A file of 3 MB: not on the loop."""
    path = path or list_path()
    if path is None:
        return {}
    raw = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    named = ((name, _price(msgspec.json.decode(entry))) for name, entry in raw.items())
    return {name: price for name, price in named if price is not None}


def list_path() -> Path | None:
    """Where the installed litellm keeps its list; looked up without importing it."""
    spec = importlib.util.find_spec("litellm")
    places = spec.submodule_search_locations if spec else None
    path = Path(next(iter(places))) / LIST_NAME if places else None
    return path if path and path.is_file() else None


def _price(entry: dict[str, Any]) -> Price | None:
    provider, most = entry.get("litellm_provider", ""), entry.get("max_output_tokens")
    base = _rates(entry, 0, "")
    if entry.get("mode") not in _MODES or base is None or not (base.input or base.output):
        return None
    names = (_ABOVE.fullmatch(name) for name in entry)
    above = sorted(int(match[1]) for match in names if match)
    steps = [_rates(entry, 1000 * each, f"_above_{each}k_tokens") for each in above]
    return Price(provider, most if isinstance(most, int) else None, (base, *(step for step in steps if step)))


def _rates(entry: dict[str, Any], above: int, suffix: str) -> Rates | None:
    inward, outward = entry.get("input_cost_per_token" + suffix), entry.get("output_cost_per_token" + suffix)
    if not isinstance(inward, int | float) or not isinstance(outward, int | float):
        return None
    read = entry.get("cache_read_input_token_cost" + suffix, entry.get("cache_read_input_token_cost", inward))
    write = entry.get("cache_creation_input_token_cost" + suffix, entry.get("cache_creation_input_token_cost", inward))
    return Rates(above, inward, outward, read, write)


def on_channel(table: Mapping[str, Price], kinds: Mapping[str, str], channel: str, model: str) -> Price | None:
    """The price of a model on a channel; `kinds`: the kind of each channel that is not the proxy."""
    return find(table, "" if channel == PROXY else kinds.get(channel, channel), model)


class PriceList:
    """What the models of one configuration cost; the list is read when it is first asked for."""

    def __init__(self, config: Config, path: Path | None = None) -> None:
        self._kinds = {LOCAL_MODEL: "ollama", **{n: each.kind for n, each in config.providers.items() if each.kind}}
        self._behind = behind(config)
        self._path = path

    @cached_property
    def _table(self) -> dict[str, Price]:
        return read_list(self._path)

    def __call__(self, channel: str, model: str, usage: Usage) -> float | None:
        """What these tokens cost; None where nobody knows, also where a name stands for models of several prices."""
        names = self._behind.get(model, (model,)) if channel == PROXY else (model,)
        found = [on_channel(self._table, self._kinds, channel, name) for name in names]
        costs = {each.of(usage) if each else None for each in found}
        return costs.pop() if len(costs) == 1 else None


def behind(config: Config) -> dict[str, tuple[str, ...]]:
    """What stands behind the names that the proxy's `model_list` gives its models."""
    named: dict[str, tuple[str, ...]] = {}
    for entry in config.model_list:
        model = (entry.get("litellm_params") or {}).get("model")
        if isinstance(model, str):
            name = str(entry.get("model_name"))
            named[name] = (*named.get(name, ()), model)
    return named

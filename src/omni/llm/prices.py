"""What a call costs, from litellm's own list of prices, read without importing litellm.

Unknown is None and is never made up. litellm prices unknown models at 0.0 without a word, and its list holds zeros for
services that are free or not priced yet: a zero counts here only for models that run on this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from omni.config.prices import Price, on_channel, read_list
from omni.domain.hops import Hop
from omni.domain.values import LOCAL_MODEL, MOST_USD, PROXY, CostSource, Usage
from omni.llm.answer import Meter

log = structlog.get_logger()

CHARS_PER_TOKEN = 4
TOKENS_PER_PICTURE = 1_600
MAX_ESTIMATED_OUTPUT = 4_096
MOST_OUTPUT = 10_000_000  # of a model whose list entry names no bound
MOST_ANSWERS = 1_000
_FILES = frozenset({"url", "image_url", "file_data"})  # what stands elsewhere is text, whatever it begins with


class Bill(msgspec.Struct, frozen=True):
    """What a call cost; the fields are those of `CallSettled`."""

    billed_usd: float | None
    imputed_usd: float | None
    source: CostSource


class Prices:
    """Prices by channel and model. `kinds`: the kind of each provider. Loop only; the list is read once."""

    def __init__(self, kinds: Mapping[str, str], path: Path | None = None) -> None:
        self.go_by(kinds)
        self._path = path
        self._reading: asyncio.Task[dict[str, Price]] | None = None

    def go_by(self, kinds: Mapping[str, str]) -> None:
        """Other providers, from the next question on."""
        self._kinds = {LOCAL_MODEL: "ollama", **kinds}

    async def bill(self, hop: Hop, meter: Meter) -> Bill:
        """What a call over `hop` cost: the provider's own word, else its price, else not known.

        The price of a stream that broke off is not known: its usage would have come with its end. What goes over a free
        hop is billed at nothing, and imputed at what it would have cost.
        """
        model = meter.model or hop.model
        cost: float | None = meter.cost_usd
        source: CostSource = "provider"
        if cost is None and meter.finished:  # what came of a stream that broke is less than what was done for it
            cost, source = await self.price(hop.channel, model, meter.usage), "table"
        if cost is None and meter.finished and model != hop.model:
            cost = await self.price(hop.channel, hop.model, meter.usage)
        if cost is None:
            return Bill(None if hop.paid else 0.0, None, "unknown")
        return Bill(cost, None, source) if hop.paid else Bill(0.0, cost, source)

    async def estimate(self, hop: Hop, body: dict[str, Any]) -> float | None:
        """The most that a call should cost, before it is made; None when its price is not known."""
        model = hop.model or str(body.get("model", ""))
        # A reseller names models as their makers do, with dots, and asks about what they ask: near enough for a bound.
        guesses = ((hop.channel, model), (PROXY, model), (PROXY, model.replace(".", "-")))
        found = [await self._find(*guess) for guess in guesses]
        price = next((each for each in found if each), None)
        if price is None:
            return None
        each = min(_wanted(body), price.max_output or MOST_OUTPUT)
        return min(price.of(Usage(_tokens(body), each * _answers(body))), MOST_USD)

    async def price(self, channel: str, model: str, usage: Usage | None) -> float | None:
        """What `usage` of a model costs on a channel; None when either is not known."""
        price = await self._find(channel, model)
        return price.of(usage) if price and usage else None

    async def _find(self, channel: str, model: str) -> Price | None:
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(_read, self._path))
        # Shielded: whoever gives up waiting must not take the list away from the others.
        table = await asyncio.shield(self._reading)
        return on_channel(table, self._kinds, channel, model)


_LIMITS = {"input": ("max_output_tokens",), "messages": ("max_tokens", "max_completion_tokens")}


def _wanted(body: dict[str, Any]) -> int:
    """How much one answer may say: the largest limit that is named, for a server may go by any of them."""
    asked = "input" if "input" in body else "messages"
    said = [_whole(body.get(name)) for names in _LIMITS.values() for name in names]
    bounded = any(_whole(body.get(name)) >= 0 for name in _LIMITS[asked])
    return max(*said, 0 if bounded else MAX_ESTIMATED_OUTPUT)


def _answers(body: dict[str, Any]) -> int:
    """How many answers a chat asks for at once."""
    return min(max(_whole(body.get("n")), 1), MOST_ANSWERS)


def _whole(value: Any) -> int:
    """The number that a caller said; -1 where that is none, or makes no sense."""
    return max(value, -1) if type(value) is int else -1


def _read(path: Path | None) -> dict[str, Price]:
    """The list; no price at all where it cannot be read: a call must not fail because nobody knows what it costs."""
    try:
        return read_list(path)
    except Exception as error:  # whatever a file of others may hold
        log.warning("prices.unreadable", error=repr(error))
        return {}


def _tokens(value: Any, name: str = "") -> int:
    """About how many tokens a request is; a picture counts as one, however many characters it is written in."""
    if isinstance(value, str):
        picture = name == "data" or (name in _FILES and value.startswith("data:"))
        return TOKENS_PER_PICTURE if picture and len(value) > TOKENS_PER_PICTURE else len(value) // CHARS_PER_TOKEN + 1
    if isinstance(value, dict):
        return sum(_tokens(each, key) + len(key) // CHARS_PER_TOKEN for key, each in value.items())
    if isinstance(value, list):
        return sum(_tokens(each) for each in value)
    return 1

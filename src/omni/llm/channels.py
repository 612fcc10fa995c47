"""Every channel of a configuration, behind one door: a hop and a call in, an answer out.

A dialect that the other side speaks is passed through; any other goes through the litellm library.

    channel       passed through     through the library
    the proxy     all                –
    anthropic     messages           chat, responses
    openrouter    chat, responses    messages
    openai        chat, responses    messages
    Ollama        chat, responses    messages
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from omni.config import Config, Provider
from omni.domain.hops import Hop
from omni.domain.values import LOCAL_MODEL, PROXY
from omni.domain.verdict import Verdict
from omni.llm.answer import Answer, Call, Dialect, NoEvidence
from omni.llm.classify import of_cloud_answer, of_proxy_answer
from omni.llm.dialects import for_litellm
from omni.llm.http_channel import HttpChannel, Site, make_client
from omni.llm.library import Abroad, LibraryChannel

MOST_WAITING = 20  # above that LiteLLM answers its liveliness so late that it would count as dead
ANTHROPIC_VERSION = "2023-06-01"
_PASSED_ON = ("anthropic-version", "anthropic-beta")

_PROXY_PATHS: dict[Dialect, str] = {
    "messages": "/v1/messages",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
}
_OPENAI_PATHS: dict[Dialect, str] = {"chat": "/chat/completions", "responses": "/responses"}
_PATHS: dict[str, dict[Dialect, str]] = {
    "anthropic": {"messages": "/v1/messages"},
    "openrouter": _OPENAI_PATHS,
    "openai": _OPENAI_PATHS,
    "ollama": _OPENAI_PATHS,
}
# What litellm calls each kind, and the dialect that it then speaks there. `hosted_vllm` is plain chat, as any server
# has it; where litellm reads `openai` it asks for the Responses API, which only OpenAI itself is sure to have.
_ABROAD: dict[str, tuple[str, Dialect]] = {
    "anthropic": ("anthropic", "messages"),
    "openrouter": ("openrouter", "chat"),
    "openai": ("hosted_vllm", "chat"),
    "ollama": ("hosted_vllm", "chat"),
}
OPENAI_ITSELF: tuple[str, Dialect] = ("openai", "responses")


class Channel(Protocol):
    """One way to a model, for the dialects that it serves."""

    async def open(self, hop: Hop, call: Call) -> Answer: ...

    async def aclose(self) -> None: ...


class Channels:
    """All channels by name. Loop only; nothing is retried here or below."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels

    async def open(self, hop: Hop, call: Call) -> Answer:
        """The answer once its status is in and, of a stream, the first event.

        Raises UpstreamFailed. There is no time limit here but for connecting: the port has the deadline, and cancels.
        """
        channel = self._channels.get(hop.channel)
        if channel is None:
            raise NoEvidence(Verdict.MISCONFIGURED, f"there is no channel {hop.channel!r}")
        return await channel.open(hop, call)

    async def count(self, hop: Hop, call: Call) -> bytes | None:
        """How many tokens a call in Anthropic's dialect would be; None where nobody can say. Raises UpstreamFailed."""
        channel = self._channels.get(hop.channel)
        return await channel.count(hop, call) if isinstance(channel, HttpChannel | Cloud) else None

    async def aclose(self) -> None:
        """Close every connection."""
        for channel in self._channels.values():
            await channel.aclose()


class Cloud:
    """One provider, spoken to in its own dialects, and in the others through the library."""

    def __init__(self, natives: frozenset[str], direct: HttpChannel, translated: LibraryChannel) -> None:
        self._natives = natives
        self._direct = direct
        self._translated = translated

    async def open(self, hop: Hop, call: Call) -> Answer:
        """Open on whichever speaks the caller's dialect."""
        channel: Channel = self._direct if call.dialect in self._natives else self._translated
        return await channel.open(hop, call)

    async def count(self, hop: Hop, call: Call) -> bytes | None:
        """Ask the cloud for it where it speaks the dialect; the library could only guess."""
        return await self._direct.count(hop, call) if call.dialect in self._natives else None

    async def aclose(self) -> None:
        """Close the pool that both use."""
        await self._direct.aclose()


def make_channels(config: Config) -> Channels:
    """Every channel that the configuration names. Nothing is connected or imported yet."""
    channels: dict[str, Channel] = {LOCAL_MODEL: _local(config)}
    if config.lite_llm_url:
        channels[PROXY] = _proxy(config)
    for name, provider in config.providers.items():
        if provider.kind and provider.api_base:
            channels[name] = _provider(config, name, provider)
    return Channels(channels)


def needs_library(config: Config) -> bool:
    """Whether some call may have to be translated: `warm` is worth its memory then."""
    return any(config.has_key(name, "primary") or config.has_key(name, "backup") for name in config.providers)


def _proxy(config: Config) -> HttpChannel:
    base = _trunk(config.lite_llm_url)
    urls = {dialect: base + path for dialect, path in _PROXY_PATHS.items()}

    def headers(hop: Hop, call: Call) -> dict[str, str]:
        return {**_chosen(call), **_bearer(config.lite_llm_key), "x-litellm-call-id": call.id}

    return HttpChannel(Site(urls, headers, of_proxy_answer, for_litellm, MOST_WAITING), make_client(base))


def _local(config: Config) -> Cloud:
    base = _trunk(config.brainstem.api_base) + "/v1"
    return _cloud("ollama", base, _no_key, make_client(base))


def _provider(config: Config, name: str, provider: Provider) -> Cloud:
    kind = provider.kind or "openai"
    base = _trunk(provider.api_base) if kind == "anthropic" else provider.api_base.rstrip("/")
    keys = config.api_keys

    def key(hop: Hop) -> str:
        found = (keys.backup if hop.key == "backup" else keys.primary).get(name, "")
        if not found and not provider.is_local:
            raise NoEvidence(Verdict.MISCONFIGURED, f"there is no {hop.key or 'primary'} key for {name}")
        return found

    return _cloud(kind, base, key, make_client(base))


def _cloud(kind: str, base: str, key: Callable[[Hop], str], client: httpx.AsyncClient) -> Cloud:
    urls = {dialect: base + path for dialect, path in _PATHS[kind].items()}
    prefix, spoken = OPENAI_ITSELF if urlsplit(base).hostname == "api.openai.com" else _ABROAD[kind]
    abroad = Abroad(prefix, base, spoken, key, of_cloud_answer)

    def headers(hop: Hop, call: Call) -> dict[str, str]:
        return _anthropic_headers(call, key(hop)) if kind == "anthropic" else _bearer(key(hop))

    amend = _with_cost if kind == "openrouter" else _unchanged
    direct = HttpChannel(Site(urls, headers, of_cloud_answer, amend), client)
    return Cloud(frozenset(urls), direct, LibraryChannel(abroad, client))


def _no_key(hop: Hop) -> str:
    return ""


def _anthropic_headers(call: Call, key: str) -> dict[str, str]:
    return {"anthropic-version": ANTHROPIC_VERSION, **_chosen(call), "x-api-key": key}


def _chosen(call: Call) -> dict[str, str]:
    return {name: call.headers[name] for name in _PASSED_ON if name in call.headers}


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def _with_cost(body: dict[str, Any]) -> dict[str, Any]:
    """OpenRouter says what a call cost when it is asked to."""
    return {**body, "usage": {"include": True}}


def _unchanged(body: dict[str, Any]) -> dict[str, Any]:
    return body


def _trunk(url: str) -> str:
    """A base without its `/v1`, which stands in the paths."""
    return url.rstrip("/").removesuffix("/v1")

"""`model_list`: which provider each entry leads to, what its model is called there, and with which key.

An entry belongs to the provider at its address: its own `api_base`, or the public one of the provider that its model
begins with. It says there what the model is called, and its key is the primary key, each where the configuration does
not say so itself. A key goes to no address but the one that it was given for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from omni.config.model import PUBLIC_API_BASES, Config, Provider

ProviderKind: TypeAlias = Literal["anthropic", "openrouter", "openai"]

# Public addresses that speak OpenAI's dialect, by what a model of theirs begins with in LiteLLM.
_LIKE_OPENAI = {
    "cerebras": "https://api.cerebras.ai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "together_ai": "https://api.together.xyz/v1",
    "xai": "https://api.x.ai/v1",
}
_OF_ITS_OWN: dict[str, ProviderKind] = {"anthropic": "anthropic", "openrouter": "openrouter", "openai": "openai"}
_AT_AN_ADDRESS = frozenset({"custom_openai", "openai_like", "hosted_vllm", "lm_studio", "litellm_proxy"})
LOCAL = frozenset({"ollama", "ollama_chat"})
_BARE = ((re.compile(r"(gpt|chatgpt|o\d)\b"), "openai"), (re.compile(r"claude-"), "anthropic"))


class Deployment(Struct, frozen=True, kw_only=True):
    """What one entry says. `reason`: why no call can go by it; then the rest is as far as it could be read."""

    name: str = ""
    prefix: str = ""
    model: str = ""
    kind: ProviderKind | None = None
    api_base: str = ""
    key: str = ""
    reason: str = ""

    @property
    def provider(self) -> Provider:
        """The provider that it leads to, as the configuration would say it."""
        return Provider(kind=self.kind, api_base=self.api_base)


def deployment(entry: Mapping[str, Any]) -> Deployment:
    """Read one entry of a `model_list`."""
    params = entry.get("litellm_params")
    params = params if isinstance(params, dict) else {}
    said = {name: _text(params, name) for name in ("model", "api_base", "base_url", "api_key", "custom_llm_provider")}
    prefix, model = _prefix(said["model"], said["custom_llm_provider"])
    found = Deployment(
        name=_text(entry, "model_name"),
        prefix=prefix,
        model=model,
        kind=_kind(prefix),
        api_base=(said["api_base"] or said["base_url"] or _public(prefix)).rstrip("/"),
        key=said["api_key"],
    )
    return replace(found, reason=_against(found))


def with_listed(config: Config) -> Config:
    """The configuration with what its `model_list` says of providers and primary keys; what it says itself wins."""
    for index, entry in enumerate(config.model_list):
        found = deployment(entry)
        if not found.reason:
            config = _with(config, found, index)
    return config


def unused(config: Config) -> Iterator[str]:
    """The entries that no call goes by, with the reason; where there is a proxy, it knows them itself."""
    for index, entry in enumerate(config.model_list):
        found = deployment(entry)
        reason = found.reason or _beside(config, found)
        if reason and not config.lite_llm_url:
            yield f"model_list[{index}]: {found.name} is not used: {reason}"


def home_of(config: Config, found: Deployment) -> str:
    """The name of the provider at the address of an entry; empty where the configuration has none."""
    same = ((name, each.api_base.rstrip("/"), each.kind) for name, each in config.providers.items())
    return next((name for name, base, kind in same if (base, kind) == (found.api_base, found.kind)), "")


def name_for(found: Deployment, taken: Mapping[str, Any], *, hidden: bool, index: int) -> str:
    """What a provider that has no name yet is called: as its models begin, or by its address unless that is hidden."""
    if found.prefix not in taken and found.api_base == _public(found.prefix):
        return found.prefix
    from urllib.parse import urlsplit

    place = str(index + 1) if hidden else urlsplit(found.api_base).netloc.rpartition("@")[2]
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{found.prefix}_{place}").strip("_")


def _with(config: Config, found: Deployment, index: int) -> Config:
    source = f"model_list/{index}/litellm_params"
    hidden = {each for each in config.secret_paths if each.startswith(source)}
    known = home_of(config, found)
    name = known or name_for(found, config.providers, hidden=bool(hidden - {f"{source}/api_key"}), index=index)
    keys = config.api_keys
    primary = {name: found.key, **keys.primary} if found.key else keys.primary
    if not (known or primary.get(name) or keys.backup.get(name) or found.provider.is_local):
        return config
    provider = config.providers.get(name, found.provider)
    copied = [f"providers/{name}/models/{found.name}"] if f"{source}/model" in hidden else []
    copied += [f"providers/{name}/api_base"] if not known and hidden - {f"{source}/api_key", f"{source}/model"} else []
    return replace(
        config,
        api_keys=replace(keys, primary=primary),
        providers={**config.providers, name: replace(provider, models={found.name: found.model, **provider.models})},
        secret_paths=tuple(sorted({*config.secret_paths, *copied})),
    )


def _beside(config: Config, found: Deployment) -> str:
    name = home_of(config, found)
    if not name:
        return f"there is no key for {found.prefix}; set its api_key, or api_keys.primary.{found.prefix}"
    called = config.providers[name].models.get(found.name)
    return "" if called == found.model else f"providers.{name} calls it {called!r} already"


def _against(found: Deployment) -> str:
    if "*" in found.name or "*" in found.model:
        return "it is a pattern, and models are asked for by name"
    if found.prefix in LOCAL:
        return f"models of Ollama answer by a tier: {{name: P1, light: {found.model!r}, channel: brainstem}}"
    if found.kind is None:
        return f"only a LiteLLM proxy reaches {found.prefix or found.model}; run one, and set lite_llm_url"
    return "" if found.api_base and found.model else "it has no api_base"


def _prefix(model: str, said: str) -> tuple[str, str]:
    """What a model's name begins with, and what it is called there."""
    first, slash, rest = model.partition("/")
    if said:
        return said, rest if first == said and slash else model
    if slash:
        return first, rest
    return next((prefix for pattern, prefix in _BARE if pattern.match(model)), ""), model


def _kind(prefix: str) -> ProviderKind | None:
    like_openai: ProviderKind | None = "openai" if prefix in _LIKE_OPENAI or prefix in _AT_AN_ADDRESS else None
    return _OF_ITS_OWN.get(prefix, like_openai)


def _public(prefix: str) -> str:
    return PUBLIC_API_BASES.get(prefix) or _LIKE_OPENAI.get(prefix, "")


def _text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    return found if isinstance(found, str) else ""

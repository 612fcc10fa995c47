"""What a configuration says of each model channel: whether it will be usable, and which keys are absent."""

from __future__ import annotations

from msgspec import Struct

from omni.config.model import DEFAULT_BRAINSTEM_MODEL, KEY_ROLES, LOCAL_CHANNEL, Config


class ChannelReport(Struct, frozen=True):
    """One channel; `usable` is what the configuration alone can say, nobody was asked. `note` is for people."""

    name: str
    kind: str
    address: str
    usable: bool
    absent_keys: tuple[str, ...] = ()
    note: str = ""


def channel_reports(config: Config) -> list[ChannelReport]:
    """The proxy, each provider, and the model on this machine."""
    return [*_proxy(config), *(_provider(config, name) for name in config.providers), _local(config)]


def _proxy(config: Config) -> list[ChannelReport]:
    url = config.lite_llm_url
    absent = () if config.lite_llm_key else ("lite_llm_key",)
    return [ChannelReport("litellm", "proxy", url, usable=True, absent_keys=absent)] if url else []


def _provider(config: Config, name: str) -> ChannelReport:
    known = config.providers[name]
    absent = tuple(f"api_keys.{role}.{name}" for role in KEY_ROLES if not config.has_key(name, role))
    note = "local, wants no key" if known.is_local else ""
    if config.is_usable(name) and not (known.default_model or known.models):
        note = f"takes only models that are named as it names them; providers.{name}.default_model is not set"
    return ChannelReport(name, known.kind or "", known.api_base, config.is_usable(name), absent, note)


def _local(config: Config) -> ChannelReport:
    works = any(t.runs_tasks and t.channel == LOCAL_CHANNEL for t in config.model_tiers)
    model = config.brainstem.model or DEFAULT_BRAINSTEM_MODEL
    note = "answers tasks" if works else f"wakes {model} when the cloud is gone, and answers no task"
    return ChannelReport(LOCAL_CHANNEL, "ollama", config.brainstem.api_base, usable=works, note=note)

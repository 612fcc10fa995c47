"""Which configuration fits what was found on this machine, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from omni.config.addition import missing, spelt_out
from omni.config.model import DEFAULT_BRAINSTEM_MODEL, DEFAULT_MODELS, BrainstemConfig, Config
from omni.ops.surroundings import BACKUP_KEYS, CLIPROXY_KEYS, PRIMARY_KEYS, PROXY_KEYS, Surroundings, Targets

# Words in the names that people give their models; nothing but a first guess, and the file says so.
_LIGHT = ("light", "fast", "small", "mini", "flash", "haiku", "cheap", "free", "lite", "nano", "quick", "7b", "8b")
_HEAVY = ("heavy", "opus", "large", "smart", "best", "big", "strong", "sonnet", "pro", "max", "deep", "70b", "72b")

# The keys that say what was found; language, runbook and the like are a matter of taste.
_FOUND = frozenset(
    ("lite_llm_url", "lite_llm_key", "api_keys", "providers", "router", "brainstem", "tiers", "mcp_servers")
)

_BY_THEMSELVES = frozenset(("model", "runbook"))  # executors that are there as long as no other is named


class Models(Struct, frozen=True):
    """The models for light and for heavy tasks; both empty where nobody says what there is."""

    light: str = ""
    heavy: str = ""


def wanted(found: Surroundings, told: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's keys in the order of the file; `told` is what the command line says of host and port."""
    parts: dict[str, Any] = {
        **{name: value for name, value in told.items() if value is not None},
        "language": found.language if found.language != "en" else None,
        **_proxy(found),
        "api_keys": _keys(found),
        "providers": _providers(found),
        "router": _router(found),
        "brainstem": _brainstem(found),
        "tiers": _tiers(found),
        "mcp_servers": _servers(found),
        "runbook": {"system_report": {"builtin": "system_report"}},
    }
    return {name: value for name, value in parts.items() if value}


def beside(wanted: Mapping[str, Any], said: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """What could be added to a configuration because of what was found; `said` is what its file says."""
    found = missing({name: value for name, value in wanted.items() if name in _FOUND}, said)
    servers = found.pop("mcp_servers", {})
    for name in _adapters(said.get("mcp_servers")):
        servers.pop(name, None)
    if servers and not any(each.adapter not in _BY_THEMSELVES for each in config.executors.values()):
        servers |= {name: {"adapter": name} for name in config.executors}
    return {**spelt_out(found, said, config), **({"mcp_servers": servers} if servers else {})}


def _adapters(servers: Any) -> set[str]:
    """The adapters that entries of any name have said to be theirs."""
    entries = servers.values() if isinstance(servers, dict) else ()
    return {str(each.get("adapter")) for each in entries if isinstance(each, dict)}


def has_direct(found: Surroundings) -> bool:
    """Whether CLIProxyAPI is a channel of its own: without a proxy in front of it, and with models that it names."""
    return found.cliproxyapi.found and not found.litellm.found and bool(found.cliproxyapi.models)


def chosen(models: Sequence[str]) -> Models:
    """A light and a heavy one of these, by their names; the first and the last where the names say nothing."""
    if not models:
        return Models()
    light = next((m for m in models if _says(m, _LIGHT)), "")
    heavy = next((m for m in models if m != light and _says(m, _HEAVY)), "")
    rest = [m for m in models if m not in (light, heavy)] or [light or heavy]
    return Models(light or rest[0], heavy or rest[-1])


def local_model(models: Sequence[str]) -> str:
    """The model for the self-check: the usual one, else a Qwen, else whatever there is."""
    ranked = sorted(models, key=lambda name: (name != DEFAULT_BRAINSTEM_MODEL, "qwen" not in name))
    return ranked[0] if ranked else ""


def variable_of(names: Sequence[str], found: Surroundings) -> str:
    """The first of these variables that is set, or else the usual one."""
    return next((name for name in names if name in found.keys), names[0])


def _says(name: str, words: Sequence[str]) -> bool:
    return any(word in name.lower() for word in words)


def _proxy(found: Surroundings) -> dict[str, Any]:
    if not found.litellm.found:
        return {}
    return {"lite_llm_url": found.litellm.url, "lite_llm_key": _var(variable_of(PROXY_KEYS, found))}


def _keys(found: Surroundings) -> dict[str, Any]:
    """Primary keys, and backup ones for the time when the proxy is down: there the same key may serve as both."""
    primary = {name: _var(key) for name, key in PRIMARY_KEYS.items() if key in found.keys}
    backup = {name: _var(key) for name, key in BACKUP_KEYS.items() if key in found.keys}
    if found.litellm.found:
        backup = {**primary, **backup}
    if has_direct(found) and any(name in found.keys for name in CLIPROXY_KEYS):
        primary["cliproxyapi"] = _var(variable_of(CLIPROXY_KEYS, found))
    return {role: keys for role, keys in (("primary", primary), ("backup", backup)) if keys}


def _clouds(found: Surroundings) -> list[str]:
    return [name for name, key in PRIMARY_KEYS.items() if key in found.keys]


def _providers(found: Surroundings) -> dict[str, Any]:
    """Left out, they are those that there are keys for; CLIProxyAPI has to be named, and with it all."""
    if not has_direct(found):
        return {}
    own = {"kind": "openai", "api_base": f"{found.cliproxyapi.url}/v1"}
    return {"cliproxyapi": own, **{name: {} for name in _clouds(found)}}


def _router(found: Surroundings) -> dict[str, Any]:
    models = chosen(found.litellm.models)
    if not found.litellm.found or not models.light:
        return {}
    return {"lightweight_model": models.light, "heavyweight_model": models.heavy}


def _brainstem(found: Surroundings) -> dict[str, Any]:
    model = local_model(found.ollama.models)
    if not model:
        return {}
    elsewhere = found.ollama.url != BrainstemConfig().api_base
    return {**({"api_base": found.ollama.url} if elsewhere else {}), "model": model}


def _tiers(found: Surroundings) -> list[dict[str, Any]]:
    """Only where the usual three do not fit: CLIProxyAPI without a proxy, and a machine with nothing but Ollama."""
    if has_direct(found):
        models = chosen(found.cliproxyapi.models)
        own = {"name": "P1", "light": models.light, "heavy": models.heavy, "cost": "free", "channel": "cliproxyapi"}
        return [own, *_paid_tier(found)]
    local = local_model(found.ollama.models)
    if local and not has_cloud_models(found):
        return [{"name": "P1", "light": local, "channel": "brainstem"}]
    return []


def _paid_tier(found: Surroundings) -> list[dict[str, Any]]:
    clouds = sorted(_clouds(found), key=lambda name: name != "openrouter")
    if not clouds:
        return []
    model = DEFAULT_MODELS[clouds[0]]
    return [{"name": "P2", "light": model, "heavy": model, "cost": "paid", "channel": clouds[0]}]


def has_cloud_models(found: Surroundings) -> bool:
    """Whether a model elsewhere can be reached."""
    return found.litellm.found or has_direct(found) or bool(_clouds(found))


def has_models(found: Surroundings) -> bool:
    """Whether any model can be reached."""
    return has_cloud_models(found) or bool(found.ollama.models)


def has_openclaw(found: Surroundings) -> bool:
    """Whether OpenClaw is here, be it running or not."""
    return found.openclaw.found or found.openclaw_gateway.found


def _servers(found: Surroundings) -> dict[str, Any]:
    """The hands. As soon as one is named the others have to be, too; without any, they are there by themselves."""
    servers: dict[str, Any] = {}
    if found.claude_code.found:
        servers["claude_code"] = _claude(found)
    if has_openclaw(found):
        servers["openclaw"] = _openclaw(found)
    if servers and has_models(found):
        servers["model"] = {"adapter": "model"}
    return servers


def _claude(found: Surroundings) -> dict[str, Any]:
    """Claude Code takes coding; everything else too where nobody else could."""
    alone = not (has_openclaw(found) or has_models(found))
    types = {"types": ["coding", "general"]} if alone else {}
    binary = {} if found.claude_code.on_path else {"options": {"binary": found.claude_code.path}}
    return {**types, **binary}


def _openclaw(found: Surroundings) -> dict[str, Any]:
    url = found.openclaw_gateway.url
    return {} if url == Targets().openclaw else {"url": url.replace("http", "ws", 1)}


def _var(name: str) -> str:
    return f"${{{name}}}"

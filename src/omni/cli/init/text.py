"""The first configuration as a commented file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from omni import __version__
from omni.cli.init.wanted import has_direct, has_openclaw
from omni.config.insert import dumped
from omni.ops.surroundings import CLIPROXY_KEYS, PROXY_KEYS, Surroundings

_HEAD = """\
# Omni's configuration, written by `omni init` {version} on {date} for what was found on this machine.
#
# It is yours: Omni changes nothing in it by itself. Every key is explained in config.example.yaml, and listed by
# `omni config schema`; `omni config check` checks this file. ${{VAR}} stands for the environment variable VAR of the
# program that reads it, so that no secret needs to stand here."""

# What a key is for, in the words of somebody who sees the file for the first time.
_COMMENTS: dict[str, str] = {
    "host": "The address to listen on.",
    "port": "The one port, for tools, tasks, models and the dashboard.",
    "data_dir": "Where the event log, the token and everything else durable is kept.",
    "language": "The language of messages to you: en or zh.",
    "lite_llm_url": "The LiteLLM proxy, which model calls go through. When it fails, they go to the clouds directly.",
    "lite_llm_key": "Its key.",
    "api_keys": "Keys by provider: the primary ones where there is no proxy, the backup ones when the proxy is down.",
    "providers": "The clouds that are called directly, and watched.",
    "router": "The models for light and for heavy tasks, chosen by their names alone: look whether they fit.",
    "brainstem": "The model in Ollama that is woken for a self-check when every cloud is gone.",
    "tiers": "Model channels in order of preference.",
    "mcp_servers": "Who does the tasks. Any MCP server can be one: docs/executors.md.",
    "runbook": "Commands that tasks may run, by name.",
}

# What could be said of a key that the file does not have.
_OFFERS: dict[str, tuple[str, ...]] = {
    "lite_llm_url": (
        "A LiteLLM proxy would be named like this:",
        "lite_llm_url: http://127.0.0.1:4000",
        f"lite_llm_key: ${{{PROXY_KEYS[0]}}}",
    ),
    "api_keys": (
        "One key is enough to have a model answer (anthropic, openrouter or openai):",
        'api_keys: {primary: {anthropic: "${ANTHROPIC_API_KEY}"}}',
    ),
    "router": (
        "The models for light and for heavy tasks, as the proxy calls them:",
        "router: {lightweight_model: fast, heavyweight_model: heavy}",
    ),
    "brainstem": (
        "With Ollama, a model on this machine (ollama pull qwen2.5:7b), woken when every cloud is gone:",
        'brainstem: {model: "qwen2.5:7b"}',
    ),
    "mcp_servers": (
        "Claude Code and OpenClaw are found by these names, once they are installed:",
        "mcp_servers: {claude_code: {}, openclaw: {}}",
    ),
    "budget": ("Caps on what model calls may cost, in US dollars:", "budget: {daily_usd: 20, task_usd: 5}"),
}
_IN_A_CHAT = (
    "Where you are told that tasks wait, failed, or go on again:",
    'notify: {channel: telegram, target: "42"}',
)
_BY_A_HOOK = (
    "A web server of yours that is told that tasks wait, failed, or go on again:",
    'notify: {webhook: {url: "https://example.com/hook", secret: "${WEBHOOK_SECRET}"}}',
)


def rendered(wanted: Mapping[str, Any], found: Surroundings, at_s: float | None = None) -> str:
    """The whole file; `at_s` is when it was written, None for now."""
    date = time.strftime("%Y-%m-%d", time.localtime(at_s))
    head = _HEAD.format(version=__version__, date=date)
    parts = [_part(name, value, found) for name, value in wanted.items()]
    return "\n\n".join([head, *parts, *_offers(wanted, found)]) + "\n"


def addition(wanted: Mapping[str, Any]) -> str:
    """Keys as they would be added to a file that there is."""
    return dumped(wanted)


def to_do(wanted: Mapping[str, Any], found: Surroundings) -> list[str]:
    """What only a person can do before all of it works, a sentence each."""
    return [sentence for sentence, applies in _to_do(wanted, found) if applies]


def _to_do(wanted: Mapping[str, Any], found: Surroundings) -> list[tuple[str, bool]]:
    proxy, direct = found.litellm, found.cliproxyapi
    keyless = proxy.locked and not any(name in found.keys for name in PROXY_KEYS)
    hidden = direct.found and not proxy.found and not has_direct(found)
    no_way_around = proxy.found and "api_keys" not in wanted
    return [
        (f"the proxy wants a key: set {PROXY_KEYS[0]} where omni serve runs", keyless),
        ("the proxy did not name its models: name two of them under router", proxy.found and not proxy.models),
        ("there is no key for the time when the proxy is down: add api_keys.backup", no_way_around),
        (f"CLIProxyAPI names no model without a key: set {CLIPROXY_KEYS[0]}, and run omni init again", hidden),
        ("Ollama has no model: ollama pull qwen2.5:7b", found.ollama.found and not found.ollama.models),
        ("to be told of what matters in a chat, set notify.channel and notify.target", has_openclaw(found)),
    ]  # fmt: skip


def _part(name: str, value: Any, found: Surroundings) -> str:
    more = {"router": _router_choice, "lite_llm_url": _proxy_beside}.get(name, _nothing)(found)
    said = [_COMMENTS.get(name, ""), *more]
    return "\n".join([*(f"# {line}" for line in said if line), dumped({name: value})])


def _nothing(found: Surroundings) -> Sequence[str]:
    del found
    return ()


def _router_choice(found: Surroundings) -> Sequence[str]:
    return (f"The proxy has: {listed(found.litellm.models)}",)


def _proxy_beside(found: Surroundings) -> Sequence[str]:
    if not found.cliproxyapi.found:
        return ()
    return (
        f"CLIProxyAPI answers at {found.cliproxyapi.url}; behind the proxy it is openai/NAME with that api_base + /v1.",
    )


def _offers(wanted: Mapping[str, Any], found: Surroundings) -> list[str]:
    """What could be said besides, as comments; each counts as soon as the sign before it is taken away."""
    fits = {"router": found.litellm.found}
    absent = [lines for name, lines in _OFFERS.items() if name not in wanted and fits.get(name, True)]
    told = _IN_A_CHAT if has_openclaw(found) else _BY_A_HOOK
    tailnet = [("Tailscale is here. Leave host as it is, and see docs/tailscale.md.",)] if found.tailscale.found else []
    return ["\n".join(f"# {line}" for line in lines) for lines in [*absent, told, *tailnet]]


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names in a row, and how many there are besides."""
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

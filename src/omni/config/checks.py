"""The rules that types cannot say: addresses, ports to the outside, templates, tiers, executors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from omni.config.adapters import OPTIONS
from omni.config.addresses import is_local, is_loopback, url_problem
from omni.config.build import Builder
from omni.config.executors import (
    GATEWAYS,
    MEMORY,
    PLACEHOLDER,
    PLACEHOLDERS,
    REPAIRERS,
    McpServer,
    adapter_of,
    is_executor,
    transport_of,
)
from omni.config.listed import unused
from omni.config.model import KEY_ROLES, Config
from omni.config.problems import Path, Problem, did_you_mean
from omni.config.repairs import repairer

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
_OWN_HEADERS = ("x-omni-", "content-", "host", "transfer-encoding", "connection")


def check(config: Config) -> list[Problem]:
    """Everything that is wrong with a configuration whose types are right."""
    return [problem for rule in _RULES for problem in rule(config)]


def advise(config: Config) -> list[str]:
    """What is allowed and probably not meant, one sentence each."""
    return [sentence for rule in _ADVICE for sentence in rule(config)]


def _door(config: Config) -> Iterator[Problem]:
    if not config.host or any(each in config.host for each in "/ @"):
        yield Problem(("host",), f"expected an address or a host name, got {config.host!r}")
    elif config.auth == "none" and not is_loopback(config.host):
        yield Problem(("auth",), f"'none' is for a loopback address only, and host is {config.host!r}; use 'token'")
    elif config.auth == "none" and config.allowed_hosts:
        yield Problem(("auth",), "'none' does not go with allowed_hosts, by which others come in; use 'token'")
    for index, name in enumerate(config.allowed_hosts):
        if not _HOST_NAME.fullmatch(name):
            yield Problem(("allowed_hosts", index), f"expected one exact name or name:port, got {name!r}")


def _urls(config: Config) -> Iterator[Problem]:
    if config.lite_llm_url:
        yield from _url(("lite_llm_url",), config.lite_llm_url)
    yield from _url(("brainstem", "api_base"), config.brainstem.api_base)
    for name, provider in config.providers.items():
        yield from _url(("providers", name, "api_base"), provider.api_base)
        if provider.ping.startswith("http"):
            yield from _url(("providers", name, "ping"), provider.ping)


def _url(path: Path, url: str, schemes: tuple[str, ...] = ("http", "https")) -> Iterator[Problem]:
    problem = url_problem(url, schemes)
    if problem:
        yield Problem(path, problem)


def _keys(config: Config) -> Iterator[Problem]:
    """A key that cannot stand in a header would look like a cloud that cannot be reached."""
    keys: dict[Path, str] = {("lite_llm_key",): config.lite_llm_key}
    for role in KEY_ROLES:
        keys |= {("api_keys", role, name): key for name, key in getattr(config.api_keys, role).items()}
    for path, key in keys.items():
        if not key.isascii() or any(not each.isprintable() or each.isspace() for each in key):
            yield Problem(path, "no key holds blanks, line ends or letters beyond ASCII; copy it again")


def _providers(config: Config) -> Iterator[Problem]:
    for name, provider in config.providers.items():
        if provider.kind is None:
            yield Problem(("providers", name), "the key 'kind' is missing: anthropic, openrouter or openai")


def _model_list(config: Config) -> Iterator[Problem]:
    for index, entry in enumerate(config.model_list):
        path: Path = ("model_list", index)
        if not isinstance(entry.get("model_name"), str):
            yield Problem(path, "the key 'model_name' is missing")
        params = entry.get("litellm_params")
        if not isinstance(params, dict) or not isinstance(params.get("model"), str):
            yield Problem(path, "the key 'litellm_params.model' is missing")
        elif isinstance(params.get("api_base"), str):
            yield from _url((*path, "litellm_params", "api_base"), params["api_base"])


def _servers(config: Config) -> Iterator[Problem]:
    for name, server in config.mcp_servers.items():
        path: Path = ("mcp_servers", name)
        yield from _reach(path, name, server)
        yield from _options(path, adapter_of(name, server), server)
        if adapter_of(name, server) in GATEWAYS:
            yield from _gateway(path, adapter_of(name, server), server)
        yield from _template((*path, "arguments"), server.arguments)
        for index, kind in enumerate(server.types or ()):
            if not kind.strip():
                yield Problem((*path, "types", index), "a task type cannot be empty")


def _options(path: Path, adapter: str, server: McpServer) -> Iterator[Problem]:
    kind = OPTIONS.get(adapter)
    if kind is None:
        if server.options:
            yield Problem((*path, "options"), f"is for the adapters {', '.join(OPTIONS)}; this entry has none of them")
        return
    builder = Builder({})
    builder.record(server.options, kind, (*path, "options"))
    yield from builder.problems


def _gateway(path: Path, adapter: str, server: McpServer) -> Iterator[Problem]:
    """What is shown to a gateway elsewhere is secret, so the way there must be encrypted."""
    status = server.options.get("status_url")
    if isinstance(status, str) and status:
        yield from _url((*path, "options", "status_url"), status)
    if adapter == "moltworker" and not (server.url or server.command):
        yield Problem((*path, "url"), "a Moltworker has an address: https://… or wss://…")
    elif adapter == "moltworker" and _in_the_clear(server.url):
        yield Problem((*path, "url"), "would send its headers and token unencrypted; use https:// or wss://")


def _in_the_clear(url: str) -> bool:
    from urllib.parse import urlsplit

    if url_problem(url, ("http", "ws")):
        return False
    return not is_local(urlsplit(url).hostname or "")


def _reach(path: Path, name: str, server: McpServer) -> Iterator[Problem]:
    if server.url not in ("", "stdio", "null:"):
        yield from _url((*path, "url"), server.url, ("http", "https", "ws", "wss"))
    elif transport_of(name, server) is None:
        yield Problem(path, "needs a 'url' (ws://…, http://…), or a 'command' to start")
    if server.command and server.url not in ("", "stdio"):
        yield Problem((*path, "command"), "an entry has a 'url' or a 'command', not both")


def _template(path: Path, value: Any) -> Iterator[Problem]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _template((*path, key), each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _template((*path, index), each)
    elif isinstance(value, str):
        for word in set(PLACEHOLDER.findall(value)) - set(PLACEHOLDERS):
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            yield Problem(path, f"unknown placeholder {{{word}}}{did_you_mean(word, PLACEHOLDERS)} (known: {known})")


def _runbook(config: Config) -> Iterator[Problem]:
    for name, command in config.runbook.items():
        path: Path = ("runbook", name)
        if bool(command.argv) == bool(command.builtin):
            yield Problem(path, "needs 'argv' (a list: the program and its arguments)")
        elif command.argv and not command.argv[0].strip():
            yield Problem((*path, "argv", 0), "the program's name is empty")


def _quiet_hours(config: Config) -> Iterator[Problem]:
    hours, path = config.notify.quiet_hours, ("notify", "quiet_hours")
    if not hours.start and not hours.to:
        return
    if hours.start == hours.to:
        yield Problem(path, "begin and end at the same time; leave both out for no quiet hours")
    elif hours.minutes is None:
        yield Problem(path, f"need a 'from' and a 'to' like \"22:00\", got {hours.start!r} and {hours.to!r}")


def _webhook(config: Config) -> Iterator[Problem]:
    hook, path = config.notify.webhook, ("notify", "webhook")
    if hook.url:
        yield from _url((*path, "url"), hook.url)
    for name, value in hook.headers.items():
        if not _HEADER.fullmatch(name) or not value.isascii() or not value.isprintable():
            yield Problem((*path, "headers", name), "no header is named so, or holds line ends or letters beyond ASCII")
        elif name.lower().startswith(_OWN_HEADERS):
            yield Problem((*path, "headers", name), "is set by Omni itself")


def _repair(config: Config) -> Iterator[Problem]:
    """A repair that may do what does not exist would look safe and be helpless."""
    wanted, known = config.repair.executor, list(config.executors)
    if wanted and wanted not in known:
        near = did_you_mean(wanted, known)
        yield Problem(("repair", "executor"), f"there is no executor {wanted!r}{near} (known: {', '.join(known)})")
    for index, name in enumerate(config.repair.commands):
        if name not in config.runbook_commands:
            text = f"the runbook has no command {name!r}{did_you_mean(name, config.runbook_commands)}"
            yield Problem(("repair", "commands", index), f"{text}; name it under `runbook`")
    for name, server in config.mcp_servers.items():
        if "repair" in server.options and adapter_of(name, server) in REPAIRERS:
            text = "is said in one place, for the whole file: `repair: {commands: […], logs: […]}`"
            yield Problem(("mcp_servers", name, "options", "repair"), text)


def _tiers(config: Config) -> Iterator[Problem]:
    channels = ("litellm", "brainstem", *config.providers)
    names: set[str] = set()
    for index, tier in enumerate(config.tiers):
        if not tier.name or tier.name in names:
            yield Problem(("tiers", index, "name"), f"every tier needs a name of its own, got {tier.name!r}")
        names.add(tier.name)
        if tier.channel not in channels:
            near = did_you_mean(tier.channel, channels)
            text = f"expected one of {', '.join(channels)}, got {tier.channel!r}{near}"
            yield Problem(("tiers", index, "channel"), text)
    if config.tiers and not any(tier.runs_tasks for tier in config.tiers):
        yield Problem(("tiers",), "at least one tier must run tasks")


_RULES: tuple[Callable[[Config], Iterator[Problem]], ...] = (
    _door, _urls, _keys, _providers, _model_list, _servers, _runbook, _repair, _tiers,
    _quiet_hours, _webhook,
)  # fmt: skip


def _idle_servers(config: Config) -> Iterator[str]:
    included = bool(config.include_mcp_servers)
    for name, server in config.mcp_servers.items():
        if not included and not is_executor(name, server) and adapter_of(name, server) != MEMORY:
            yield f"mcp_servers.{name}: takes no tasks, because it names no 'tool' (`omni config schema`)"


def _second_memories(config: Config) -> Iterator[str]:
    used = config.memory.name if config.memory else ""
    for name, server in config.mcp_servers.items():
        if server.enabled and adapter_of(name, server) == MEMORY and used not in ("", name):
            yield f"mcp_servers.{name}: is not used, because there is one memory, and {used} stands before it"


def _paid_before_free(config: Config) -> Iterator[str]:
    paid = ""
    for tier in config.tiers:
        if tier.runs_tasks and tier.cost == "free" and paid:
            yield f"tiers: the paid tier {paid} stands before the free tier {tier.name} and is used first"
        paid = paid or (tier.name if tier.runs_tasks and tier.cost == "paid" else "")


def _keyless_providers(config: Config) -> Iterator[str]:
    for name, provider in config.providers.items():
        if not config.is_usable(name):
            yield (
                f"providers.{name}: has neither a key nor a local address, and is not called; set "
                f"api_keys.primary.{name} and api_keys.backup.{name}, or an api_base on this machine"
            )
        elif not (provider.default_model or provider.models):
            yield f"providers.{name}: nobody says what its models are called; set its default_model"


def _unused_keys(config: Config) -> Iterator[str]:
    keys = config.api_keys
    for name in dict.fromkeys((*keys.primary, *keys.backup)):
        if name not in config.providers:
            yield f"api_keys: the key for {name} is not used; add providers.{name} with its kind and api_base"


def _no_way_around_the_proxy(config: Config) -> Iterator[str]:
    if not config.lite_llm_url or any(config.has_key(name, "backup") for name in config.providers):
        return
    usable = [name for name in config.providers if config.is_usable(name)]
    name = usable[0] if usable else "anthropic"
    yield f"api_keys.backup: there is no key for the time when the proxy is down; set api_keys.backup.{name}"


def _tiers_without_a_way(config: Config) -> Iterator[str]:
    clouds = config.lite_llm_url or any(config.is_usable(name) for name in config.providers)
    for tier in config.tiers:
        where = f"tiers: {tier.name} cannot be used"
        if not tier.runs_tasks:
            continue
        if tier.channel == "litellm" and not clouds:
            yield f"{where}: there is neither a proxy nor a provider with a key; set lite_llm_url, or api_keys.primary"
        elif tier.channel in config.providers and not config.has_key(tier.channel, "primary"):
            yield f"{where}: its channel has no primary key; set api_keys.primary.{tier.channel}"


def _caps_of_nothing(config: Config) -> Iterator[str]:
    known = [*(tier.name for tier in config.model_tiers), *config.providers, "litellm", "brainstem"]
    for name in config.budget.channel_usd:
        if name not in known:
            guess = did_you_mean(name, known)
            yield f"budget.channel_usd.{name}: no tier and no channel has this name, so it caps nothing{guess}"


def _answers_to_nobody(config: Config) -> Iterator[str]:
    notify = config.notify
    if config.intake.reply == "always" and not (notify.channel and notify.target):
        yield "intake.reply: always needs an address, so nothing is sent; set notify.channel and notify.target"


def _notices_without_a_way(config: Config) -> Iterator[str]:
    notify = config.notify
    if bool(notify.channel) != bool(notify.target):
        missing = "target" if notify.channel else "channel"
        yield f"notify.{missing}: is not set, and a channel needs a target: nobody is told by {notify.executor}"
    elif notify.channel and not config.messenger:
        yield (
            f"notify.executor: there is no executor {notify.executor!r} that can send, so nobody is told through it; "
            f"add mcp_servers.{notify.executor}"
        )
    if notify.webhook.url and not notify.webhook.secret:
        yield "notify.webhook: is not called, because nothing can be signed without notify.webhook.secret"


def _limits_that_nobody_keeps(config: Config) -> Iterator[str]:
    """What a repair may do is kept by the adapter that runs it; any other executor does what its own rules let it."""
    repair, name = config.repair, repairer(config)
    if not config.lite_llm_url or not (repair.commands or repair.logs or repair.executor):
        return
    if not name:
        yield "repair: nobody takes repairs; add mcp_servers.claude_code, or name an enabled executor"
    elif config.executors[name].adapter not in REPAIRERS:
        yield f"repair: {name} is no Claude Code of ours, and nobody keeps it to repair.commands and repair.logs"


_ADVICE: tuple[Callable[[Config], Iterator[str]], ...] = (
    _idle_servers, _second_memories, _paid_before_free, _keyless_providers, _unused_keys, unused,
    _no_way_around_the_proxy, _tiers_without_a_way, _caps_of_nothing, _answers_to_nobody, _notices_without_a_way,
    _limits_that_nobody_keeps,
)  # fmt: skip

"""What an entry of `mcp_servers` means: which executor it becomes, and how that is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import replace

from omni.config.adapters import MOLTWORKER

Transport = Literal["stdio", "ws", "http", "null", "bundled"]
OnCrash = Literal["resume", "retry", "ask", "fail"]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]

PLACEHOLDERS = (
    "description", "task_id", "attempt", "key", "workdir", "model", "tier", "base_url", "api_key", "session",
    "handle", "earlier", "resume", "repair", "timeout_s", "context",
)  # fmt: skip
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

ADAPTERS = ("claude_code", "openclaw", "moltworker", "model", "memos", "runbook")
NAMED_ADAPTERS = frozenset({"claude_code", "openclaw", "moltworker", "memos"})
REPAIRERS = frozenset({"claude_code"})  # adapters that let a repair do what it may, and nothing else
MEMORY = "memos"  # an adapter that takes no tasks
GATEWAYS = frozenset({"openclaw", "moltworker"})  # the address in their entries is a Gateway's, not an MCP server's

# What a bundled adapter is good for, unless the entry says otherwise.
_ADAPTER_TRAITS: dict[str, dict[str, Any]] = {
    "claude_code": {"types": ("coding",), "local": True},
    "openclaw": {"types": ("general",)},
    "moltworker": {"types": ("always_on", "gpu"), "always_on": True, "gpu": True},
    "model": {"types": ("general",), "on_crash": "retry"},  # a completion has no effect but its cost
    "runbook": {"types": ("runbook",), "local": True, "needs_cloud": False},
}


class RunbookCommand(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One named command: a fixed argument list, or a report that is built in; never free text."""

    argv: tuple[str, ...] = ()
    builtin: Literal["system_report"] | None = None
    description: str = ""
    timeout_s: Seconds = 60.0
    cwd: str = ""


class McpServer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of `mcp_servers` as a person writes it; None means "left out"."""

    name: str = ""
    url: str = ""
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    cwd: str = ""
    adapter: Literal["claude_code", "openclaw", "moltworker", "model", "memos", "runbook"] | None = None
    options: dict[str, Any] = {}
    tool: str = ""
    arguments: Any = None
    types: tuple[str, ...] | None = None
    keywords: tuple[str, ...] = ()
    local: bool | None = None
    gpu: bool | None = None
    always_on: bool | None = None
    needs_cloud: bool | None = None
    max_concurrency: Annotated[int, Meta(ge=1, le=1024)] = 4
    timeout_s: Seconds = 3600.0
    idle_timeout_s: Seconds = 600.0
    on_crash: OnCrash | None = None
    enabled: bool = True


class ExecutorConfig(Struct, frozen=True, kw_only=True):
    """An executor, with every default filled in.

    `adapter` is empty for a plain MCP server, `options` are the adapter's own (`omni.config.adapters`). `arguments` is
    a template, see `PLACEHOLDERS`. `transport` is "bundled" when the adapter brings its own command.
    """

    name: str
    transport: Transport
    title: str = ""
    url: str = ""
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    cwd: str = ""
    adapter: str = ""
    options: dict[str, Any] = {}
    tool: str = ""
    arguments: Any = None
    types: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    local: bool = False
    gpu: bool = False
    always_on: bool = False
    needs_cloud: bool = True
    max_concurrency: int = 4
    timeout_s: float = 3600.0
    idle_timeout_s: float = 600.0
    on_crash: OnCrash = "resume"
    enabled: bool = True


class Models(NamedTuple):
    """What a configuration says of models: whether one can be reached, and whether all are on this machine."""

    reachable: bool = False
    local_only: bool = False


NO_MODELS = Models()
SYSTEM_REPORT = RunbookCommand(
    builtin="system_report", description="Report this machine's system, load, memory and disk."
)


def adapter_of(name: str, server: McpServer) -> str:
    """Name the adapter of an entry; an explicit `tool` makes a well-known name an ordinary MCP server."""
    if server.adapter:
        return server.adapter
    return name if name in NAMED_ADAPTERS and not server.tool else ""


def is_executor(name: str, server: McpServer) -> bool:
    """Whether the entry takes tasks: it has a tool, an adapter for tasks, or is the dry run."""
    adapter = adapter_of(name, server)
    return adapter != MEMORY and bool(server.tool or adapter or server.url == "null:")


def transport_of(name: str, server: McpServer) -> Transport | None:
    """How the entry is reached; None when it says neither where nor what to start."""
    by_scheme: dict[str, Transport] = {
        "ws": "ws",
        "wss": "ws",
        "http": "http",
        "https": "http",
        "null": "null",
    }
    scheme = server.url.partition(":")[0].lower()
    if scheme in {"ws", "wss", "http", "https"} and adapter_of(name, server) in GATEWAYS:
        return "bundled"
    if server.url and server.url != "stdio":
        return by_scheme.get(scheme)
    if server.command:
        return "stdio"
    return "bundled" if adapter_of(name, server) not in ("", MEMORY) else None


def derive_executors(
    servers: Mapping[str, McpServer], runbook: Mapping[str, RunbookCommand], models: Models = NO_MODELS
) -> dict[str, ExecutorConfig]:
    """Turn the entries that take tasks into executors, in the order of the file; the runbook's comes last.

    With no entry at all there is still the runbook, and `model` where a model can be reached.
    """
    found = {
        name: _executor(name, server, runbook, models) for name, server in servers.items() if is_executor(name, server)
    }
    if not found and models.reachable:
        found["model"] = _executor("model", McpServer(adapter="model"), runbook, models)
        found["runbook"] = _executor("runbook", McpServer(adapter="runbook"), runbook, models)
    has_runbook = any(each.adapter == "runbook" for each in found.values())
    if not has_runbook and (runbook or not found):
        found.setdefault("runbook", _executor("runbook", McpServer(adapter="runbook"), runbook, models))
    return found


def derive_memory(servers: Mapping[str, McpServer]) -> ExecutorConfig | None:
    """The memory: the first enabled entry of its adapter that can be reached. It is no executor, only reached alike."""
    for name, server in servers.items():
        if server.enabled and adapter_of(name, server) == MEMORY and transport_of(name, server) not in (None, "null"):
            return _executor(name, server, {}, NO_MODELS)
    return None


def _executor(name: str, server: McpServer, runbook: Mapping[str, RunbookCommand], models: Models) -> ExecutorConfig:
    adapter = adapter_of(name, server)
    keywords = _runbook_keywords(runbook) if adapter == "runbook" else ()
    return ExecutorConfig(
        name=name,
        title=server.name or name,
        transport=transport_of(name, server) or "bundled",
        adapter=adapter,
        keywords=server.keywords or keywords,
        options=options_of(adapter, server),
        **_traits(adapter, server, models),
        **{field: getattr(server, field) for field in _COPIED},
    )


def _runbook_keywords(runbook: Mapping[str, RunbookCommand]) -> tuple[str, ...]:
    """The names of the commands; the built-in report also answers to what Chinese speakers call it."""
    commands = runbook or {"system_report": SYSTEM_REPORT}
    reports = any(c.builtin == "system_report" for c in commands.values())
    return (*commands, *(("系统报告",) if reports else ()))


_TRAIT_DEFAULTS: dict[str, Any] = {
    "types": (),
    "local": False,
    "gpu": False,
    "always_on": False,
    "needs_cloud": True,
    "on_crash": "resume",
}
_COPIED = (
    "url", "command", "args", "env", "headers", "cwd", "tool", "arguments",
    "max_concurrency", "timeout_s", "idle_timeout_s", "enabled",
)  # fmt: skip


def _traits(adapter: str, server: McpServer, models: Models) -> dict[str, Any]:
    at_home = {"needs_cloud": False} if adapter == "model" and models.local_only else {}
    said = {name: getattr(server, name) for name in _TRAIT_DEFAULTS}
    return {
        **_TRAIT_DEFAULTS,
        **_ADAPTER_TRAITS.get(adapter, {}),
        **at_home,
        **{name: value for name, value in said.items() if value is not None},
    }


def for_repairs(executor: ExecutorConfig, commands: tuple[str, ...], logs: tuple[str, ...]) -> ExecutorConfig:
    """The executor with what a repair may do among its options, where its adapter can keep a repair to that."""
    if executor.adapter not in REPAIRERS:
        return executor
    allowed = {"commands": list(commands), "logs": list(logs)}
    return replace(executor, options={**executor.options, "repair": allowed})


def options_of(adapter: str, server: McpServer) -> dict[str, Any]:
    """The options of an entry, over what its adapter is unless told otherwise."""
    return {**MOLTWORKER, **server.options} if adapter == "moltworker" else server.options

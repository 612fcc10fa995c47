"""What the `options` of an entry may say, for each adapter that comes with Omni."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

OPTIONS_VARIABLE = "OMNI_OPTIONS"  # the options as JSON, for the adapter's process
STATE_VARIABLE = "OMNI_STATE"  # a directory of its own in the data directory

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Count = Annotated[int, Meta(ge=0, le=10_000)]


class Workspaces(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a task in a git repository works: a worktree of its own (`shadow`), or the repository itself (`direct`).

    `prepare`: repositories for which a worktree is made ready before a task asks. Finished worktrees are kept for
    `keep_days`, at most `keep` of them.
    """

    mode: Literal["shadow", "direct"] = "shadow"
    prepare: tuple[str, ...] = ()
    keep: Count = 5
    keep_days: Annotated[float, Meta(ge=0, le=3650)] = 3.0


class RepairWork(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a task that repairs the proxy may do: read these files, and run these commands of the runbook."""

    logs: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


class ClaudeCodeOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Claude Code. `models`: whether its calls go through Omni's model port, or by its own login (`own`).

    `auto` means the port wherever the configuration reaches a model, else its own login. `model` is for its own login,
    empty for its default. `settings`: whose settings files of Claude Code count; `project` and `local` lie in the
    repository and may bring hooks and permissions along. `max_turns` None is no limit. A run without any event for
    `idle_s` is interrupted.
    """

    binary: str = "claude"
    models: Literal["auto", "port", "own"] = "auto"
    model: str = ""
    settings: tuple[Literal["user", "project", "local"], ...] = ("user",)
    permission_mode: Literal["default", "acceptEdits", "plan", "dontAsk"] = "acceptEdits"
    allowed_tools: tuple[str, ...] = ()
    disallowed_tools: tuple[str, ...] = ()
    mcp_config: str = ""
    max_turns: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    idle_s: Seconds = 1800.0
    workspaces: Workspaces = Workspaces()
    repair: RepairWork = RepairWork()


class OpenClawOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """OpenClaw's Gateway. The entry's `url` (ws:// or wss://) is its address and `headers` go along.

    An empty `token` is looked for in OpenClaw's own configuration on this machine. `device`: sign in as a paired device
    with a key of our own; `auto` does so where the Gateway is not on this machine. `status_url` tells whether a gateway
    that is started on demand is there (Moltworker's `/api/status`).
    """

    token: str = ""
    agent: str = "main"
    device: Literal["auto", "always", "never"] = "auto"
    protocols: tuple[int, int] = (4, 4)
    connect_s: Seconds = 15.0
    status_url: str = ""


class MemoryOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A memory over MCP (MemOS): which tools search and add, and how long a search may hold a task up.

    `user` and `conversation` are told to servers that ask for them. An empty `conversation` is one for each task.
    """

    search_tool: str = "search_memory"
    add_tool: str = "add_message"
    hits: Annotated[int, Meta(ge=1, le=50)] = 5
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    user: str = "omni"
    conversation: str = ""


OPTIONS: dict[str, type[Struct]] = {
    "claude_code": ClaudeCodeOptions,
    "openclaw": OpenClawOptions,
    "moltworker": OpenClawOptions,
    "memos": MemoryOptions,
}

# What a Moltworker is unless its entry says otherwise: a cold start of minutes, an older protocol, always elsewhere.
MOLTWORKER: dict[str, Any] = {"device": "always", "protocols": (3, 4), "connect_s": 180.0}

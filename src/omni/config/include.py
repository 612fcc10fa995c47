"""`include_mcp_servers`: MCP servers that other programs already list (`.mcp.json`, Claude Desktop)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omni.config.document import parse_foreign
from omni.config.paths import expand
from omni.config.problems import HINT, Marks, mark_of
from omni.domain.errors import ConfigError

_TAKEN = ("command", "args", "env", "headers", "url", "cwd")


def merge_included(raw: dict[str, Any], marks: Marks, file: Path | None, environ: Mapping[str, str]) -> None:
    """Add the included servers under `mcp_servers`; what the file itself says about a server wins."""
    paths = raw.get("include_mcp_servers")
    own = raw.get("mcp_servers") or {}
    if not isinstance(paths, list) or not isinstance(own, dict):
        return
    for index, each in enumerate(paths):
        if isinstance(each, str):
            where = expand(each, environ, file.parent if file else None)
            own = _merge(own, marks, *_servers(where, str(mark_of(("include_mcp_servers", index), marks))))
    raw["mcp_servers"] = own


def _servers(path: Path, asked_by: str) -> tuple[dict[str, Any], Marks]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{asked_by}: include_mcp_servers: {path} cannot be read: {error}", hint=HINT) from None
    document, marks = parse_foreign(text, str(path))
    servers = document.get("mcpServers")
    if not isinstance(servers, dict):
        raise ConfigError(f"{asked_by}: include_mcp_servers: {path} has no 'mcpServers' block", hint=HINT)
    inside = {path[1:]: mark for path, mark in marks.items() if path[0] == "mcpServers"}
    return servers, inside


def _merge(own: dict[str, Any], marks: Marks, servers: dict[str, Any], inside: Marks) -> dict[str, Any]:
    for path, mark in inside.items():
        if path:
            marks.setdefault(("mcp_servers", *path), mark)
    merged = {name: {**_taken(server), **(own.get(name) or {})} for name, server in servers.items()}
    return {**own, **merged}


def _taken(server: Any) -> dict[str, Any]:
    # Their other keys (type, autoApprove, …) speak to their own program.
    if not isinstance(server, dict):
        return {}
    taken = {key: server[key] for key in _TAKEN if key in server}
    return taken | ({"enabled": False} if server.get("disabled") is True else {})

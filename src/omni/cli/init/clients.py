"""Ready lines: what to run, or to put where, so that a program knows this daemon."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

from msgspec import Struct

from omni.cli.init import openclaw
from omni.cli.init.way import NAME, Way

_DESKTOP = {
    "darwin": "~/Library/Application Support/Claude/claude_desktop_config.json",
    "linux": "~/.config/Claude/claude_desktop_config.json",
}


class Client(Struct, frozen=True):
    """One program. `command` is for a POSIX shell; without one, `entry` goes into `file`."""

    name: str
    title: str
    entry: dict[str, Any]
    command: str = ""
    file: str = ""
    note: str = ""

    @property
    def lines(self) -> list[str]:
        """What a person copies."""
        if self.command:
            return [self.command]
        return [f"into {self.file}:", json.dumps(self.entry, ensure_ascii=False)]


def clients(way: Way) -> list[Client]:
    """The programs that are known to take Omni, each with the way that it speaks."""
    return [_claude_code(way), _cursor(way), _vscode(way), _claude_desktop(way), _openclaw(way)]


def _claude_code(way: Way) -> Client:
    entry = {"type": "ws", "url": way.ws, **way.headers}
    line = f"claude mcp add-json {NAME} {way.in_shell(entry)}"
    return Client("claude_code", "Claude Code", entry, line, note="with --scope user behind add-json: in all projects")


def _cursor(way: Way) -> Client:
    entry = {"mcpServers": {NAME: _bridge(way)}}
    return Client("cursor", "Cursor", entry, file="~/.cursor/mcp.json", note=_by_http(way))


def _vscode(way: Way) -> Client:
    entry = {"name": NAME, **_bridge(way)}
    return Client("vscode", "VS Code", entry, f"code --add-mcp {shlex.quote(json.dumps(entry))}", note=_by_http(way))


def _claude_desktop(way: Way) -> Client:
    file = _DESKTOP.get(sys.platform, _DESKTOP["linux"])
    return Client("claude_desktop", "Claude Desktop", {"mcpServers": {NAME: _bridge(way)}}, file=file)


def _openclaw(way: Way) -> Client:
    entry = openclaw.entry_of(way)
    note = "or let omni init --openclaw --apply do it"
    return Client("openclaw", "OpenClaw", entry, openclaw.line_of(way, entry), note=note)


def _bridge(way: Way) -> dict[str, Any]:
    """Started by the client; it finds the token itself and outlives restarts of the daemon."""
    command, *arguments = way.bridge
    return {"command": command, "args": arguments}


def _by_http(way: Way) -> str:
    token = ", header Authorization: Bearer and what omni token show prints" if way.with_token else ""
    return f"or over HTTP: {way.http}{token}"

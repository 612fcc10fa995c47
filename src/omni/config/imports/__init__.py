"""Configurations of other programs, as keys of ours: their MCP servers, and the models of a LiteLLM proxy.

Nothing is lost without a word: what does not come along is named with the reason. A secret that is written out in such
a file becomes a variable, which is named, and its value is shown nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omni.config.document import MAX_BYTES, parse_foreign
from omni.config.imports import litellm, servers
from omni.config.imports.plan import LeftOut, Plan, Secret
from omni.config.model import Config
from omni.domain.errors import ConfigError

__all__ = ["LeftOut", "Plan", "Secret", "read"]
_KNOWN = "an mcpServers block (.mcp.json, Claude Desktop, Cursor), servers (VS Code), or model_list (LiteLLM)"


def read(file: Path, config: Config | None = None) -> Plan:
    """What a file brings along, beside what a configuration has already.

    Raises ConfigError where it cannot be read, or has nothing that can be imported.
    """
    document = _document(file)
    plan = Plan()
    listed = isinstance(document.get("model_list"), list)
    if not listed and not any(servers.blocks(document)):
        raise ConfigError(f"{file} has none of what can be imported: {_KNOWN}", hint="omni config import FILE")
    if listed:
        litellm.take(plan, document, config or Config())
    servers.take(plan, document, file)
    return plan


def _document(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file} is larger than {MAX_BYTES // 1024} KiB", hint="omni config import FILE")
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start})", hint=f"file {file}") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", hint=f"ls -l {file}") from None
    return parse_foreign(text, str(file))[0]

"""What one entry of the configuration says about its gateway, and the token that OpenClaw keeps on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from omni.adapters.openclaw.urls import as_socket, page
from omni.config import is_loopback
from omni.config.adapters import MOLTWORKER, OpenClawOptions
from omni.config.document import without_comments
from omni.domain.errors import ConfigError
from omni.executors.bundled import Options

DEFAULT_URL = "ws://127.0.0.1:18789"
STATUS_PATH = "/api/status"  # of a Moltworker
ADMIN_PATH = "/_admin/"
MAX_CONFIG_BYTES = 4 * 1024 * 1024


class Settings(msgspec.Struct, frozen=True):
    """Where the gateway is, and who we are to it."""

    url: str = DEFAULT_URL
    headers: dict[str, str] = {}
    token: str = ""
    agent: str = "main"
    signs: bool = False
    protocols: tuple[int, int] = (4, 4)
    connect_s: float = 15.0
    status_url: str = ""
    admin_url: str = ""  # where people approve devices; empty where they do so by OpenClaw's own command

    @property
    def aged(self) -> bool:
        """Whether the gateway may be so old that newer forms of `connect` would be refused (protocol 3)."""
        return self.protocols[0] < 4

    @property
    def near(self) -> bool:
        """Whether the gateway is on this machine."""
        return is_near(self.url)


def is_near(url: str) -> bool:
    """Whether an address is one of this machine."""
    return is_loopback(urlsplit(url).hostname or "")


def settings_of(told: Options, environ: Mapping[str, str]) -> Settings:
    """The settings of one entry; ConfigError names what cannot be used."""
    defaults = MOLTWORKER if told.adapter == "moltworker" else {}
    try:
        options = msgspec.convert({**defaults, **told.options}, OpenClawOptions)
    except msgspec.ValidationError as error:
        raise ConfigError(f"mcp_servers.{told.name}.options: {error}") from error
    elsewhere = told.adapter == "moltworker"
    url = as_socket(told.url) if elsewhere else told.url or DEFAULT_URL
    if urlsplit(url).scheme not in {"ws", "wss"}:
        raise ConfigError(f"mcp_servers.{told.name}.url: a gateway's address begins with ws:// or wss://, not {url!r}")
    near = is_near(url)
    return Settings(
        url=url,
        headers=told.headers,
        token=options.token or (kept_token(environ) if near and not elsewhere else ""),
        agent=options.agent,
        signs=options.device == "always" or (options.device == "auto" and not near),
        protocols=options.protocols,
        connect_s=options.connect_s,
        status_url=options.status_url or (page(url, STATUS_PATH) if elsewhere else ""),
        admin_url=page(url, ADMIN_PATH) if elsewhere else "",
    )


def kept_token(environ: Mapping[str, str]) -> str:
    """The token in OpenClaw's own configuration on this machine; empty where there is none that can be read."""
    if token := environ.get("OPENCLAW_GATEWAY_TOKEN"):
        return token
    found: Any = read_config(config_path(environ))
    for key in ("gateway", "auth", "token"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def read_config(path: Path) -> Any:
    """OpenClaw's configuration: it writes JSON, and people may write comments and trailing commas into it (JSON5)."""
    try:
        text = path.read_bytes()[:MAX_CONFIG_BYTES].decode("utf-8", "replace")
    except OSError:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return _relaxed(text)


def _relaxed(text: str) -> Any:
    """Without its comments, nearly all JSON5 is YAML."""
    try:
        return yaml.safe_load(without_comments(text))
    except yaml.YAMLError:
        return None


def config_path(environ: Mapping[str, str]) -> Path:
    """Where OpenClaw keeps its configuration."""
    if path := environ.get("OPENCLAW_CONFIG_PATH"):
        return Path(path).expanduser()
    state = environ.get("OPENCLAW_STATE_DIR")
    home = Path(environ["HOME"]) if "HOME" in environ else Path.home()
    return (Path(state).expanduser() if state else home / ".openclaw") / "openclaw.json"

"""The way to this daemon, as another program has to be told it: its address, its token, and the bridge for stdio."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from omni.config import Loaded

NAME: Final = "omni"  # what the server is called there; its tools are omni__create_task and so on


class Way(Struct, frozen=True):
    """What leads to one daemon. `base`: its HTTP address; `config`: its file, None where it has none."""

    base: str
    data_dir: Path
    config: Path | None = None
    with_token: bool = True

    @property
    def http(self) -> str:
        """The address for clients that speak MCP over HTTP."""
        return f"{self.base}/mcp"

    @property
    def ws(self) -> str:
        """The address for clients that speak MCP over WebSocket."""
        return f"{self.base.replace('http', 'ws', 1)}/ws"

    @property
    def bridge(self) -> list[str]:
        """The command line that a client starts which speaks stdio only; it finds the token itself."""
        host, _, port = self.base.partition("://")[2].rpartition(":")
        words = ["--data-dir", str(self.data_dir), "--host", host.strip("[]"), "--port", port]
        config = ["--config", str(self.config)] if self.config else []
        return [*omni(), "mcp", *words, *config]

    @property
    def token(self) -> str:
        """What a shell puts the token of this very daemon in place of."""
        said = [NAME] if shutil.which(NAME) else omni()
        return f"$({shlex.join([*said, 'token', 'show', '--data-dir', str(self.data_dir)])})"

    @property
    def headers(self) -> dict[str, Any]:
        """The headers of an entry, the token left for the shell; nothing where nobody asks for one."""
        return {"headers": {"Authorization": f"Bearer {self.token}"}} if self.with_token else {}

    def in_shell(self, entry: dict[str, Any]) -> str:
        """An entry as one word for a POSIX shell; its `$(…)` for the token is left for the shell to carry out."""
        text = json.dumps(entry, ensure_ascii=False)
        if "headers" not in entry:
            return shlex.quote(text)
        inside = _escaped(json.dumps(self.token, ensure_ascii=False)[1:-1])
        return f'"{_escaped(text).replace(inside, self.token)}"'


def way_of(loaded: Loaded) -> Way:
    """The way to the daemon that runs by a configuration."""
    from omni.config.settings import own_url

    config = loaded.config
    path = loaded.path.absolute() if loaded.path else None
    return Way(own_url(config.host, config.port), Path(config.data_dir), path, config.auth != "none")


def omni() -> list[str]:
    """How another program starts us, from whatever directory."""
    beside = str(Path(sys.executable).with_name(NAME))  # in a virtual environment that is not on the PATH
    found = shutil.which(NAME) or shutil.which(beside)
    return [found] if found else [sys.executable, "-m", "omni.cli.main"]


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in '\\"`$' else char for char in text)

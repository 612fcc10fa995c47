"""Where the daemon is, as far as a file says that cannot be used: it may run by what stood there before."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from omni.config.environment import with_env_file
from omni.config.model import Config
from omni.config.paths import data_dir, find_file
from omni.domain.errors import ConfigError

_LINE = re.compile(
    r"^(host|port|data_dir)[ \t]*:[ \t]*[\"']?([^\"'#\s$][^\"'#$\n]*?)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE
)
_VARIABLES = {"host": "OMNI_HOST", "port": "OMNI_PORT", "data_dir": "OMNI_DATA_DIR"}


class Whereabouts(Struct, frozen=True):
    """Address and data directory."""

    host: str
    port: int
    data_dir: str


def whereabouts(
    path: Path | None, overrides: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> Whereabouts:
    """Flags over environment over the plain lines of the file over defaults; what makes no sense says nothing."""
    environ = _forgiving(environ)
    file = find_file(path, environ)
    said: dict[str, Any] = {key: text.strip() for key, text in _LINE.findall(_text(file))}
    from_file = said.get("data_dir")
    said |= {key: environ[name] for key, name in _VARIABLES.items() if environ.get(name)}
    said |= {key: value for key, value in overrides.items() if value is not None}
    base = file.parent if file and said.get("data_dir") == from_file else None
    port = str(said.get("port", ""))
    directory = data_dir(str(said.get("data_dir") or ""), environ, base)
    return Whereabouts(
        str(said.get("host") or Config().host), int(port) if port.isdecimal() else Config().port, str(directory)
    )


def _forgiving(environ: Mapping[str, str]) -> Mapping[str, str]:
    try:
        return with_env_file(environ)
    except ConfigError:
        return environ


def _text(file: Path | None) -> str:
    try:
        return file.read_text("utf-8", "replace") if file else ""
    except OSError:
        return ""

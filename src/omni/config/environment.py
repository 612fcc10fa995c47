"""The file of variables that a service reads in place of a shell's environment: `NAME=value`, one a line, mode 0600.

A service manager gives its programs a bare environment, and what stands in a plist or a unit anybody may read. So the
definition of the service names this file (`OMNI_ENV_FILE`) and holds no secret itself (ADR-0054).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from omni.domain.errors import ConfigError

VARIABLE = "OMNI_ENV_FILE"
PRIVATE = 0o600
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
_HEAD = "# Variables of the Omni service. Only you may read this file: it holds secrets.\n"


def with_env_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, and beneath it what the file says that it names. Raises ConfigError for a file that is unfit."""
    named = environ.get(VARIABLE)
    return {**read_env_file(Path(named)), **environ} if named else environ


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in a file; a missing file holds none. Raises ConfigError when others may read it."""
    try:
        state = path.stat()
        if state.st_mode & 0o077 or state.st_uid != os.geteuid():
            raise ConfigError(f"{path} holds secrets and is not yours alone to read", hint=f"chmod 600 {path}")
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint=f"ls -l {path}") from None
    return dict(_variables(text, path))


def keep(path: Path, given: Mapping[str, str]) -> None:
    """Write variables into the file; the others that it holds stay. Others cannot read it, not for a moment.

    Raises ConfigError for a value that one line cannot say: its next line would be another variable.
    """
    from omni.drafts import replace_private

    lines = [_line(name, value, path) for name, value in {**read_env_file(path), **given}.items()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_private(path, _HEAD + "".join(f"{line}\n" for line in lines))


def _line(name: str, value: str, path: Path) -> str:
    """The line that is read back as this value."""
    if value.splitlines() != [value] * bool(value) or not _is_text(value):
        raise ConfigError(
            f"the value of {name} has several lines or is no text, and {path} keeps one line for each variable",
            hint=f"put it into a file that only you can read, let the configuration name that, and leave {name} out",
        )
    as_it_is = value == value.strip() == _unquoted(value)
    return f"{name}={value}" if as_it_is else f'{name}="{value}"'


def _is_text(value: str) -> bool:
    return not any("\ud800" <= each <= "\udfff" for each in value)  # bytes of an environment that are no UTF-8


def _variables(text: str, path: Path) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        match = _LINE.fullmatch(said)
        if match is None:
            raise ConfigError(
                f"{path}, line {number}: not NAME=value",
                hint=f"$EDITOR {path}: one variable a line, # begins a comment",
            )
        found.append((match[1], _unquoted(match[2].strip())))
    return found


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value

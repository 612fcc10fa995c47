"""What a service manager is told to run: absolute paths and numbers, no secret, nothing that depends on a shell."""

from __future__ import annotations

import math
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from omni.config import Config
from omni.config.environment import VARIABLE
from omni.domain.errors import ConfigError
from omni.logs import SAID

NAME = "omni"
ENV_FILE = "service.env"
MARK = "OMNI_SERVICE"  # tells the daemon by which name it is managed
FILES = 8_192  # open at once
PAUSE_S = 10  # between an end and the next start; launchd knows no less
STOP_S = 25.0  # for all that follows the drain: calls, door, notices, executors, actors
USUAL_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
# What executors, adapters and their launchers are called; folders of the installer's PATH that hold one are kept.
PROGRAMS = (
    "claude", "openclaw", "node", "npx", "bun", "deno", "uv", "uvx", "python3", "git", "gh", "docker", "tailscale",
    "ollama", "litellm",
)  # fmt: skip


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `name` tells several on one machine apart; all paths are absolute."""

    name: str
    program: tuple[str, ...]
    data_dir: Path
    env_file: Path
    path: tuple[str, ...]
    environment: dict[str, str] = {}
    stop_within_s: int = 0
    user: str = ""  # for a daemon of the whole machine, which nobody has to log in for

    @property
    def said(self) -> Path:
        """Where the process's own words go."""
        return self.data_dir / "logs" / SAID

    @property
    def variables(self) -> dict[str, str]:
        """Its whole environment, but for what the manager adds."""
        return {"PATH": ":".join(self.path), VARIABLE: str(self.env_file), MARK: self.name, **self.environment}


def make_plan(
    config: Config,
    file: Path | None,
    environ: Mapping[str, str],
    *,
    name: str = NAME,
    options: Iterable[str] = (),
) -> Plan:
    """The service that serves this configuration. `options`: what the command line itself says, as --port. Raises
    ConfigError for a name that cannot be one.
    """
    if not name.isascii() or not name.replace("-", "").isalnum() or name.startswith("-"):
        raise ConfigError(
            f"{name!r} is no name for a service", hint="omni service install --name NAME, of letters, digits and - only"
        )
    data_dir = Path(config.data_dir)
    where = ["--data-dir", str(data_dir), *(("--config", str(file.absolute())) if file else ())]
    return Plan(
        name=name,
        program=_in_a_line((*_omni(), "serve", *where, *options)),
        data_dir=data_dir,
        env_file=data_dir / ENV_FILE,
        path=search_path(environ, _commands(config)),
        stop_within_s=stop_within_s(config),
    )


def _in_a_line(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words, where a definition can hold them: behind a line break the rest would be a directive of its own."""
    for word in words:
        if not word.isprintable() or word.endswith("\\"):
            raise ConfigError(
                f"no service can be told of {word!r}",
                hint="rename it without control characters, then omni service install",
            )
    return words


def stop_within_s(config: Config) -> int:
    """How long a stop may take, the drain included, before the manager ends it by force."""
    return math.ceil(config.limits.drain_s + STOP_S)


def search_path(environ: Mapping[str, str], commands: Iterable[str] = ()) -> tuple[str, ...]:
    """The installer's PATH without what no service should look into: folders that hold nothing for it, that are not
    absolute, or that others may write to.
    """
    wanted = (*PROGRAMS, *commands)
    given = dict.fromkeys(environ.get("PATH", "").split(os.pathsep))
    useful = [folder for folder in given if _fit(folder) and any(shutil.which(each, path=folder) for each in wanted)]
    beside = str(Path(sys.executable).parent)
    return tuple(dict.fromkeys([beside, *useful, *USUAL_PATH]))


def _fit(folder: str) -> bool:
    if not folder.startswith("/") or ":" in folder or not folder.isprintable():
        return False
    try:
        mode = Path(folder).stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and not mode & stat.S_IWOTH


def _commands(config: Config) -> list[str]:
    """The programs that executors are started with, where they are given by name."""
    return [each.command for each in config.executors.values() if each.command and "/" not in each.command]


def _omni() -> tuple[str, ...]:
    """This very Omni: the interpreter of the installation by its own path, so that a virtual environment stays one."""
    return (str(Path(sys.executable).absolute()), "-m", "omni.cli.main")

"""What doctor looks at: one installation on one machine. A test builds a scene with other eyes."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from omni.config import Config, Loaded, is_loopback, log_path, token_path
from omni.config.settings import own_url
from omni.domain.errors import ConfigError
from omni.eventlog.file_system import Mount, mount_of
from omni.runtime.ports import SystemClock
from omni.runtime.process import MOST_FILES

RUN_S = 5.0


class Ran(NamedTuple):
    """How a program ended; `code` None: it could not be run, or took too long."""

    code: int | None
    out: str = ""


class Space(NamedTuple):
    """Room on a disk, in bytes."""

    free: int
    total: int


def run(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Ran:
    """Run a program and read what it prints; never a shell, and never for longer than RUN_S."""
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, and none of them from outside
            list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_S, check=False, env=environ
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return Ran(None)
    return Ran(done.returncode, (done.stdout or done.stderr).decode("utf-8", "replace"))


def space(path: Path) -> Space:
    """The room on the disk of a path, as an ordinary user may use it. Raises OSError."""
    found = os.statvfs(path)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def file_limit() -> int:
    """How many files a daemon of this user can hold open: it raises its own limit as far as the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)


@dataclass(frozen=True)
class Machine:
    """The machine, as far as doctor asks it anything that a test would want to answer otherwise."""

    platform: str = sys.platform
    python: tuple[int, ...] = sys.version_info[:3]
    run: Callable[[Sequence[str], Mapping[str, str] | None], Ran] = run
    space: Callable[[Path], Space] = space
    file_limit: Callable[[], int] = file_limit
    mount: Callable[[Path], Mount | None] = mount_of
    wall_ms: Callable[[], int] = field(default_factory=lambda: SystemClock().wall_ms)


@dataclass(frozen=True)
class Scene:
    """One installation. `refusal` says why `loaded` is no more than the defaults."""

    loaded: Loaded
    refusal: ConfigError | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    machine: Machine = Machine()
    options: tuple[str, ...] = ()  # of this command line, which a service would have to be given too

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.loaded.config

    @property
    def data_dir(self) -> Path:
        """Where log, token and files are."""
        return Path(self.config.data_dir)

    @property
    def log(self) -> Path:
        """The event log."""
        return log_path(self.data_dir)

    @property
    def url(self) -> str:
        """Where the daemon is reached from here."""
        return own_url(self.config.host, self.config.port)

    @property
    def near(self) -> bool:
        """Whether the daemon is bound to this machine only."""
        return is_loopback(self.config.host)

    @cached_property
    def token(self) -> str:
        """The login token; empty when it cannot be read."""
        try:
            return token_path(self.data_dir).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    @property
    def secrets(self) -> frozenset[str]:
        """What no finding may show. The token counts once a look has read it: its file may be one that hangs."""
        return self.loaded.secrets | {self.__dict__.get("token", "")} - {""}

    def program(self, name: str, path: str = "") -> str:
        """The full path of a program; empty when it is not there. `path` is another search path."""
        if "/" in name:
            whole = Path(name).expanduser()
            return str(whole) if os.access(whole, os.X_OK) else ""
        return shutil.which(name, path=path or self.environ.get("PATH", "")) or ""


def refused(error: ConfigError, config: Config) -> Scene:
    """The scene where the configuration cannot be used: what does not depend on it is looked at all the same.

    `config` is what the command line and the environment say without the file.
    """
    return Scene(Loaded(config=config, path=None, warnings=[], secrets=frozenset()), error)

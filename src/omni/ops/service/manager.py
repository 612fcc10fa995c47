"""What launchd and systemd have in common: a definition on disk, and a service that is loaded, runs, or does not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from omni.domain.errors import NotFound, OmniError
from omni.drafts import draft
from omni.ops.service.plan import Plan

ANSWER_S = 60.0  # a manager that says nothing for so long will say nothing more
FIRST_LOOK_S, LAST_LOOK_S = 0.02, 0.5


class ServiceError(OmniError):
    """A service manager turned a wish down, or did not carry it out in time."""


class Ran(NamedTuple):
    """How a command of the manager ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its complaint on one line."""
        return " ".join((self.err.strip() or self.out.strip()).split())[:400]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A service as its manager sees it.

    `installed`: the definition is on disk; `current`: and it says what it would say if it were written now, but for
    the PATH, which is another in each shell; `loaded`: the manager knows it; `last_exit`: of the process before, None
    when nobody knows.
    """

    manager: str
    name: str
    label: str
    file: str
    installed: bool
    current: bool
    loaded: bool = False
    running: bool = False
    pid: int | None = None
    last_exit: int | None = None
    starts: int | None = None
    at_login: bool = False
    note: str = ""


class Manager(Protocol):
    """One service manager, for one service."""

    def install(self) -> State:
        """Write the definition, load it and start it; where it is loaded already, only what changed is done anew."""
        ...

    def uninstall(self) -> State:
        """Stop it and take the definition away. Data, configuration and logs stay."""
        ...

    def start(self) -> State:
        """Let it run, unless it does. Raises NotFound when it is not installed."""
        ...

    def stop(self) -> State:
        """End it in order, and leave it ended until somebody starts it or logs in again."""
        ...

    def restart(self) -> State:
        """End it in order and start it anew, as it is installed: what has changed since is taken over by `install`."""
        ...

    def state(self) -> State:
        """How it is. Changes nothing."""
        ...

    def definition(self) -> bytes:
        """What `install` writes."""
        ...


class Commands:
    """Runs the manager's command line program, bounded in time."""

    def __init__(self, program: str, environ: Mapping[str, str] | None = None) -> None:
        self._program = program
        self._environ = environ

    def __call__(self, *words: str) -> Ran:
        """Run it to its end. Raises ServiceError when it is not there or hangs."""
        line = [self._program, *words]
        try:
            done = subprocess.run(  # noqa: S603 - a manager's own program, with words of ours
                line, env=self._environ, capture_output=True, timeout=ANSWER_S, check=False, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise ServiceError(
                f"there is no {self._program} here", hint="omni serve, in a terminal of its own"
            ) from None
        except subprocess.TimeoutExpired:
            raise ServiceError(f"{self._program} {words[0]} does not answer", hint="omni service status") from None
        return Ran(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def until(holds: Callable[[], bool], within_s: float) -> bool:
    """Look until it holds, ever less often; whether it did in time."""
    end, pause = time.monotonic() + within_s, FIRST_LOOK_S
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(LAST_LOOK_S, pause * 1.5)
    return True


def write(file: Path, content: bytes, mode: int) -> bool:
    """Put a file in place as a whole; False when it says that already."""
    if read(file) == content:
        file.chmod(mode)
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with draft(file, content) as fresh:
        fresh.chmod(mode)
        fresh.replace(file)
    return True


def read(file: Path) -> bytes | None:
    """What a file holds; None when there is none."""
    try:
        return file.read_bytes()
    except OSError:
        return None


def prepare(plan: Plan) -> None:
    """Make the directories that a manager wants to be there: it would make them readable by everybody, or fail."""
    for folder in (plan.data_dir, plan.said.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def wanted(file: Path) -> None:
    """Refuse to go on without a definition. Raises NotFound."""
    if not file.exists():
        raise NotFound(f"no service is installed: {file} is not there", hint="omni service install")


def manager_here(plan: Plan, platform: str = sys.platform, *, home: Path | None = None) -> Manager:
    """The manager of this platform. Raises ServiceError where there is none that we know."""
    from omni.ops.service.launchd import Launchd
    from omni.ops.service.systemd import Systemd

    home = home or Path.home()
    if platform == "darwin":
        return Launchd(plan, home=home)
    if platform.startswith("linux"):
        return Systemd(plan, home=home)
    raise ServiceError(f"no service manager is known for {platform}", hint="omni serve, in a terminal of its own")


def words(line: Sequence[str]) -> str:
    """A command as a person would type it."""
    import shlex

    return shlex.join(line)

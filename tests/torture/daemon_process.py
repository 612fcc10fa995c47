"""The real daemon as a process of its own, and everything it leaves behind: children, log, token."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import yaml

MARK = "OMNI_TORTURE_HOME"  # in the environment of the daemon and so of all it starts
READY_WITHIN_S = 30.0
LIMITS = {"crash_loop_starts": 0, "drain_s": 0.2}  # it is killed on purpose, and its long work is not waited for
LOOK_S = 0.01
T = TypeVar("T")


class Someone(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    born: float


class DaemonProcess:
    """One data directory and one port; the daemon in it comes and goes."""

    def __init__(self, home: Path, servers: Mapping[str, Any], *, data_dir: Path | None = None, **keys: Any) -> None:
        self.home = home
        self.data_dir = data_dir or home / "data"
        self.port = free_port()
        self.config = home / "config.yaml"
        keys["limits"] = {**LIMITS, **keys.get("limits", {})}
        self.config.write_text(yaml.safe_dump({"mcp_servers": dict(servers), **keys}), "utf-8")
        self.environ: dict[str, str] = {}  # beside what every daemon of a test has
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        return self.data_dir / "omni.db"

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text("ascii").strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *options: str, before: Callable[[], None] | None = None) -> DaemonProcess:
        """Begin to start; `before` runs in the new process ahead of the daemon."""
        with self._said.open("ab") as said:
            self.process = subprocess.Popen(
                self.command("serve", *options),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                preexec_fn=before,  # noqa: PLW1509 - this process has no threads that hold locks here
            )
        return self

    def run(self, *words: str, within_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Run one command of the command line to its end."""
        return subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=within_s, check=False
        )

    def command(self, *words: str) -> list[str]:
        where = ["--data-dir", str(self.data_dir), "--port", str(self.port), "--config", str(self.config)]
        return [sys.executable, "-m", "omni.cli.main", *words, *where]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMNI_", "LITELLM"))}
        return {
            **kept,
            "PYTHONPATH": "src",
            "HOME": str(self.home),
            "NO_COLOR": "1",
            MARK: str(self.home),
            **self.environ,
        }

    @property
    def answers(self) -> bool:
        """Whether the port takes connections."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ready(self) -> DaemonProcess:
        """Return when the port answers; a daemon that ends instead fails with what it said."""
        until(lambda: self.answers or not self.alive, READY_WITHIN_S, "the daemon's port answers")
        assert self.alive, f"the daemon ended instead of starting:\n{self.said}"
        return self

    def kill(self) -> None:
        """SIGKILL, to this process alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait(self, within_s: float) -> int:
        """The exit code; subprocess.TimeoutExpired when it goes on longer."""
        assert self.process is not None
        return self.process.wait(within_s)

    def terminate(self, within_s: float = 20) -> int:
        """SIGTERM, and the exit code that follows."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait(within_s)

    def marked(self) -> set[Someone]:
        """Every live process that carries our mark in its environment: the daemon and all it started."""
        return {each for each in _someones(str(self.home)) if each.pid != os.getpid()}

    @property
    def _said(self) -> Path:
        return self.home / "said.txt"

    @property
    def said(self) -> str:
        """What the daemon wrote to stdout and stderr, over all its lives."""
        return self._said.read_text("utf-8", "replace") if self._said.exists() else ""

    def end(self) -> None:
        """Leave nothing running, whatever state the test ended in."""
        if self.alive:
            self.kill()
        for each in self.marked():
            if is_alive(each):
                psutil.Process(each.pid).kill()


def is_alive(someone: Someone) -> bool:
    try:
        process = psutil.Process(someone.pid)
        return process.create_time() == someone.born and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _someones(home: str) -> Iterator[Someone]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == home and process.status() != psutil.STATUS_ZOMBIE:
                yield Someone(process.pid, process.create_time())
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's


def until(holds: Callable[[], T], within_s: float, what: str) -> T:
    """Wait for a condition and return what it gave; fails when the time is up."""
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain until {what}"
        time.sleep(LOOK_S)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

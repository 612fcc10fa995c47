"""A command line as a person has it: a real process, an empty HOME, and a daemon that is a process too."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

SRC = str(Path(__file__).parents[2] / "src")
CONFIG = """\
mcp_servers:
  echo: {url: "null:", types: [general]}
  absent: {url: "null:", types: [gpu], enabled: false}
limits: {drain_s: 0.2}
runbook:
  nap: {argv: [sleep, "60"]}
  broken: {argv: ["false"]}
  system_report: {builtin: system_report}
"""


class Omni:
    """Runs `omni` in one home, on one port."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.data_dir = home / "data"
        kept = {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "TMPDIR"}}
        self.environ = {
            **kept,
            "HOME": str(home),
            "PYTHONPATH": SRC,
            "OMNI_DATA_DIR": str(self.data_dir),
            "OMNI_PORT": str(port),
            "TZ": "UTC",
        }

    def __call__(
        self, *words: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            cwd=self.home,
            env={**self.environ, **(environ or {})},
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())

    def json(self, *words: str, code: int = 0, **more: Any) -> dict[str, Any]:
        """Run with --json; stdout must be exactly one document, whatever the exit code."""
        done = self(*words, "--json", **more)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "omni.cli.main", *words]

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*words),
            cwd=self.home,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


class Daemon:
    """`omni serve` in the home of an `Omni`."""

    def __init__(self, omni: Omni) -> None:
        self.omni = omni
        self.errors = omni.home / "serve.stderr"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self.omni.command("serve"),
                cwd=self.omni.home,
                env=self.omni.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        until = time.monotonic() + 20
        while not self._ready():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < until, self.errors.read_text()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(20)

    def _ready(self) -> bool:
        from omni.cli import status
        from omni.domain.errors import DaemonUnreachable

        try:
            return status.fetch("127.0.0.1", self.omni.port, "", "/readyz").get("status") == "ready"
        except DaemonUnreachable:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_omni(home: Path) -> Omni:
    home.mkdir(exist_ok=True)
    return Omni(home, free_port())


@pytest.fixture
def omni(tmp_path: Path) -> Omni:
    """A home where nothing has happened yet and no daemon runs."""
    return make_omni(tmp_path / "home")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Omni]:
    """A home whose daemon runs for the whole module."""
    omni = make_omni(tmp_path_factory.mktemp("served") / "home")
    (omni.home / "config.yaml").write_text(CONFIG)
    daemon = Daemon(omni)
    daemon.start()
    yield omni
    daemon.stop()


@pytest.fixture
def own_daemon(omni: Omni) -> Iterator[Daemon]:
    """A daemon that the test may stop and kill."""
    (omni.home / "config.yaml").write_text(CONFIG)
    daemon = Daemon(omni)
    daemon.start()
    yield daemon
    assert daemon.process is not None
    if daemon.process.poll() is None:
        daemon.stop(signal.SIGKILL)

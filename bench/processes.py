"""The programs under test, each a process of its own: the daemon, the yardstick, the bare MCP server."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil

from bench.wire import Line

ROOT = Path(__file__).resolve().parent.parent
YARDSTICK = "OMNI_YARDSTICK"
READY_WITHIN_S = 60.0
END_WITHIN_S = 20.0
SHM_CHANGES = slice(8, 12)  # of the WAL index's header: counts the transactions of the database

# Bounds of the door and of the executor that would hide what is measured. Everything else is as shipped.
LIMITS = {"connections": 4096, "requests_per_minute": 10_000_000}
DRY_RUN = {"dry": {"url": "null:", "types": ["general"], "on_crash": "retry", "max_concurrency": 1024}}


class Program:
    """A process that listens on a port; a context manager that ends it."""

    def __init__(self, command: Sequence[str], port: int, said: Path, environment: Mapping[str, str]) -> None:
        self.port = port
        self._said = said
        with said.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(environment), cwd=ROOT
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def line(self, subprotocol: str = "") -> Line:
        """A new WebSocket connection to it."""
        return Line(self.port, "", subprotocol)

    def cpu_s(self) -> float:
        """Processor time it and its children have used."""
        me = psutil.Process(self.process.pid)
        times = [each.cpu_times() for each in (me, *me.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def rss_bytes(self) -> int:
        """Memory that it holds."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def settle(self) -> None:
        """Return when it does next to nothing: what it loads late is loaded."""
        deadline = time.perf_counter() + READY_WITHIN_S
        while time.perf_counter() < deadline:
            before = self.cpu_s()
            time.sleep(0.3)
            if self.cpu_s() - before < 0.02:
                return

    def await_word(self, word: str) -> None:
        """Return when it has printed `word`."""
        self._await(lambda: word in self.said, f"it prints {word!r}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def said(self) -> str:
        return self._said.read_text("utf-8", "replace")

    def _await(self, holds: Any, what: str) -> None:
        deadline = time.perf_counter() + READY_WITHIN_S
        while not holds():
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with code {self.process.returncode} before {what}:\n{self.said[-2000:]}")
            if time.perf_counter() > deadline:
                raise TimeoutError(f"waited {READY_WITHIN_S:g} s in vain until {what}:\n{self.said[-2000:]}")
            time.sleep(0.002)


class Daemon(Program):
    """The product, started by its own command line on a data directory; auth and validation as shipped."""

    def __init__(
        self, home: Path, servers: Mapping[str, Any] = DRY_RUN, extra: Mapping[str, Any] | None = None
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.data_dir = home / "data"
        port = free_port()
        config = home / "config.yaml"
        config.write_bytes(
            msgspec.json.encode({"mcp_servers": servers, "limits": LIMITS, **(extra or {})})
        )  # JSON is YAML
        self._where = ["--config", str(config), "--data-dir", str(self.data_dir), "--port", str(port)]
        self.began = time.perf_counter()
        super().__init__([*omni(), *self._where, "serve"], port, home / "said.txt", self.environment)

    def ready(self) -> Self:
        """Return when it says that it is ready."""
        self._await(lambda: answers(self.port, "/readyz"), "/readyz answers 200")
        self.ready_s = time.perf_counter() - self.began
        self.ready_cpu_s = self.cpu_s()
        return self

    def command(self, *words: str) -> list[str]:
        """A command line that talks to this daemon."""
        return [*omni(), *self._where, *words]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMNI_", "LITELLM"))}
        return {**kept, "PYTHONPATH": str(ROOT / "src"), "HOME": str(self.home), "NO_COLOR": "1"}

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text("ascii").strip()

    def line(self, subprotocol: str = "") -> Line:
        return Line(self.port, self.token, subprotocol)

    def status(self) -> Any:
        """What `/api/status` says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/api/status", headers={"Authorization": f"Bearer {self.token}"})
        return msgspec.json.decode(connection.getresponse().read())

    def await_executor(self, name: str) -> None:
        """Return when tasks can go to an executor, and all that loads late is there."""
        self._await(lambda: self._executor_state(name) == "ready", f"the executor {name} is ready")
        self.settle()

    def _executor_state(self, name: str) -> str:
        return next((e["health"]["state"] for e in self.status()["executors"] if e["name"] == name), "unknown")

    def written(self) -> tuple[int, int]:
        """Events and transactions so far, read from outside: head marker and WAL index."""
        from omni.eventlog.marker import marker_path, read_marker

        database = self.data_dir / "omni.db"
        head, _ = read_marker(marker_path(database))
        index = (self.data_dir / "omni.db-shm").read_bytes()
        return head.position if head else 0, int.from_bytes(index[SHM_CHANGES], sys.byteorder)


def omni() -> list[str]:
    """How to call the product: its installed command, or the source tree."""
    script = Path(sys.executable).with_name("omni")
    return [str(script)] if script.exists() else [sys.executable, "-m", "omni.cli.main"]


def bare_server(home: Path) -> Program:
    """An MCP server that is nothing but the SDK and an empty tool."""
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "bench.bare_server", str(port)]
    program = Program(command, port, home / "bare.txt", environment)
    program.await_word("ready")
    return program


def yardstick(home: Path) -> Program | None:
    """The program that OMNI_YARDSTICK names, listening; None when it names none."""
    command = os.environ.get(YARDSTICK, "")
    if not command:
        return None
    port = free_port()
    program = Program([*shlex.split(command), str(port)], port, home / "yardstick.txt", os.environ)
    program.await_word("ready")
    return program


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as probe:
            probe.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in probe.recv(4096).partition(b"\r\n")[0]
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

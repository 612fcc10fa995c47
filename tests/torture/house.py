"""What the tortured daemon works with: one executor of every kind, and a server over ws that outlives every kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.torture.daemon_process import MARK, DaemonProcess, free_port

PEER = Path(__file__).with_name("peer.py")
ARGUMENTS = {"task": "{task_id}", "attempt": "{attempt}", "key": "{key}", "text": "{description}"}


class House:
    """A directory with a daemon, its executors and their ledgers."""

    def __init__(self, home: Path, *, deaf: bool = False) -> None:
        self.home = home
        self._deaf = ("--deaf",) if deaf else ()
        self.ws_port = free_port()
        self.ws_server: subprocess.Popen[bytes] | None = None
        self.daemon = DaemonProcess(home, self._servers())

    def ledgers(self) -> list[Path]:
        return sorted(self.home.glob("*.ledger"))

    def open_ws(self, *options: str) -> None:
        """Start the server that outlives every daemon."""
        line = [sys.executable, str(PEER), str(self._ledger("strict")), "--ws", str(self.ws_port), *options]
        self.ws_server = subprocess.Popen(line, stdout=subprocess.PIPE)
        assert self.ws_server.stdout is not None
        assert self.ws_server.stdout.readline() == b"listening\n"

    def close(self) -> None:
        self.daemon.end()
        if self.ws_server is not None:
            self.ws_server.kill()
            self.ws_server.communicate()

    def _servers(self) -> dict[str, Any]:
        return {
            "dry": {"url": "null:", "types": ["general", "coding"]},
            "quick": self._stdio("quick", on_crash="retry", max_concurrency=16),
            "careful": self._stdio("careful", on_crash="ask"),
            "strict": {
                "url": f"ws://127.0.0.1:{self.ws_port}/",
                "tool": "work",
                "arguments": ARGUMENTS,
                "types": ["gpu"],
                "on_crash": "fail",
            },
            "nested": self._stdio("nested", "--stay", "--spawn", *self._deaf, on_crash="retry"),
        }

    def _stdio(self, name: str, *options: str, **keys: Any) -> dict[str, Any]:
        return {
            "command": sys.executable,
            "args": ["-I", "-S", str(PEER), str(self._ledger(name)), *options],
            "env": {MARK: str(self.home)},
            "tool": "work",
            "arguments": ARGUMENTS,
            "types": [name],
            **keys,
        }

    def _ledger(self, name: str) -> Path:
        return self.home / f"{name}.ledger"

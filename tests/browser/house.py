"""A home with a daemon, a dry executor, and a runbook with a command that takes its time."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cli.conftest import CONFIG, Daemon, Omni, make_omni

__all__ = ["House", "make_house"]


class House:
    """The daemon, and the command line that speaks to it."""

    def __init__(self, omni: Omni) -> None:
        self.omni = omni
        self.daemon = Daemon(omni)
        self.origin = f"http://127.0.0.1:{omni.port}"

    def url(self, path: str) -> str:
        return f"{self.origin}{path}"

    def link(self) -> str:
        """A fresh login link, as the command line prints it."""
        url = str(self.omni.json("dashboard")["url"])
        assert urlsplit(url).path == "/login"
        return url

    def submit(self, text: str, *options: str, code: int = 0) -> dict[str, Any]:
        """Hand in a task and wait until the dry executor has done it."""
        task: dict[str, Any] = self.omni.json("submit", text, "--wait", "30", *options, code=code)["task"]
        return task

    def begin(self, text: str = "nap") -> str:
        """Hand in a task that runs for a minute; its id."""
        task_id: str = self.omni.json("submit", text, "--executor", "runbook")["task"]["id"]
        return task_id

    def position(self) -> int:
        """Where the log ends."""
        position: int = self.omni.json("status")["position"]
        return position

    def kill(self) -> None:
        """As a power cut does, for this process."""
        self.daemon.stop(signal.SIGKILL)

    def end(self) -> None:
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.stop()


def make_house(home: Path) -> House:
    omni = make_omni(home)
    (omni.home / "config.yaml").write_text(CONFIG)
    return House(omni)

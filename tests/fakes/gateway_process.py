"""OpenClaw's fake gateway as a process of its own, which can be killed: what a restart keeps is on disk.

    python -m tests.fakes.gateway_process --port PORT --state DIR

`DIR/state.json` holds sessions, tasks and pairings. `DIR/journal` is for the test: every start, and every run with its
beginning and end, on disk before anybody hears of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from tests.fakes.gateway import FakeGateway
from tests.fakes.processes import FAKE_WITHIN_S, Started
from tests.torture.daemon_process import free_port, until

Json = dict[str, Any]
KEPT = ("tasks", "history", "ledger", "chats", "ran", "messages")
RECOVERS_AFTER_S = 1.5
AGAIN = "Your earlier work on the task below was cut off"  # the first words of a request that goes on with work


class LastingGateway(FakeGateway):
    """A gateway whose memory of tasks outlives it."""

    def __init__(self, port: int, state: Path) -> None:
        super().__init__()
        self.port = port
        self.recovers_after_s = RECOVERS_AFTER_S
        self._file = state / "state.json"
        self._journal = os.open(state / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if self._file.exists():
            kept = json.loads(self._file.read_text("utf-8"))
            self.__dict__ |= kept | {"chats": set(kept["chats"])}

    def _start(self, session: str, run: str, message: str) -> asyncio.Task[Json]:
        beside = [other for other, (where, _) in self._memory.active.items() if where == session]
        again = message.startswith(AGAIN)
        work = super()._start(session, run, message)
        self._keep()
        self._note(begin=run, session=session, again=again, beside=beside)
        return work

    async def _work(self, session: str, run: str, message: str, task: Json) -> Json:
        found = await super()._work(session, run, message, task)
        self._note(end=run, session=session, how=task["status"])
        self._keep()
        return found

    def _keep(self) -> None:
        kept = {name: getattr(self, name) for name in KEPT} | {"chats": sorted(self.chats)}
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(kept), "utf-8")
        draft.replace(self._file)

    def _note(self, **line: Any) -> None:
        whole = {**line, "boot": self.boot_id, "at": time.monotonic()}
        os.write(self._journal, (json.dumps(whole) + "\n").encode())


class GatewayProcess(Started):
    """That process. It keeps its port and its state over restarts."""

    def __init__(self, home: Path) -> None:
        self.state = home / "gateway"
        self.state.mkdir()
        port = free_port()
        line = [sys.executable, "-m", "tests.fakes.gateway_process", "--port", str(port), "--state", str(self.state)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
        super().__init__(line, port, home / "gateway.said", environ)

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def up(self) -> GatewayProcess:
        """Started, and taking connections."""
        self.start()
        until(lambda: self._ended() or self._takes(), 2 * FAKE_WITHIN_S, "the gateway takes connections")
        assert not self._ended(), self.said.read_text("utf-8", "replace")[-3000:]
        return self

    def journal(self) -> list[Json]:
        """What really ran, over all lives."""
        path = self.state / "journal"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def _takes(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


async def _serve(port: int, state: Path) -> None:
    gateway = LastingGateway(port, state)
    await gateway.up()
    gateway._note(up=os.getpid())
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    asyncio.run(_serve(given.port, given.state))


if __name__ == "__main__":
    main()

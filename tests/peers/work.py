"""A daemon with the real Claude Code as its executor, and what can be seen of the work from outside."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import psutil
from tests.failover.scene import Watched
from tests.fakes.processes import MessagesProcess
from tests.peers.claude import KEY, QUIET
from tests.peers.programs import CLAUDE
from tests.torture.daemon_process import DaemonProcess, Someone, is_alive, until

from omni.domain import events as ev

Json = dict[str, Any]
ACCOUNT = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-of-a-test"}
CALLED_WITHIN_S = 40.0
DONE_WITHIN_S = 60.0
FOREVER = "python3 -c 'import time; time.sleep(300)'"  # a bare sleep is refused


def call(tool: str, **given: Any) -> str:
    """The mark of a call."""
    return f"[[tool:{tool}:{json.dumps(given)}]]"


def claude_entry(api: MessagesProcess, *, own_login: dict[str, str] | None = None, **options: Any) -> Json:
    """Claude Code in the configuration, with a login of its own at that API."""
    login = own_login or {"ANTHROPIC_API_KEY": KEY}
    env = {**QUIET, "ANTHROPIC_BASE_URL": api.url, **login}
    told = {"binary": str(CLAUDE), "models": "own", "allowed_tools": ["Bash"], **options}
    return {"url": "stdio", "env": env, "options": told}


class Works(Watched):
    """A daemon whose hands are the real Claude Code, and OpenClaw where an entry for it is given."""

    def __init__(
        self,
        home: Path,
        api: MessagesProcess,
        entry: Json | None = None,
        openclaw: Json | None = None,
        **config: Any,
    ) -> None:
        servers = {"claude_code": entry or claude_entry(api), **({"openclaw": openclaw} if openclaw else {})}
        super().__init__(DaemonProcess(home, servers, **config))
        self.api = api

    def up(self) -> Works:
        self.daemon.start().ready()
        return self

    def do(self, description: str, within_s: float = DONE_WITHIN_S, **params: Any) -> Json:
        """Hand one task in and wait until it has ended, however."""
        return self.ended(self.hand_in(description, **params), within_s)

    def hand_in(self, description: str, **params: Any) -> str:
        """Hand one coding task in; its id."""
        (task_id,) = self.submit(description, type="coding", **params)
        return task_id

    def ended(self, task_id: str, within_s: float = DONE_WITHIN_S, *, held: bool = True) -> Json:
        """The task when it has ended; one that is held has, unless somebody will let it go on."""
        over = {"completed", "failed", "cancelled", *(("held",) if held else ())}

        def task() -> Json | None:
            with contextlib.suppress(TimeoutError):  # a handshake may take long while everything starts
                told = self.task(task_id)
                return told if told["state"] in over else None
            return None

        return until(task, within_s, f"{task_id} has ended") or {}

    def cancel(self, task_id: str) -> None:
        done = self.daemon.run("task", "cancel", task_id)
        assert done.returncode == 0, done.stderr

    def until_asked(self, times: int = 1) -> None:
        """The model was asked so often."""
        until(lambda: len(self.api.asked()) >= times, CALLED_WITHIN_S, f"the model is asked {times} times")

    def hands(self, words: str) -> list[Someone]:
        """Every process below the daemon that is run as those words say: the prompt on a command line is left out."""
        found = []
        for each in psutil.Process(self.daemon.pid).children(recursive=True):
            try:
                if words in " ".join(each.cmdline()[:3]):
                    found.append(Someone(each.pid, each.create_time()))
            except psutil.Error:
                continue  # gone meanwhile
        return found

    def until_gone(self, them: list[Someone], within_s: float = 20) -> None:
        until(lambda: not any(map(is_alive, them)), within_s, f"nothing of {them} is left")

    def story(self, task_id: str) -> list[ev.Event]:
        """All that happened to one task."""
        return [
            each.event for each in self.log() if each.stream == f"task-{task_id}" and isinstance(each.event, ev.Event)
        ]

"""A daemon whose executor is a Moltworker behind the relay, and what can be seen of it from outside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.failover.scene import Watched
from tests.fakes.access_relay import HEADERS, AccessRelay, Aside
from tests.fakes.gateway import TOKEN
from tests.torture.daemon_process import DaemonProcess, until

Json = dict[str, Any]
REQUEST = re.compile(r"approve request ([0-9a-f-]{36}) on")
STATE_WITHIN_S = 90.0  # the daemon's pauses between two tries are up to half a minute
REFERENCES = {"CF-Access-Client-Id": "${CF_ID}", "CF-Access-Client-Secret": "${CF_SECRET}"}


class Far(Watched):
    """The daemon; `relay` lives on the loop `beside` it."""

    def __init__(self, home: Path, relay: AccessRelay, beside: Aside, token: str = TOKEN, **others: Json) -> None:
        entry = {"url": relay.url, "headers": REFERENCES, "options": {"token": token}}
        super().__init__(DaemonProcess(home, {"moltworker": entry, **others}))
        self.daemon.environ = {"CF_ID": HEADERS["CF-Access-Client-Id"], "CF_SECRET": HEADERS["CF-Access-Client-Secret"]}
        self.relay = relay
        self.beside = beside

    def health(self) -> Json:
        """The executor's health as the status shows it."""
        (found,) = (each for each in self.status()["executors"] if each["name"] == "moltworker")
        return dict(found["health"])

    def until_said(self, words: str) -> str:
        """The reason why it takes nothing, once these words are in it."""
        until(lambda: words in str(self.health().get("reason")), STATE_WITHIN_S, f"{words!r} is said: {self.health()}")
        return str(self.health()["reason"])

    def until_ready(self) -> None:
        until(lambda: self.health()["state"] == "ready", STATE_WITHIN_S, "the executor is ready")

    def asked_to_pair(self) -> str:
        """The id of the pairing request, from where people read it."""
        said = self.until_said("needs pairing: ")
        found = REQUEST.search(said)
        assert found, said
        return found[1]

    def ended(self, task_id: str, within_s: float = 60) -> Json:
        over = {"completed", "failed", "cancelled"}
        until(lambda: self.task(task_id)["state"] in over, within_s, f"{task_id} has ended: {self.task(task_id)}")
        return self.task(task_id)

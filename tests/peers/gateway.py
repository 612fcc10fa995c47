"""The least client of OpenClaw's gateway, so that facts are not seen through the adapter that relies on them."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from typing import Any

from tests.peers.openclaw import TOKEN, OpenClawHouse
from websockets.sync.client import connect

Json = dict[str, Any]
ANSWERED_WITHIN_S = 90.0


class Refused(Exception):
    """The gateway said no; `error` is what it said."""

    def __init__(self, error: Json) -> None:
        super().__init__(str(error))
        self.error = error


class GatewayClient:
    """One connection as a local backend; what is asked is answered before the next is asked."""

    def __init__(self, house: OpenClawHouse, *scopes: str) -> None:
        self._open = contextlib.ExitStack()
        self._door = self._open.enter_context(connect(house.ws, max_size=2**26, proxy=None))
        self._ids = itertools.count(1)
        self.events: list[Json] = []
        assert self._next(ANSWERED_WITHIN_S)["event"] == "connect.challenge"
        client = {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"}
        asked = ["operator.read", "operator.write", *scopes]
        who = {"role": "operator", "scopes": asked, "auth": {"token": TOKEN}, "caps": []}
        self.hello = self.ask("connect", minProtocol=4, maxProtocol=4, client=client, **who)

    @property
    def boot(self) -> str:
        return str(self.hello["server"]["bootId"])

    def __enter__(self) -> GatewayClient:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._open.close()

    def begin(self, method: str, **params: Any) -> str:
        """Send a request and do not wait; its id."""
        request = str(next(self._ids))
        self._door.send(json.dumps({"type": "req", "id": request, "method": method, "params": params}))
        return request

    def answer(self, request: str) -> Json:
        """The next answer to that request."""
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while True:
            frame = self._next(deadline - time.monotonic())
            if frame["type"] == "event":
                self.events.append(frame)
            elif frame["id"] == request:
                if not frame["ok"]:
                    raise Refused(frame["error"])
                return dict(frame.get("payload") or {})

    def ask(self, method: str, **params: Any) -> Json:
        return self.answer(self.begin(method, **params))

    def work(self, message: str, session: str, key: str) -> str:
        """Begin a run of the agent; the request's id once the run is accepted."""
        request = self.begin("agent", message=message, agentId="main", sessionKey=session, idempotencyKey=key)
        accepted = self.answer(request)
        assert (accepted["status"], accepted["runId"]) == ("accepted", key)
        return request

    def send(self, text: str, key: str, session: str) -> Json:
        """Send a message to the chat with Ada."""
        return self.ask("send", channel="telegram", to="42", message=text, idempotencyKey=key, sessionKey=session)

    def chats(self) -> list[str]:
        """The chats of Telegram that it has met; wants the scope operator.admin."""
        told = self.ask("conversations.list", agentId="main", channel="telegram", limit=50)
        return [each["target"] for each in told["conversations"]]

    def tasks(self, session: str) -> dict[str, str]:
        """The state of every run of a session, by run."""
        return {each["runId"]: each["status"] for each in self.ask("tasks.list", sessionKey=session)["tasks"]}

    def history(self, session: str) -> list[Json]:
        return list(self.ask("chat.history", sessionKey=session, limit=50)["messages"])

    def _next(self, within_s: float) -> Json:
        frame: Json = json.loads(self._door.recv(max(within_s, 0.001)))
        return frame

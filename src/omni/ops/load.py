"""The work that goes on during a drill: tasks and model calls, a few a second, and what became of each.

Tasks go in through the WebSocket door, one at a time, each under a key of its own: when the daemon goes away before it
has answered, the same task is handed in again, and the key keeps it from being two. Calls go to the model port as any
client's do. Nothing else is tried twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from omni.domain.errors import DaemonUnreachable, NotAuthorised, OmniError

ANSWER_WITHIN_S = 10.0
CALL_WITHIN_S = 30.0
PAUSE_S = 0.1  # before another try at a daemon that is gone
WORKER = "worker"
AUTO = "auto"


class Called(NamedTuple):
    """One model call, on the loop's clock. `status` 0: nobody answered. `channel`: the one that did."""

    began_s: float
    took_s: float
    status: int
    channel: str = ""
    model: str = ""
    retry_after: str = ""

    @property
    def ok(self) -> bool:
        """Whether it brought an answer."""
        return self.status == 200


class Load:
    """Tasks and calls at a daemon; `accepted` maps the mark of each task that was acknowledged to its id."""

    def __init__(self, url: str, token: str, model_key: str) -> None:
        self.accepted: dict[str, str] = {}
        self.calls: list[Called] = []
        self._url = url
        self._token = token
        self._model_key = model_key
        self._count = 0
        self._client = httpx.AsyncClient(trust_env=False, timeout=CALL_WITHIN_S)
        self._running: list[asyncio.Task[None]] = []

    def begin(self, tasks_per_s: float, calls_per_s: float) -> None:
        """Hand in tasks and make calls until `end`."""
        self._running = [
            asyncio.create_task(self._hand_in(1 / tasks_per_s)),
            asyncio.create_task(self.keep_calling(1 / calls_per_s)),
        ]

    async def end(self) -> None:
        """Begin nothing any more; what is under way is given up."""
        running, self._running = self._running, []
        for task in running:
            task.cancel()
        for outcome in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def aclose(self) -> None:
        """End, and let go of the daemon."""
        try:
            await self.end()
        finally:
            await self._client.aclose()

    async def call(self, model: str = AUTO) -> Called:
        """Ask for one completion in one piece; what came of it, and how long that took."""
        now = asyncio.get_running_loop().time
        began = now()
        body = {"model": model, "messages": [{"role": "user", "content": "This is a drill. Say so."}]}
        headers = {"authorization": f"Bearer {self._model_key}"}
        try:
            answer = await self._client.post(f"{self._url}/v1/chat/completions", json=body, headers=headers)
        except httpx.HTTPError:
            return Called(began, now() - began, 0)
        said = answer.headers
        channel, wait = said.get("x-omni-channel", ""), said.get("retry-after", "")
        return Called(began, now() - began, answer.status_code, channel, _model_of(answer), wait)

    async def drill(self, fault: str, seconds: float) -> dict[str, Any]:
        """Ask the daemon for a fault ("none" ends it). Raises OmniError with the daemon's own words."""
        body = {"fault": fault, "seconds": seconds}
        return (await self._api("POST", "/api/drill", body)).get("drill") or {}

    async def status(self) -> dict[str, Any]:
        """What the daemon says of itself."""
        return await self._api("GET", "/api/status")

    async def _api(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            answer = await self._client.request(method, self._url + path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise DaemonUnreachable(f"no daemon answers at {self._url}: {error}", hint="omni serve") from None
        if answer.status_code == 401:
            raise NotAuthorised(f"the daemon at {self._url} does not take this token", hint="omni token show")
        said = answer.json() if answer.headers.get("content-type") == "application/json" else {}
        if answer.status_code != 200:
            refusal = said.get("error") or {"message": f"the daemon answered HTTP {answer.status_code}"}
            raise OmniError(str(refusal["message"]), hint=str(refusal.get("hint") or "omni status"))
        return dict(said)

    # --- what goes on by itself -----------------------------------------------------------------------------------

    async def keep_calling(self, every_s: float) -> None:
        """Make calls until cancelled, one at a time; each is put on `calls`."""
        async for _ in _ticks(every_s):
            self.calls.append(await self.call())

    async def _hand_in(self, every_s: float) -> None:
        while True:
            with contextlib.suppress(WebSocketException, OSError, TimeoutError):
                async with self._connected() as door:
                    async for _ in _ticks(every_s):
                        await self._hand_in_one(door)
            await asyncio.sleep(PAUSE_S)

    def _connected(self) -> connect:
        url = self._url.replace("http", "ws", 1) + "/ws"
        login = {"authorization": f"Bearer {self._token}"}
        return connect(url, additional_headers=login, compression=None, proxy=None, open_timeout=ANSWER_WITHIN_S)

    async def _hand_in_one(self, door: ClientConnection) -> None:
        """Hand in the next task; only an answer makes it the one before."""
        mark = f"drill-task-{self._count}"
        wish = {"description": f"{mark}: say that this is a drill", "executor": WORKER, "wait_s": 0}
        request = {"method": "create_task", "params": {**wish, "idempotency_key": mark}}
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await door.send(msgspec.json.encode(request).decode())
            answer = msgspec.json.decode(await door.recv())
        if "result" in answer:  # an error is no acknowledgement: the same one is tried again
            self.accepted[mark] = answer["result"]["task_id"]
            self._count += 1


async def _ticks(every_s: float) -> AsyncIterator[None]:
    """At once, and then again and again, at a steady pace as far as the time between allows."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        yield
        due = max(due + every_s, loop.time())
        await asyncio.sleep(due - loop.time())


def failed(calls: Iterable[Called]) -> int:
    """How many brought no answer."""
    return sum(not call.ok for call in calls)


def _model_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("model", ""))
    except ValueError:
        return ""

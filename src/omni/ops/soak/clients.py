"""The clients of a soak, and their own ledger: who wanted what, at which door, what was tried, and what was answered.

Every wish comes at its time, whether or not those before it were answered, so a daemon that is slow or gone meets as
many clients as one that is well. A wish has ten seconds, as a person or a script has: within them it is sent again
under the same key, after every refusal and every loss. Odd ones come by WebSocket, even ones by HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from omni.ops.load import WORKER
from omni.runtime.ports import SystemClock

WITHIN_S = 10.0
PAUSE_S = 0.1
TRY_WITHIN_S = 5.0  # of one try; a client that waits longer on a dead wire has no second one
HAND = "hand"
HAND_SHARE = 0.4
TAKES_MS = (50, 800)
PROTOCOL = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientInfo": {"name": "soak", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_LOST = (httpx.HTTPError, WebSocketException, OSError, TimeoutError, EOFError, msgspec.DecodeError)


class Try(NamedTuple):
    """One request to hand a task in, on the loop's clock. `why` is empty when it was acknowledged."""

    began_s: float
    ended_s: float
    door: str
    why: str = ""


class Wish(msgspec.Struct):
    """One task that somebody wants done; `task_id` is empty until it is acknowledged."""

    mark: str
    executor: str
    door: str
    began_s: float
    began_ms: int
    text: str
    ended_s: float | None = None
    task_id: str = ""

    @property
    def params(self) -> dict[str, Any]:
        """As `create_task` takes it."""
        return {
            "description": f"{self.mark}: {self.text}",
            "executor": self.executor,
            "wait_s": 0,
            "idempotency_key": self.mark,
        }


class Clients:
    """All of them; `wishes` and `tries` are their ledger."""

    def __init__(self, url: str, token: str, chance: random.Random) -> None:
        self.wishes: list[Wish] = []
        self.tries: list[Try] = []
        self._url = url
        self._login = {"authorization": f"Bearer {token}"}
        self._chance = chance
        self._client = httpx.AsyncClient(trust_env=False, timeout=TRY_WITHIN_S)
        self._under_way: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._doors: dict[str, Callable[[Wish], Awaitable[str]]] = {"ws": self._over_ws, "http": self._over_http}

    def begin(self, per_s: float) -> None:
        """Wish for tasks, so many a second, until `end`."""
        self._ticking = asyncio.create_task(self._tick(1 / per_s))

    async def end(self) -> None:
        """Wish for nothing more; every wish under way is followed until it is answered or out of time."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait({self._ticking})
            if not self._ticking.cancelled() and (error := self._ticking.exception()):
                raise error
            self._ticking = None
        await asyncio.gather(*self._under_way)

    async def aclose(self) -> None:
        """Give everything up."""
        for task in (self._ticking, *self._under_way):
            if task is not None:
                task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.aclose()

    @property
    def accepted(self) -> dict[str, str]:
        """The id that each mark was acknowledged with."""
        return {wish.mark: wish.task_id for wish in self.wishes if wish.task_id}

    async def _tick(self, every_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            task = asyncio.create_task(self._see_through(self._next()))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            due += every_s
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _next(self) -> Wish:
        number = len(self.wishes)
        by_hand = self._chance.random() < HAND_SHARE
        text = f"takes {self._chance.randint(*TAKES_MS)} ms" if by_hand else "say that this is a soak"
        door = "ws" if number % 2 else "http"
        now = asyncio.get_running_loop().time()
        mark = f"drill-task-{number}"
        wish = Wish(mark, HAND if by_hand else WORKER, door, now, SystemClock().wall_ms(), text)
        self.wishes.append(wish)
        return wish

    async def _see_through(self, wish: Wish) -> None:
        """Send it until it is acknowledged or its time is up."""
        loop = asyncio.get_running_loop()
        until = wish.began_s + WITHIN_S
        while not wish.task_id and loop.time() < until:
            began_s, why = loop.time(), "no answer in time"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(began_s + TRY_WITHIN_S, until)):
                    why = await self._try(wish)
            self.tries.append(Try(began_s, loop.time(), wish.door, why))
            if why:
                await asyncio.sleep(PAUSE_S)
        wish.ended_s = loop.time()

    async def _try(self, wish: Wish) -> str:
        """Send it once; why it was not acknowledged, or nothing."""
        try:
            wish.task_id = await self._doors[wish.door](wish)
        except _LOST as error:
            return f"{type(error).__name__}: {error}"[:200]
        return "" if wish.task_id else "refused"

    async def _over_ws(self, wish: Wish) -> str:
        url = self._url.replace("http", "ws", 1) + "/ws"
        async with connect(url, additional_headers=self._login, compression=None, proxy=None, close_timeout=1) as door:
            await door.send(msgspec.json.encode({"method": "create_task", "params": wish.params}).decode())
            answer = msgspec.json.decode(await door.recv())
        return str((answer.get("result") or {}).get("task_id", ""))

    async def _over_http(self, wish: Wish) -> str:
        params = {"name": "create_task", "arguments": wish.params, "_meta": _META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {
            **self._login,
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": PROTOCOL,
            "mcp-method": "tools/call",
            "mcp-name": "create_task",
        }
        answer = await self._client.post(f"{self._url}/mcp", json=body, headers=headers)
        return _id_in(answer) if answer.status_code == httpx.codes.OK else ""


def _id_in(answer: httpx.Response) -> str:
    """The id of the task in an answer of MCP over HTTP, in one piece or as an event."""
    text = answer.text
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        text = text.partition("data: ")[2].partition("\n")[0]
    result = (msgspec.json.decode(text).get("result") or {}) if text else {}
    content = {} if result.get("isError") else result.get("structuredContent") or {}
    return str(content.get("task", content).get("id", ""))

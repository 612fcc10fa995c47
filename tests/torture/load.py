"""Clients that never rest: they submit as fast as answers come, and remember every word they were given.

What they remember stays in this process, which nobody kills; `judge` holds the log against it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

WINDOW = 8  # requests in flight on one connection
REPEATED = 12  # keyed requests of the last life that each client sends again first
DECISIONS = ("retry", "accept", "fail")
# Share of the requests, who shall do them, and how long they take at most. "" leaves the choice to the router.
MIX: tuple[tuple[float, str, int], ...] = (
    (0.67, "dry", 0),
    (0.14, "quick", 5),
    (0.04, "careful", 250),
    (0.04, "strict", 250),
    (0.04, "nested", 250),
    (0.07, "", 0),
)
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "torture", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
Params = dict[str, Any]


class Ack(NamedTuple):
    """One word of the daemon about one task; `key` when the answer was to a keyed submission."""

    task_id: str
    state: str
    position: int
    key: str


class Book:
    """Everything that clients were told, over all lives of the daemon."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.acks: list[Ack] = []
        self.refused: Counter[str] = Counter()
        self.keyed: dict[str, Params] = {}
        self.fresh_keys: deque[str] = deque(maxlen=200)  # of the lives just past
        self.recent: deque[str] = deque(maxlen=200)
        self._numbers = itertools.count(1)

    def note(self, params: Params, answer: dict[str, Any]) -> None:
        """Keep one answer of the plain dialect."""
        result = answer.get("result")
        if isinstance(result, dict) and "task_id" in result:
            self.acks.append(
                Ack(result["task_id"], result["state"], result["position"], params.get("idempotency_key", ""))
            )
            self.recent.append(result["task_id"])
        else:
            self.refused[str(answer.get("kind") or answer.get("error") or result)] += 1

    def next_task(self) -> Params:
        """A new task by chance; some with a key, and some of these sent before."""
        if self.fresh_keys and self.chance.random() < 0.02:
            return self.keyed[self.chance.choice(self.fresh_keys)]
        (_, executor, most_ms) = self.chance.choices(MIX, [share for share, _, _ in MIX])[0]
        number = next(self._numbers)
        takes = f"{self.chance.randint(0, most_ms)} ms" if most_ms else "no time"
        params: Params = {"description": f"item {number} takes {takes}", "wait_s": self.chance.choice((0, 0, 0, 0.05))}
        if executor:
            params["executor"] = executor
        if self.chance.random() < 0.15:
            key = params["idempotency_key"] = f"key-{number}"
            self.keyed[key] = params
            self.fresh_keys.append(key)
        return params


async def submit(url: str, headers: Mapping[str, str], book: Book) -> None:
    """Speak the plain dialect until the connection dies."""
    again = [book.keyed[key] for key in list(book.fresh_keys)[-REPEATED:]]
    sent: deque[Params] = deque()
    with suppress(OSError, WebSocketException, TimeoutError):
        async with _connected(url, headers) as door:
            for _ in range(WINDOW):
                sent.append(await _ask(door, again.pop() if again else book.next_task()))
            while True:
                answer = json.loads(await door.recv())
                book.note(sent.popleft(), answer)
                sent.append(await _ask(door, again.pop() if again else book.next_task()))


async def meddle(url: str, headers: Mapping[str, str], book: Book) -> None:
    """Cancel tasks and decide about held ones, over MCP, until the connection dies."""
    with suppress(OSError, WebSocketException, TimeoutError):
        async with _connected(url, headers, subprotocols=[Subprotocol("mcp")]) as door:
            call = _caller(door)
            while True:
                await _cancel_one(call, book)
                for task in (await call("list_tasks", {"state": "held", "limit": 4})).get("tasks", ()):
                    told = {"task_id": task["id"], "decision": book.chance.choice(DECISIONS)}
                    _keep(book, await call("resolve_task", told))


async def _cancel_one(call: Callable[..., Any], book: Book) -> None:
    if book.recent:
        _keep(book, await call("cancel_task", {"task_id": book.chance.choice(book.recent)}))


def _keep(book: Book, task: dict[str, Any]) -> None:
    if "id" in task:
        book.acks.append(Ack(task["id"], task["state"], task["position"], ""))
    else:
        book.refused[str(task.get("error", task))[:200]] += 1


def _caller(door: ClientConnection) -> Callable[[str, dict[str, Any]], Any]:
    numbers = itertools.count(1)

    async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        number = next(numbers)
        params = {"name": tool, "arguments": arguments, "_meta": _META}
        await door.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}))
        async for frame in door:
            answer = json.loads(frame)
            if answer.get("id") == number:
                return dict(answer.get("result", {}).get("structuredContent") or {"error": answer})
        raise ConnectionError("the daemon hung up")

    return call


async def _ask(door: ClientConnection, params: Params) -> Params:
    await door.send(json.dumps({"method": "create_task", "params": params}))
    return params


def _connected(url: str, headers: Mapping[str, str], **options: Any) -> Any:
    return connect(url, additional_headers=headers, compression=None, proxy=None, ping_interval=None, **options)


class Load:
    """Several clients at once, for one life of the daemon."""

    def __init__(self, url: str, headers: Mapping[str, str], book: Book, clients: int = 4) -> None:
        doors = [submit(url, headers, book) for _ in range(clients)]
        self._tasks = [asyncio.create_task(each) for each in (*doors, meddle(url, headers, book))]

    async def over(self) -> None:
        """Return when every connection has died; what a client stumbled over is raised."""
        _, late = await asyncio.wait(self._tasks, timeout=20)
        assert not late, "a client still waits although the daemon is dead"
        for each in self._tasks:
            each.result()

"""Clients in a storm: they hand in tasks, call models, cancel and decide, and remember what they were told and when.

Every task has an idempotency key and is sent again until it is acknowledged: what was acknowledged is what counts. The
key is the task's marker too (`mark:…` in its text), by which the journals of the fakes know it. Times are seconds on
the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter, deque
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
from tests.failover.scene import PATHS
from tests.torture.daemon_process import DaemonProcess
from tests.torture.load import DECISIONS, _caller, _connected
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

ANSWER_WITHIN_S = 10.0
CALL_WITHIN_S = 25.0
MIX = {"model": 5, "work": 2, "careful": 1, "dry": 2}
LOST = (OSError, WebSocketException, TimeoutError)
# The last words of a stream that is whole.
ENDS = {"chat": "[DONE]", "messages": "message_stop", "responses": "response.completed"}


class Submission(NamedTuple):
    """One try to hand a task in."""

    key: str
    executor: str
    began: float
    ended: float
    told: str  # the state of an acknowledged task, else what went wrong
    task_id: str = ""


class ModelCall(NamedTuple):
    """One call through the model port; `first` is when its answer began."""

    mark: str
    dialect: str
    began: float
    first: float
    ended: float
    outcome: str  # good, or what went wrong
    channel: str = ""


class Crowd:
    """All clients of one storm; `stop` lets them come to an end."""

    def __init__(self, daemon: DaemonProcess, model_key: str, seed: int) -> None:
        self.daemon = daemon
        self.chance = random.Random(seed)
        self.submissions: list[Submission] = []
        self.calls: list[ModelCall] = []
        self.meddling: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._recent: deque[str] = deque(maxlen=6)
        self._numbers = itertools.count(1)
        self._model_key = model_key
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def acknowledged(self) -> dict[str, set[str]]:
        """The ids that each key was answered with."""
        told: dict[str, set[str]] = {}
        for each in self.submissions:
            if each.task_id:
                told.setdefault(each.key, set()).add(each.task_id)
        return told

    def start(self, submitters: int = 2, callers: int = 3) -> None:
        doors = [self._submit() for _ in range(submitters)]
        streams = [self._call_models() for _ in range(callers)]
        self._tasks = [asyncio.create_task(each) for each in (*doors, *streams, self._meddle())]

    async def stop(self) -> None:
        """Return when every client has ended; what one stumbled over is raised."""
        self._stopped.set()
        await asyncio.gather(*self._tasks)

    async def _rest(self, least_s: float, most_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), self.chance.uniform(least_s, most_s))

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def _submit(self) -> None:
        """Hand tasks in until it is over, each until it is acknowledged."""
        params = self._next_task()
        while not self._stopped.is_set():
            with suppress(*LOST):
                async with _connected(self.daemon.url, self.daemon.headers, open_timeout=5) as door:
                    while not self._stopped.is_set():
                        await self._hand_in(door, params)
                        params = self._next_task()
                        await self._rest(0.1, 0.9)
            await self._rest(0.05, 0.2)

    async def _hand_in(self, door: Any, params: dict[str, Any]) -> None:
        """Raises what breaks the connection; anything but an acknowledgement counts as broken."""
        began = time.monotonic()
        try:
            await door.send(json.dumps({"method": "create_task", "params": params}))
            answer = json.loads(await asyncio.wait_for(door.recv(), ANSWER_WITHIN_S))
        except LOST as error:
            self._noted(params, began, type(error).__name__)
            raise
        if "result" not in answer:
            self.refused[str(answer)[:200]] += 1
            self._noted(params, began, "refused")
            raise ConnectionError
        result = answer["result"]
        self._noted(params, began, result["state"], result["task_id"])
        self._recent.append(result["task_id"])

    def _noted(self, params: dict[str, Any], began: float, told: str, task_id: str = "") -> None:
        key, executor = params["idempotency_key"], params["executor"]
        self.submissions.append(Submission(key, executor, began, time.monotonic(), told, task_id))

    def _next_task(self) -> dict[str, Any]:
        executor = self.chance.choices(list(MIX), list(MIX.values()))[0]
        key = f"{executor}-{next(self._numbers)}"
        text = f"mark:{key} takes {self.chance.randint(0, 2000)} ms"
        return {"description": text, "executor": executor, "idempotency_key": key, "wait_s": 0}

    # --- cancelling and deciding ----------------------------------------------------------------------------------

    async def _meddle(self) -> None:
        """Cancel a task and decide about a held one, now and then."""
        while not self._stopped.is_set():
            with suppress(*LOST):
                door = _connected(self.daemon.url, self.daemon.headers, subprotocols=[Subprotocol("mcp")])
                async with door as connection:
                    call = _caller(connection)
                    while not self._stopped.is_set():
                        await asyncio.wait_for(self._meddle_once(call), ANSWER_WITHIN_S)
                        await self._rest(1, 3)
            await self._rest(0.2, 0.5)

    async def _meddle_once(self, call: Any) -> None:
        if self._recent and self.chance.random() < 0.5:
            told = await call("cancel_task", {"task_id": self.chance.choice(self._recent)})
            self.meddling["cancel: " + str(told.get("state", "refused"))] += 1
        held = (await call("list_tasks", {"state": "held", "limit": 4})).get("tasks", ())
        if held and self.chance.random() < 0.5:
            decision = self.chance.choice(DECISIONS)
            told = await call("resolve_task", {"task_id": held[0]["id"], "decision": decision})
            self.meddling[f"{decision}: {told.get('state', 'refused')}"] += 1

    # --- model calls ----------------------------------------------------------------------------------------------

    async def _call_models(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(CALL_WITHIN_S, connect=5)) as client:
            while not self._stopped.is_set():
                await self._call_model(client)
                await self._rest(0.05, 0.4)

    async def _call_model(self, client: httpx.AsyncClient) -> None:
        dialect = self.chance.choice(("chat", "chat", "messages", "responses"))
        mark, began = f"call-{next(self._numbers)}", time.monotonic()
        stream = self.chance.random() < 0.8
        seen: dict[str, Any] = {"first": 0.0, "channel": ""}
        try:
            async with asyncio.timeout(CALL_WITHIN_S):
                outcome = await self._ask(client, dialect, mark, stream, seen)
        except (httpx.HTTPError, TimeoutError) as error:
            outcome = "lost" if seen["first"] else f"no answer: {type(error).__name__}"
        call = ModelCall(mark, dialect, began, seen["first"], time.monotonic(), outcome, seen["channel"])
        self.calls.append(call)

    async def _ask(self, client: httpx.AsyncClient, dialect: str, mark: str, stream: bool, seen: dict[str, Any]) -> str:
        text = f"mark:{mark}"
        body: dict[str, Any] = {"model": self.chance.choice(("fast", "heavy", "auto")), "stream": stream}
        said = {"input": text} if dialect == "responses" else {"messages": [{"role": "user", "content": text}]}
        url = f"http://127.0.0.1:{self.daemon.port}{PATHS[dialect]}"
        headers = {"Authorization": f"Bearer {self._model_key}"}
        whole = {**body, **said, **({} if dialect == "responses" else {"max_tokens": 64})}
        async with client.stream("POST", url, json=whole, headers=headers) as response:
            got = ""
            async for chunk in response.aiter_text():
                seen["first"] = seen["first"] or time.monotonic()
                seen["channel"] = response.headers.get("x-omni-channel", "")
                got += chunk
        if response.status_code != 200:
            return f"HTTP {response.status_code}"
        return "good" if (ENDS[dialect] in got if stream else mark in got) else "broken"

"""What the model port says to the actors: may this call be made, how did it end, what did it show.

A reservation is durable before its call leaves, and every one that was granted is settled, for until then its estimate
counts as if it were spent. So whoever gives up waiting for one settles it at once: the Router takes what it is sent in
order, and a settlement of what it did not grant changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from omni.domain.commands import CallAnswered, Observed, Refusal, ReserveCall, SettleCall
from omni.domain.verdict import Verdict
from omni.runtime.post import Post

ROUTER, HEALTH, PORT = "router", "health", "port"
NO_ANSWER = Refusal("storage_unavailable", "the daemon took too long to reserve the call", "omni status")


class Books:
    """Reservations and settlements by post. Loop only."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._open: dict[str, asyncio.Future[CallAnswered]] = {}
        self._outbox: list[Any] = []

    def receive(self, answer: CallAnswered) -> None:
        """Hand the Router's answer to the call that waits for it."""
        waiting = self._open.get(answer.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def reserve(self, asked: ReserveCall, within_s: float) -> CallAnswered:
        """The Router's answer; a refusal when there is none in time."""
        waiting: asyncio.Future[CallAnswered] = asyncio.get_running_loop().create_future()
        self._open[asked.request] = waiting
        self._say(asked)
        try:
            async with asyncio.timeout(within_s):
                return await waiting
        except TimeoutError:
            self._give_up(asked)
            return CallAnswered(asked.request, NO_ANSWER)
        except asyncio.CancelledError:
            self._give_up(asked)
            raise
        finally:
            del self._open[asked.request]

    def settle(self, settled: SettleCall) -> None:
        """Tell the Router how a reserved call ended."""
        self._say(settled)

    def observe(self, seen: Observed) -> None:
        """Tell HealthMonitor what a call showed."""
        self._post.send(HEALTH, PORT, (seen,))

    def _give_up(self, asked: ReserveCall) -> None:
        verdict = Verdict.ABANDONED.value
        self.settle(SettleCall(asked.call, verdict, asked.task_id, billed_usd=0.0, detail="it was not made"))

    def _say(self, message: ReserveCall | SettleCall) -> None:
        """Post what one round of the loop has to say together: a larger turn makes fewer commits."""
        self._outbox.append(message)
        if len(self._outbox) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        messages, self._outbox = self._outbox, []
        self._post.send(ROUTER, PORT, messages)

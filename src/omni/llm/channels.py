"""Every channel of a configuration, behind one door: a hop and a call in, an answer out."""

from __future__ import annotations

from typing import Protocol

from omni.domain.hops import Hop
from omni.domain.verdict import Verdict
from omni.llm.answer import Answer, Call, UpstreamFailed


class Channel(Protocol):
    """One way to a model, for the dialects that it serves."""

    async def open(self, hop: Hop, call: Call) -> Answer: ...

    async def aclose(self) -> None: ...


class Channels:
    """All channels by name. Loop only; nothing is retried here or below."""

    def __init__(self, channels: dict[str, Channel]) -> None:
        self._channels = channels

    async def open(self, hop: Hop, call: Call) -> Answer:
        """The answer once its status is in and, of a stream, the first data.

        Raises UpstreamFailed. There is no time limit here: the port has the deadline, and cancels.
        """
        channel = self._channels.get(hop.channel)
        if channel is None:
            raise UpstreamFailed(Verdict.MISCONFIGURED, f"there is no channel {hop.channel!r}")
        return await channel.open(hop, call)

    async def aclose(self) -> None:
        """Close every connection."""
        for channel in self._channels.values():
            await channel.aclose()

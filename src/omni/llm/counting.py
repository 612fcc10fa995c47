"""How many tokens a request would be: asked of whoever would get it, and never guessed.

Counting is free and tells nobody's health, so it stands in no books: the first hop that can say does, and where none
can the caller is told so, as by a server without that path. Clients then count for themselves.
"""

from __future__ import annotations

import asyncio

from omni.domain.hops import Plan
from omni.domain.verdict import Verdict
from omni.llm import reply
from omni.llm.answer import Call, Opens, UpstreamFailed
from omni.llm.reply import PortAnswer

WITHIN_S = 10.0  # for all hops together
NOBODY = "nobody here can count tokens: no channel in use speaks Anthropic's dialect, or none of them answers"


async def count(channels: Opens, route: Plan, call: Call) -> PortAnswer:
    """The count of the first hop that can say; an error in the dialect's form where none can."""
    try:
        async with asyncio.timeout(WITHIN_S):
            return await _first(channels, route, call) or reply.error(call.dialect, 404, NOBODY)
    except TimeoutError:
        return reply.error(call.dialect, 504, f"nobody has counted within {WITHIN_S:g} s")


async def _first(channels: Opens, route: Plan, call: Call) -> PortAnswer | None:
    for hop in route.hops:
        try:
            body = await channels.count(hop, call)
        except UpstreamFailed as failed:
            if failed.verdict is Verdict.CALLER_ERROR and failed.status != 404:  # 404: it has no such path
                return reply.failed(call.dialect, [(hop, failed)], failed)
            continue
        if body is not None:
            return PortAnswer(200, reply.JSON, {}, body)
    return None

"""One free question over HTTP: what came back, or why nothing did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
import msgspec

from omni.llm.fresh import ask, explain

MAX_ANSWER_BYTES = 8 * 1024 * 1024


class Answer(NamedTuple):
    """Status, headers and body of an answer. `status` 0: there is none, and `problem` says why."""

    status: int = 0
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    problem: str = ""

    @property
    def why(self) -> str:
        """What there is to say of an answer that was not the one that was hoped for."""
        return self.problem or f"HTTP {self.status}"

    @property
    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError):
            return None

    def member(self, name: str) -> Any:
        """A member of the JSON object; None without one."""
        found = self.json
        return found.get(name) if isinstance(found, dict) else None


def get(url: str, within_s: float, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask once, and say what came of it. Nothing is followed or repeated."""
    return asyncio.run(_bounded(url, within_s, headers))


async def _bounded(url: str, within_s: float, headers: Mapping[str, str] | None) -> Answer:
    try:
        async with asyncio.timeout(within_s):
            return await whole(url, headers)
    except TimeoutError:
        return Answer(problem=f"no answer within {within_s:g} s")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(problem=explain(error).detail)


async def whole(url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The whole answer, or as much of it as the bound allows. Time is the caller's to limit.

    Raises httpx.HTTPError, httpx.InvalidURL.
    """
    body = bytearray()
    async with ask("GET", url, headers=headers) as answer:
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                break
        return Answer(answer.status_code, answer.headers, bytes(body))

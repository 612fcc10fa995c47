"""A stream that has begun, on its way to the caller: nothing can be tried elsewhere any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from omni.domain.dialects import error_event
from omni.domain.verdict import Verdict
from omni.llm.answer import Answer, UpstreamFailed
from omni.llm.watch import Cut, Patience

MAX_EVENT_BYTES = 1024 * 1024
_MARKS = (b"\n\n", b"\r\n\r\n")


class Stopping(Cut):
    """The daemon stops."""

    def __init__(self) -> None:
        super().__init__(Verdict.ABANDONED, "Omni is stopping")


class Limits(msgspec.Struct, frozen=True):
    """How long is waited, in seconds: for the Router, for the first byte of a stream, for its next bytes; and for a
    whole journey up to its first byte (of an answer in one piece: to its end), and for a whole stream.
    """

    reserve_s: float = 10.0
    first_byte_s: float = 120.0
    gap_s: float = 300.0
    whole_s: float = 900.0
    stream_s: float = 7_200.0


class Passage:
    """Passes whole events on, and tells `end` once how it went: OK, BROKEN_STREAM, or ABANDONED by the caller.

    Half an event is held back until the rest is there: an error event after it would be read as part of it.
    """

    def __init__(
        self,
        answer: Answer,
        patience: Patience,
        limits: Limits,
        dialect: str,
        end: Callable[[Verdict, str], Awaitable[None]],
    ) -> None:
        self._answer = answer
        self._patience = patience
        self._gap_s = limits.gap_s
        self._due = asyncio.get_running_loop().time() + limits.stream_s
        self._dialect = dialect
        self._tell = end
        self._ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """What upstream sends, as it comes; an error event when it breaks off."""
        source = self._answer.chunks()
        try:
            half = b""
            while (chunk := await self._next(source)) is not None:
                whole, half = split(half + chunk if half else chunk)
                if whole:
                    yield whole
            await self._end(Verdict.OK)
            if half:
                yield half
        except UpstreamFailed as failed:
            abandoned = isinstance(failed, Stopping)
            await self._end(Verdict.ABANDONED if abandoned else Verdict.BROKEN_STREAM, failed.detail)
            if not failed.told:
                yield error_event(self._dialect, 502, f"the answer broke off: {failed.detail}")

    async def aclose(self) -> None:
        """Close upstream; what was not passed on by now was not wanted."""
        try:
            await self._end(Verdict.ABANDONED)
        finally:
            await self._answer.aclose()

    async def _next(self, source: AsyncIterator[bytes]) -> bytes | None:
        left_s = self._due - asyncio.get_running_loop().time()
        late = f"nothing came for {self._gap_s:g} s" if left_s > self._gap_s else "it took too long in all"
        return await self._patience.wait(lambda: _one(source), min(self._gap_s, left_s), late)

    async def _end(self, verdict: Verdict, detail: str = "") -> None:
        if not self._ended:
            self._ended = True
            await self._tell(verdict, detail)


def split(data: bytes) -> tuple[bytes, bytes]:
    """Whole events, and the half event after them; what is too long to be held back counts as whole."""
    if data.endswith(_MARKS) or len(data) > MAX_EVENT_BYTES:
        return data, b""
    ends = [at + len(mark) for mark in _MARKS if (at := data.rfind(mark)) >= 0]
    end = max(ends, default=0)
    return data[:end], data[end:]


async def _one(source: AsyncIterator[bytes]) -> bytes | None:
    return await anext(source, None)

"""Answers on their way to the caller: whole, or as a stream that is watched while it passes.

Theory of operation. A stream is opened by reading on until its first event is in: an error there, or an end before it,
is a failure that another hop can make good. From then on bytes pass as they come, and a `Scanner` looks on:

    bytes end, terminator seen         the stream ends
    bytes end without it, or are cut   UpstreamFailed(BROKEN_STREAM)
    an error event                     passed on, then UpstreamFailed(BROKEN_STREAM, told=True)

A caller of the chat dialect who did not ask for usage gets the stream as if nobody had: the chunk that only carries
usage is for us, and naive clients fall over its empty `choices`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from omni.domain.verdict import Verdict
from omni.llm.answer import Dialect, Meter, UpstreamFailed
from omni.llm.classify import Finding, of_error
from omni.llm.passage import split
from omni.llm.usage import Scanner

MAX_PRELUDE_BYTES = 8 * 1024 * 1024  # `response.created` repeats instructions and tools
EVENT_STREAM = "text/event-stream"
JSON = "application/json"

_EVENTS = re.compile(rb".+?(?:\n\n|\r\n\r\n|\Z)", re.DOTALL)

Close = Callable[[], Awaitable[None]]
Explain = Callable[[Exception], Finding]


class WholeAnswer:
    """An answer in one piece, sound and complete."""

    streaming = False

    def __init__(self, status: int, media_type: str, body: bytes, meter: Meter) -> None:
        self.status = status
        self.media_type = media_type
        self.meter = meter
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, at once."""
        yield self._body

    async def aclose(self) -> None:
        """Nothing is held."""


class StreamAnswer:
    """A stream whose first event is in. `held` are the bytes up to there."""

    streaming = True
    media_type = EVENT_STREAM

    def __init__(self, status: int, source: WatchedSource, held: list[bytes], *, quiet: bool = False) -> None:
        self.status = status
        self.meter = source.meter
        self._source = source
        self._held = held
        self._filter = UsageFilter() if quiet else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Pass the stream on and watch it; see the table above."""
        for data in self._held:
            if shown := self._shown(data):
                yield shown
        self._held.clear()
        async for data in self._source:
            if shown := self._shown(data):
                yield shown
        if self._filter and (rest := self._filter.rest()):
            yield rest
        self._source.judge()

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._source.aclose()

    def _shown(self, data: bytes) -> bytes:
        return self._filter.pass_on(data) if self._filter else data


class WatchedSource:
    """The bytes of one upstream stream, each piece seen by the scanner before it is handed out."""

    def __init__(self, dialect: Dialect, source: AsyncIterator[bytes], close: Close, explain: Explain) -> None:
        self.meter = Meter()
        self.scanner = Scanner(dialect, self.meter)
        self.failure: UpstreamFailed | None = None
        self._ended = False
        self._source = source
        self._close = close
        self._explain = explain

    @property
    def over(self) -> bool:
        """Whether nothing more is to be expected, for whatever reason."""
        return self._ended or self.scanner.error is not None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.scanner.error is not None:
            raise StopAsyncIteration
        try:
            data = await anext(self._source)
        except StopAsyncIteration:
            self._ended = True
            self.scanner.end()
            raise
        except Exception as error:
            self._ended = True
            raise self._cut(error) from error
        self.scanner.feed(data)
        return data

    async def begin(self) -> list[bytes]:
        """Read on until the first content is in; raises UpstreamFailed for an error, an end or a cut before it."""
        held: list[bytes] = []
        size = 0
        while not self.scanner.started and size <= MAX_PRELUDE_BYTES:
            try:
                held.append(await anext(self._source))
            except StopAsyncIteration:
                self.scanner.end()
                break
            except Exception as error:
                raise self._explain(error).failure() from error
            size += len(held[-1])
            self.scanner.feed(held[-1])
        if self.scanner.error is not None:
            raise of_error(self.scanner.error).failure()
        if not self.scanner.sound:
            raise UpstreamFailed(Verdict.BAD_ANSWER, "a stream in which nothing was said")
        return held

    def judge(self, *, told: bool = True) -> None:
        """After the last byte: raises UpstreamFailed(BROKEN_STREAM) unless it ended as its dialect ends."""
        if self.failure is not None:
            raise self.failure
        if self.scanner.error is not None:
            raise UpstreamFailed(Verdict.BROKEN_STREAM, of_error(self.scanner.error).detail, told=told)
        if not self.meter.finished:
            raise UpstreamFailed(Verdict.BROKEN_STREAM, "the stream ended without its last event")

    async def aclose(self) -> None:
        await self._close()

    def _cut(self, error: Exception) -> Exception:
        if self.meter.finished:  # all was said; how the connection ended after it is of no interest
            return StopAsyncIteration()
        self.failure = UpstreamFailed(Verdict.BROKEN_STREAM, self._explain(error).detail)
        return self.failure


class UsageFilter:
    """Leaves out the chunk of a chat stream that carries nothing but usage. Holds back an unfinished event."""

    def __init__(self) -> None:
        self._unfinished = b""

    def pass_on(self, data: bytes) -> bytes:
        """What of the stream may go on; whole events only."""
        whole, self._unfinished = split(self._unfinished + data)
        if b'"usage"' not in whole:
            return whole
        return b"".join(event for event in _EVENTS.findall(whole) if not _is_usage_only(event))

    def rest(self) -> bytes:
        """What is left at the end of the stream."""
        return b"" if _is_usage_only(self._unfinished) else self._unfinished


def _is_usage_only(event: bytes) -> bool:
    if b'"usage"' not in event or not event.startswith(b"data:"):
        return False
    try:
        chunk = msgspec.json.decode(event[5:])
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and bool(chunk.get("usage"))

"""The other pairs: the caller's dialect put into one that the cloud speaks, and back, by the litellm library.

Theory of operation. litellm only translates here. What goes over the wire goes through a `Tap`: an httpx transport of
ours that hands the request to the channel's own pool, once, whatever litellm would like to repeat, and sees the answer
before litellm does. So a refusal or a broken stream means the same as on a direct channel, whatever exception litellm
makes of it, and the meter reads what the cloud itself said of usage and cost.

    caller ──body──▶ litellm ──request──▶ Tap ──▶ pool ──▶ cloud
    caller ◀─bytes── litellm ◀──answer─── Tap ◀── pool ◀── cloud
                                           └─▶ meter, failure

A caller's body is somebody else's word: only the fields that its dialect has are handed to litellm, which would take
addresses, keys and prices from the same mapping.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from types import ModuleType
from typing import Any

import httpx
import msgspec

from omni.domain.hops import Hop
from omni.domain.verdict import Verdict
from omni.llm.answer import Answer, Call, Dialect, Meter, NoEvidence, UpstreamFailed
from omni.llm.classify import error_body, of_exception, sentence_of
from omni.llm.dialects import FIELDS, as_events, as_json
from omni.llm.exchange import close, send
from omni.llm.http_channel import Judge, plain, refused_body, whole_body
from omni.llm.streams import EVENT_STREAM, JSON, WatchedSource, WholeAnswer
from omni.llm.warm import library


class Abroad(msgspec.Struct, frozen=True):
    """A cloud as litellm knows it. `dialect` is what is spoken there."""

    prefix: str
    api_base: str
    dialect: Dialect
    key: Callable[[Hop], str]
    judge: Judge


class LibraryChannel:
    """Passes calls to one cloud through litellm. Loop only; the pool is not its own to close."""

    def __init__(self, abroad: Abroad, client: httpx.AsyncClient) -> None:
        self._abroad = abroad
        self._client = client

    async def open(self, hop: Hop, call: Call) -> Answer:
        """Translate, send, and wait for the first translated byte. Raises UpstreamFailed."""
        litellm = await _library()
        tap = Tap(self._client, self._abroad, _model(hop, call))
        try:
            return await self._answer(litellm, tap, hop, call)
        except BaseException as error:
            await tap.release()
            if isinstance(error, UpstreamFailed) or not isinstance(error, Exception):
                raise
            raise self._failure(tap, call, error) from error

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _answer(self, litellm: ModuleType, tap: Tap, hop: Hop, call: Call) -> Answer:
        said = await _ask(litellm, call.dialect)(**self._arguments(litellm, tap, hop, call))
        if tap.failure is not None:
            raise tap.failure
        if not call.streaming:
            return WholeAnswer(200, JSON, as_json(call.dialect, said), tap.meter)
        events = as_events(call, said)
        return TranslatedAnswer(await anext(events), events, tap)

    def _arguments(self, litellm: ModuleType, tap: Tap, hop: Hop, call: Call) -> dict[str, Any]:
        fields = {name: call.body[name] for name in FIELDS[call.dialect] if name in call.body}
        if call.dialect == "chat" and call.streaming:
            fields["stream_options"] = {"include_usage": True}
        handler = litellm.llms.custom_httpx.http_handler.AsyncHTTPHandler
        return {
            **fields,
            "model": f"{self._abroad.prefix}/{_model(hop, call)}",
            "api_base": self._abroad.api_base,
            "api_key": self._abroad.key(hop) or "none",
            "client": handler(transport=tap, follow_redirects=False),
            "max_retries": 0,
            "num_retries": 0,
            "drop_params": True,
            "no-log": True,
        }

    def _failure(self, tap: Tap, call: Call, error: Exception) -> UpstreamFailed:
        """What upstream did, if anything; else the request could not be translated, or the answer."""
        if tap.failure is not None:
            if tap.failure.verdict is Verdict.CALLER_ERROR:
                text = sentence_of(tap.failure.body) or _sentence(error)
                tap.failure.body = error_body(call.dialect, tap.failure.status or 400, text)
                tap.failure.media_type = JSON
            return tap.failure
        if tap.sent:
            return UpstreamFailed(Verdict.BAD_ANSWER, f"the answer cannot be translated: {type(error).__name__}")
        body = error_body(call.dialect, 400, _sentence(error))
        detail = f"the request cannot be translated: {type(error).__name__}"
        return NoEvidence(Verdict.CALLER_ERROR, detail, status=400, body=body, media_type=JSON)


class Tap(httpx.AsyncBaseTransport):
    """The way of one call to the cloud. `failure` is what went wrong there before the first event."""

    def __init__(self, client: httpx.AsyncClient, abroad: Abroad, model: str) -> None:
        self._client = client
        self._abroad = abroad
        self._model = model
        self._response: httpx.Response | None = None
        self.source: WatchedSource | None = None
        self.meter = Meter()
        self.failure: UpstreamFailed | None = None
        self.sent = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; any other is a repetition that nobody asked for."""
        if self.sent:
            raise httpx.ReadError("a call is sent once", request=request)
        self.sent = True
        try:
            return await self._exchange(request)
        except UpstreamFailed as failure:
            self.failure = failure
            return httpx.Response(failure.status or 502, headers={"content-type": JSON}, content=failure.body or b"{}")

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        body = msgspec.json.decode(await request.aread())
        content = msgspec.json.encode({**body, "model": self._model})  # litellm leaves its own prefix on some names
        headers = {**request.headers, "accept-encoding": "identity"}
        del headers["content-length"]
        try:
            own = self._client.build_request("POST", request.url, headers=headers, content=content)
            response = await send(self._client, own)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise of_exception(error).failure() from error
        self._response = response
        if response.status_code != 200:
            body = await refused_body(response)
            raise self._abroad.judge(response.status_code, response.headers, body).failure(
                status=response.status_code, body=body
            )
        return await self._success(response)

    async def _success(self, response: httpx.Response) -> httpx.Response:
        media = response.headers.get("content-type", "")
        if not media.startswith(EVENT_STREAM):
            body = await whole_body(response, self.meter)
            return httpx.Response(200, headers={"content-type": media}, content=body)
        self.source = WatchedSource(self._abroad.dialect, plain(response), partial(close, response), of_exception)
        self.meter = self.source.meter
        held = await self.source.begin()
        return httpx.Response(200, headers={"content-type": media}, content=_continued(held, self.source))

    async def release(self) -> None:
        """Let go of the connection."""
        if self._response is not None:
            await close(self._response)


class TranslatedAnswer:
    """A stream in the caller's dialect whose first event is at hand."""

    status = 200
    media_type = EVENT_STREAM
    streaming = True

    def __init__(self, first: bytes, events: AsyncIterator[bytes], tap: Tap) -> None:
        self.meter = tap.meter
        self._first = first
        self._events = events
        self._tap = tap

    async def chunks(self) -> AsyncIterator[bytes]:
        """Events as they are translated; what litellm makes of a broken stream is not passed on."""
        yield self._first
        try:
            async for event in self._events:
                self._check()
                yield event
        except UpstreamFailed:
            raise
        except Exception as error:
            self._judge()
            text = f"the answer cannot be translated: {type(error).__name__}"
            raise UpstreamFailed(Verdict.BROKEN_STREAM, text) from error
        self._judge()

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._tap.release()

    def _check(self) -> None:
        """Before each event: litellm makes one of its own when the source breaks."""
        if self._tap.source is not None and self._tap.source.over:
            self._judge()

    def _judge(self) -> None:
        if self._tap.source is not None:
            self._tap.source.judge(told=False)


async def _library() -> ModuleType:
    try:
        return await library()
    except Exception as error:
        text = f"litellm, which translates, cannot be used: {type(error).__name__}"
        raise NoEvidence(Verdict.MISCONFIGURED, text) from error


async def _continued(held: list[bytes], source: WatchedSource) -> AsyncIterator[bytes]:
    """The stream as litellm may see it: of one that simply stops it would make a proper end."""
    for data in held:
        yield data
    async for data in source:
        yield data
    if not source.meter.finished:
        raise httpx.ReadError("the stream ended without its last event")


def _model(hop: Hop, call: Call) -> str:
    return hop.model or str(call.body.get("model", ""))


def _ask(litellm: ModuleType, dialect: Dialect) -> Callable[..., Awaitable[Any]]:
    asks: dict[Dialect, Callable[..., Awaitable[Any]]] = {
        "messages": litellm.anthropic.messages.acreate,
        "chat": litellm.acompletion,
        "responses": litellm.aresponses,
    }
    return asks[dialect]


def _sentence(error: Exception) -> str:
    """The library's own words for the caller: neither its exceptions' names before them nor a traceback after."""
    return str(getattr(error, "message", error)).removeprefix("litellm.").partition("\nTraceback")[0][:500]

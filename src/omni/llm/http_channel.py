"""One server that speaks the caller's dialect: the LiteLLM proxy, a cloud, or Ollama. Bytes pass through.

Theory of operation. A request is sent once, over a pooled connection, and never again. What makes that safe is the
pool: a connection that the server closed is seen to be closed before it is used, and one that has been idle for
`KEEP_NEAR_S` is not used at all, because uvicorn closes after 5 s and a request may be on its way just then. So CLOSED
means that the server went away with a request in its hands; whether it was carried out nobody knows.

No time limit but that of connecting stands here: a model may think for minutes, and the port has the deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import httpx
import msgspec

from omni.domain.hops import Hop
from omni.domain.values import MOST_USD
from omni.domain.verdict import Verdict
from omni.llm.answer import Answer, Call, Dialect, Meter, NoEvidence, UpstreamFailed
from omni.llm.classify import Finding, of_error, of_exception
from omni.llm.exchange import close, is_near, send, trust
from omni.llm.streams import EVENT_STREAM, JSON, StreamAnswer, WatchedSource, WholeAnswer
from omni.llm.usage import note_answer
from omni.redact import MASK

CONNECT_NEAR_S = 1.0
CONNECT_FAR_S = 5.0  # name, connection and TLS, from the other side of the world
KEEP_NEAR_S = 2.0
KEEP_FAR_S = 20.0  # an edge keeps idle connections for a minute at least, and a new one costs three round trips
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024
HOLD_S = 1.0
COUNT = "/count_tokens"  # beyond the path of Anthropic's dialect

Judge = Callable[[int, Mapping[str, str], bytes], Finding]


class Site(msgspec.Struct, frozen=True):
    """One server: where each dialect is served, with which headers, and what its refusals mean.

    `amend` adds to the body that goes out; `most_waiting` bounds the calls that it is given at once.
    """

    urls: Mapping[Dialect, str]
    headers: Callable[[Hop, Call], dict[str, str]]
    judge: Judge
    amend: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body
    most_waiting: int | None = None


class Places:
    """Bounds how many calls a server is given at once.

    A place is held until the first byte, or for `hold_s`: by then a call is with its model, which may think long,
    and must not keep others from theirs.
    """

    def __init__(self, most: int, hold_s: float = HOLD_S) -> None:
        self._free = asyncio.Semaphore(most)
        self._hold_s = hold_s

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a place, and have it."""
        await self._free.acquire()
        held = [self._free]

        def give_back() -> None:
            if held:
                held.pop().release()

        timer = asyncio.get_running_loop().call_later(self._hold_s, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()


class HttpChannel:
    """Passes calls to one site. Loop only."""

    def __init__(self, site: Site, client: httpx.AsyncClient) -> None:
        self._site = site
        self._client = client
        self._places = Places(site.most_waiting) if site.most_waiting else None

    async def open(self, hop: Hop, call: Call) -> Answer:
        """Send the call and wait for the first byte; a stream that flows holds no place. Raises UpstreamFailed."""
        async with self._places.one() if self._places else nullcontext():
            response = await self._send(hop, call)
            try:
                return await self._answer(response, call)
            except BaseException:
                await close(response)
                raise

    async def count(self, hop: Hop, call: Call) -> bytes:
        """How many tokens a request would be, in the server's own words. Raises UpstreamFailed."""
        response = await self._send(hop, call, COUNT)
        try:
            if response.status_code != 200:
                raise await self._refusal(response, response.headers.get("content-type", ""))
            return await whole_body(response, Meter())
        finally:
            await close(response)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._client.aclose()

    async def _send(self, hop: Hop, call: Call, beyond: str = "") -> httpx.Response:
        headers = {"content-type": JSON, "accept-encoding": "identity", **self._site.headers(hop, call)}
        body = msgspec.json.encode(self._site.amend(outgoing(hop, call)))
        try:
            url = self._site.urls[call.dialect] + beyond + ("?beta=true" if call.beta else "")
            request = self._client.build_request("POST", url, content=body, headers=headers)
            return await send(self._client, request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise of_exception(error).failure() from error
        except UnicodeEncodeError as error:
            detail = "a header of the request holds what no header may"
            raise NoEvidence(Verdict.CALLER_ERROR, detail, status=400) from error

    async def _answer(self, response: httpx.Response, call: Call) -> Answer:
        media = response.headers.get("content-type", "")
        if response.status_code != 200:
            raise await self._refusal(response, media)
        if call.streaming != media.startswith(EVENT_STREAM):
            raise UpstreamFailed(
                Verdict.BAD_ANSWER, f"asked for {_kind(call)}, got {media[:60] or 'no type'}", status=200
            )
        if call.streaming:
            source = WatchedSource(call.dialect, plain(response), partial(close, response), of_exception)
            return StreamAnswer(200, source, await source.begin(), quiet=wants_no_usage(call))
        meter = Meter(cost_usd=_cost(response.headers))
        return WholeAnswer(200, JSON, await whole_body(response, meter), meter)

    async def _refusal(self, response: httpx.Response, media: str) -> UpstreamFailed:
        body, status = await refused_body(response), response.status_code
        media = media if media.isascii() else ""
        return self._site.judge(status, response.headers, body).failure(status=status, body=body, media_type=media)


def outgoing(hop: Hop, call: Call) -> dict[str, Any]:
    """The body as it leaves: the hop's model, and usage asked for where a stream would not tell it by itself."""
    body = {**call.body, "model": hop.model} if hop.model else call.body
    if not wants_no_usage(call):
        return body
    options = body.get("stream_options")
    return {**body, "stream_options": {**(options if isinstance(options, dict) else {}), "include_usage": True}}


def wants_no_usage(call: Call) -> bool:
    """Whether the caller streams chat and did not ask for its usage."""
    options = call.body.get("stream_options")
    asked = isinstance(options, dict) and options.get("include_usage")
    return call.dialect == "chat" and call.streaming and not asked


async def whole_body(response: httpx.Response, meter: Meter) -> bytes:
    """The whole of a successful answer, read into `meter`; raises UpstreamFailed when it is none."""
    body = await read(response, MAX_ANSWER_BYTES + 1)
    if len(body) > MAX_ANSWER_BYTES:
        raise UpstreamFailed(Verdict.BAD_ANSWER, f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB", status=200)
    try:
        said = _told(body)
    except msgspec.ValidationError:
        raise UpstreamFailed(Verdict.BAD_ANSWER, "the answer is no object", status=200) from None
    except (msgspec.DecodeError, RecursionError):
        what = "is not JSON" if body.strip() else "is empty"
        raise UpstreamFailed(Verdict.BAD_ANSWER, f"the answer {what}", status=200) from None
    if said.get("error"):
        raise of_error(said["error"]).failure(status=200, body=keyless(body, response.request), media_type=JSON)
    note_answer(said, meter)
    return body


class _Answer(msgspec.Struct):
    """The parts of an answer that we read. The rest is skipped: as objects it could take fifty times its bytes."""

    error: msgspec.Raw = msgspec.Raw(b"null")
    model: msgspec.Raw = msgspec.Raw(b"null")
    usage: msgspec.Raw = msgspec.Raw(b"null")


def _told(body: bytes) -> dict[str, Any]:
    """What an answer says of itself. Raises msgspec.DecodeError, and RecursionError."""
    answer = msgspec.json.decode(body, type=_Answer)
    parts = {"error": answer.error, "model": answer.model, "usage": answer.usage}
    return {name: msgspec.json.decode(part) for name, part in parts.items() if len(part) <= MAX_ERROR_BYTES}


async def refused_body(response: httpx.Response) -> bytes:
    """What a refusal says, without the key; empty when it came compressed, for the status says enough."""
    if _packed(response):
        return b""
    return keyless(await read(response, MAX_ERROR_BYTES), response.request)


def keyless(body: bytes, request: httpx.Request) -> bytes:
    """The body without the key that the request came with: some servers repeat it in their errors."""
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    for key in (request.headers.get("x-api-key", ""), bearer):
        body = body.replace(key.encode(), MASK.encode()) if key else body
    return body


def plain(response: httpx.Response) -> AsyncIterator[bytes]:
    """The bytes of an answer as they come. Compressed ones, which nobody asked for, are not unpacked.

    A few kilobytes can unpack to gigabytes, layer upon layer, within one step. Raises UpstreamFailed.
    """
    if _packed(response):
        raise UpstreamFailed(Verdict.BAD_ANSWER, "the answer is compressed, which was not asked for", status=200)
    return response.aiter_raw()


def _packed(response: httpx.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


async def read(response: httpx.Response, at_most: int) -> bytes:
    """The first `at_most` bytes of an answer, and a little more; raises UpstreamFailed when it breaks off."""
    pieces, size = [], 0
    try:
        async for piece in plain(response):
            pieces.append(piece)
            size += len(piece)
            if size >= at_most:
                break
    except httpx.HTTPError as error:
        raise of_exception(error).failure(status=response.status_code) from error
    return b"".join(pieces)


def make_client(url: str) -> httpx.AsyncClient:
    """A pool for one server. A proxy that the environment names is for servers elsewhere only."""
    near = is_near(url)
    connect_s, keep_s = (CONNECT_NEAR_S, KEEP_NEAR_S) if near else (CONNECT_FAR_S, KEEP_FAR_S)
    return httpx.AsyncClient(
        trust_env=not near,
        verify=trust(url),
        timeout=httpx.Timeout(None, connect=connect_s),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=keep_s),
        follow_redirects=False,
    )


def _cost(headers: httpx.Headers) -> float | None:
    """What LiteLLM says that the call cost. It says 0.0 of models that it does not know: that is no word at all."""
    try:
        cost = float(headers.get("x-litellm-response-cost", ""))
    except ValueError:
        return None
    return cost if 0 < cost <= MOST_USD else None


def _kind(call: Call) -> str:
    return "a stream" if call.streaming else "JSON"

"""The world of a drill: a LiteLLM proxy, two clouds and an Ollama on one port of loopback, all of them well.

Faults are made inside the daemon, never here, so whatever goes wrong in a drill is the daemon's doing. The stage
answers in a few words after a short while, and keeps a ledger: who was asked what, with which key.

    /proxy        LiteLLM           GET /health/liveliness, POST /v1/chat/completions, /v1/messages
    /anthropic    Anthropic         GET /v1/models,         POST /v1/messages
    /openrouter   OpenRouter        GET /api/v1/key,        POST /api/v1/chat/completions
    /ollama       Ollama            GET /api/ps,            POST /api/generate
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ANSWER_AFTER_S = 0.15
LOAD_S = 0.2
TEXT = "this is a drill"
MARK = re.compile(rb"drill-task-[0-9]+")
TOKENS_IN, TOKENS_OUT = 20, 4
_STREAM = "text/event-stream"

Json = dict[str, Any]


class Asked(NamedTuple):
    """One model call as the stage saw it; `at_s` on the loop's clock, `mark` names the task, if it is one's."""

    at_s: float
    where: str
    model: str
    key: str
    mark: str


class Stage:
    """The servers, and the ledger of `asked` and of `loaded` models. Lives on the running loop."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.loads: list[tuple[float, str]] = []  # (loop time, "load" or "unload")
        self.loaded: set[str] = set()
        self.port = 0
        self._app = Starlette(routes=list(self._routes()))

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Stage]:
        """Serve on a free port until the block ends."""
        listening = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio then sends each packet at once
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        listening.setblocking(False)  # noqa: FBT003 - the socket module's own way
        self.port = listening.getsockname()[1]
        server = _Server(
            uvicorn.Config(self._app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield self
        finally:
            server.should_exit = True
            await serving

    def _routes(self) -> Iterator[Route]:
        yield Route("/proxy/health/liveliness", _said("I'm alive!"))
        yield Route("/proxy/v1/chat/completions", self._chat, methods=["POST"])
        yield Route("/proxy/v1/messages", self._messages, methods=["POST"])
        yield Route("/anthropic/v1/models", _said({"data": [], "has_more": False}))
        yield Route("/anthropic/v1/messages", self._messages, methods=["POST"])
        yield Route("/openrouter/api/v1/key", _said({"data": {"label": "drill", "usage": 0, "limit": None}}))
        yield Route("/openrouter/api/v1/chat/completions", self._chat, methods=["POST"])
        yield Route("/ollama/api/ps", self._ps)
        yield Route("/ollama/api/generate", self._generate, methods=["POST"])

    # --- models ---------------------------------------------------------------------------------------------------

    async def _chat(self, request: Request) -> Response:
        body = await self._note(request)
        return _answer(request, body, chat_stream(body) if body.get("stream") else msgspec.json.encode(chat(body)))

    async def _messages(self, request: Request) -> Response:
        body = await self._note(request)
        whole = messages(body)
        return _answer(request, body, messages_stream(whole) if body.get("stream") else msgspec.json.encode(whole))

    async def _note(self, request: Request) -> Json:
        raw = await request.body()
        body: Json = msgspec.json.decode(raw)
        marks = MARK.findall(raw)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.headers.get("x-api-key") or bearer
        now = asyncio.get_running_loop().time()
        where = request.url.path.split("/")[1]
        self.asked.append(Asked(now, where, str(body.get("model", "")), key, marks[-1].decode() if marks else ""))
        await asyncio.sleep(ANSWER_AFTER_S)
        return body

    # --- the model on this machine --------------------------------------------------------------------------------

    async def _ps(self, request: Request) -> Response:
        return JSONResponse({"models": [{"name": name, "model": name} for name in sorted(self.loaded)]})

    async def _generate(self, request: Request) -> Response:
        body = await request.json()
        model = str(body.get("model", ""))
        if body.get("keep_alive") == 0:
            self._change("unload", model)
            return JSONResponse({"model": model, "response": "", "done": True, "done_reason": "unload"})
        if model not in self.loaded:
            await asyncio.sleep(LOAD_S)
            self._change("load", model)
        said = "ready" if body.get("prompt") else ""
        return JSONResponse({"model": model, "response": said, "done": True, "eval_count": len(said)})

    def _change(self, what: str, model: str) -> None:
        self.loads.append((asyncio.get_running_loop().time(), what))
        (self.loaded.add if what == "load" else self.loaded.discard)(model)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the drill has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _said(answer: Any) -> Any:
    async def say(request: Request) -> Response:
        return JSONResponse(answer)

    return say


def _answer(request: Request, body: Json, content: bytes) -> Response:
    """The answer with the headers by which LiteLLM shows that it asked somebody."""
    headers = {}
    if request.url.path.startswith("/proxy/"):
        call = request.headers.get("x-litellm-call-id", "drill")
        headers = {
            "x-litellm-call-id": call,
            "x-litellm-model-id": str(body.get("model", "")),
            "x-litellm-timeout": "60",
        }
    return Response(content, headers=headers, media_type=_STREAM if body.get("stream") else "application/json")


# --- what models say ------------------------------------------------------------------------------------------------


def chat(body: Json) -> Json:
    """A chat completion in one piece."""
    message = {"role": "assistant", "content": TEXT}
    return {
        **_head(body, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(),
    }


def chat_stream(body: Json) -> bytes:
    """The same as server-sent events. They leave together: a drill has no use for half an answer."""
    head = _head(body, "chat.completion.chunk")
    deltas: list[tuple[Json, str | None]] = [({"role": "assistant", "content": TEXT}, None), ({}, "stop")]
    chunks: list[Json] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas
    ]
    chunks.append({**head, "choices": [], "usage": _usage()})
    return b"".join(_event(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def messages(body: Json) -> Json:
    """An answer in Anthropic's dialect, in one piece."""
    return {
        "id": "msg_drill",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", ""),
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": TOKENS_IN, "output_tokens": TOKENS_OUT},
    }


def messages_stream(whole: Json) -> bytes:
    """The same as server-sent events."""
    empty = {**whole, "content": [], "stop_reason": None}
    end = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": TOKENS_OUT}}
    events: list[tuple[str, Json]] = [
        ("message_start", {"message": empty}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": TEXT}}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", end),
        ("message_stop", {}),
    ]
    return b"".join(f"event: {kind}\n".encode() + _event({"type": kind, **fields}) for kind, fields in events)


def _head(body: Json, kind: str) -> Json:
    return {"id": "chatcmpl-drill", "object": kind, "created": 0, "model": body.get("model", "")}


def _usage() -> Json:
    total = TOKENS_IN + TOKENS_OUT
    return {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT, "total_tokens": total}


def _event(data: Json) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"

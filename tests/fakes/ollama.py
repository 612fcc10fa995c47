"""Ollama's API on loopback: a model is loaded, kept, and unloaded as the real one does it; its text is canned.

    python -m tests.fakes.ollama --port 0 [--models qwen2.5:7b ...]      prints its port, then serves

A request without a prompt loads the model, with `keep_alive: 0` it unloads it; `/api/ps` tells what is loaded. Beside
the real API: GET /__ledger (DELETE forgets it, and unloads all), POST /__control {"load_s": 0.3, "broken": true, …}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.fakes.dialects import CHAT, Said
from tests.fakes.upstream import serve, settings

SIZE = 4_683_087_332
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
KEEP = re.compile(r"(-?\d+(?:\.\d+)?)(ms|s|m|h|)")
DEFAULT_KEEP = "5m"
FOREVER = float("inf")
MADE_AT = "2026-01-01T00:00:00Z"


class OllamaControl(msgspec.Struct, forbid_unknown_fields=True):
    load_s: float = 0.05
    answer: str = "ready"
    broken: bool = False  # every question about a model ends in a 500


class OllamaEntry(msgspec.Struct):
    """One request; `what` is load, unload, generate or chat, `at_s` on the machine's monotonic clock."""

    at_s: float
    path: str
    what: str
    model: str


def keep_seconds(keep_alive: Any) -> float:
    """How long a model stays: seconds or a duration in words; anything negative means for ever."""
    found = KEEP.fullmatch(str(DEFAULT_KEEP if keep_alive is None else keep_alive))
    if found is None:
        raise ValueError(f"time: invalid duration {keep_alive!r}")
    kept = float(found[1]) * SECONDS[found[2]]
    return FOREVER if kept < 0 else kept


class Ollama:
    """The server as an ASGI application; `loaded` maps a model to the monotonic time when it goes."""

    def __init__(self, names: Iterable[str] = ("qwen2.5:7b",)) -> None:
        self.names = tuple(names)
        self.control = OllamaControl()
        self.ledger: list[OllamaEntry] = []
        self._loaded: dict[str, float] = {}
        self._loading = asyncio.Lock()
        self.app = Starlette(
            routes=[
                Route("/", self._hello),
                Route("/api/version", self._version),
                Route("/api/tags", self._tags),
                Route("/api/ps", self._ps),
                Route("/api/show", self._show, methods=["POST"]),
                Route("/api/generate", self._native, methods=["POST"]),
                Route("/api/chat", self._native, methods=["POST"]),
                Route("/v1/chat/completions", self._openai, methods=["POST"]),
                Route("/v1/models", self._openai_models),
                Route("/__control", self._control, methods=["POST"]),
                Route("/__ledger", self._ledger, methods=["GET", "DELETE"]),
            ]
        )

    @property
    def loaded(self) -> dict[str, float]:
        self._loaded = {name: until for name, until in self._loaded.items() if until > time.monotonic()}
        return self._loaded

    async def _hello(self, request: Request) -> Response:
        return PlainTextResponse("Ollama is running")

    async def _version(self, request: Request) -> Response:
        return JSONResponse({"version": "0.12.0"})

    async def _tags(self, request: Request) -> Response:
        return JSONResponse({"models": [_described(name) for name in self.names]})

    async def _ps(self, request: Request) -> Response:
        more = {"size_vram": 0, "expires_at": MADE_AT, "context_length": 4096}
        return JSONResponse({"models": [{**_described(name), **more} for name in self.loaded]})

    async def _show(self, request: Request) -> Response:
        details = {"details": {"family": "qwen2"}, "model_info": {"qwen2.context_length": 32768}, "template": ""}
        return JSONResponse({**details, "capabilities": ["completion", "tools"]})

    async def _native(self, request: Request) -> Response:
        body = await request.json()
        chat = request.url.path == "/api/chat"
        asked = bool(body.get("messages") if chat else body.get("prompt"))
        try:
            refused = await self._serve(request.url.path, body, asked=asked)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        if refused is not None:
            return refused
        return _stream_or_whole(body, self._words(body, asked=asked), chat=chat)

    async def _serve(self, path: str, body: Mapping[str, Any], *, asked: bool) -> Response | None:
        """Load, use or unload the model; a response when that is not possible."""
        name, kept = str(body.get("model", "")), keep_seconds(body.get("keep_alive"))
        if name not in self.names:
            return JSONResponse({"error": f"model '{name}' not found"}, 404)
        what = path.rsplit("/", 1)[-1] if asked else "load" if kept else "unload"
        self.ledger.append(OllamaEntry(time.monotonic(), path, what, name))
        if self.control.broken:
            return JSONResponse({"error": "llama runner process has terminated: exit status 2"}, 500)
        await self._change(name, kept, asked=asked)
        return None

    async def _change(self, name: str, kept: float, *, asked: bool) -> None:
        async with self._loading:
            if name not in self.loaded and (asked or kept):
                await asyncio.sleep(self.control.load_s)
            if kept:
                self._loaded[name] = time.monotonic() + kept
            else:
                self._loaded.pop(name, None)

    def _words(self, body: Mapping[str, Any], *, asked: bool) -> dict[str, Any]:
        reason = "stop" if asked else "load" if keep_seconds(body.get("keep_alive")) else "unload"
        counts = {"prompt_eval_count": 11, "eval_count": 7, "total_duration": 10**8, "load_duration": 10**6}
        head = {"model": body["model"], "created_at": MADE_AT, "text": self.control.answer if asked else ""}
        return {**head, "done": True, "done_reason": reason, **(counts if asked else {})}

    async def _openai(self, request: Request) -> Response:
        body = await request.json()
        if (
            refused := await self._serve(request.url.path.replace("completions", "chat"), body, asked=True)
        ) is not None:
            return refused
        said = Said(len(self.ledger), str(body["model"]), self.control.answer, 0.0)
        if body.get("stream"):
            return StreamingResponse(_pieces(CHAT.stream(said)), media_type="text/event-stream")
        return JSONResponse(CHAT.whole(said))

    async def _openai_models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in self.names]})

    async def _control(self, request: Request) -> Response:
        known = msgspec.to_builtins(self.control)
        self.control = msgspec.convert({**known, **await request.json()}, OllamaControl)
        return JSONResponse(msgspec.to_builtins(self.control))

    async def _ledger(self, request: Request) -> Response:
        shown = {"entries": msgspec.to_builtins(self.ledger), "loaded": list(self.loaded)}
        if request.method == "DELETE":
            self.ledger.clear()
            self._loaded.clear()
        return JSONResponse(shown)


def _described(name: str) -> dict[str, Any]:
    return {"name": name, "model": name, "size": SIZE, "digest": "0" * 64, "details": {"family": "qwen2"}}


def _shaped(words: Mapping[str, Any], *, chat: bool) -> dict[str, Any]:
    text = {"message": {"role": "assistant", "content": words["text"]}} if chat else {"response": words["text"]}
    return {**{name: value for name, value in words.items() if name != "text"}, **text}


def _stream_or_whole(body: Mapping[str, Any], words: Mapping[str, Any], *, chat: bool) -> Response:
    """Ollama streams unless it is told not to; a load is one line either way."""
    if not body.get("stream", True):
        return JSONResponse(_shaped(words, chat=chat))
    last = {**words, "text": ""}
    first = {"model": words["model"], "created_at": MADE_AT, "text": words["text"], "done": False}
    lines = [
        json.dumps(_shaped(each, chat=chat)).encode() + b"\n" for each in ([first, last] if words["text"] else [last])
    ]
    return StreamingResponse(_pieces(lines), media_type="application/x-ndjson")


async def _pieces(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--models", nargs="*", default=["qwen2.5:7b"])
    given = parser.parse_args(arguments)
    serve(settings(Ollama(given.models).app), given.port)


if __name__ == "__main__":
    main(sys.argv[1:])

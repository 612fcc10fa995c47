"""The Messages API on loopback for a real Claude Code: the prompt is a script of what the model does.

    python -m tests.fakes.messages --port 0
    prints its port, then serves

The newest text of the user that holds marks is the script; its n-th mark is what the model does in the n-th turn after
it, and when the marks have run out the last of them once more. A prompt without marks is answered in a few words.

| mark | what the model does |
|---|---|
| `[[text:…]]` | says that |
| `[[tool:NAME:{…}]]` | calls a tool with that input; as the last mark, says what the tool gave back after that |
| `[[loop:NAME:{…}]]` | calls that tool for ever |
| `[[slow:S]]` | says dots for S seconds, then "slow done" |
| `[[hang]]` | begins to answer and falls silent |
| `[[status:CODE]]`, `[[status:CODE:N]]` | the API answers with that status, always or the first N times in a session |
| `[[limit:CLAIM:S]]` | 429 as an account gets it whose limit (`five_hour`, `seven_day`) resets in S seconds |

    POST /__control  {"instead": "status:529"}: this mark for every prompt; {"keys": [...]}: the keys that are taken;
                     {"bare": true}: an API that has no path but /v1/messages
    GET  /__ledger   {"entries": [...]}      DELETE /__ledger forgets
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.fakes.dialects import MESSAGES, Json, models, sse
from tests.fakes.upstream import REFUSALS, serve, settings

MARK = re.compile(r"\[\[(text|tool|loop|slow|hang|status|limit)(?::(.*?))?\]\](?!\])", re.DOTALL)
PLAIN = "Hello from the other side of the loopback."
USAGE = {"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
OUTPUT_TOKENS = 20
DOT_S = 0.2
FOREVER_S = 3600.0
KEPT = 4000  # characters of a text that the ledger keeps


class Mark(NamedTuple):
    """One turn of the model."""

    kind: str
    what: str = ""

    def call(self) -> tuple[str, Json]:
        """The name and the input of the tool that it calls."""
        name, _, given = self.what.partition(":")
        return name, json.loads(given or "{}")


class Asked(msgspec.Struct):
    """One request as the API saw it; `at_s` on the machine's monotonic clock."""

    n: int
    at_s: float
    method: str
    path: str
    key: str = ""
    session: str = ""
    model: str = ""
    mark: str = ""
    prompt: str = ""
    result: str = ""  # of a tool, when the request brings one
    system: str = ""
    tools: list[str] = []
    messages: int = 0
    ended: str = ""  # how: a status, or "left" when the client went away


class MessagesControl(msgspec.Struct, forbid_unknown_fields=True):
    """What the API does from now on; None for keys takes any."""

    instead: str = ""
    keys: list[str] | None = None
    bare: bool = False


class Api:
    """The API as an ASGI application."""

    def __init__(self) -> None:
        self.control = MessagesControl()
        self.ledger: list[Asked] = []
        self._given: Counter[tuple[str, str]] = Counter()
        self.app = Starlette(
            routes=[
                Route("/__control", self._set, methods=["POST"]),
                Route("/__ledger", self._show, methods=["GET", "DELETE"]),
                Route("/v1/messages", self._ask, methods=["POST"]),
                Route("/{path:path}", self._other, methods=["GET", "HEAD", "POST"]),
            ]
        )

    async def _set(self, request: Request) -> Response:
        known = msgspec.to_builtins(self.control)
        self.control = msgspec.convert({**known, **await request.json()}, MessagesControl)
        return JSONResponse(msgspec.to_builtins(self.control))

    async def _show(self, request: Request) -> Response:
        shown = {"entries": msgspec.to_builtins(self.ledger)}
        if request.method == "DELETE":
            self.ledger.clear()
            self._given.clear()
        return JSONResponse(shown)

    async def _other(self, request: Request) -> Response:
        asked = self._note(request, {})
        answer = self._beside(request)
        asked.ended = str(answer.status_code)
        return answer

    def _beside(self, request: Request) -> Response:
        """Lists and counts, which a bare API does not have."""
        path = request.url.path
        if path.startswith("/v1/models") and not self.control.bare:
            return JSONResponse(models(("claude-fake-1",), anthropic=True))
        if path == "/v1/messages/count_tokens" and not self.control.bare:
            return JSONResponse({"input_tokens": 42})
        return JSONResponse(MESSAGES.error(404, "not_found_error", path), 404)

    async def _ask(self, request: Request) -> Response:
        body = await request.json()
        asked = self._note(request, body)
        mark = self._turn(asked, body)
        asked.mark = f"{mark.kind}:{mark.what}"[:KEPT]
        if refused := self._refused(asked, mark):
            asked.ended = str(refused.status_code)
            return refused
        answer = _Answer(asked, mark)
        if body.get("stream"):
            return StreamingResponse(answer.stream(), media_type="text/event-stream")
        return JSONResponse(answer.whole())

    def _note(self, request: Request, body: Json) -> Asked:
        headers = request.headers
        asked = Asked(
            n=len(self.ledger) + 1,
            at_s=time.monotonic(),
            method=request.method,
            path=request.url.path,
            key=headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer "),
            session=headers.get("x-claude-code-session-id", ""),
            model=str(body.get("model", "")),
            prompt="\n".join(_user_texts(body))[-KEPT:],
            result=(_tool_result(body) or "")[:KEPT],
            system=_text(body.get("system")),
            tools=[each.get("name", "") for each in body.get("tools", [])],
            messages=len(body.get("messages", [])),
        )
        self.ledger.append(asked)
        return asked

    def _turn(self, asked: Asked, body: Json) -> Mark:
        """What the model does now: the mark of this turn, or a word about the tool that it called last."""
        if self.control.instead:
            return Mark(*self.control.instead.partition(":")[::2])
        marks, turn = script(body)
        if turn < len(marks):
            return marks[turn]
        if marks[-1].kind == "tool":
            return Mark("text", f"TOOL SAID: {asked.result}")
        return marks[-1]

    def _refused(self, asked: Asked, mark: Mark) -> Response | None:
        if self.control.keys is not None and asked.key not in self.control.keys:
            return _refusal("401")
        if mark.kind == "limit":
            return _limit(mark.what)
        if mark.kind != "status":
            return None
        status, _, times = mark.what.partition(":")
        self._given[asked.session, mark.what] += 1
        return _refusal(status) if not times or self._given[asked.session, mark.what] <= int(times) else None


def script(body: Json) -> tuple[list[Mark], int]:
    """The marks of the newest text that has any, and how often the model has spoken since."""
    said = body.get("messages", [])
    for n in range(len(said) - 1, -1, -1):
        marks = [Mark(*found) for text in _texts(said[n]) for found in MARK.findall(text)]
        if marks and said[n]["role"] == "user":
            return marks, sum(each["role"] == "assistant" for each in said[n:])
    return [Mark("text", PLAIN)], 0


def _user_texts(body: Json) -> Iterator[str]:
    for each in body.get("messages", []):
        if each.get("role") == "user":
            yield from _texts(each)


def _texts(message: Json) -> list[str]:
    return [_text(message["content"])] if isinstance(message["content"], str) else _parts(message["content"])


def _parts(content: list[Json]) -> list[str]:
    return [each["text"] for each in content if each.get("type") == "text"]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(_parts(content or []))


def _tool_result(body: Json) -> str | None:
    content = (body.get("messages") or [{}])[-1].get("content")
    for each in content if isinstance(content, list) else []:
        if each.get("type") == "tool_result":
            return ("ERROR " if each.get("is_error") else "") + _text(each.get("content"))
    return None


def _refusal(status: str) -> Response:
    known = REFUSALS[status]
    headers = {"retry-after": "1"} if known.status == 429 else {}
    return JSONResponse(MESSAGES.error(known.status, known.kind, known.message), known.status, headers)


def _limit(what: str) -> Response:
    """An account at its limit: the status and the headers by which Claude Code knows it."""
    claim, _, in_s = what.partition(":")
    reset = str(round(time.time() + float(in_s or "60")))  # noqa: TID251 - the header wants the wall clock
    unified = {"status": "rejected", "reset": reset, "representative-claim": claim, "overage-status": "rejected"}
    headers = {f"anthropic-ratelimit-unified-{name}": value for name, value in unified.items()}
    message = "This request would exceed your account's rate limit. Please try again later."
    return JSONResponse(MESSAGES.error(429, "rate_limit_error", message), 429, headers)


class _Answer:
    """One answer of the model, whole or in pieces."""

    def __init__(self, asked: Asked, mark: Mark) -> None:
        self._asked = asked
        self._mark = mark

    @property
    def _calls(self) -> bool:
        return self._mark.kind in {"tool", "loop"}

    @property
    def _spoken(self) -> str:
        words = {"slow": "slow done", "hang": "", "status": "recovered", "tool": "Using a tool.", "loop": "Once more."}
        return words.get(self._mark.kind, self._mark.what)

    def whole(self) -> Json:
        blocks: list[Json] = [{"type": "text", "text": self._spoken}]
        if self._calls:
            name, given = self._mark.call()
            blocks.append({"type": "tool_use", "id": self._id("toolu"), "name": name, "input": given})
        self._asked.ended = "200"
        return {**self._head(OUTPUT_TOKENS), "content": blocks, "stop_reason": self._stop}

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            for index, block in enumerate([self._text_block(), *([self._tool_block()] if self._calls else [])]):
                if index == 0:
                    yield _event("message_start", message=self._head(1))
                async for kind, fields in block:
                    yield _event(kind, index=index, **fields)
            end = {"stop_reason": self._stop, "stop_sequence": None}
            yield _event("message_delta", delta=end, usage={**USAGE, "output_tokens": OUTPUT_TOKENS})
            yield _event("message_stop")
            self._asked.ended = "200"
        finally:
            self._asked.ended = self._asked.ended or "left"

    async def _text_block(self) -> AsyncIterator[tuple[str, Json]]:
        yield "content_block_start", {"content_block": {"type": "text", "text": ""}}
        async for words in self._words():
            yield "content_block_delta", {"delta": {"type": "text_delta", "text": words}}
        yield "content_block_stop", {}

    async def _words(self) -> AsyncIterator[str]:
        if self._mark.kind == "hang":
            await asyncio.sleep(FOREVER_S)  # starlette ends this when the client goes away
        for _ in range(round(float(self._mark.what) / DOT_S) if self._mark.kind == "slow" else 0):
            yield ". "
            await asyncio.sleep(DOT_S)
        yield self._spoken

    async def _tool_block(self) -> AsyncIterator[tuple[str, Json]]:
        name, given = self._mark.call()
        use = {"type": "tool_use", "id": self._id("toolu"), "name": name, "input": {}}
        yield "content_block_start", {"content_block": use}
        yield "content_block_delta", {"delta": {"type": "input_json_delta", "partial_json": json.dumps(given)}}
        yield "content_block_stop", {}

    @property
    def _stop(self) -> str:
        return "tool_use" if self._calls else "end_turn"

    def _head(self, output_tokens: int) -> Json:
        head = {"id": self._id("msg"), "type": "message", "role": "assistant", "model": self._asked.model}
        usage = {**USAGE, "output_tokens": output_tokens}
        return {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._asked.n:06d}{next(_NUMBERS):010d}"


_NUMBERS = itertools.count(time.monotonic_ns() % 10**9)  # no id comes twice, not even in a later life of this fake


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    serve(settings(Api().app), parser.parse_args(arguments).port)


if __name__ == "__main__":
    main(sys.argv[1:])

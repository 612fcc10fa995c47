"""The Messages API on loopback for a real Claude Code; the prompt is the script (`tests.fakes.script`).

It also answers the liveness check of a LiteLLM proxy, so that it can stand for one.

python -m tests.fakes.messages --port 0
prints its port, then serves

POST /__control  {"instead": "status:529"}: this mark for every prompt; {"keys": [...]}: the keys that are taken;
                 {"bare": true}: an API that has no path but /v1/messages
GET  /__ledger   {"entries": [...]}      DELETE /__ledger forgets
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.fakes.dialects import MESSAGES, models, sse
from tests.fakes.script import KEPT, Asked, Json, Mark, Spoken, new_id, parts_of, prompt_of, text_of, turn
from tests.fakes.steered import Steered
from tests.fakes.upstream import LIVELINESS, REFUSALS, serve, settings

USAGE = {"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
OUTPUT_TOKENS = 20


class MessagesControl(msgspec.Struct, forbid_unknown_fields=True):
    """What the API does from now on; None for keys takes any."""

    instead: str = ""
    keys: list[str] | None = None
    bare: bool = False


class Api(Steered[MessagesControl, tuple[str, str]]):
    """The API as an ASGI application."""

    def __init__(self) -> None:
        super().__init__(MessagesControl())
        self.app = Starlette(
            routes=[
                *self.steering,
                Route("/v1/messages", self._ask, methods=["POST"]),
                Route(LIVELINESS, self._live),
                Route("/{path:path}", self._other, methods=["GET", "HEAD", "POST"]),
            ]
        )

    async def _live(self, request: Request) -> Response:
        """So that it can also stand where a LiteLLM proxy does."""
        return JSONResponse("I'm alive!")

    async def _other(self, request: Request) -> Response:
        asked = self._note(request, {})
        answer = self._beside(request)
        asked.ended = str(answer.status_code)
        return answer

    def _beside(self, request: Request) -> Response:
        """Lists and counts, which a bare API does not have."""
        path = request.url.path
        if path == LIVELINESS:
            return JSONResponse("I'm alive!")
        if path.startswith("/v1/models") and not self.control.bare:
            return JSONResponse(models(("claude-fake-1",), anthropic=True))
        if path == "/v1/messages/count_tokens" and not self.control.bare:
            return JSONResponse({"input_tokens": 42})
        return JSONResponse(MESSAGES.error(404, "not_found_error", path), 404)

    async def _ask(self, request: Request) -> Response:
        body = await request.json()
        asked = self._note(request, body)
        mark = turn(_said(body), asked.result, self.control.instead)
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
        said = _said(body)
        asked = Asked(
            n=len(self.ledger) + 1,
            at_s=time.monotonic(),
            method=request.method,
            path=request.url.path,
            key=headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer "),
            session=headers.get("x-claude-code-session-id", ""),
            model=str(body.get("model", "")),
            prompt=prompt_of(said),
            result=_tool_result(body)[:KEPT],
            system=text_of(body.get("system")),
            tools=[each.get("name", "") for each in body.get("tools", [])],
            messages=len(said),
        )
        self.ledger.append(asked)
        return asked

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


def _said(body: Json) -> list[Spoken]:
    return [Spoken(each["role"], parts_of(each["content"])) for each in body.get("messages", [])]


def _tool_result(body: Json) -> str:
    content = (body.get("messages") or [{}])[-1].get("content")
    for each in content if isinstance(content, list) else []:
        if each.get("type") == "tool_result":
            return ("ERROR " if each.get("is_error") else "") + text_of(each.get("content"))
    return ""


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

    def whole(self) -> Json:
        blocks: list[Json] = [{"type": "text", "text": self._mark.words}]
        blocks += [{**self._use(), "input": self._mark.given} for _ in range(self._mark.calls)]
        self._asked.ended = "200"
        return {**self._head(OUTPUT_TOKENS), "content": blocks, "stop_reason": self._stop}

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            yield _event("message_start", message=self._head(1))
            for index, block in enumerate([self._text(), *(self._tool() for _ in range(self._mark.calls))]):
                async for kind, fields in block:
                    yield _event(kind, index=index, **fields)
            end = {"stop_reason": self._stop, "stop_sequence": None}
            yield _event("message_delta", delta=end, usage={**USAGE, "output_tokens": OUTPUT_TOKENS})
            yield _event("message_stop")
            self._asked.ended = "200"
        finally:
            self._asked.ended = self._asked.ended or "left"

    async def _text(self) -> AsyncIterator[tuple[str, Json]]:
        yield "content_block_start", {"content_block": {"type": "text", "text": ""}}
        async for words in self._mark.spoken():
            yield "content_block_delta", {"delta": {"type": "text_delta", "text": words}}
        yield "content_block_stop", {}

    async def _tool(self) -> AsyncIterator[tuple[str, Json]]:
        given = json.dumps(self._mark.given)
        yield "content_block_start", {"content_block": {**self._use(), "input": {}}}
        yield "content_block_delta", {"delta": {"type": "input_json_delta", "partial_json": given}}
        yield "content_block_stop", {}

    def _use(self) -> Json:
        return {"type": "tool_use", "id": new_id("toolu"), "name": self._mark.what}

    @property
    def _stop(self) -> str:
        return "tool_use" if self._mark.calls else "end_turn"

    def _head(self, output_tokens: int) -> Json:
        head = {"id": new_id("msg"), "type": "message", "role": "assistant", "model": self._asked.model}
        usage = {**USAGE, "output_tokens": output_tokens}
        return {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    serve(settings(Api().app), parser.parse_args(arguments).port)


if __name__ == "__main__":
    main(sys.argv[1:])

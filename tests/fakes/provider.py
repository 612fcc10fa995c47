"""An OpenAI-compatible provider on loopback for a real OpenClaw; the prompt is the script (`tests.fakes.script`).

    python -m tests.fakes.provider --port 0
    prints its port, then serves

A tool is called by the end of its name, because OpenClaw puts the name of the server before it. A prompt without marks
is answered with `ECHO: ` and the end of the prompt.

    POST /__control  {"instead": "status:500"}: this mark for every prompt
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
from tests.fakes.dialects import CHAT, CREATED, models, sse
from tests.fakes.script import KEPT, PLAIN, Asked, Json, Mark, Spoken, new_id, parts_of, prompt_of, text_of, turn
from tests.fakes.steered import Steered
from tests.fakes.upstream import REFUSALS, serve, settings

MODEL = "fake-1"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class ProviderControl(msgspec.Struct, forbid_unknown_fields=True):
    """What the provider does from now on."""

    instead: str = ""


class Provider(Steered[ProviderControl, str]):
    """The provider as an ASGI application."""

    def __init__(self) -> None:
        super().__init__(ProviderControl())
        self.app = Starlette(
            routes=[
                *self.steering,
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._ask, methods=["POST"]),
            ]
        )

    async def _models(self, request: Request) -> Response:
        return JSONResponse(models((MODEL,), anthropic=False))

    async def _ask(self, request: Request) -> Response:
        body = await request.json()
        said = [Spoken(each["role"], parts_of(each.get("content"))) for each in body["messages"]]
        asked = self._note(request, body, said)
        mark = turn(said, asked.result, self.control.instead)
        asked.mark = f"{mark.kind}:{mark.what}"[:KEPT]
        if refused := self._refused(mark):
            asked.ended = str(refused.status_code)
            return refused
        answer = _Answer(asked, _meant(mark, asked))
        if body.get("stream"):
            return StreamingResponse(answer.stream(), media_type="text/event-stream")
        return JSONResponse(answer.whole())

    def _note(self, request: Request, body: Json, said: list[Spoken]) -> Asked:
        asked = Asked(
            n=len(self.ledger) + 1,
            at_s=time.monotonic(),
            method=request.method,
            path=request.url.path,
            key=request.headers.get("authorization", "").removeprefix("Bearer "),
            model=str(body.get("model", "")),
            prompt=prompt_of(said),
            result=_tool_result(body["messages"])[:KEPT],
            tools=[each["function"]["name"] for each in body.get("tools", [])],
            messages=len(said),
        )
        self.ledger.append(asked)
        return asked

    def _refused(self, mark: Mark) -> Response | None:
        if mark.kind != "status":
            return None
        status, _, times = mark.what.partition(":")
        self._given[mark.what] += 1
        if times and self._given[mark.what] > int(times):
            return None
        known = REFUSALS[status]
        return JSONResponse(CHAT.error(known.status, known.kind, known.message), known.status)


def _tool_result(messages: list[Json]) -> str:
    """What the last tool gave back since the model spoke; OpenClaw may put words of its own after it."""
    for each in reversed(messages):
        if each["role"] == "tool":
            return text_of(each.get("content"))
        if each["role"] == "assistant":
            return ""
    return ""


def _meant(mark: Mark, asked: Asked) -> Mark:
    """The mark with the whole name of its tool; one that calls a tool that is not offered says so."""
    if not mark.calls:
        return Mark("text", f"ECHO: {asked.prompt[-200:]}") if mark.what == PLAIN else mark
    offered = [name for name in asked.tools if name.endswith(mark.what)]
    return mark._replace(what=offered[0]) if offered else Mark("text", f"NO TOOL {mark.what} IN {asked.tools}")


class _Answer:
    """One answer of the model, whole or in pieces."""

    def __init__(self, asked: Asked, mark: Mark) -> None:
        self._asked = asked
        self._mark = mark

    def whole(self) -> Json:
        message: Json = {"role": "assistant", "content": None if self._mark.calls else self._mark.words}
        if self._mark.calls:
            message["tool_calls"] = self._calls()
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        self._asked.ended = "200"
        return {**self._head("chat.completion"), "choices": [choice], "usage": USAGE}

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            yield self._chunk({"role": "assistant", "content": ""})
            if self._mark.calls:
                calls = [{"index": n, **call} for n, call in enumerate(self._calls())]
                yield self._chunk({"tool_calls": calls})
            else:
                async for words in self._mark.spoken():
                    yield self._chunk({"content": words})
            yield self._chunk({}, self._finish, usage=USAGE)
            yield sse("[DONE]")
            self._asked.ended = "200"
        finally:
            self._asked.ended = self._asked.ended or "left"

    def _calls(self) -> list[Json]:
        function = {"name": self._mark.what, "arguments": json.dumps(self._mark.given)}
        return [{"id": new_id("call"), "type": "function", "function": function} for _ in range(self._mark.calls)]

    @property
    def _finish(self) -> str:
        return "tool_calls" if self._mark.calls else "stop"

    def _chunk(self, delta: Json, finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def _head(self, kind: str) -> Json:
        return {"id": f"chatcmpl-{self._asked.n}", "object": kind, "created": CREATED, "model": self._asked.model}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    serve(settings(Provider().app), parser.parse_args(arguments).port)


if __name__ == "__main__":
    main(sys.argv[1:])

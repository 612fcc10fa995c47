"""What a cloud answers: the OpenAI, OpenRouter, Responses and Anthropic shapes, whole and as server-sent events.

Everything here is data: a dialect is chosen by the path of a request, and gives the body of an answer, the pieces of a
stream, and the body of an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

INPUT_TOKENS, OUTPUT_TOKENS = 11, 7
CREATED = 1_790_000_000
Json = dict[str, Any]


class Said(NamedTuple):
    """One answer, before it has a shape; `cost_usd` is told only by those who tell it."""

    n: int
    model: str
    text: str
    cost_usd: float
    with_usage: bool = True


class Dialect(Protocol):
    def whole(self, said: Said) -> Json: ...

    def stream(self, said: Said) -> Iterator[bytes]:
        """The pieces of a stream; the first brings the beginning of the text."""
        ...

    def error(self, status: int, kind: str, message: str) -> Json: ...

    def broken(self, said: Said) -> bytes:
        """How this dialect says in the middle of a stream that it goes no further."""
        ...


def sse(data: Json | str, event: str = "") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def words(text: str) -> list[str]:
    first, *rest = text.split(" ")
    return [first, *(" " + each for each in rest)]


class Chat:
    """OpenAI's chat completions; usage in a stream only for those who ask for it."""

    def whole(self, said: Said) -> Json:
        message = {"role": "assistant", "content": said.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**self._head(said, "chat.completion"), "choices": [choice], "usage": self.usage(said)}

    def stream(self, said: Said) -> Iterator[bytes]:
        for n, word in enumerate(words(said.text)):
            yield self._chunk(said, {"role": "assistant", "content": word} if n == 0 else {"content": word})
        yield self._chunk(said, {}, "stop")
        if said.with_usage:
            yield sse({**self._head(said, "chat.completion.chunk"), "choices": [], "usage": self.usage(said)})
        yield sse("[DONE]")

    def error(self, status: int, kind: str, message: str) -> Json:
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}

    def broken(self, said: Said) -> bytes:
        return sse(self.error(502, "server_error", "the provider went away"))

    def usage(self, said: Said) -> Json:
        total = INPUT_TOKENS + OUTPUT_TOKENS
        return {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": total}

    def _head(self, said: Said, kind: str) -> Json:
        return {"id": f"chatcmpl-{said.n}", "object": kind, "created": CREATED, "model": said.model}

    def _chunk(self, said: Said, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({**self._head(said, "chat.completion.chunk"), "choices": [choice]})


class OpenRouter(Chat):
    """Chat completions that name their cost, errors with a number as their code."""

    def error(self, status: int, kind: str, message: str) -> Json:
        metadata = {"provider_name": "Fake", "raw": message}
        return {"error": {"code": status, "message": message, "metadata": metadata}, "user_id": "user_1"}

    def broken(self, said: Said) -> bytes:
        error = {"code": 502, "message": "the provider went away"}
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return sse({**self._head(said, "chat.completion.chunk"), "error": error, "choices": [choice]})

    def usage(self, said: Said) -> Json:
        return {**super().usage(said), "cost": said.cost_usd, "is_byok": False}


class Responses(Chat):
    """OpenAI's responses."""

    def whole(self, said: Said) -> Json:
        return {
            **self._response(said, "completed"),
            "output": [self._item(said, "completed")],
            "usage": self.usage(said),
        }

    def stream(self, said: Said) -> Iterator[bytes]:
        for number, (kind, fields) in enumerate(self._events(said)):
            yield sse({"type": kind, "sequence_number": number, **fields}, kind)

    def broken(self, said: Said) -> bytes:
        error = {"code": "server_error", "message": "the provider went away"}
        response = {**self._response(said, "failed"), "error": error}
        return sse({"type": "response.failed", "sequence_number": 99, "response": response}, "response.failed")

    def usage(self, said: Said) -> Json:
        return {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }

    def _events(self, said: Said) -> Iterator[tuple[str, Json]]:
        at = {"item_id": f"msg_{said.n}", "output_index": 0, "content_index": 0}
        whole = self._part(said)
        yield "response.created", {"response": self._response(said, "in_progress")}
        yield (
            "response.output_item.added",
            {"output_index": 0, "item": {**self._item(said, "in_progress"), "content": []}},
        )
        yield "response.content_part.added", {**at, "part": {**whole, "text": ""}}
        for word in words(said.text):
            yield "response.output_text.delta", {**at, "delta": word, "logprobs": []}
        yield "response.output_text.done", {**at, "text": said.text, "logprobs": []}
        yield "response.content_part.done", {**at, "part": whole}
        yield "response.output_item.done", {"output_index": 0, "item": self._item(said, "completed")}
        yield "response.completed", {"response": self.whole(said)}

    def _response(self, said: Said, status: str) -> Json:
        head = {"id": f"resp_{said.n}", "object": "response", "created_at": CREATED, "status": status}
        rest: Json = {"error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "output": []}
        tools = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "temperature": 1.0, "top_p": 1.0}
        return {**head, "model": said.model, **rest, **tools}

    def _item(self, said: Said, status: str) -> Json:
        head = {"type": "message", "id": f"msg_{said.n}", "role": "assistant"}
        return {**head, "status": status, "content": [self._part(said)]}

    def _part(self, said: Said) -> Json:
        return {"type": "output_text", "text": said.text, "annotations": []}


class Messages:
    """Anthropic's messages; a stream tells its usage at its beginning and at its end."""

    def whole(self, said: Said) -> Json:
        content = [{"type": "text", "text": said.text}]
        return {**self._head(said), "content": content, "stop_reason": "end_turn", "usage": self._usage(OUTPUT_TOKENS)}

    def stream(self, said: Said) -> Iterator[bytes]:
        for kind, fields in self._events(said):
            yield sse({"type": kind, **fields}, kind)

    def error(self, status: int, kind: str, message: str) -> Json:
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    def broken(self, said: Said) -> bytes:
        return sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error")

    def _events(self, said: Said) -> Iterator[tuple[str, Json]]:
        yield "message_start", {"message": {**self._head(said), "usage": self._usage(1)}}
        yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
        for word in words(said.text):
            yield "content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": word}}
        yield "content_block_stop", {"index": 0}
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        yield "message_delta", {"delta": end, "usage": {"output_tokens": OUTPUT_TOKENS}}
        yield "message_stop", {}

    def _head(self, said: Said) -> Json:
        head = {"id": f"msg_{said.n}", "type": "message", "role": "assistant", "model": said.model}
        return {**head, "content": [], "stop_reason": None, "stop_sequence": None}

    def _usage(self, output: int) -> Json:
        return {"input_tokens": INPUT_TOKENS, "output_tokens": output}


CHAT, OPENROUTER, RESPONSES, MESSAGES = Chat(), OpenRouter(), Responses(), Messages()
PATHS: dict[str, Dialect] = {
    "/v1/chat/completions": CHAT,
    "/api/v1/chat/completions": OPENROUTER,
    "/v1/responses": RESPONSES,
    "/api/v1/responses": RESPONSES,
    "/v1/messages": MESSAGES,
    "/api/v1/messages": MESSAGES,
}


def dialect_of(path: str, *, anthropic: bool) -> Dialect:
    """The dialect of a path; lists and pings take that of the client, or of the folder that they lie in."""
    if path in PATHS:
        return PATHS[path]
    return MESSAGES if anthropic else OPENROUTER if path.startswith("/api/") else CHAT


def models(names: tuple[str, ...], *, anthropic: bool) -> Json:
    if anthropic:
        made = "2026-01-01T00:00:00Z"
        data = [{"type": "model", "id": n, "display_name": n, "created_at": made} for n in names]
        return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
    return {
        "object": "list",
        "data": [{"id": n, "object": "model", "created": CREATED, "owned_by": "us"} for n in names],
    }

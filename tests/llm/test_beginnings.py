"""A stream begins with its content: what LiteLLM makes out of a success that holds nothing is no answer.

The streams stand here as LiteLLM 1.106.2 sends them, shortened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from omni.domain.verdict import MEANING
from omni.llm.answer import Dialect, UpstreamFailed
from omni.llm.classify import of_exception
from omni.llm.streams import WatchedSource

MESSAGE = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":0}}}\n\n'
RESPONSE = b'data: {"type":"response.created","response":{"status":"in_progress"}}\n\n'
NOTHING: dict[str, tuple[Dialect, list[bytes]]] = {
    "an orderly end without words": (
        "chat",
        [
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{}}]}\n\n',
            b"data: [DONE]\n\n",
        ],
    ),
    "an envelope, then an error": (
        "messages",
        [MESSAGE, b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"closed"}}\n\n'],
    ),
    "an answer that failed at once": (
        "responses",
        [RESPONSE, b'data: {"type":"response.failed","response":{"error":{"code":"server_error"}}}\n\n'],
    ),
    "an envelope, then the end": ("messages", [MESSAGE]),
}
SOMETHING: dict[str, tuple[Dialect, list[bytes]]] = {
    "words": ("chat", [b'data: {"choices":[{"delta":{"role":"assistant","content":"x"}}]}\n\n']),
    "a tool": ("chat", [b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n']),
    "a refusal by the filter": ("chat", [b'data: {"choices":[{"delta":{},"finish_reason":"content_filter"}]}\n\n']),
    "no words, counted": ("chat", [b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":0}}\n\n']),
    "a block": ("messages", [MESSAGE, b'data: {"type":"content_block_start","index":0}\n\n']),
    "an item": ("responses", [RESPONSE, b'data: {"type":"response.output_item.added","item":{}}\n\n']),
}


def begin(dialect: Dialect, pieces: list[bytes]) -> list[bytes]:
    async def source() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def close() -> None:
        pass

    return asyncio.run(WatchedSource(dialect, source(), close, of_exception).begin())


@pytest.mark.parametrize("name", NOTHING)
def test_a_stream_without_content_is_no_answer_and_may_be_asked_for_elsewhere(name: str) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        begin(*NOTHING[name])
    assert MEANING[caught.value.verdict].elsewhere


@pytest.mark.parametrize("name", SOMETHING)
def test_a_stream_begins_as_soon_as_it_has_content(name: str) -> None:
    dialect, pieces = SOMETHING[name]
    assert begin(dialect, [*pieces, b"never read"]) == pieces

"""Messages that a strict parser refuses, and what becomes of whoever waits for them."""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types
import pytest

from omni.executors.wire import parse


def answer(structured: str) -> str:
    return '{"jsonrpc":"2.0","id":7,"result":{"content":[],"structuredContent":' + structured + "}}"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (answer(r'{"t":"a\ud800b"}'), "a?b"),
        (answer(r'{"t":"a\udc00\ud83db"}'), "a??b"),
        (answer(r'{"t":"\ud83d\ude00 \\ud800 \udfff"}'), "\U0001f600 \\ud800 ?"),
        (answer('{"t":"a§b"}').encode().replace("§".encode(), b"\xff"), "a\ufffdb"),
    ],
)
def test_an_answer_with_half_a_character_is_an_answer(data: bytes | str, text: str) -> None:
    message: Any = parse(data).message
    assert message.id == 7
    assert message.result["structuredContent"] == {"t": text}


@pytest.mark.parametrize("levels", [250, 800])
def test_an_answer_that_nests_too_deeply_is_an_error_for_the_one_who_asked(levels: int) -> None:
    message = parse(answer("[" * levels + "]" * levels)).message
    assert isinstance(message, types.JSONRPCError)
    assert message.id == 7
    assert "nest too deeply" in message.error.message


@pytest.mark.parametrize(
    "data",
    [
        "not JSON",
        b"\xff\xfe",
        "[" * 100_000,
        json.dumps({"id": 7, "result": 1}),
        json.dumps({"jsonrpc": "2.0", "id": [7], "result": "x"}),
        json.dumps({"jsonrpc": "2.0", "method": 5}),
        '{"jsonrpc":"2.0","method":"x","params":{"a":' + "[" * 300 + "]" * 300 + "}}",
    ],
)
def test_everything_else_is_no_message(data: bytes | str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which of them does not matter to anybody
        parse(data)

"""What is checked of a frame before anyone decodes it."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def too_deep(text: str, limit: int) -> bool:
    """Whether brackets nest deeper than `limit`; text in quotes does not count."""
    if text.count("{") + text.count("[") <= limit:
        return False
    depth = 0
    for token in _TOKENS.finditer(text):
        sign = token[0]
        if sign in "{[":
            depth += 1
            if depth > limit:
                return True
        elif sign in "}]":
            depth -= 1
    return False


class _Probe(msgspec.Struct, gc=False):
    jsonrpc: msgspec.Raw | UnsetType = UNSET


_probe = msgspec.json.Decoder(_Probe).decode


def speaks_mcp(text: str) -> bool:
    """Whether the message has a `jsonrpc` member. Raises msgspec.MsgspecError when it is not one JSON object."""
    return _probe(text).jsonrpc is not UNSET


def why_not_json(error: Exception) -> str:
    """What is wrong with a text, for people."""
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    said = str(error)
    if said.startswith("Expected `object`, got `array`"):
        return "one request is one object; a list of requests is not taken"
    if said.startswith("Expected `object`"):
        return "a request is an object"
    return said[:200]


NOT_JSON: tuple[type[Exception], ...] = (msgspec.MsgspecError, RecursionError, UnicodeError)


def text_of(message: Any) -> str | None:
    """The text of an ASGI receive event; None for a binary frame."""
    text = message.get("text")
    return text if isinstance(text, str) else None

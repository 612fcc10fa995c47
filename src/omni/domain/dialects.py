"""The three dialects of model calls, as far as Omni says something in them itself: errors, and the list of models.

    messages    Anthropic's Messages          {"type": "error", "error": {"type", "message"}}
    chat        OpenAI's chat completions     {"error": {"message", "type", "param", "code"}}
    responses   OpenAI's responses            the same; in a stream an event of its own

An error inside a stream comes after a status of 200, as the last event, in the form that the dialect's clients know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

MESSAGES, CHAT, RESPONSES = "messages", "chat", "responses"

# status → (Anthropic's type, OpenAI's type, OpenAI's code)
_KINDS: dict[int, tuple[str, str, str]] = {
    400: ("invalid_request_error", "invalid_request_error", "invalid_request"),
    401: ("authentication_error", "authentication_error", "invalid_api_key"),
    402: ("billing_error", "insufficient_quota", "insufficient_quota"),
    403: ("permission_error", "permission_error", "permission_denied"),
    404: ("not_found_error", "invalid_request_error", "not_found"),
    405: ("invalid_request_error", "invalid_request_error", "method_not_allowed"),
    408: ("timeout_error", "timeout_error", "timeout"),
    413: ("request_too_large", "invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_error", "rate_limit_exceeded"),
    503: ("overloaded_error", "server_error", "service_unavailable"),
    504: ("timeout_error", "timeout_error", "timeout"),
}
_OTHER = ("api_error", "server_error", "server_error")


def dialect_of(path: str) -> str:
    """In which dialect a path of the model port is spoken; OpenAI's chat where nothing says another."""
    if path.startswith("/v1/messages"):
        return MESSAGES
    return RESPONSES if path.startswith("/v1/responses") else CHAT


def error_body(dialect: str, status: int, message: str) -> bytes:
    """The JSON body of an error answer with this status."""
    return msgspec.json.encode(_error(dialect, status, message))


def error_event(dialect: str, status: int, message: str) -> bytes:
    """The last event of a stream that cannot go on."""
    if dialect == MESSAGES:
        return b"event: error\ndata: " + error_body(dialect, status, message) + b"\n\n"
    if dialect == CHAT:
        return b"data: " + error_body(dialect, status, message) + b"\n\n"
    failed = {"status": "failed", "error": {"code": _KINDS.get(status, _OTHER)[2], "message": message}}
    event = {"type": "response.failed", "response": {"object": "response", **failed}}
    return b"event: response.failed\ndata: " + msgspec.json.encode(event) + b"\n\n"


def model_list(dialect: str, names: Sequence[str]) -> bytes:
    """The answer to a question for all models; MESSAGES: in Anthropic's form."""
    entries = [_model(dialect, name) for name in names]
    if dialect != MESSAGES:
        return msgspec.json.encode({"object": "list", "data": entries})
    first, last = (names[0], names[-1]) if names else (None, None)
    return msgspec.json.encode({"data": entries, "has_more": False, "first_id": first, "last_id": last})


def model_entry(dialect: str, name: str) -> bytes:
    """The answer to a question for one model."""
    return msgspec.json.encode(_model(dialect, name))


def _model(dialect: str, name: str) -> dict[str, Any]:
    if dialect != MESSAGES:
        return {"id": name, "object": "model", "created": 0, "owned_by": "omni"}
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _error(dialect: str, status: int, message: str) -> dict[str, Any]:
    theirs, kind, code = _KINDS.get(status, _OTHER)
    if dialect == MESSAGES:
        return {"type": "error", "error": {"type": theirs, "message": message}}
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}

"""What a caller may say in each dialect, and how an answer of litellm is written in it.

litellm answers with objects, or for `messages` with finished events. They are written here as a server of the dialect
would write them: chat fills in the nulls that clients look for and ends with `[DONE]`; responses numbers its events.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from omni.llm.answer import Call, Dialect

_MESSAGES = """
    max_tokens messages metadata stop_sequences stream system temperature thinking tool_choice tools top_k top_p
    container context_management output_config output_format service_tier
"""
_CHAT = """
    messages audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    modalities n parallel_tool_calls prediction presence_penalty reasoning_effort response_format safety_identifier seed
    service_tier stop store stream temperature tool_choice tools top_logprobs top_p user verbosity web_search_options
"""
_RESPONSES = """
    include input instructions max_output_tokens max_tool_calls metadata parallel_tool_calls previous_response_id prompt
    prompt_cache_key reasoning safety_identifier service_tier store stream temperature text tool_choice tools
    top_logprobs top_p truncation user
"""
FIELDS: dict[Dialect, frozenset[str]] = {
    "messages": frozenset(_MESSAGES.split()),
    "chat": frozenset(_CHAT.split()),
    "responses": frozenset(_RESPONSES.split()),
}

# What a LiteLLM proxy takes from a request beside the dialect, and a caller has no business with: prices, which would
# make his calls look cheap, whom it calls with which key, and how often. No dialect has a field with such a name.
_LITELLMS_OWN = re.compile(
    r"""
    _.* | .*cost.* | .*fallback.* | .*secret.* | .*_pricing | .*_multiplier.* | mock_.* | litellm_.* | use_litellm_.*
    | (?:.*_)?api_(?:base|key|version|url).* | base_url | .*_(?:base_url|host|endpoint(?:_.*)?|issuer_url)
    | (?:aws|azure|vertex|s3|gcs|langfuse|langsmith|arize|dd|posthog)_.* | .*_(?:credentials?|token_file)
    | user_config | user_api_key.* | base_model | model_(?:list|info|config|alias_map) | custom_llm_provider
    | organization | silent_model | (?:num|max)_retries | retry_.* | (?:.*_)?callbacks? | proxy_server_request
    | (?:extra_)?headers | provider_specific_header | ssl_verify | guardrails | tags | max_budget | budget_duration
    | cach(?:e|ing) | no-log | drop_params | (?:request_|stream_)?timeout
    """,
    re.VERBOSE,
)


def for_litellm(body: dict[str, Any]) -> dict[str, Any]:
    """The body as a LiteLLM proxy may see it, without what would steer LiteLLM itself."""
    return {name: value for name, value in body.items() if not _LITELLMS_OWN.fullmatch(name)}


def as_json(dialect: Dialect, said: Any) -> bytes:
    """An answer in one piece."""
    body = _plain(said)
    return msgspec.json.encode(_WHOLE.get(dialect, _as_is)(body))


def as_events(call: Call, said: Any) -> AsyncIterator[bytes]:
    """An answer as events, each whole."""
    return _STREAMS[call.dialect](call, said)


def _as_is(body: dict[str, Any]) -> dict[str, Any]:
    return body


def _chat_answer(body: dict[str, Any]) -> dict[str, Any]:
    for choice in body.get("choices", ()):
        choice["message"] = {"content": None, **choice.get("message", {})}
        choice.setdefault("finish_reason", None)
        choice.setdefault("logprobs", None)
    return body


_WHOLE: dict[Dialect, Callable[[dict[str, Any]], dict[str, Any]]] = {"chat": _chat_answer}


async def _messages_events(call: Call, said: Any) -> AsyncIterator[bytes]:
    async for event in said:
        yield event if isinstance(event, bytes) else _named(_plain(event))


async def _chat_events(call: Call, said: Any) -> AsyncIterator[bytes]:
    options = call.body.get("stream_options")
    wanted = isinstance(options, dict) and bool(options.get("include_usage"))
    async for event in said:
        chunk = _plain(event)
        if "usage" in chunk and not any(_says_something(choice) for choice in chunk.get("choices", ())):
            chunk["choices"] = []
            if not wanted:
                continue
        for choice in chunk.get("choices", ()):
            choice.setdefault("finish_reason", None)
        yield b"data: " + msgspec.json.encode(chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _says_something(choice: dict[str, Any]) -> bool:
    return bool(choice.get("delta")) or choice.get("finish_reason") is not None


async def _responses_events(call: Call, said: Any) -> AsyncIterator[bytes]:
    number = 0
    async for event in said:
        yield _named({**_plain(event), "sequence_number": number})
        number += 1


def _named(event: dict[str, Any]) -> bytes:
    return f"event: {event.get('type', 'message')}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n"


_STREAMS: dict[Dialect, Callable[[Call, Any], AsyncIterator[bytes]]] = {
    "messages": _messages_events,
    "chat": _chat_events,
    "responses": _responses_events,
}


def _plain(said: Any) -> dict[str, Any]:
    """An object of litellm as plain values, without what is not set."""
    if isinstance(said, dict):
        return said
    plain: dict[str, Any] = said.model_dump(mode="json", exclude_none=True)
    return plain

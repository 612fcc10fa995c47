"""Callers and upstreams that say what they should not: keys, prices, numbers and bytes that nobody asked for."""

import asyncio
import gzip
import json
import tracemalloc
from typing import Any

import pytest
from tests.llm.test_channels import ANSWERS, BODIES, THROUGH_PROXY, body_of, call, failure, run
from tests.llm.upstream import Play, Upstream, chat_answer, chat_events, message_answer, says, streams

from omni.config.prices import Rates, find, read_list
from omni.domain.hops import Hop
from omni.domain.values import MOST_USD, Usage
from omni.domain.verdict import Verdict
from omni.llm.answer import Call, Dialect, Meter, UpstreamFailed
from omni.llm.channels import Channels
from omni.llm.classify import MAX_RETRY_AFTER_MS
from omni.llm.dialects import FIELDS, for_litellm
from omni.llm.prices import Prices
from omni.llm.usage import MOST_TOKENS, note_answer

BACKUP = Hop("anthropic", "claude-x", "backup")


def echo(status: int, key: str) -> Play:
    return says(status, {"type": "error", "error": {"type": "invalid_request_error", "message": f"bad key {key}"}})


# --- upstreams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hop", "dialect", "key"),
    [
        (THROUGH_PROXY, "chat", "sk-proxy"),
        (BACKUP, "messages", "sk-anthropic-2"),
        pytest.param(BACKUP, "chat", "sk-anthropic-2", marks=pytest.mark.slow),
    ],
)
def test_a_key_that_a_server_repeats_in_its_error_does_not_reach_the_caller(
    hop: Hop, dialect: Dialect, key: str
) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        failed = await failure(channels, hop, call(dialect))
        assert b"bad key ***" in failed.body
        assert key.encode() not in failed.body

    run(test, echo(400, key))


def test_a_key_in_an_error_inside_a_success_does_not_reach_the_caller() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        failed = await failure(channels, BACKUP, call("messages"))
        assert failed.verdict is Verdict.CALLER_ERROR
        assert b"sk-anthropic-2" not in failed.body

    run(test, echo(200, "sk-anthropic-2"))


@pytest.mark.parametrize("layers", [1, 3])
def test_a_compressed_answer_is_not_unpacked(layers: int) -> None:
    content = json.dumps(chat_answer()).encode() + b" " * 1_000_000
    for _ in range(layers):
        content = gzip.compress(content)

    async def test(channels: Channels, server: Upstream) -> None:
        failed = await failure(channels)
        assert failed.verdict is Verdict.BAD_ANSWER
        assert "compressed" in failed.detail

    run(test, says(200, content, content_encoding=", ".join(["gzip"] * layers)))


def test_a_compressed_stream_is_not_unpacked() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        assert (await failure(channels, asked=call(stream=True))).verdict is Verdict.BAD_ANSWER

    run(test, streams(gzip.compress(b"".join(chat_events(["a"], {}))), content_encoding="gzip"))


def test_a_compressed_refusal_means_what_its_status_means() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        failed = await failure(channels, BACKUP, call("messages"))
        assert (failed.verdict, failed.body) == (Verdict.RATE_LIMITED, b"")

    run(test, says(429, gzip.compress(b"{}"), content_encoding="gzip"))


@pytest.mark.parametrize("usage", [b'"x"', b"[" * 100_000 + b"]" * 100_000])
@pytest.mark.parametrize("stream", [False, True])
def test_a_usage_that_is_none_costs_no_answer(usage: bytes, *, stream: bool) -> None:
    event = b'data: {"choices":[],"usage":' + usage + b"}\n\n"

    async def test(channels: Channels, server: Upstream) -> None:
        try:
            answer = await channels.open(THROUGH_PROXY, call(stream=stream))
            assert await body_of(answer)
            assert answer.meter.usage is None
        except UpstreamFailed as failed:
            assert failed.verdict is Verdict.BAD_ANSWER  # noqa: PT017 - either will do

    whole = says(200, b'{"choices":[],"usage":' + usage + b"}")
    run(test, streams(*chat_events(["a"], None, done=False), event, b"data: [DONE]\n\n") if stream else whole)


def test_an_answer_of_many_values_is_passed_on_without_being_built() -> None:
    content = b'{"usage":{"prompt_tokens":1,"completion_tokens":2},"x":[' + b"[]," * 3_000_000 + b"[]]}"

    async def test(channels: Channels, server: Upstream) -> None:
        tracemalloc.start()
        try:
            answer = await channels.open(THROUGH_PROXY, call())
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert answer.meter.usage == Usage(1, 2)
        assert most < 5 * len(content)

    run(test, says(200, content))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"error": {"message": "x", "reset_seconds": 10**400}}, {}),
        ({"error": {"message": "x", "code": "\N{SUPERSCRIPT TWO}"}}, {}),
        ({"error": {"message": "x", "type": "\x1b[2J"}}, {"retry_after": "Mon, 01 Jan 99999999999 00:00:00 GMT"}),
        ({}, {"retry_after": "9" * 400}),
    ],
)
def test_an_absurd_time_to_wait_or_code_word_is_still_a_rate_limit(body: Any, headers: dict[str, str]) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        failed = await failure(channels, BACKUP, call("messages"))
        assert failed.verdict is Verdict.RATE_LIMITED
        assert failed.retry_after_ms is None or 0 <= failed.retry_after_ms <= MAX_RETRY_AFTER_MS
        assert failed.detail.isprintable()

    run(test, says(429, body, date="Sat, 21 Nov 2026 13:00:00 GMT", **headers))


def test_an_error_inside_a_success_may_have_any_code() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        assert (await failure(channels)).verdict is Verdict.SERVER_ERROR

    run(test, says(200, {"error": {"message": "x", "code": "\N{SUPERSCRIPT TWO}"}}))


@pytest.mark.parametrize("media", ["text/html", "application/json; x=\N{SNOWMAN}"])
def test_a_whole_answer_is_json_whatever_its_server_calls_it(media: str) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call())
        assert (answer.media_type, json.loads(await body_of(answer))) == ("application/json", chat_answer())

    run(test, says(200, chat_answer(), media))


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "\N{RIGHT-TO-LEFT OVERRIDE}"])
def test_a_model_name_that_a_terminal_would_obey_is_not_written_down(name: str) -> None:
    meter = Meter()
    note_answer({**chat_answer(), "model": name}, meter)
    assert not meter.model


@pytest.mark.parametrize("dialect", list(BODIES))
def test_absurd_counts_are_bounded(dialect: Dialect) -> None:
    usage = ANSWERS[dialect]["usage"]
    meter = Meter()
    note_answer({"usage": dict.fromkeys(usage, 10**400)}, meter)
    assert meter.usage == Usage(MOST_TOKENS, MOST_TOKENS)


@pytest.mark.parametrize("cost", [1e308, 10**400, -1, MOST_USD * 2])
def test_an_absurd_cost_is_no_word_about_the_cost(cost: float) -> None:
    meter = Meter()
    note_answer({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}}, meter)
    assert meter.cost_usd is None


def test_an_absurd_cost_in_a_header_is_no_word_about_the_cost() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        assert (await channels.open(THROUGH_PROXY, call())).meter.cost_usd is None

    run(test, says(200, chat_answer(), x_litellm_response_cost="1e308"))


# --- callers --------------------------------------------------------------------------------------------------------

STEERING: dict[str, Any] = {
    "api_base": "http://elsewhere",
    "base_url": "http://elsewhere",
    "api_key": "x",
    "user_config": {},
    "input_cost_per_token": 1e-30,
    "output_cost_per_token_above_200k_tokens": 0,
    "mock_response": "free",
    "fallbacks": ["dear"],
    "context_window_fallbacks": [],
    "num_retries": 9,
    "litellm_metadata": {},
    "custom_llm_provider": "x",
    "extra_headers": {},
    "callbacks": ["webhook"],
    "langfuse_host": "http://elsewhere",
    "_router_weights": {},
}


@pytest.mark.parametrize("dialect", list(BODIES))
def test_what_would_steer_litellm_does_not_reach_the_proxy(dialect: Dialect) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call(dialect, **STEERING, chat_template_kwargs={"a": 1}))
        await answer.aclose()
        assert server.seen[0].body == {**BODIES[dialect], "chat_template_kwargs": {"a": 1}}

    run(test, says(200, ANSWERS[dialect]))


def test_every_field_of_a_dialect_reaches_the_proxy() -> None:
    for fields in FIELDS.values():
        assert for_litellm(dict.fromkeys(fields, 1)) == dict.fromkeys(fields, 1)


@pytest.mark.slow
def test_whatever_litellm_takes_for_a_price_or_an_address_is_kept_from_it() -> None:
    from litellm.types.utils import all_litellm_params

    marks = ("cost", "api_key", "api_base", "base_url", "pricing", "mock", "secret", "fallback", "endpoint")
    steering = [name for name in all_litellm_params if any(mark in name for mark in marks)]
    assert len(steering) > 100
    assert not for_litellm(dict.fromkeys(steering, 1))


def test_a_header_that_holds_what_no_header_may_is_the_callers_own_mistake() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        asked = Call("messages", BODIES["messages"], "call-1", {"anthropic-beta": "\xe9\xff"})
        assert (await failure(channels, BACKUP, asked)).verdict is Verdict.CALLER_ERROR
        assert not server.seen

    run(test, says(200, message_answer()))


# --- estimates ------------------------------------------------------------------------------------------------------

MODEL = "claude-sonnet-4-5"


def _estimate(body: dict[str, Any]) -> float:
    found = asyncio.run(Prices({}).estimate(Hop("proxy", MODEL), body))
    assert found is not None
    return found


def _rates() -> Rates:
    price = find(read_list(), "", MODEL)
    assert price
    return price.steps[0]


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"messages": [], "max_tokens": 10, "n": 100}, 1_000),
        ({"messages": [], "max_tokens": 1, "max_completion_tokens": 10_000}, 10_000),
        ({"input": "", "max_tokens": 1}, 4_096),
        ({"input": "", "max_tokens": 1, "max_output_tokens": 9_000}, 9_000),
        ({"messages": [], "max_tokens": -5}, 4_096),
        ({"messages": [], "max_tokens": True}, 4_096),
        ({"messages": [], "max_tokens": 10**400}, 64_000),
    ],
)
def test_an_estimate_goes_by_the_most_that_may_be_answered(body: dict[str, Any], tokens: int) -> None:
    estimate = _estimate(body)
    assert 0 <= estimate - tokens * _rates().output < 100 * _rates().input


def test_a_text_that_begins_like_a_picture_counts_as_text() -> None:
    text = "data:image/png;base64," + "words " * 100_000
    said = {"messages": [{"role": "user", "content": text}], "max_tokens": 1}
    assert _estimate(said) > 100_000 * _rates().input

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from tests.llm.upstream import (
    Play,
    Upstream,
    chat_answer,
    chat_events,
    closed_port,
    event,
    hangs_up,
    is_silent,
    message_answer,
    message_events,
    resets,
    response_events,
    says,
    streams,
    then_hangs_up,
    upstream,
)

from omni.config import ApiKeys, BrainstemConfig, Config, Provider
from omni.domain.hops import Hop
from omni.domain.values import LOCAL_MODEL, PROXY, Usage
from omni.domain.verdict import Verdict
from omni.llm.answer import Answer, Call, Dialect, UpstreamFailed
from omni.llm.channels import MOST_WAITING, Channels, make_channels, needs_library

USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
BODIES: dict[Dialect, dict[str, Any]] = {
    "messages": {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "responses": {"model": "m", "input": "hi"},
}
EVENTS: dict[Dialect, list[bytes]] = {
    "messages": message_events(["a", "b"]),
    "chat": chat_events(["a", "b"], USAGE),
    "responses": response_events(["a", "b"]),
}
ANSWERS: dict[Dialect, Any] = {
    "messages": message_answer(),
    "chat": chat_answer(),
    "responses": {"object": "response", "model": "g", "usage": {"input_tokens": 11, "output_tokens": 3}},
}
DIALECTS = list(BODIES)
ASKED = {"stream_options": {"include_usage": True}}
THROUGH_PROXY = Hop(PROXY)


KINDS: tuple[Literal["anthropic", "openrouter", "openai"], ...] = ("anthropic", "openrouter", "openai")


def configured(url: str) -> Config:
    return Config(
        lite_llm_url=url,
        lite_llm_key="sk-proxy",
        providers={kind: Provider(kind=kind, api_base=url) for kind in KINDS},
        api_keys=ApiKeys(
            primary={kind: f"sk-{kind}-1" for kind in KINDS}, backup={kind: f"sk-{kind}-2" for kind in KINDS}
        ),
        brainstem=BrainstemConfig(api_base=url),
    )


def call(dialect: Dialect = "chat", *, stream: bool = False, **more: Any) -> Call:
    return Call(dialect, {**BODIES[dialect], **({"stream": True} if stream else {}), **more}, "call-1")


async def body_of(answer: Answer) -> bytes:
    return b"".join([chunk async for chunk in answer.chunks()])


def run(test: Callable[[Channels, Upstream], Awaitable[None]], *plays: Play) -> None:
    async def main() -> None:
        async with upstream(*plays) as server:
            channels = make_channels(configured(server.url))
            try:
                await asyncio.wait_for(test(channels, server), 20)
            finally:
                await channels.aclose()

    asyncio.run(main())


async def steps(number: int) -> None:
    """Let the loop go round so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


async def failure(channels: Channels, hop: Hop = THROUGH_PROXY, asked: Call | None = None) -> UpstreamFailed:
    """What opening, or reading on, comes to."""
    try:
        answer = await channels.open(hop, asked or call())
        await body_of(answer)
    except UpstreamFailed as failed:
        return failed
    raise AssertionError("it did not fail")


async def failure_of(answer: Answer, passed_on: list[bytes]) -> UpstreamFailed:
    """How a stream breaks, and what comes through before."""
    try:
        async for chunk in answer.chunks():
            passed_on += [chunk]
    except UpstreamFailed as failed:
        return failed
    raise AssertionError("it did not break")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_of_the_proxy_passes_unchanged_and_is_metered(dialect: Dialect) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call(dialect))
        assert json.loads(await body_of(answer)) == ANSWERS[dialect]
        assert (answer.status, answer.streaming, answer.media_type) == (200, False, "application/json")
        assert (answer.meter.usage, answer.meter.cost_usd, answer.meter.finished) == (Usage(11, 3), 0.5, True)
        asked = server.seen[0]
        assert asked.headers["authorization"] == "Bearer sk-proxy"
        assert asked.headers["x-litellm-call-id"] == "call-1"
        assert asked.body == BODIES[dialect]

    run(test, says(200, ANSWERS[dialect], x_litellm_response_cost="0.5"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_passes_byte_for_byte_as_it_comes(dialect: Dialect) -> None:
    gate = asyncio.Event()

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call(dialect, stream=True, **ASKED))
        chunks = answer.chunks()
        first = await anext(chunks)
        assert first
        assert not answer.meter.finished
        gate.set()
        assert first + b"".join([chunk async for chunk in chunks]) == b"".join(EVENTS[dialect])
        assert (answer.meter.usage, answer.meter.finished) == (Usage(11, 3), True)

    run(test, streams(*EVENTS[dialect][:2], gate, *EVENTS[dialect][2:]))


@pytest.mark.parametrize("hop", [Hop(PROXY), Hop("openai", "m", "backup"), Hop("openrouter", "m", "backup")])
@pytest.mark.parametrize("size", [3, 10_000])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_usage_that_nobody_asked_for_is_metered_and_not_passed_on(hop: Hop, size: int, ends: bytes) -> None:
    whole = b"".join(EVENTS["chat"]).replace(b"\n", ends)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(hop, call(stream=True))
        assert await body_of(answer) == b"".join(chat_events(["a", "b"])).replace(b"\n", ends)
        assert answer.meter.usage == Usage(11, 3)
        assert server.seen[0].body["stream_options"] == {"include_usage": True}

    run(test, streams(*pieces))


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_an_event_is_not_kept_back_for_the_sake_of_usage_that_may_come(ends: bytes) -> None:
    first, *others = [each.replace(b"\n", ends) for each in EVENTS["chat"]]
    gate = asyncio.Event()

    async def test(channels: Channels, server: Upstream) -> None:
        chunks = (await channels.open(THROUGH_PROXY, call(stream=True))).chunks()
        async with asyncio.timeout(5):
            assert await anext(chunks) == first
        gate.set()
        assert b"[DONE]" in b"".join([chunk async for chunk in chunks])

    run(test, streams(first, gate, *others))


@pytest.mark.parametrize(
    ("hop", "dialect", "path", "header"),
    [
        (Hop("anthropic", "c", "primary"), "messages", "/v1/messages", ("x-api-key", "sk-anthropic-1")),
        (Hop("anthropic", "c", "backup"), "messages", "/v1/messages", ("x-api-key", "sk-anthropic-2")),
        (Hop("openrouter", "c", "backup"), "chat", "/chat/completions", ("authorization", "Bearer sk-openrouter-2")),
        (Hop("openrouter", "c", "backup"), "responses", "/responses", ("authorization", "Bearer sk-openrouter-2")),
        (Hop("openai", "c", "primary"), "chat", "/chat/completions", ("authorization", "Bearer sk-openai-1")),
        (Hop("openai", "c", "backup"), "responses", "/responses", ("authorization", "Bearer sk-openai-2")),
        (Hop(LOCAL_MODEL, "c"), "chat", "/v1/chat/completions", ("content-type", "application/json")),
    ],
)
def test_a_cloud_is_asked_in_its_own_dialect_with_the_key_and_model_of_the_hop(
    hop: Hop, dialect: Dialect, path: str, header: tuple[str, str]
) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(hop, call(dialect))
        assert json.loads(await body_of(answer)) == ANSWERS[dialect]
        (seen,) = server.seen
        assert (seen.path, seen.headers[header[0]], seen.body["model"]) == (path, header[1], "c")
        assert "x-litellm-call-id" not in seen.headers
        assert {**seen.body, "model": "m"} == {
            **BODIES[dialect],
            **({"usage": {"include": True}} if hop.channel == "openrouter" else {}),
        }

    run(test, says(200, ANSWERS[dialect]))


def test_headers_of_anthropic_pass_and_the_version_has_a_default() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        own = {"anthropic-version": "2099-01-01", "anthropic-beta": "x", "authorization": "Bearer caller"}
        hop = Hop("anthropic", "c", "backup")
        await channels.open(hop, Call("messages", BODIES["messages"], "i", own))
        await channels.open(hop, call("messages"))
        first, second = (seen.headers for seen in server.seen)
        assert (first["anthropic-version"], first["anthropic-beta"]) == ("2099-01-01", "x")
        assert "authorization" not in first
        assert second["anthropic-version"] == "2023-06-01"

    run(test, says(200, ANSWERS["messages"]))


def test_what_openrouter_says_of_the_cost_is_believed() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(Hop("openrouter", "m", "backup"), call())
        assert answer.meter.cost_usd == 0.0042

    run(test, says(200, chat_answer(usage={**USAGE, "cost": 0.0042})))


@pytest.mark.parametrize("said", ["0.0", "0", "nan", "inf", "-1", "words", ""])
def test_a_cost_of_nothing_is_no_word_of_the_proxy(said: str) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        assert (await channels.open(THROUGH_PROXY, call())).meter.cost_usd is None

    run(test, says(200, chat_answer(), x_litellm_response_cost=said))


PROXY_TRIED = {"x_litellm_call_id": "c", "x_litellm_timeout": "6"}
HTML = b"<html>Welcome to the hotel</html>"


@pytest.mark.parametrize(
    ("play", "verdict"),
    [
        (hangs_up, Verdict.CLOSED),
        (resets, Verdict.CLOSED),
        (says(401, {"error": {"type": "auth_error"}}), Verdict.MISCONFIGURED),
        (says(429, {"error": {}}, retry_after="9", **PROXY_TRIED), Verdict.RATE_LIMITED),
        (says(500, {"error": {}}, **PROXY_TRIED), Verdict.SERVER_ERROR),
        (says(200, HTML, "text/html"), Verdict.BAD_ANSWER),
        (says(200, HTML), Verdict.BAD_ANSWER),
        (says(200, b""), Verdict.BAD_ANSWER),
        (says(200, b"[]"), Verdict.BAD_ANSWER),
        (says(200, b"[" * 100_000), Verdict.BAD_ANSWER),
        (says(200, {"error": {"code": 429}}), Verdict.RATE_LIMITED),
        (says(302, b"", location="http://127.0.0.1:9/"), Verdict.CALLER_ERROR),
        (streams(b'{"id":', cut=True, media="application/json"), Verdict.CLOSED),
        (streams(*EVENTS["chat"]), Verdict.BAD_ANSWER),
    ],
)
def test_an_answer_that_is_none_fails_before_anything_is_passed_on(play: Play, verdict: Verdict) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        failed = await failure(channels)
        expected = Verdict.BAD_ANSWER if failed.status == 302 else verdict
        assert failed.verdict is expected
        assert len(server.seen) == 1
        assert failed.retry_after_ms == (9_000 if verdict is Verdict.RATE_LIMITED and failed.status == 429 else None)

    run(test, play)


@pytest.mark.parametrize(
    ("play", "verdict"),
    [
        (streams(b'data: {"error": {"code": 429, "message": "later"}}\n\n'), Verdict.RATE_LIMITED),
        (streams(b": wait\n\n", b'data: {"error": {"code": "503"}}\n\n'), Verdict.SERVER_ERROR),
        (streams(b": wait\n\n"), Verdict.BAD_ANSWER),
        (streams(b"data: [DONE]\n\n"), Verdict.BAD_ANSWER),
        (streams(b"data: <html>\n\n"), Verdict.BAD_ANSWER),
        (streams(cut=True), Verdict.CLOSED),
        (streams(b": wait\n\n", clean=False), Verdict.CLOSED),
        (says(200, chat_answer()), Verdict.BAD_ANSWER),
    ],
)
def test_a_stream_that_fails_before_its_first_event_can_still_go_elsewhere(play: Play, verdict: Verdict) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        with pytest.raises(UpstreamFailed) as failed:
            await channels.open(THROUGH_PROXY, call(stream=True))
        assert failed.value.verdict is verdict

    run(test, play)


TWO = EVENTS["chat"][:2]


@pytest.mark.parametrize(
    ("play", "told"),
    [
        (streams(*TWO, cut=True), False),
        (streams(*TWO, clean=False), False),
        (streams(*TWO), False),
        (streams(*TWO, b'data: {"error": {"code": 502}}\n\n', b"data: [DONE]\n\n"), True),
    ],
)
def test_a_stream_that_breaks_in_the_middle_is_passed_on_up_to_there(play: Play, told: bool) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call(stream=True))
        chunks: list[bytes] = []
        failed = await failure_of(answer, chunks)
        assert (failed.verdict, failed.told) == (Verdict.BROKEN_STREAM, told)
        got = b"".join(chunks)
        assert got.startswith(b"".join(TWO))
        assert (b"error" in got) is told
        assert not answer.meter.finished or told

    run(test, play)


def test_what_comes_after_the_last_event_breaks_nothing() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call("messages", stream=True))
        assert await body_of(answer) == b"".join(EVENTS["messages"])

    run(test, streams(*EVENTS["messages"], cut=True))


def test_the_error_of_a_caller_is_kept_whole_for_the_caller() -> None:
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: too large"}}

    async def test(channels: Channels, server: Upstream) -> None:
        failed = await failure(channels, Hop("anthropic", "m", "backup"), call("messages"))
        assert (failed.verdict, failed.status) == (Verdict.CALLER_ERROR, 400)
        assert json.loads(failed.body) == said
        assert failed.media_type == "application/json"
        assert "max_tokens" not in failed.detail

    run(test, says(400, said))


def test_nobody_there_is_refused_at_once() -> None:
    async def test() -> None:
        channels = make_channels(configured(f"http://127.0.0.1:{closed_port()}"))
        for hop, asked in [(THROUGH_PROXY, call()), (Hop("openai", "m", "backup"), call())]:
            assert (await failure(channels, hop, asked)).verdict is Verdict.REFUSED
        await channels.aclose()

    asyncio.run(asyncio.wait_for(test(), 10))


def test_an_envelope_may_repeat_long_instructions_before_the_answer_begins() -> None:
    created = {"type": "response.created", "response": {"instructions": "i" * 2_000_000}}

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call("responses", stream=True))
        await body_of(answer)
        assert answer.meter.finished

    run(test, streams(event(created), *EVENTS["responses"]))


def test_a_connection_that_the_server_closed_while_idle_is_no_failure() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        for _ in range(20):
            await channels.open(THROUGH_PROXY, call())
            await server.until(lambda it: it.open_connections == 0)
        assert [seen.connection for seen in server.seen] == list(range(20))

    run(test, then_hangs_up(says(200, chat_answer())))


def test_a_connection_that_stays_open_is_used_again() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        for _ in range(5):
            await channels.open(THROUGH_PROXY, call())
        assert server.connections == 1

    run(test, says(200, chat_answer()))


def test_a_request_is_sent_once_when_a_used_connection_is_cut_under_it() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        await channels.open(THROUGH_PROXY, call())
        assert (await failure(channels)).verdict is Verdict.CLOSED
        assert len(server.seen) == 2

    run(test, says(200, chat_answer()), hangs_up)


def test_only_so_many_calls_wait_at_the_proxy_and_a_flowing_stream_is_not_one_of_them() -> None:
    never = asyncio.Event()
    more = MOST_WAITING + 5

    async def test(channels: Channels, server: Upstream) -> None:
        flowing = [await channels.open(THROUGH_PROXY, call(stream=True)) for _ in range(more)]
        server.plays[:] = [is_silent]
        waiting = [asyncio.create_task(channels.open(THROUGH_PROXY, call())) for _ in range(more)]
        await server.until(lambda it: len(it.seen) >= more + MOST_WAITING)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(server.seen) == more + MOST_WAITING
        waiting[0].cancel()
        await server.until(lambda it: len(it.seen) > more + MOST_WAITING)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for answer in flowing:
            await answer.aclose()
        await server.until(lambda it: it.open_connections == 0)

    run(test, streams(*TWO, never))


def test_a_call_that_is_cancelled_or_closed_lets_go_of_its_connection() -> None:
    never = asyncio.Event()

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call(stream=True))
        await anext(answer.chunks())
        await answer.aclose()
        await answer.aclose()
        server.plays[:] = [is_silent]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await channels.open(THROUGH_PROXY, call())
        await server.until(lambda it: it.open_connections == 0)

    run(test, streams(*TWO, never))


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_call_may_be_cancelled_at_any_moment_and_leaves_no_connection_behind(again: bool) -> None:
    """Also a second time, while it lets go; a moment is a step of the loop."""

    async def test(channels: Channels, server: Upstream) -> None:
        for moment in range(40):
            opening = asyncio.create_task(channels.open(THROUGH_PROXY, call(stream=moment % 2 == 0)))
            await steps(moment)
            opening.cancel()
            if again:
                await steps(moment % 7)
                opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        assert server.seen  # some of them came as far as that
        await server.until(lambda it: it.open_connections == 0)

    run(test, is_silent)


@pytest.mark.parametrize("steps_apart", range(6))
def test_a_reading_that_is_cancelled_twice_leaves_no_connection_behind(steps_apart: int) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(THROUGH_PROXY, call(stream=True))
        reading = asyncio.create_task(body_of(answer))
        await steps(5)
        reading.cancel()
        await steps(steps_apart)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await answer.aclose()
        async with asyncio.timeout(3):
            await server.until(lambda it: it.open_connections == 0)

    run(test, streams(*TWO, asyncio.Event()))


@pytest.mark.parametrize(
    "play",
    [
        streams(b": wait\n\n" * 1_100_000, is_silent),
        streams(b"<html>", is_silent, media="text/html"),
        streams(b"x" * 300_000, is_silent, status=500),
    ],
)
def test_an_answer_that_leads_nowhere_is_let_go_of_before_its_end(play: Play) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        with pytest.raises(UpstreamFailed):
            await channels.open(THROUGH_PROXY, call(stream=True))
        await server.until(lambda it: it.open_connections == 0)

    run(test, play)


def test_a_hop_without_channel_or_key_is_a_matter_of_configuration() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        assert (await failure(channels, Hop("nobody", "m"))).verdict is Verdict.MISCONFIGURED
        keyless = make_channels(Config(providers={"o": Provider(kind="openai", api_base="https://far.invalid/v1")}))
        assert (await failure(keyless, Hop("o", "m", "backup"))).verdict is Verdict.MISCONFIGURED
        await keyless.aclose()
        assert server.seen == []

    run(test, says(200, chat_answer()))


def test_the_library_is_wanted_only_where_a_cloud_can_be_called() -> None:
    assert not needs_library(Config(lite_llm_url="http://127.0.0.1:4000"))
    assert not needs_library(Config(providers={"o": Provider(kind="openai", api_base="https://far.invalid/v1")}))
    assert needs_library(configured("https://far.invalid"))


def test_the_proxy_may_be_named_with_or_without_its_version() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        named = make_channels(Config(lite_llm_url=server.url + "/v1/"))
        await named.open(THROUGH_PROXY, call())
        await named.aclose()
        assert server.seen[0].path == "/v1/chat/completions"
        assert "authorization" not in server.seen[0].headers

    run(test, says(200, chat_answer()))


def test_an_event_may_be_named_before_its_data() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        failed = await failure(channels, Hop("anthropic", "m", "backup"), call("messages", stream=True))
        assert failed.verdict is Verdict.SERVER_ERROR

    run(test, streams(event({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})))

"""The pairs that litellm translates, with the real library, against scripted servers."""

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.llm.upstream import (
    Play,
    Upstream,
    chat_answer,
    chat_events,
    closed_port,
    hangs_up,
    is_silent,
    message_answer,
    message_events,
    resets,
    says,
    streams,
    upstream,
)

from omni.config import ApiKeys, BrainstemConfig, Config, Provider
from omni.domain.hops import Hop
from omni.domain.values import LOCAL_MODEL, Usage
from omni.domain.verdict import Verdict
from omni.llm.answer import Answer, Call, Dialect, UpstreamFailed
from omni.llm.channels import OPENAI_ITSELF, Channels, make_channels
from omni.llm.classify import of_cloud_answer
from omni.llm.http_channel import make_client
from omni.llm.library import Abroad, LibraryChannel
from omni.llm.warm import library

# The library's own house: objects that it leaves to the garbage collector, and what it is told is out of date.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
]

CHAT_USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14, "cost": 0.0042}
MESSAGE_USAGE = {"input_tokens": 11, "output_tokens": 3}
ASK: dict[Dialect, dict[str, Any]] = {
    "messages": {"model": "own", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]},
    "chat": {"model": "own", "messages": [{"role": "user", "content": "hi"}]},
    "responses": {"model": "own", "input": "hi"},
}
ANTHROPIC, OPENROUTER, OPENAI, LOCAL = (
    Hop("anthropic", "claude-x", "backup"),
    Hop("openrouter", "maker/x", "backup"),
    Hop("openai", "x", "backup"),
    Hop(LOCAL_MODEL, "qwen:7b"),
)
PAIRS: list[tuple[Hop, Dialect, str]] = [
    (ANTHROPIC, "chat", "/v1/messages"),
    (ANTHROPIC, "responses", "/v1/messages"),
    (OPENROUTER, "messages", "/chat/completions"),
    (Hop("openrouter", "plain-name", "backup"), "messages", "/chat/completions"),
    (OPENAI, "messages", "/chat/completions"),
    (LOCAL, "messages", "/v1/chat/completions"),
]
LAST = {"messages": "message_stop", "chat": "[DONE]", "responses": "response.completed"}


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    asyncio.run(library())


def run(test: Callable[[Channels, Upstream], Awaitable[None]], *plays: Play) -> None:
    async def main() -> None:
        async with upstream(*plays) as server:
            url = server.url
            config = Config(
                providers={
                    "anthropic": Provider(kind="anthropic", api_base=url),
                    "openrouter": Provider(kind="openrouter", api_base=url),
                    "openai": Provider(kind="openai", api_base=url),
                },
                api_keys=ApiKeys(backup={name: f"sk-{name}" for name in ("anthropic", "openrouter", "openai")}),
                brainstem=BrainstemConfig(api_base=url),
            )
            channels = make_channels(config)
            try:
                await asyncio.wait_for(test(channels, server), 30)
            finally:
                await channels.aclose()

    asyncio.run(main())


def call(dialect: Dialect, *, stream: bool = False, **more: Any) -> Call:
    return Call(dialect, {**ASK[dialect], **({"stream": True} if stream else {}), **more}, "call-1")


async def body_of(answer: Answer) -> bytes:
    return b"".join([chunk async for chunk in answer.chunks()])


def events_in(stream: bytes) -> Iterator[Any]:
    """The data of each event; `[DONE]` as it is."""
    for event in stream.decode().split("\n\n"):
        lines = [line for line in event.splitlines() if line.startswith("data: ")]
        assert len(lines) == (1 if event else 0)
        for line in lines:
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


def text_of(dialect: Dialect, said: dict[str, Any]) -> str:
    if dialect == "messages":
        return str(said["content"][0]["text"])
    if dialect == "chat":
        return str(said["choices"][0]["message"]["content"])
    return str(said["output"][0]["content"][0]["text"])


def words_of(dialect: Dialect, events: list[Any]) -> list[str]:
    if dialect == "messages":
        return [each["delta"]["text"] for each in events if each["type"] == "content_block_delta"]
    if dialect == "chat":
        deltas = [choice["delta"] for each in events if each != "[DONE]" for choice in each["choices"]]
        return [delta["content"] for delta in deltas if delta.get("content")]
    return [each["delta"] for each in events if each["type"] == "response.output_text.delta"]


def whole(hop: Hop) -> Play:
    return says(200, message_answer() if hop is ANTHROPIC else chat_answer(usage=CHAT_USAGE))


def events(hop: Hop, **how: bool) -> list[bytes]:
    if hop is ANTHROPIC:
        return message_events(["a", "b"], MESSAGE_USAGE, stop=how.get("last", True))
    return chat_events(["a", "b"], CHAT_USAGE, done=how.get("last", True))


@pytest.mark.parametrize(("hop", "dialect", "path"), PAIRS)
def test_an_answer_comes_back_in_the_dialect_of_the_caller(hop: Hop, dialect: Dialect, path: str) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(hop, call(dialect))
        said = json.loads(await body_of(answer))
        assert text_of(dialect, said) == "hello"
        assert (answer.status, answer.media_type, answer.streaming) == (200, "application/json", False)
        assert (answer.meter.usage, answer.meter.finished) == (Usage(11, 3), True)
        assert answer.meter.cost_usd == (None if hop is ANTHROPIC else 0.0042)
        (seen,) = server.seen
        assert (seen.path, seen.body["model"]) == (path, hop.model)
        key = seen.headers.get("x-api-key") or seen.headers["authorization"]
        assert key.removeprefix("Bearer ") == ("none" if hop is LOCAL else f"sk-{hop.channel}")

    run(test, whole(hop))


@pytest.mark.parametrize(("hop", "dialect", "path"), PAIRS)
def test_a_stream_comes_back_in_the_dialect_of_the_caller(hop: Hop, dialect: Dialect, path: str) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(hop, call(dialect, stream=True))
        stream = await body_of(answer)
        said = list(events_in(stream))
        assert words_of(dialect, said) == ["a", "b"]
        last = said[-1]
        assert (last if dialect == "chat" else last["type"]) == LAST[dialect]
        assert (answer.meter.usage, answer.meter.finished, answer.streaming) == (Usage(11, 3), True, True)
        assert answer.meter.cost_usd == (None if hop is ANTHROPIC else 0.0042)

    run(test, streams(*events(hop)))


def test_words_pass_as_they_come_and_not_at_the_end() -> None:
    gate = asyncio.Event()
    said = events(OPENROUTER)

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(OPENROUTER, call("messages", stream=True))
        got = b""
        async for chunk in answer.chunks():
            got += chunk
            if b'"text": "a"' in got:
                gate.set()
        assert b"message_stop" in got

    run(test, streams(said[0], gate, *said[1:]))


def test_numbers_of_events_and_nulls_of_chat_are_there() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        stream = await body_of(await channels.open(ANTHROPIC, call("responses", stream=True)))
        said = list(events_in(stream))
        assert [each["sequence_number"] for each in said] == list(range(len(said)))
        stream = await body_of(await channels.open(ANTHROPIC, call("chat", stream=True)))
        choices = [choice for each in events_in(stream) if each != "[DONE]" for choice in each["choices"]]
        assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]

    run(test, streams(*events(ANTHROPIC)))


def test_usage_of_a_chat_is_told_to_those_who_ask() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        asked = await body_of(
            await channels.open(ANTHROPIC, call("chat", stream=True, stream_options={"include_usage": True}))
        )
        said = [each for each in events_in(asked) if each != "[DONE]"]
        assert (said[-1]["choices"], said[-1]["usage"]["prompt_tokens"]) == ([], 11)
        unasked = await body_of(await channels.open(ANTHROPIC, call("chat", stream=True)))
        assert all(each["choices"] for each in events_in(unasked) if each != "[DONE]")

    run(test, streams(*events(ANTHROPIC)))


REFUSALS: list[tuple[Play, Verdict]] = [
    (says(401, {"error": {"message": "bad key", "code": 401}}), Verdict.KEY_REJECTED),
    (says(402, {"error": {"message": "pay", "code": 402}}), Verdict.OUT_OF_CREDIT),
    (says(429, {"error": {"message": "slow down", "code": 429}}, retry_after="7"), Verdict.RATE_LIMITED),
    (says(400, {"error": {"message": "too many tokens", "code": 400}}), Verdict.CALLER_ERROR),
    (says(404, {"error": {"message": "no such model", "code": 404}}), Verdict.CALLER_ERROR),
    (says(500, b"oops"), Verdict.SERVER_ERROR),
    (says(529, {"error": {"type": "overloaded_error", "message": "busy"}}), Verdict.SERVER_ERROR),
    (says(200, b"<html>", "text/html"), Verdict.BAD_ANSWER),
    (says(200, b""), Verdict.BAD_ANSWER),
    (says(200, {"error": {"code": 429, "message": "limited"}}), Verdict.RATE_LIMITED),
    (says(200, {"unheard": "of"}), Verdict.BAD_ANSWER),
    (hangs_up, Verdict.CLOSED),
    (resets, Verdict.CLOSED),
]


@pytest.mark.parametrize("pair", [(ANTHROPIC, "chat"), (OPENROUTER, "messages"), (ANTHROPIC, "responses")])
@pytest.mark.parametrize(("play", "verdict"), REFUSALS)
def test_a_refusal_means_what_it_means_without_the_library_and_is_asked_for_once(
    play: Play, verdict: Verdict, pair: tuple[Hop, Dialect]
) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        with pytest.raises(UpstreamFailed) as failed:
            await channels.open(pair[0], call(pair[1]))
        assert failed.value.verdict is verdict
        assert len(server.seen) == 1
        if failed.value.status == 429:
            assert failed.value.retry_after_ms == 7_000
        if verdict is Verdict.CALLER_ERROR:
            said = json.loads(failed.value.body)["error"]
            assert said["message"] in {"too many tokens", "no such model"}

    run(test, play)


@pytest.mark.parametrize("stream", [False, True])
def test_nobody_there_is_refused_through_the_library_too(stream: bool) -> None:
    async def test() -> None:
        url = f"http://127.0.0.1:{closed_port()}"
        config = Config(providers={"openrouter": Provider(kind="openrouter", api_base=url)})
        channels = make_channels(config)
        with pytest.raises(UpstreamFailed) as failed:
            await channels.open(OPENROUTER, call("messages", stream=stream))
        assert failed.value.verdict is Verdict.REFUSED
        await channels.aclose()

    asyncio.run(asyncio.wait_for(test(), 20))


@pytest.mark.parametrize(
    ("play", "verdict"),
    [
        (streams(b'data: {"error": {"code": 429, "message": "limited"}}\n\n'), Verdict.RATE_LIMITED),
        (streams(b": wait\n\n"), Verdict.BAD_ANSWER),
        (streams(cut=True), Verdict.CLOSED),
        (says(503, b""), Verdict.SERVER_ERROR),
    ],
)
def test_a_stream_that_fails_at_once_can_still_go_elsewhere(play: Play, verdict: Verdict) -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        with pytest.raises(UpstreamFailed) as failed:
            await channels.open(OPENROUTER, call("messages", stream=True))
        assert failed.value.verdict is verdict
        assert len(server.seen) == 1

    run(test, play)


@pytest.mark.parametrize(("hop", "dialect"), [(ANTHROPIC, "chat"), (ANTHROPIC, "responses"), (OPENROUTER, "messages")])
@pytest.mark.parametrize("how", ["cut", "unfinished", "error"])
def test_a_stream_that_breaks_in_the_middle_is_never_ended_as_if_it_were_whole(
    hop: Hop, dialect: Dialect, how: str
) -> None:
    begun = events(hop, last=False)[: 5 if hop is ANTHROPIC else 2]
    error = {
        "anthropic": b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n',
        "openrouter": b'data: {"error": {"code": 502, "message": "gone"}}\n\n',
    }[hop.channel]
    play = streams(*begun, *([error] if how == "error" else []), cut=how == "cut")

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(hop, call(dialect, stream=True))
        got: list[bytes] = []
        failed = await failure_of(answer, got)
        assert (failed.verdict, failed.told) == (Verdict.BROKEN_STREAM, False)
        said = b"".join(got)
        assert words_of(dialect, list(events_in(said)))[:1] == ["a"]
        assert LAST[dialect].encode() not in said
        assert b"litellm." not in said

    run(test, play)


async def failure_of(answer: Answer, passed_on: list[bytes]) -> UpstreamFailed:
    try:
        async for chunk in answer.chunks():
            passed_on += [chunk]
    except UpstreamFailed as failed:
        return failed
    raise AssertionError("it did not break")


def test_a_call_that_is_cancelled_or_closed_lets_go_of_its_connection() -> None:
    never = asyncio.Event()

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(OPENROUTER, call("messages", stream=True))
        await anext(answer.chunks())
        await answer.aclose()
        server.plays[:] = [is_silent]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await channels.open(OPENROUTER, call("messages"))
        await server.until(lambda it: it.open_connections == 0)

    run(test, streams(*events(OPENROUTER)[:2], never))


def test_a_caller_cannot_send_the_key_elsewhere_or_name_its_own_price() -> None:
    foreign: dict[str, Any] = {
        "api_base": "http://127.0.0.1:9",
        "base_url": "http://127.0.0.1:9",
        "api_key": "sk-mine",
        "custom_llm_provider": "openai",
        "mock_response": "made up",
        "input_cost_per_token": 0,
        "fallbacks": ["other"],
        "extra_headers": {"x-mine": "1"},
        "num_retries": 5,
    }

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(ANTHROPIC, call("chat", **foreign))
        assert text_of("chat", json.loads(await body_of(answer))) == "hello"
        (seen,) = server.seen
        assert seen.headers["x-api-key"] == "sk-anthropic"
        assert "x-mine" not in seen.headers
        assert not foreign.keys() & seen.body.keys()

    run(test, whole(ANTHROPIC))


def test_tools_survive_the_translation() -> None:
    tool = {"name": "look", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    asked = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said = chat_answer(usage=CHAT_USAGE)
    said["choices"][0] = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": None, "tool_calls": [asked]},
    }

    async def test(channels: Channels, server: Upstream) -> None:
        answer = await channels.open(OPENROUTER, call("messages", tools=[tool]))
        body = json.loads(await body_of(answer))
        assert body["stop_reason"] == "tool_use"
        assert [(each["type"], each["name"]) for each in body["content"]] == [("tool_use", "look")]
        assert server.seen[0].body["tools"][0]["function"]["name"] == "look"

    run(test, says(200, said))


def test_a_request_that_cannot_be_translated_is_the_callers_error_and_goes_nowhere() -> None:
    async def test(channels: Channels, server: Upstream) -> None:
        with pytest.raises(UpstreamFailed) as failed:
            await channels.open(ANTHROPIC, call("chat", messages="no list"))
        assert failed.value.verdict is Verdict.CALLER_ERROR
        assert json.loads(failed.value.body)["error"]["message"]
        assert server.seen == []

    run(test, whole(ANTHROPIC))


def test_openai_itself_is_asked_in_responses() -> None:
    usage = {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14}
    content = [{"type": "output_text", "text": "hello", "annotations": []}]
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}
    said = {"id": "r", "object": "response", "created_at": 1, "model": "gpt-x", "status": "completed"}
    more = {"output": [message], "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}

    async def test(channels: Channels, server: Upstream) -> None:
        prefix, dialect = OPENAI_ITSELF
        client = make_client(server.url)
        channel = LibraryChannel(Abroad(prefix, server.url, dialect, lambda _: "sk-o", of_cloud_answer), client)
        answer = await channel.open(OPENAI, call("messages"))
        assert text_of("messages", json.loads(await body_of(answer))) == "hello"
        assert (server.seen[0].path, answer.meter.usage) == ("/responses", Usage(11, 3))
        await client.aclose()

    run(test, says(200, {**said, **more}))


CHILD = """
    import asyncio, json, os, sys
    places = []
    sys.addaudithook(lambda name, what: places.append((name, str(what[-1]))) if name in
                     ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname") else None)
    from tests.llm.test_library import PAIRS, call, body_of, run, whole, streams, events
    from omni.llm import warm
    before = dict(os.environ)
    assert "litellm" not in sys.modules
    ports = set()
    for hop, dialect, path in PAIRS:
        for stream in (False, True):
            async def test(channels, server):
                ports.add(server.url.rpartition(":")[2])
                await body_of(await channels.open(hop, call(dialect, stream=stream)))
            run(test, streams(*events(hop)) if stream else whole(hop))
    connects = [what for name, what in places if name == "socket.connect"]
    elsewhere = [what for what in connects if not any(port in what for port in ports)]
    changed = sorted(name for name, _ in set(os.environ.items()) ^ set(before.items()))
    print(json.dumps({"elsewhere": elsewhere, "connects": len(connects), "environment": changed}))
"""


def test_litellm_fetches_nothing_says_nothing_and_leaves_the_environment_as_it_was(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FROM_DOTENV=1\n")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD)],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        timeout=110,
        env={"PYTHONPATH": f"{root}:{root / 'src'}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)  # nothing else was printed
    assert (said["elsewhere"], said["environment"]) == ([], ["TIKTOKEN_CACHE_DIR"])
    assert said["connects"] >= len(PAIRS) * 2
    assert "LiteLLM" not in done.stderr


WITHOUT = """
    import asyncio, sys
    sys.modules["litellm"] = None
    from omni.config import ApiKeys, Config, Provider
    from omni.domain.hops import Hop
    from omni.llm.answer import Call, NoEvidence
    from omni.llm.channels import make_channels

    async def main():
        cloud = Provider(kind="anthropic", api_base="http://127.0.0.1:9")
        channels = make_channels(Config(providers={"a": cloud}, api_keys=ApiKeys(backup={"a": "k"})))
        for _ in range(2):
            try:
                await channels.open(Hop("a", "m", "backup"), Call("chat", {"messages": []}, "c"))
            except NoEvidence as failed:
                print(failed.verdict, failed.detail)

    asyncio.run(main())
"""


def test_without_a_usable_litellm_a_call_that_needs_it_says_so_each_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "misconfigured litellm, which translates, cannot be used: ModuleNotFoundError\n" * 2

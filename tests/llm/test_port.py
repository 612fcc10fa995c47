"""The model port against scripted upstreams: which hop follows which failure, what is settled, what the caller gets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import structlog
from msgspec.structs import replace
from tests.llm.harbour import CLIENT, TIERS, Harbour, config, harbour, quick, told
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
    response_events,
    says,
    streams,
    upstream,
)
from tests.server.house import until

from omni.config import ApiKeys, Config, Provider
from omni.config.model import Tier
from omni.domain import events as ev
from omni.domain.commands import CallAnswered, ComponentReport, ReserveCall
from omni.domain.values import Budget, Mode
from omni.llm.answer import Dialect
from omni.llm.books import Books
from omni.llm.keys import Holder
from omni.llm.passage import split
from omni.llm.watch import Patience, ProxyWatch
from omni.runtime.post import Post

ALIVE = says(200, "I'm alive!")
TRIED = {"x_litellm_call_id": "c", "x_litellm_timeout": "60"}  # the proxy passes on what a cloud said
DIRECT = Holder(client="mender", direct=True)
GOOD = streams(*message_events(["good ", "answer"]))


def calls(server: Upstream) -> list[Any]:
    return [each for each in server.seen if each.is_call]


def models(server: Upstream) -> list[str]:
    return [each.body["model"] for each in calls(server)]


@contextlib.asynccontextmanager
async def quay(*proxy: Play, cloud: Play = GOOD, **settings: Any) -> AsyncIterator[tuple[Harbour, Upstream, Upstream]]:
    """A port in front of a proxy that plays this, and of a cloud."""
    async with upstream(*proxy) as gateway, upstream(cloud) as anthropic:
        gateway.alive = ALIVE
        async with harbour(config(gateway.url, anthropic.url), **settings) as made:
            yield made, gateway, anthropic


# --- through the proxy ----------------------------------------------------------------------------------------------

STREAMS: list[tuple[Dialect, list[bytes]]] = [
    ("messages", message_events(["a", "b"])),
    ("chat", chat_events(["a", "b"], {"prompt_tokens": 11, "completion_tokens": 3})),
    ("responses", response_events(["a", "b"])),
]


@pytest.mark.parametrize(("dialect", "events"), STREAMS)
async def test_a_stream_passes_through_the_proxy_and_is_metered(dialect: Dialect, events: list[bytes]) -> None:
    async with quay(streams(*events)) as (port, proxy, cloud):
        answer, body = await port.call(dialect=dialect)
        assert (answer.status, answer.media_type, answer.streaming) == (200, "text/event-stream", True)
        shown = events if dialect != "chat" else [each for each in events if b'"usage"' not in each]
        assert body == b"".join(shown)
        asked = calls(proxy)[0]
        assert asked.body["model"] == "fast"
        assert asked.headers["authorization"] == "Bearer canary-proxy"
        assert asked.headers["x-litellm-call-id"] == answer.headers["x-omni-call"]
        await until(lambda: port.settled == [("proxy", "fast", "ok")])
        [settled] = port.events(ev.CallSettled)
        assert (settled.usage.input_tokens, settled.usage.output_tokens) == (11, 3)
        assert settled.billed_usd == 0.0  # P1 is free
        assert port.observed == [("proxy", "ok")]
        assert calls(cloud) == []


async def test_an_answer_in_one_piece_passes_through_and_is_billed_as_the_proxy_says() -> None:
    said = message_answer("all of it")
    async with quay(says(200, said, x_litellm_response_cost="0.0125")) as (port, _, _cloud):
        answer, body = await port.call("smart", stream=False)
        assert (answer.status, answer.streaming, json.loads(body)) == (200, False, said)
        [settled] = await until(lambda: port.events(ev.CallSettled))
        assert (settled.billed_usd, settled.imputed_usd, settled.source) == (0.0125, None, "provider")
        assert settled.first_byte_ms is not None
        assert [each.tier for each in port.events(ev.CallReserved)] == ["P2"]


async def test_a_call_is_reserved_durably_before_it_leaves() -> None:
    at_upstream: list[int] = []

    async def looks(writer: asyncio.StreamWriter) -> None:
        at_upstream.append(len(port.events(ev.CallReserved)))
        await GOOD(writer)

    async with quay(looks) as (port, _, _cloud):
        await port.call()
        assert at_upstream == [1]


async def test_a_model_that_no_tier_knows_goes_to_the_proxy_under_its_own_name() -> None:
    async with quay(GOOD) as (port, proxy, _):
        await port.call("somebody/elses-model")
        assert models(proxy) == ["somebody/elses-model"]
        assert [each.paid for each in port.events(ev.CallReserved)] == [True]  # nobody said that it is free


@pytest.mark.parametrize("model", [7, "x" * 201, "a\nb", ["fast"]])
async def test_what_cannot_be_the_name_of_a_model_never_reaches_the_log(model: Any) -> None:
    async with quay(GOOD) as (port, proxy, _):
        answer, body = await port.call(model)
        assert answer.status == 400
        assert "`model`" in told(body)
        assert (port.events(ev.CallReserved), proxy.seen) == ([], [])


# --- failures before the first byte ---------------------------------------------------------------------------------

ELSEWHERE: dict[str, tuple[Play, str]] = {
    "rate limited": (says(429, {"error": {"message": "slow down"}}, **TRIED, retry_after="7"), "rate_limited"),
    "out of credit": (says(402, {"error": {"message": "pay"}}, **TRIED), "out_of_credit"),
    "key rejected": (says(401, {"error": {"message": "who?"}}, **TRIED), "key_rejected"),
    "cloud down": (says(500, {"error": {"message": "oh"}}, **TRIED), "server_error"),
    "overloaded": (says(529, {"error": {"type": "overloaded_error"}}, **TRIED), "server_error"),
    "not an answer": (says(200, b"<html>", media="text/html"), "bad_answer"),
    "an empty stream": (streams(), "bad_answer"),
}


@pytest.mark.parametrize("failure", ELSEWHERE)
async def test_a_cloud_that_fails_behind_a_living_proxy_leads_to_the_next_tier_and_not_past_the_proxy(
    failure: str,
) -> None:
    play, verdict = ELSEWHERE[failure]
    async with quay(play, GOOD) as (port, proxy, cloud):
        answer, body = await port.call()
        assert answer.status == 200
        assert b"good " in body
        assert models(proxy) == ["fast", "smart"]
        assert calls(cloud) == []
        await until(lambda: port.settled == [("proxy", "fast", verdict), ("proxy", "smart", "ok")])
        assert port.observed == [("proxy", verdict), ("proxy", "ok")]


@pytest.mark.parametrize("play", [hangs_up, resets], ids=["closed", "reset"])
async def test_a_proxy_that_dies_in_flight_is_replaced_inside_the_call(play: Play) -> None:
    async with quay(play) as (port, proxy, cloud):
        began = time.monotonic()
        answer, body = await port.call("smart")
        assert time.monotonic() - began < 1.0
        assert answer.status == 200
        assert b"good " in body
        assert models(proxy) == ["smart"]
        assert models(cloud) == ["claude-s"]
        assert calls(cloud)[0].headers["x-api-key"] == "canary-backup-a"
        await until(lambda: port.settled == [("proxy", "smart", "closed"), ("anthropic", "claude-s", "ok")])
        assert port.observed == [("proxy", "closed"), ("anthropic", "ok")]


async def test_a_dead_proxy_is_replaced_within_a_second() -> None:
    async with upstream(GOOD) as cloud, harbour(config(f"http://127.0.0.1:{closed_port()}", cloud.url)) as port:
        began = time.monotonic()
        _, body = await port.call()
        assert time.monotonic() - began < 1.0
        assert b"good " in body
        await until(lambda: port.settled == [("proxy", "fast", "refused"), ("anthropic", "c-d", "ok")])


async def test_a_proxy_that_hangs_is_replaced_within_two_and_a_half_seconds() -> None:
    async with quay(is_silent) as (port, proxy, cloud):
        proxy.alive = is_silent
        began = time.monotonic()
        _, body = await port.call()
        assert 1.6 < time.monotonic() - began < 2.5
        assert b"good " in body
        assert models(cloud) == ["c-d"]
        await until(lambda: port.settled == [("proxy", "fast", "hung"), ("anthropic", "c-d", "ok")])
        assert port.observed == [("proxy", "hung"), ("anthropic", "ok")]
        await until(lambda: proxy.open_connections == 0)


async def test_a_model_that_thinks_long_behind_a_living_proxy_is_waited_for() -> None:
    async def thinks(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.6)
        await GOOD(writer)

    async with quay(thinks) as (port, proxy, cloud):
        _, body = await port.call()
        assert b"good " in body
        assert calls(cloud) == []
        assert [each.path for each in proxy.seen] == ["/v1/messages", "/health/liveliness"]


async def test_many_calls_that_wait_share_their_looks_and_one_of_them_reports() -> None:
    async with quay(is_silent) as (port, proxy, _):
        proxy.alive = is_silent
        done = await asyncio.gather(*(port.call() for _ in range(12)))
        assert all(answer.status == 200 for answer, _ in done)
        assert len([each for each in proxy.seen if not each.is_call]) == 1
        assert port.observed.count(("proxy", "hung")) == 1
        await until(lambda: port.settled.count(("proxy", "fast", "hung")) == 12)


async def test_a_living_proxy_is_looked_at_once_in_a_while_however_many_wait() -> None:
    looks: list[float] = []

    async def look() -> str:
        looks.append(time.monotonic())
        return ""

    async def never() -> None:
        await asyncio.Event().wait()

    watch = ProxyWatch(look, first_s=0.02, next_s=0.5, apart_s=0.3)
    waiting = []
    for _ in range(6):
        waiting.append(asyncio.create_task(watch.first_byte(Patience(), never, 30)))
        await asyncio.sleep(0.01)
    await until(lambda: len(looks) >= 3)
    assert all(later - earlier >= 0.29 for earlier, later in itertools.pairwise(looks))
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_word_that_the_proxy_is_down_ends_all_waiting_for_it() -> None:
    async with quay(is_silent) as (port, proxy, _):
        waiting = asyncio.create_task(port.call())
        await until(lambda: calls(proxy))
        began = time.monotonic()
        port.report("DEGRADED", [ComponentReport("proxy", "proxy", "down")])
        _, body = await waiting
        assert time.monotonic() - began < 0.5
        assert b"good " in body
        assert ("proxy", "hung") not in port.observed  # HealthMonitor's own word is no evidence


async def test_the_callers_own_mistake_comes_back_as_upstream_put_it_and_is_asked_of_nobody_else() -> None:
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens is missing"}}
    async with quay(says(400, said, **TRIED)) as (port, proxy, cloud):
        answer, body = await port.call()
        assert (answer.status, json.loads(body)) == (400, said)
        assert (len(calls(proxy)), len(calls(cloud))) == (1, 0)
        await until(lambda: port.settled == [("proxy", "fast", "caller_error")])


async def test_a_call_that_cannot_be_sent_is_no_evidence_about_those_who_were_never_asked() -> None:
    async with quay(GOOD) as (port, proxy, _):
        body = {"model": "fast", "max_tokens": 5, "messages": []}
        answer = await port.port.handle("messages", body, {"anthropic-beta": "\xe9"}, CLIENT)
        assert (answer.status, proxy.seen, port.observed) == (400, [], [])


async def test_a_proxy_that_turns_down_our_own_key_is_no_reason_to_spend_the_backup_key() -> None:
    said = {"error": {"message": "bad key sk-…", "type": "auth_error", "code": "401"}}
    async with quay(says(401, said)) as (port, _, cloud):
        answer, body = await port.call()
        assert answer.status == 502
        assert "the proxy" in told(body)
        assert calls(cloud) == []
        await until(lambda: port.settled == [("proxy", "fast", "misconfigured")])


async def test_what_only_the_configuration_can_mend_is_not_worth_asking_again() -> None:
    async with upstream(GOOD) as cloud:
        told_nobody = config(anthropic=cloud.url, tiers=(Tier(name="P1"),))
        nameless = {name: replace(each, default_model="", models={}) for name, each in told_nobody.providers.items()}
        async with harbour(replace(told_nobody, providers=nameless)) as port:
            answer, body = await port.call(model="auto")
    assert (answer.status, answer.headers.get("x-should-retry")) == (400, "false")
    assert "default_model" in told(body)
    assert "omni config check" in told(body)


async def test_when_nobody_answers_the_caller_is_told_what_each_hop_said() -> None:
    limited = says(429, {"error": {"message": "slow down"}}, **TRIED, retry_after="7")
    async with quay(limited) as (port, _, _cloud):
        answer, body = await port.call()
        assert answer.status == 429
        assert answer.headers["retry-after"] == "7"
        assert "fast" in told(body)
        assert "smart" in told(body)
        assert json.loads(body)["error"]["type"] == "rate_limit_error"


async def test_an_absurd_time_to_wait_is_not_passed_on() -> None:
    async with quay(says(429, {}, **TRIED, retry_after="1580000")) as (port, _, _cloud):
        answer, _ = await port.call()
        assert int(answer.headers["retry-after"]) <= 3600


async def test_a_first_byte_that_never_comes_is_given_up_and_nobody_waits_for_ever() -> None:
    limits = quick(first_byte_s=0.4, whole_s=0.7)
    async with quay(is_silent, limits=limits) as (port, proxy, _):
        began = time.monotonic()
        answer, _ = await port.call()
        assert time.monotonic() - began < 2
        assert answer.status == 504
        assert models(proxy) == ["fast", "smart"]


# --- failures after it ----------------------------------------------------------------------------------------------

BROKEN: list[tuple[Dialect, list[bytes], bytes]] = [
    ("messages", message_events(["a"], stop=False)[:4], b"event: error\ndata: "),
    ("chat", chat_events(["a"], done=False)[:1], b'data: {"error":'),
    ("responses", response_events(["a"], done=False), b"event: response.failed\ndata: "),
]


@pytest.mark.parametrize(("dialect", "events", "mark"), BROKEN)
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "ended"])
async def test_a_stream_that_breaks_is_a_clear_error_in_its_dialect_and_nothing_is_tried_again(
    dialect: Dialect, events: list[bytes], mark: bytes, cut: bool
) -> None:
    async with quay(streams(*events, cut=cut)) as (port, proxy, cloud):
        answer, body = await port.call(dialect=dialect)
        assert answer.status == 200
        assert body.startswith(b"".join(events) + mark)
        assert body.endswith(b"\n\n")
        assert (
            "broke off"
            in json.loads(body.rsplit(b"data: ", 1)[1]).get("response", {}).get("error", {}).get("message", "")
            or b"broke off" in body.rsplit(b"data: ", 1)[1]
        )
        assert (len(calls(proxy)), len(calls(cloud))) == (1, 0)
        await until(lambda: port.settled == [("proxy", "fast", "broken_stream")])


async def test_what_a_broken_stream_has_used_so_far_is_metered() -> None:
    events = message_events(["a"], {"input_tokens": 40, "output_tokens": 9}, stop=False)[:4]
    async with quay(streams(*events, cut=True)) as (port, _, _cloud):
        await port.call()
        [settled] = await until(lambda: port.events(ev.CallSettled))
        assert (settled.verdict, settled.usage.input_tokens) == ("broken_stream", 40)


async def test_an_error_that_upstream_itself_put_into_the_stream_is_passed_on_once() -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'
    async with quay(streams(*message_events(["a"], stop=False)[:4], error)) as (port, _, _cloud):
        _, body = await port.call()
        assert body.count(b"event: error") == 1
        assert body.endswith(error)
        await until(lambda: port.settled == [("proxy", "fast", "broken_stream")])


async def test_half_an_event_before_the_break_is_not_mixed_with_the_error() -> None:
    events = message_events(["a"], stop=False)[:4]
    async with quay(streams(*events, b'event: content_block_delta\ndata: {"ty', cut=True)) as (port, _, _cloud):
        _, body = await port.call()
        assert body.startswith(b"".join(events) + b"event: error\n")


async def test_a_stream_that_falls_silent_is_ended() -> None:
    events = message_events(["a"], stop=False)[:4]
    async with quay(streams(*events, asyncio.Event()), limits=quick(gap_s=0.3)) as (port, proxy, _):
        _, body = await port.call()
        assert b"nothing came for 0.3 s" in body
        await until(lambda: proxy.open_connections == 0)


def test_only_whole_events_are_let_through() -> None:
    assert split(b"data: 1\n\n") == (b"data: 1\n\n", b"")
    assert split(b"data: 1\n\ndata: ") == (b"data: 1\n\n", b"data: ")
    assert split(b"data: 1\r\n\r\ndata: ") == (b"data: 1\r\n\r\n", b"data: ")
    assert split(b"data: ") == (b"", b"data: ")
    assert split(b"x" * 2_000_000) == (b"x" * 2_000_000, b"")


# --- callers that go away, and the end of the daemon ----------------------------------------------------------------


async def test_a_caller_that_goes_in_the_middle_takes_upstream_with_it() -> None:
    events = message_events(["a", "b"])
    async with quay(streams(*events[:4], asyncio.Event())) as (port, proxy, _):
        answer = await port.begin()
        first = await anext(answer.chunks())
        assert first == events[0]
        await answer.aclose()
        await until(lambda: proxy.open_connections == 0)
        await until(lambda: port.settled == [("proxy", "fast", "abandoned")])
        assert port.events(ev.CallSettled)[0].usage.input_tokens == 11


async def test_a_caller_that_never_reads_what_it_asked_for_is_settled_too() -> None:
    async with quay(GOOD) as (port, proxy, _):
        answer = await port.begin()
        await answer.aclose()
        await until(lambda: port.settled == [("proxy", "fast", "abandoned")])
        await until(lambda: proxy.open_connections == 0)


async def test_a_caller_that_goes_before_the_first_byte_takes_upstream_with_it() -> None:
    async with quay(is_silent) as (port, proxy, cloud):
        waiting = asyncio.create_task(port.call())
        await until(lambda: calls(proxy))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: proxy.open_connections == 0)
        await until(lambda: port.settled == [("proxy", "fast", "abandoned")])
        assert calls(cloud) == []


async def test_at_a_stop_a_stream_ends_with_an_error_and_a_waiting_caller_gets_an_answer() -> None:
    async with quay(streams(*message_events(["a"])[:4], asyncio.Event()), is_silent) as (port, proxy, _):
        answer = await port.begin()
        chunks = answer.chunks()
        await anext(chunks)
        waiting = asyncio.create_task(port.call())
        await until(lambda: len(calls(proxy)) == 2)
        reading = asyncio.create_task(_rest(chunks))
        began = time.monotonic()
        await port.port.stop()
        assert time.monotonic() - began < 1
        assert b"Omni is stopping" in await reading
        told_late, body = await waiting
        assert told_late.status == 503
        assert "stopping" in told(body)
        await answer.aclose()
        assert (await port.call())[0].status == 503
        await until(lambda: [each[2] for each in port.settled] == ["abandoned", "abandoned"])


async def _rest(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


# --- modes, keys and budgets ----------------------------------------------------------------------------------------


async def test_degraded_goes_straight_to_the_clouds_with_the_backup_keys() -> None:
    async with quay(GOOD) as (port, proxy, cloud):
        port.report("DEGRADED", [ComponentReport("proxy", "proxy", "down")])
        answer, _ = await port.call("smart")
        assert answer.headers["x-omni-channel"] == "anthropic"
        assert proxy.seen == []
        assert calls(cloud)[0].headers["x-api-key"] == "canary-backup-a"
        assert [each.mode for each in port.events(ev.CallReserved)] == ["DEGRADED"]


async def test_the_cloud_that_speaks_the_dialect_comes_first() -> None:
    chat = streams(*chat_events(["good "], {"prompt_tokens": 1, "completion_tokens": 1}))
    async with upstream(GOOD) as anthropic, upstream(chat) as openrouter:
        proxy = f"http://127.0.0.1:{closed_port()}"
        async with harbour(config(proxy, anthropic.url, openrouter.url)) as port:
            answer, _ = await port.call(dialect="chat")
            assert answer.headers["x-omni-channel"] == "openrouter"
            assert calls(openrouter)[0].headers["authorization"] == "Bearer canary-backup-o"
            assert calls(anthropic) == []


async def test_a_cloud_may_have_any_name_and_its_answers_name_it_as_headers_can() -> None:
    async with upstream(GOOD) as cloud:
        named = Provider(kind="anthropic", api_base=cloud.url, default_model="c-d")
        keys = ApiKeys(primary={"通义 1": "canary"})
        async with harbour(Config(providers={"通义 1": named}, api_keys=keys, tiers=TIERS)) as port:
            answer, _ = await port.call()
            assert (answer.status, answer.headers["x-omni-channel"]) == (200, "%E9%80%9A%E4%B9%89%201")


async def test_without_a_proxy_the_clouds_are_asked_with_the_primary_keys() -> None:
    async with upstream(GOOD) as cloud, harbour(config("", cloud.url)) as port:
        await port.call("smart")
        assert calls(cloud)[0].headers["x-api-key"] == "canary-primary-a"


async def test_a_caller_who_mends_the_proxy_never_goes_through_it_in_whatever_mode() -> None:
    async with quay(GOOD) as (port, proxy, cloud):
        modes: tuple[Mode, ...] = ("NORMAL", "DEGRADED", "NORMAL")
        for mode in modes:
            port.report(mode)
            answer, body = await port.call("smart", holder=DIRECT)
            assert (answer.status, body) == (200, b"".join(message_events(["good ", "answer"])))
        assert calls(proxy) == []
        assert {each.headers["x-api-key"] for each in calls(cloud)} == {"canary-backup-a"}
        await until(lambda: port.settled == [("anthropic", "claude-s", "ok")] * 3)


async def test_a_proxy_that_is_well_is_no_way_out_for_a_direct_caller_whose_cloud_fails() -> None:
    async with quay(GOOD, cloud=says(529, b"{}")) as (port, proxy, cloud):
        answer, _ = await port.call(holder=DIRECT)
        assert answer.status == 529
        assert calls(proxy) == []
        assert calls(cloud)


async def test_a_direct_caller_for_whom_there_is_no_cloud_is_told_so_and_what_to_do() -> None:
    away = config("http://127.0.0.1:1", "https://cloud.invalid")  # on this machine it would want no key
    keyless = replace(away, api_keys=ApiKeys(primary={"anthropic": "x"}))
    async with harbour(keyless) as port:
        answer, body = await port.call(holder=DIRECT)
        assert (answer.status, answer.headers["x-should-retry"]) == (400, "false")
        assert "mends the proxy" in told(body)
        assert "there is no backup key" in told(body)
        assert port.settled == []


async def test_a_stream_from_a_cloud_goes_on_to_its_end_when_the_proxy_comes_back_in_the_middle() -> None:
    events = message_events(["good ", "answer"])
    back = asyncio.Event()
    async with quay(GOOD, cloud=streams(*events[:4], back, *events[4:])) as (port, proxy, _):
        port.report("DEGRADED", [ComponentReport("proxy", "proxy", "down")])
        answer = await port.begin()
        chunks = answer.chunks()
        begun = await anext(chunks)
        port.report("NORMAL", [ComponentReport("proxy", "proxy", "up")])
        back.set()
        assert begun + await _rest(chunks) == b"".join(events)
        await answer.aclose()
        assert calls(proxy) == []
        await until(lambda: port.settled == [("anthropic", "c-d", "ok")])


async def test_in_brainstem_no_cloud_is_asked_and_the_caller_is_told_when_to_come_back() -> None:
    async with quay(GOOD) as (port, proxy, cloud):
        port.report("BRAINSTEM", reason="every cloud is out of reach")
        answer, body = await port.call()
        assert (answer.status, answer.headers["retry-after"]) == (503, "30")
        assert "every cloud is out of reach" in told(body)
        assert (proxy.seen, cloud.seen, port.events(ev.CallReserved)) == ([], [], [])


async def test_in_brainstem_a_local_tier_that_runs_tasks_answers() -> None:
    tiers = (*TIERS[:2], replace(TIERS[2], runs_tasks=True))
    said = chat_answer("from here")
    async with upstream(says(200, said)) as ollama, harbour(config(ollama=ollama.url, tiers=tiers)) as port:
        port.report("BRAINSTEM")
        answer, body = await port.call(dialect="chat", stream=False)
        assert (answer.status, json.loads(body)["choices"]) == (200, said["choices"])
        assert models(ollama) == ["tiny"]
        await until(lambda: port.settled == [("brainstem", "tiny", "ok")])
        assert port.observed == []


async def test_over_its_budget_a_call_is_not_made_and_the_caller_learns_it() -> None:
    async with quay(GOOD, budget=Budget(daily_usd=0.0)) as (port, proxy, _):
        answer, body = await port.call("smart")
        assert answer.status == 402
        assert "omni costs" in told(body)
        assert answer.headers["x-should-retry"] == "false"
        assert proxy.seen == []
        assert port.events(ev.CallReserved) == []


async def test_over_its_budget_a_call_may_degrade_to_the_free_tier() -> None:
    async with quay(GOOD, budget=Budget(daily_usd=0.0, at_cap="degrade")) as (port, proxy, _):
        answer, _ = await port.call("smart")
        assert answer.status == 200
        assert models(proxy) == ["fast"]


async def test_a_paid_hop_after_a_free_one_is_checked_against_the_budget_again() -> None:
    limited = says(429, {}, **TRIED)
    async with quay(limited, GOOD, budget=Budget(daily_usd=0.0)) as (port, proxy, _):
        answer, _ = await port.call("fast")
        assert answer.status == 402
        assert models(proxy) == ["fast"]
        await until(lambda: port.settled == [("proxy", "fast", "rate_limited")])


async def test_a_key_of_an_attempt_that_is_not_open_gets_nothing() -> None:
    async with quay(GOOD) as (port, proxy, _):
        holder = port.keys.check(port.keys.attempt_key("0192f0c1-2d3e-7abc-8def-001122334455", 1))
        assert holder is not None
        answer, body = await port.call(holder=holder)
        assert answer.status == 403
        assert "omni task show" in told(body)
        assert proxy.seen == []


async def test_a_router_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    async with quay(GOOD, limits=quick(reserve_s=0.2)) as (port, proxy, _):
        port.post.register("router", lambda *_: None)
        answer, _ = await port.call()
        assert answer.status == 503
        assert proxy.seen == []


@pytest.mark.parametrize(
    ("leave", "answer"),
    [
        ("gone", "never"),
        ("gone", "before"),
        ("gone", "meanwhile"),
        ("gone", "after"),
        ("late", "never"),
        ("late", "after"),
    ],
)
async def test_a_reservation_that_nobody_waits_for_is_settled_whenever_its_answer_comes(
    leave: str, answer: str
) -> None:
    post, sent = Post(), list[Any]()
    post.register("router", lambda _, messages: sent.extend(messages))
    books = Books(post)
    asked = ReserveCall("r", "c/1", "proxy", "fast", "NORMAL", "t", 1)
    waiting = asyncio.create_task(books.reserve(asked, 0.05 if leave == "late" else 5.0))
    await until(lambda: sent)
    if answer == "before":
        books.receive(CallAnswered("r"))
    if leave == "gone":
        waiting.cancel()
    if answer == "meanwhile":
        books.receive(CallAnswered("r"))
    await asyncio.gather(waiting, return_exceptions=True)
    if answer == "after":
        books.receive(CallAnswered("r"))
    await until(lambda: len(sent) == 2)
    assert (sent[1].call, sent[1].verdict, sent[1].billed_usd, sent[1].task_id) == ("c/1", "abandoned", 0.0, "t")


# --- what is written down -------------------------------------------------------------------------------------------


async def test_a_call_gets_one_line_in_the_log_without_a_word_of_it_or_of_a_key() -> None:
    with structlog.testing.capture_logs() as lines:
        async with quay(hangs_up) as (port, _, _cloud):
            await port.call("smart")
            await until(lambda: len(port.settled) == 2)
            rows = repr(port.log)
    [line] = [each for each in lines if each["event"] == "call.ended"]
    assert (line["channel"], line["model"], line["verdict"], line["hops"]) == ("anthropic", "claude-s", "ok", 2)
    assert (line["client"], line["mode"], line["dialect"]) == (CLIENT.client, "NORMAL", "messages")
    assert isinstance(line["first_byte_ms"], int)
    for written in (repr(lines), rows, repr(port.seen)):
        assert "canary" not in written


LISTS: list[tuple[Dialect, Callable[[Any], list[str]]]] = [
    ("chat", lambda body: [each["id"] for each in body["data"]]),
    ("messages", lambda body: [each["id"] for each in body["data"] if each["type"] == "model"]),
]


@pytest.mark.parametrize(("dialect", "names"), LISTS)
async def test_the_models_of_all_tiers_that_run_tasks_are_listed(
    dialect: Dialect, names: Callable[[Any], list[str]]
) -> None:
    async with quay(GOOD) as (port, _, _cloud):
        assert names(json.loads(port.port.models(dialect))) == ["auto", "fast", "smart"]

"""Faults made on purpose: what calls, looks and probes meet, and that it all ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from tests.llm.desk import Answers
from tests.llm.harbour import Harbour, config, harbour
from tests.llm.upstream import Play, Upstream, is_silent, message_events, says, streams, upstream
from tests.server.house import until

from omni.config import Config, Provider
from omni.config.model import Tier
from omni.config.settings import call_paths
from omni.domain import commands as cmd
from omni.domain.drill import Fault
from omni.domain.hops import Paths
from omni.domain.values import PROXY
from omni.llm.faults import Faults
from omni.llm.probes import Probes
from omni.runtime.ports import SystemClock
from omni.runtime.post import Post

ALIVE = says(200, "I'm alive!")
GOOD = streams(*message_events(["good ", "answer"]))
LOCAL_TIER = (Tier(name="P1", light="tiny", heavy="tiny", channel="brainstem"),)
LONG_S = 60.0


@contextlib.asynccontextmanager
async def quay(*proxy: Play, **settings: Any) -> AsyncIterator[tuple[Harbour, Upstream, Upstream]]:
    """A port before a proxy and a cloud that are both well; whatever is amiss is the fault's doing."""
    async with upstream(*(proxy or (GOOD,))) as gateway, upstream(GOOD) as anthropic:
        gateway.alive = ALIVE
        async with harbour(config(gateway.url, anthropic.url), **settings) as made:
            try:
                yield made, gateway, anthropic
            finally:
                made.faults.clear()


def calls(server: Upstream) -> int:
    return sum(each.is_call for each in server.seen)


# --- calls ----------------------------------------------------------------------------------------------------------

DIRECT = ("anthropic", "c-d", "ok")


@pytest.mark.parametrize(
    ("fault", "model", "settled"),
    [
        ("proxy-down", "auto", [("proxy", "fast", "refused"), DIRECT]),
        ("rate-limit", "auto", [("proxy", "fast", "rate_limited"), ("proxy", "smart", "ok")]),
        ("rate-limit", "smart", [("proxy", "smart", "ok")]),
        ("quota", "smart", [("proxy", "smart", "out_of_credit"), ("proxy", "fast", "ok")]),
        ("quota", "auto", [("proxy", "fast", "ok")]),
    ],
)
async def test_a_call_goes_where_the_real_fault_would_lead_it(
    fault: Fault, model: str, settled: list[tuple[str, str, str]]
) -> None:
    async with quay() as (port, _, _cloud):
        port.faults.inject(fault, LONG_S)
        answer, body = await port.call(model)
        assert answer.status == 200
        assert b"good " in body
        await until(lambda: port.settled == settled)


async def test_a_refused_proxy_is_never_asked_and_what_was_made_up_says_so() -> None:
    async with quay() as (port, proxy, _):
        port.faults.inject("proxy-down", LONG_S)
        await port.call()
        assert calls(proxy) == 0
        refused = next(each for each in port.seen if each.verdict == "refused")
        assert refused.detail == "drill: connection refused"


async def test_a_limit_says_when_to_come_back() -> None:
    async with quay() as (port, _, _cloud):
        port.faults.inject("rate-limit", LONG_S)
        await port.call()
        assert [each.retry_after_ms for each in port.seen if each.verdict == "rate_limited"] == [5000]


async def test_without_any_cloud_a_living_proxy_answers_500_and_nobody_is_asked() -> None:
    async with quay() as (port, proxy, cloud):
        port.faults.inject("cloud-down", LONG_S)
        answer, _ = await port.call()
        assert answer.status == 502
        await until(lambda: port.settled == [("proxy", "fast", "server_error"), ("proxy", "smart", "server_error")])
        assert calls(proxy) + calls(cloud) == 0


async def test_without_any_cloud_a_direct_call_finds_no_way_there() -> None:
    async with quay() as (port, _, cloud):
        port.report("DEGRADED")
        port.faults.inject("cloud-down", LONG_S)
        answer, _ = await port.call()
        assert answer.status == 503
        assert set(port.observed) == {("anthropic", "no_route")}
        assert calls(cloud) == 0


@pytest.mark.parametrize("fault", ["proxy-down", "proxy-hang", "cloud-down", "rate-limit", "quota"])
async def test_the_model_on_this_machine_is_touched_by_no_fault(fault: Fault) -> None:
    async with upstream(GOOD) as ollama, harbour(config(ollama=ollama.url, tiers=LOCAL_TIER)) as port:
        port.faults.inject(fault, LONG_S)
        hop = call_paths(config(tiers=LOCAL_TIER)).tiers[0]
        assert hop.channel == "brainstem"
        await port.call(dialect="chat")
        assert calls(ollama) == 1
        port.faults.clear()


# --- calls under way --------------------------------------------------------------------------------------------------


async def test_a_call_that_waits_at_a_proxy_that_dies_is_answered_elsewhere() -> None:
    async with quay(is_silent) as (port, proxy, _):
        waiting = asyncio.create_task(port.call())
        await proxy.until(lambda server: calls(server) == 1)
        began = time.monotonic()
        port.faults.inject("proxy-down", LONG_S)
        _, body = await waiting
        assert time.monotonic() - began < 0.5
        assert b"good " in body
        await until(lambda: port.settled == [("proxy", "fast", "closed"), DIRECT])


async def test_an_answer_that_has_begun_breaks_off_when_its_proxy_dies() -> None:
    events = message_events(["a", "b"])
    async with quay(streams(*events[:4], asyncio.Event())) as (port, _, _cloud):
        answer = await port.begin()
        chunks = answer.chunks()
        await anext(chunks)
        port.faults.inject("proxy-down", LONG_S)
        assert b"broke off" in b"".join([chunk async for chunk in chunks])
        await answer.aclose()
        await until(lambda: port.settled == [("proxy", "fast", "broken_stream")])


async def test_a_direct_call_goes_on_when_the_proxy_dies() -> None:
    goes_on = asyncio.Event()
    events = message_events(["a", "b"])
    async with (
        upstream(streams(*events[:4], goes_on, *events[4:])) as cloud,
        harbour(config(anthropic=cloud.url)) as port,
    ):
        answer = await port.begin()
        chunks = answer.chunks()
        first = await anext(chunks)
        port.faults.inject("proxy-down", LONG_S)
        goes_on.set()
        assert first + b"".join([chunk async for chunk in chunks]) == b"".join(events)
        await answer.aclose()
        port.faults.clear()


async def test_a_silent_proxy_is_found_by_a_look_and_the_call_goes_elsewhere() -> None:
    async with quay(first_look_s=0.05, look_within_s=0.1) as (port, proxy, _):
        port.faults.inject("proxy-hang", LONG_S)
        _, body = await port.call()
        assert b"good " in body
        assert proxy.seen == []
        await until(lambda: port.settled == [("proxy", "fast", "hung"), DIRECT])


async def test_a_look_at_a_dead_proxy_fails_at_once() -> None:
    faults = Faults(Paths(), SystemClock())
    faults.inject("proxy-down", LONG_S)
    assert "connection refused" in await faults.over_look(_lives, LONG_S)()
    faults.clear()
    assert await faults.over_look(_lives, LONG_S)() == ""


async def _lives() -> str:
    return ""


async def test_what_a_silent_proxy_keeps_waiting_goes_on_when_the_fault_ends() -> None:
    async with quay(first_look_s=LONG_S) as (port, proxy, cloud):
        port.faults.inject("proxy-hang", LONG_S)
        waiting = asyncio.create_task(port.call())
        await asyncio.wait({waiting}, timeout=0.2)
        assert not waiting.done()
        assert calls(proxy) == 0
        port.faults.clear()
        await waiting
        assert (calls(proxy), calls(cloud)) == (1, 0)


async def test_an_answer_of_a_proxy_that_fell_silent_meanwhile_is_held_back_until_the_fault_ends() -> None:
    answers = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await answers.wait()
        await GOOD(writer)

    async with quay(late, first_look_s=LONG_S) as (port, proxy, _):
        waiting = asyncio.create_task(port.call())
        await proxy.until(lambda server: calls(server) == 1)
        port.faults.inject("proxy-hang", LONG_S)
        answers.set()
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        port.faults.clear()
        assert b"good " in (await waiting)[1]


async def test_a_caller_that_gives_up_on_a_silent_proxy_leaves_nothing_open() -> None:
    answers = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await answers.wait()
        await GOOD(writer)

    async with quay(late, first_look_s=LONG_S) as (port, proxy, _):
        waiting = asyncio.create_task(port.call())
        await proxy.until(lambda server: calls(server) == 1)
        port.faults.inject("proxy-hang", LONG_S)
        answers.set()
        await asyncio.wait({waiting}, timeout=0.2)
        waiting.cancel()
        await asyncio.wait({waiting})
        await until(lambda: proxy.open_connections == 0)


# --- probes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "target", "verdict"),
    [
        ("proxy-down", PROXY, "refused"),
        ("proxy-hang", PROXY, "hung"),
        ("cloud-down", PROXY, "ok"),
        ("cloud-down", "cloud", "no_route"),
        ("proxy-down", "cloud", "ok"),
        ("proxy-hang", "cloud", "ok"),
        ("rate-limit", "cloud", "ok"),
        ("quota", "cloud", "ok"),
        ("quota", PROXY, "ok"),
    ],
)
async def test_a_probe_finds_what_the_fault_is_about_and_nothing_else(fault: Fault, target: str, verdict: str) -> None:
    async with upstream(says(200, {})) as server:
        clouds = {"cloud": Provider(kind="openai", api_base=server.url)}
        answers, faults = Answers("health"), Faults(Paths(), SystemClock())
        probes = Probes(Config(lite_llm_url=server.url, providers=clouds), answers.post, faults)
        faults.inject(fault, LONG_S)
        probes.receive(cmd.Probe(target, 200))
        seen = await answers.next()
        assert (seen.target, seen.source, seen.verdict) == (target, "probe" if target == PROXY else "ping", verdict)
        assert seen.detail.startswith("drill: ") == (verdict != "ok")
        assert bool(server.seen) == (verdict == "ok")
        faults.clear()


# --- its life ---------------------------------------------------------------------------------------------------------


async def test_a_fault_ends_by_itself() -> None:
    faults = Faults(Paths(), SystemClock())
    drill = faults.inject("proxy-down", 0.01)  # a second is the least
    assert drill.until - drill.since == 1000
    assert faults.active == drill
    await until(lambda: faults.active is None, 3)


async def test_no_fault_lasts_longer_than_five_minutes() -> None:
    faults = Faults(Paths(), SystemClock())
    drill = faults.inject("proxy-down", 86_400)
    assert drill.until - drill.since == 300_000
    faults.clear()


async def test_a_second_fault_takes_the_place_of_the_first_with_a_time_of_its_own() -> None:
    faults = Faults(Paths(), SystemClock())
    faults.inject("proxy-hang", 1)
    faults.inject("quota", LONG_S)
    await asyncio.sleep(1.1)
    assert faults.active is not None
    assert faults.active.fault == "quota"
    faults.clear()


async def test_a_fault_is_told_to_the_log_to_brainstem_and_in_the_status() -> None:
    post = Post()
    told: list[Any] = []
    post.register("brainstem", lambda _, messages: told.extend(messages))
    faults = Faults(Paths(), SystemClock(), post)
    before = faults.report
    with structlog.testing.capture_logs() as lines:
        drill = faults.inject("cloud-down", LONG_S)
        report = faults.report
        faults.clear()
        faults.clear()
    assert [(each["event"], each["log_level"]) for each in lines] == [
        ("drill.injected", "warning"),
        ("drill.ended", "warning"),
    ]
    assert told == [cmd.DrillNoted("cloud-down", drill.until)]
    assert report is not None
    assert (report.kind, report.name, report.state, report.until) == ("drill", "cloud-down", "active", drill.until)
    assert "on purpose" in report.reason
    assert before is None
    assert faults.report is None


async def test_with_no_fault_everything_is_as_it_is() -> None:
    async with quay() as (port, _, _cloud):
        port.faults.inject("proxy-down", LONG_S)
        port.faults.clear()
        await port.call()
        await until(lambda: port.settled == [("proxy", "fast", "ok")])

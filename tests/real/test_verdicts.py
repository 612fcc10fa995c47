"""What our own channel makes of everything that a real proxy answers: the words that health and failover go by."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.fakes.processes import MASTER_KEY
from tests.fakes.upstream import FAULTS
from tests.real.house import DIALECTS, STREAM_TIMEOUT_S, Front, question, single

from omni.config import Config
from omni.domain.hops import Hop
from omni.domain.values import PROXY
from omni.domain.verdict import MEANING, Verdict
from omni.llm.answer import Answer, Call, Dialect, UpstreamFailed
from omni.llm.channels import Channels, make_channels

V = Verdict
DIALECT = pytest.mark.parametrize("dialect", DIALECTS)

# Whatever a cloud does behind a living proxy is the cloud's: no row here says that the proxy is down.
WHOLE: dict[str, Verdict] = {
    "400": V.CALLER_ERROR,
    "401": V.KEY_REJECTED,
    "402": V.OUT_OF_CREDIT,
    "403": V.KEY_REJECTED,
    "404": V.CALLER_ERROR,
    "408": V.SLOW,
    "413": V.CALLER_ERROR,
    "429": V.RATE_LIMITED,
    "429-after": V.RATE_LIMITED,
    "429-cooldown": V.RATE_LIMITED,
    "500": V.SERVER_ERROR,
    "502": V.SERVER_ERROR,
    "503": V.SERVER_ERROR,
    "529": V.SERVER_ERROR,
    "cut": V.SERVER_ERROR,
    "badjson": V.SERVER_ERROR,
    "empty": V.SERVER_ERROR,
    "hang": V.SLOW,
}


@asynccontextmanager
async def channels(url: str, key: str = MASTER_KEY) -> AsyncIterator[Channels]:
    opened = make_channels(Config(lite_llm_url=url, lite_llm_key=key))
    try:
        yield opened
    finally:
        await opened.aclose()


def call(dialect: str, text: str, **body: Any) -> Call:
    known: dict[str, Dialect] = {"chat": "chat", "messages": "messages", "responses": "responses"}
    return Call(known[dialect], question("", text, DIALECTS[dialect], **body), uuid.uuid4().hex)


def hop(fault: str, dialect: str) -> Hop:
    return Hop(PROXY, single(fault, DIALECTS[dialect]))


async def drained(answer: Answer) -> bytes:
    try:
        return b"".join([chunk async for chunk in answer.chunks()])
    finally:
        await answer.aclose()


def _text(fault: str) -> str:
    return f"fault:{fault}" if fault in FAULTS else "hello"


def failure(front: Front, fault: str, dialect: str, *, key: str = MASTER_KEY, **body: Any) -> UpstreamFailed:
    """How the call failed, before or after its first byte."""

    async def meet() -> UpstreamFailed:
        async with channels(front.proxy.url, key) as opened:
            try:
                await drained(await opened.open(hop(fault, dialect), call(dialect, _text(fault), **body)))
            except UpstreamFailed as failed:
                return failed
        raise AssertionError(f"{fault} in {dialect} was taken for an answer")

    return asyncio.run(meet())


@DIALECT
@pytest.mark.parametrize("fault", WHOLE)
def test_each_failure_of_a_cloud_behind_the_proxy_has_its_verdict(front: Front, dialect: str, fault: str) -> None:
    failed = failure(front, fault, dialect)
    assert failed.verdict == WHOLE[fault], failed.detail
    assert MEANING[failed.verdict].alive is not False


@DIALECT
def test_a_cloud_that_refuses_connections_is_not_a_proxy_that_does(front: Front, dialect: str) -> None:
    assert failure(front, "dead", dialect).verdict == V.SERVER_ERROR


@DIALECT
@pytest.mark.parametrize("streaming", [False, True])
def test_an_answer_is_passed_on_with_its_usage_counted(front: Front, dialect: str, streaming: bool) -> None:
    async def ask() -> tuple[bytes, Answer]:
        async with channels(front.proxy.url) as opened:
            answer = await opened.open(
                hop("ok", dialect), call(dialect, "mark:verdict", **({"stream": True} if streaming else {}))
            )
            return await drained(answer), answer

    text, answer = asyncio.run(ask())
    assert b"verdict" in text
    assert answer.meter.finished
    assert answer.meter.usage is not None
    assert (answer.meter.usage.input_tokens, answer.meter.usage.output_tokens) == (11, 7)


@DIALECT
@pytest.mark.parametrize("fault", ["cutstream", "errstream", "hangstream"])
def test_a_stream_that_breaks_behind_the_proxy_is_broken_for_us(front: Front, dialect: str, fault: str) -> None:
    assert failure(front, fault, dialect, stream=True).verdict == V.BROKEN_STREAM


@DIALECT
@pytest.mark.parametrize("fault", ["empty", "badjson", "errbody"])
def test_a_stream_in_which_nothing_was_said_is_no_answer_and_may_be_asked_for_elsewhere(
    front: Front, dialect: str, fault: str
) -> None:
    assert MEANING[failure(front, fault, dialect, stream=True).verdict].elsewhere


@DIALECT
def test_a_silent_cloud_costs_a_stream_the_time_that_the_proxy_gives_it(front: Front, dialect: str) -> None:
    failed = failure(front, "hang", dialect, stream=True)
    assert failed.verdict == V.SLOW, (failed.detail, STREAM_TIMEOUT_S)


@pytest.mark.parametrize("key", ["", "sk-wrong"])
def test_a_key_of_ours_that_the_proxy_does_not_know_is_a_matter_of_configuration(front: Front, key: str) -> None:
    assert failure(front, "ok", "chat", key=key).verdict == V.MISCONFIGURED


def test_a_group_at_rest_is_rate_limited_for_a_bounded_time_however_absurd_the_wish(front: Front) -> None:
    for cloud in (front.north, front.south):
        cloud.set(fault="429-after", retry_after="1580000")
    try:
        waits = [failure(front, "pair-429-cooldown", "chat").retry_after_ms for _ in range(2)]
    finally:
        for cloud in (front.north, front.south):
            cloud.set(fault="ok", retry_after="2")
    assert waits == [3_600_000, 3_600_000]


def test_a_frozen_proxy_leaves_a_call_waiting_and_another_proxy_that_is_not_there_refuses_it(front: Front) -> None:
    front.proxy.freeze()
    try:
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(_open(front.proxy.url), 1.0))
    finally:
        front.proxy.thaw()
    with pytest.raises(UpstreamFailed) as caught:
        asyncio.run(_open(f"http://127.0.0.1:{front.dead_port}"))
    assert caught.value.verdict == V.REFUSED


async def _open(url: str) -> None:
    async with channels(url) as opened:
        await opened.open(hop("ok", "chat"), call("chat", "hello"))

"""The bundled model adapter over real stdio, driven by the hands, against a port that does as it is told."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.executors import port as model_port
from tests.executors.bench import Bench, workbench
from tests.executors.port import USAGE, Out, Port, Script, answers, ended, says, text

from omni.adapters.completion import MAX_ANSWER_CHARS, Completion, NoAnswer
from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.domain.values import Result, Route
from omni.executors.hands import ModelAccess

MODEL = ExecutorConfig(name="model", transport="bundled", adapter="model", types=("general",), on_crash="retry")
KEY = "omni-a-0000-1-canary0123456789"


def at(url: str) -> ModelAccess:
    """Every attempt gets this address, and the same key."""

    def access(task_id: str, n: int, direct: bool) -> tuple[str, str]:
        return url, KEY

    return access


@asynccontextmanager
async def house(tmp_path: Path, scripts: dict[str, Script]) -> AsyncIterator[tuple[Bench, Port]]:
    """The hands with the adapter, and the port that its attempts are sent to."""
    async with (
        model_port.port(scripts) as port,
        workbench(tmp_path, MODEL, model_access=at(port.url)) as bench,
    ):
        yield bench, port


async def test_a_task_is_answered_by_one_completion_under_the_attempts_own_key(tmp_path: Path) -> None:
    script = says(text("Hel"), text("lo"), ended("stop"), USAGE, "[DONE]")
    async with house(tmp_path, {"*": script}) as (bench, port):
        found = await bench.run("model", "Say hello")
    assert isinstance(found, cmd.ReportSucceeded)
    tokens = {"input": 11, "output": 7}
    assert found.result == Result("Hello", {"model": "served-1", "end": "stop", "tokens": tokens})
    assert (found.usage, found.cost_usd) == (None, None)  # the port has metered them: twice would be too much
    (request,) = port.requests
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert (request.body["stream"], request.body["stream_options"]) == (True, {"include_usage": True})
    assert [each["role"] for each in request.body["messages"]] == ["system", "user"]


async def test_the_model_of_the_route_is_asked_for_and_without_one_its_tier(tmp_path: Path) -> None:
    async with house(tmp_path, {"*": says(text("ok"), "[DONE]")}) as (bench, port):
        for task_id, route in (("a", ("P2", "big")), ("b", ("P1", "")), ("c", ("", ""))):
            chosen = Route("model", *route)
            bench.send(cmd.StartAttempt(task_id, 1, chosen, task_id, f"{task_id}:1", "h", 30_000, 30_000))
            await bench.outcome(task_id)
    assert {each.description: each.body["model"] for each in port.requests} == {"a": "big", "b": "P1", "c": "auto"}


async def test_the_prompt_and_the_note_of_a_cut_answer_are_in_the_language_of_the_task(tmp_path: Path) -> None:
    async with house(tmp_path, {"*": says(text("one two"), ended("length"), "[DONE]")}) as (bench, port):
        english, chinese = await bench.run("model", "Count", "a"), await bench.run("model", "数数", "b")
    assert english.result.content == "one two\n[cut: the model stopped at its limit of length]"
    assert chinese.result.content == "one two\n[未完：模型在长度上限处停下]"
    assert english.result.structured["end"] == "length"
    systems = [each.body["messages"][0]["content"] for each in port.requests]
    assert (systems[0][:6], systems[1][:3]) == ("Do the", "请完成")


def openai_error(message: str, **other: Any) -> dict[str, Any]:
    return {"error": {"message": message, **other}}


REFUSALS: dict[str, tuple[Script, tuple[str, str, int]]] = {
    "budget": (
        answers(402, openai_error("the day's budget of $5.00 is used up"), x_omni_refusal="over_budget"),
        ("over_budget", "the day's budget of $5.00 is used up", 0),
    ),
    "provider's credit": (answers(402, openai_error("no credit left")), ("unavailable", "no credit left", 0)),
    "late": (answers(403, openai_error("it has ended"), x_omni_refusal="stale_key"), ("bad_request", "it has", 0)),
    "full disk": (answers(503, openai_error("no"), x_omni_refusal="storage"), ("unavailable", "no", 0)),
    "brainstem": (
        answers(503, openai_error("no cloud can be reached"), retry_after="30"),
        ("unavailable", "no cloud can be reached", 30_000),
    ),
    "limited": (answers(429, openai_error("slow down"), retry_after="7.5"), ("rate_limited", "slow down", 7_500)),
    "absurdly limited": (
        answers(429, openai_error("slow down"), retry_after="99999999999"),
        ("rate_limited", "slow down", 0),
    ),
    "limited without a word": (
        answers(429, b"<html>", retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
        ("rate_limited", "the model port answered HTTP 429 and gave no reason", 0),
    ),
    "strange key": (answers(401, openai_error("this key opens nothing")), ("bad_request", "this key opens nothing", 0)),
    "too large": (answers(413, openai_error("too large")), ("bad_request", "too large", 0)),
    "upstream": (answers(502, {"error": "every way failed"}), ("unavailable", "every way failed", 0)),
    "slow": (answers(504, openai_error("no answer in time"), retry_after="5"), ("unavailable", "no answer", 5_000)),
    "internal": (answers(500, openai_error("a bug")), ("failed", "a bug", 0)),
    "moved": (answers(302, b"", location="http://127.0.0.1:1/"), ("failed", "HTTP 302", 0)),
    "nothing": (says(ended("stop"), "[DONE]"), ("failed", "the model gave an empty answer", 0)),
    "blank": (says(text(" \n"), ended("stop"), "[DONE]"), ("failed", "the model gave an empty answer", 0)),
    "filtered": (says(text("I"), ended("content_filter")), ("failed", "the model refused to answer", 0)),
    "garbage": (says("{", "[DONE]"), ("failed", "the model port sent what is no JSON", 0)),
    "list": (says("[1]", "[DONE]"), ("failed", "the model port sent what is no chat completion", 0)),
}


async def test_each_way_to_fail_is_told_in_words_and_asked_of_the_port_once(tmp_path: Path) -> None:
    async with house(tmp_path, {name: script for name, (script, _) in REFUSALS.items()}) as (bench, port):
        for name in REFUSALS:
            bench.start("model", name, name)
        found = {name: await bench.outcome(name) for name in REFUSALS}
    wrong = {
        name: found[name]
        for name, (_, (kind, words, retry_ms)) in REFUSALS.items()
        if not isinstance(found[name], cmd.ReportFailed)
        or (found[name].error.kind, found[name].retry_after_ms) != (kind, retry_ms)
        or words not in found[name].error.message
    }
    assert wrong == {}
    assert sorted(each.description for each in port.requests) == sorted(REFUSALS)


BROKEN: dict[str, tuple[Script, str]] = {
    "broken": (says(text("half"), complete=False), "the model's answer broke off after 4 characters"),
    "ended early": (says(text("half")), "the model's answer broke off after 4 characters"),
    "error inside": (says(text("half"), openai_error("the proxy died")), "broke off: the proxy died"),
}


async def test_an_answer_that_breaks_off_is_an_interruption_and_no_failure(tmp_path: Path) -> None:
    async with house(tmp_path, {name: script for name, (script, _) in BROKEN.items()}) as (bench, port):
        for name, (_, words) in BROKEN.items():
            report = await bench.run("model", name, name)
            assert isinstance(report, cmd.ReportInterrupted), report
            assert words in report.evidence
    assert sorted(each.description for each in port.requests) == sorted(BROKEN)


async def test_an_answer_in_one_piece_is_an_answer(tmp_path: Path) -> None:
    choice = {"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}
    async with house(tmp_path, {"*": answers(200, {"model": "m", "choices": [choice]})}) as (bench, _):
        assert (await bench.run("model", "x")).result.content == "whole"


async def test_a_port_that_nobody_listens_on_is_unavailable_so_that_the_task_is_tried_again(tmp_path: Path) -> None:
    async with workbench(tmp_path, MODEL, model_access=at("http://127.0.0.1:1")) as bench:
        assert (await bench.run("model", "x", "a")).error.kind == "unavailable"
    async with workbench(tmp_path, MODEL, model_access=at("")) as bench:
        assert (await bench.run("model", "x", "a")).error.kind == "bad_request"


async def test_a_cancel_hangs_up_on_the_port_and_is_certain(tmp_path: Path) -> None:
    async def hang(out: Out) -> None:
        await out.stream()
        await out.events(text("wait"))
        await out.gone()

    async with house(tmp_path, {"*": hang}) as (bench, port):
        bench.start("model", "x")
        await bench.until(cmd.ReportStarted)
        await asyncio.wait_for(port.asked.wait(), 20)
        assert not port.left.is_set()
        bench.cancel("model")
        assert await bench.outcome("t") == cmd.ReportCancelled("t", 1, confirmed=True)
        await asyncio.wait_for(port.left.wait(), 5)
        assert len(port.requests) == 1


async def test_the_adapter_does_not_hang_up_before_the_end_of_the_stream(tmp_path: Path) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def slow_end(out: Out) -> None:
        await out.stream()
        await out.events(text("ok"), "[DONE]")
        await asyncio.sleep(0.5)
        heard.set_result(out.is_heard)
        await out.end()

    async with house(tmp_path, {"*": slow_end}) as (bench, _):
        assert (await bench.run("model", "x")).result.content == "ok"
        assert await heard


async def test_a_stream_that_does_not_end_after_its_last_word_is_left(tmp_path: Path) -> None:
    async def endless(out: Out) -> None:
        await out.stream()
        await out.events(text("ok"), "[DONE]")
        await out.gone()

    async with house(tmp_path, {"*": endless}) as (bench, _):
        assert (await bench.run("model", "x", timeout_ms=10_000)).result.content == "ok"


async def test_every_line_is_a_sign_of_life_and_tells_how_far_the_text_is(tmp_path: Path) -> None:
    async def think(out: Out) -> None:
        await out.stream()
        await out.events(text("four"))
        for _ in range(15):
            await out.line(": still thinking\n")
            await asyncio.sleep(0.2)
        await out.events("[DONE]")
        await out.end()

    async with house(tmp_path, {"*": think}) as (bench, _):
        await bench.connected("model")
        found = await bench.run("model", "x", idle_timeout_ms=2_000)
        told = [each for each in bench.heard if isinstance(each, cmd.ProgressMade)]
    assert isinstance(found, cmd.ReportSucceeded)
    assert {each.message for each in told} == {"4 characters"}
    assert [each.progress for each in told] == sorted({each.progress for each in told})


async def test_an_adapter_that_dies_under_a_call_leaves_it_interrupted_and_the_next_task_works(tmp_path: Path) -> None:
    async def hang(out: Out) -> None:
        await out.gone()

    async with house(tmp_path, {"hang": hang, "*": says(text("back"), "[DONE]")}) as (bench, port):
        bench.start("model", "hang")
        await asyncio.wait_for(port.asked.wait(), 20)
        os.kill((await bench.until(cmd.ReportStarted)).pid or 0, signal.SIGKILL)
        assert isinstance(await bench.outcome("t"), cmd.ReportInterrupted)
        assert (await bench.run("model", "x", "t2")).result.content == "back"


async def test_neither_the_attempts_key_nor_a_secret_of_ours_is_in_the_adapters_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "LITE_LLM_KEY", "OMNI_TOKEN", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"canary-{name}")
    async with house(tmp_path, {"*": says(text("ok"), "[DONE]")}) as (bench, _):
        await bench.run("model", "x")
        process = psutil.Process((await bench.until(cmd.ReportStarted)).pid)
        seen = [*process.environ().values(), *process.cmdline()]
        heard = repr(bench.heard)
    assert [each for each in seen if "canary" in each] == []
    assert KEY not in heard


# --- the fold alone


def test_reading_stops_where_an_answer_is_beyond_all_bounds() -> None:
    completion = Completion()
    line = 'data: {"choices":[{"delta":{"content":"' + "x" * 100_000 + '"}}]}'
    for _ in range(MAX_ANSWER_CHARS // 100_000 + 1):
        assert not completion.complete
        completion.feed(line)
    assert completion.complete
    completion.finish()
    assert completion.end == "length"


def test_a_refusal_is_told_in_the_models_words() -> None:
    completion = Completion()
    for piece in ("I would ", "rather not"):
        completion.feed('data: {"choices":[{"delta":{"refusal":"' + piece + '"}}]}')
    completion.feed("data: [DONE]")
    with pytest.raises(NoAnswer, match="I would rather not"):
        completion.finish()


@pytest.mark.parametrize("chunk", ['{"choices":7}', '{"choices":[]}', '{"choices":[{"delta":null}]}', '{"usage":[]}'])
def test_a_chunk_of_another_shape_is_a_sign_of_life_and_no_more(chunk: str) -> None:
    completion = Completion()
    completion.feed(f"data: {chunk}")
    completion.feed('data: {"choices":[{"delta":{"content":"ok"},"finish_reason":"stop"}]}')
    completion.finish()
    assert (completion.text, completion.usage) == ("ok", None)

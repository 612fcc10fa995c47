"""A real messenger behind real hands: what it is asked, what its answers mean, and that its deaths double nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.executors.bench import Bench, workbench
from tests.notify.stage import Stage

from omni.config import Config, McpServer, NotifyConfig
from omni.domain import events as ev
from omni.domain.errors import ExecutorUnavailable
from omni.domain.values import Mode
from omni.notify.messenger import MessengerSink
from omni.notify.plan import make_sinks
from omni.notify.sinks import Gone, NotTold, Sink, Told
from omni.runtime.ports import SystemClock

SERVER = Path(__file__).with_name("servers") / "messenger.py"
ROUNDS = 50
MODES: tuple[Mode, ...] = ("BRAINSTEM", "NORMAL")
FATES = ("before", "between", "after", "uncertain", "broken", "outside", "", "")


def config(home: Path) -> Config:
    line = ("-I", "-S", str(SERVER), str(home))
    server = McpServer(command=sys.executable, args=line, tool="send_message")
    notify = NotifyConfig(executor="chat", channel="telegram", target="42")
    return Config(mcp_servers={"chat": server}, notify=notify)


@asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[tuple[Bench, Sink]]:
    """The bench with the messenger connected, and the sink in front of it."""
    whole = config(tmp_path)
    async with workbench(tmp_path, *whole.executors.values()) as bench:
        await bench.connected("chat")
        (sink,) = [s for s in make_sinks(whole, bench.hands.use_tool, SystemClock()) if s.spec.name == "messenger"]
        yield bench, sink


def read(home: Path, name: str) -> list[dict[str, Any]]:
    path = home / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_a_notice_is_sent_to_the_owner_and_an_answer_to_whoever_asked(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, sink):
        await sink.deliver(Told("degraded:1:1", "degraded", "It is slow.", 1))
        await sink.deliver(Told("task_answer:2:1", "task_answer", "42", 1, to="discord:room:7"))
    assert read(tmp_path, "sent") == [
        {"channel": "telegram", "to": "42", "text": "It is slow.", "key": "degraded:1:1:messenger"},
        {"channel": "discord", "to": "room:7", "text": "42", "key": "task_answer:2:1:messenger"},
    ]


@pytest.mark.parametrize(
    ("fate", "says"),
    [("uncertain", "uncertain"), ("broken", "the line is dead"), ("before", r"\S"), ("between", r"\S")],
)
async def test_what_was_not_told_for_certain_is_told_again_with_the_same_key(
    tmp_path: Path, fate: str, says: str
) -> None:
    notice = Told("degraded:1:1", "degraded", "It is slow.", 1)
    async with connected(tmp_path) as (_, sink):
        (tmp_path / "fate").write_text(fate)
        with pytest.raises(Exception, match=says) as failed:
            await sink.deliver(notice)
        assert isinstance(failed.value, NotTold) == (fate in ("uncertain", "broken"))
        await until_told(sink, notice)
    assert len(read(tmp_path, "sent")) == 1
    assert [each["key"] for each in read(tmp_path, "calls")] == ["degraded:1:1:messenger"] * 2


async def until_told(sink: Sink, notice: Told) -> None:
    """Try until it is told; a messenger that has just died is a moment away."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Exception):
                await sink.deliver(notice)
                return
            await asyncio.sleep(0.05)


async def test_a_messenger_that_does_not_start_is_told_of_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni.notify.messenger.WITHIN_S", 3.0)
    server = McpServer(
        command=sys.executable, args=("-c", "raise SystemExit('the chat is closed')"), tool="send_message"
    )
    whole = Config(mcp_servers={"chat": server}, notify=NotifyConfig(executor="chat", channel="a", target="b"))
    async with workbench(tmp_path, *whole.executors.values()) as bench:
        await bench.lost("chat")
        sink = make_sinks(whole, bench.hands.use_tool, SystemClock())[-1]
        with pytest.raises(ExecutorUnavailable, match="the chat is closed"):
            await sink.deliver(Told("k", "degraded", "words", 1))


class Answer:
    """What a tool of somebody else's might answer."""

    is_error = False
    blocks = ({"type": "text", "text": "done"}, {"type": "image"})

    def __init__(self, structured: Any) -> None:
        self.structured = structured


@pytest.mark.parametrize("structured", [None, [], "sent", {}, {"state": "SENT"}, {"state": None}])
async def test_only_the_word_sent_means_told(structured: Any) -> None:
    async def use_tool(*call: Any) -> Answer:
        return Answer(structured)

    with pytest.raises(NotTold, match="done"):
        await MessengerSink("chat", use_tool, channel="a", target="b").deliver(Told("k", "degraded", "words", 1))


async def test_what_nobody_will_ever_know_is_given_up_and_holds_up_nothing_behind_it() -> None:
    async def use_tool(*call: Any) -> Answer:
        return Answer({"state": "uncertain", "settled": True, "why": "it was killed while it sent this"})

    with pytest.raises(Gone, match="killed while"):
        await MessengerSink("chat", use_tool, channel="a", target="b").deliver(Told("k", "degraded", "words", 1))


async def test_over_fifty_outages_with_a_messenger_that_dies_at_random_both_words_arrive_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni.executors.connection.BACKOFF_S", 0.02)
    monkeypatch.setattr("omni.executors.connection.STABLE_S", 0.0)  # else each death makes the next pause longer
    chance = random.Random(20)
    async with connected(tmp_path) as (bench, _):
        stage = Stage(bench, config(tmp_path))
        for _ in range(ROUNDS):
            for mode in MODES:
                killer = await strike(tmp_path, chance)
                stage.turn(mode)
                if chance.random() < 0.1:
                    await stage.restart()
                await stage.settle()
                await killer
        await stage.notifier.stop()
    judge(stage, tmp_path)


async def strike(home: Path, chance: random.Random) -> asyncio.Task[None]:
    """Choose how the messenger meets the next notice."""
    fate = chance.choice(FATES)
    if fate == "outside":
        return asyncio.create_task(kill(home, chance.random() * 0.02))
    if fate:
        (home / "fate").write_text(fate)
    return asyncio.create_task(asyncio.sleep(0))


async def kill(home: Path, after_s: float) -> None:
    await asyncio.sleep(after_s)  # at any moment: that is the point
    with contextlib.suppress(ProcessLookupError):
        os.kill(int((home / "pid").read_text()), signal.SIGKILL)


def judge(stage: Stage, home: Path) -> None:
    sent, calls = read(home, "sent"), read(home, "calls")
    words = Counter(each["text"].partition(" (")[0].partition(";")[0] for each in sent)
    assert words["Cloud offline, tasks suspended"] == ROUNDS
    assert words["Cloud restored"] == ROUNDS
    queued = [f"{e.key}:messenger" for e, _ in stage.stem.log if isinstance(e, ev.NoticeQueued)]
    assert [each["key"] for each in sent] == queued
    assert {each["key"] for each in calls} == set(queued)
    assert len(calls) > len(sent), "nothing was ever sent again: the test tests nothing"
    assert not [e for e, _ in stage.stem.log if isinstance(e, ev.NoticeDropped)]

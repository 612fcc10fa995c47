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
from tests.domain.stem import Stem
from tests.executors.bench import Bench, workbench

from omni.config import Config, McpServer, NotifyConfig
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import RepairSettings
from omni.notify.messenger import MessengerSink
from omni.notify.notifier import Notifier
from omni.notify.plan import make_sinks, telling
from omni.notify.sinks import Gone, NotTold, Sink, Told
from omni.runtime.ports import SystemClock

SERVER = Path(__file__).with_name("servers") / "messenger.py"
NOBODY = RepairSettings(attempts=0)
ROUNDS = 50
TIMER_S = 0.05
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


class Stage:
    """Brainstem by its rules, a real notifier and real hands; the timers of the outbox ring early."""

    def __init__(self, bench: Bench, home: Path) -> None:
        self.home = home
        self.loop = asyncio.get_running_loop()
        self.config = config(home)
        self.sinks = make_sinks(self.config, bench.hands.use_tool, SystemClock())[-1:]
        self.stem = Stem(NOBODY, telling(self.config.notify, self.sinks))
        self.post = bench.post
        self.answers: asyncio.Queue[cmd.Delivered] = asyncio.Queue()
        self.post.register("brainstem", self._heard)
        self.notifier = self._notifier()

    def _notifier(self) -> Notifier:
        return Notifier(self.config.notify, self.post, sinks=self.sinks)

    def _heard(self, sender: str, messages: Any) -> None:
        for message in messages:
            self.answers.put_nowait(message)

    def put(self, message: Any) -> None:
        self.stem.put(message)
        self.carry()

    def carry(self) -> None:
        for send in self.stem.sends:
            if isinstance(send.message, cmd.Deliver):
                self.notifier.receive(send.message)
            elif isinstance(send.message, cmd.WakeIn):
                self.loop.call_later(TIMER_S, self.put, cmd.TimerFired(send.message.key))

    async def restart(self) -> None:
        """A new daemon: it remembers what the log says, and nothing of what it told."""
        await self.notifier.stop()
        self.notifier = self._notifier()
        self.stem.start(NOBODY)
        self.carry()

    async def settle(self) -> None:
        async with asyncio.timeout(60):
            while self.stem.state.outbox:
                self.put(await self.answers.get())

    async def kill(self, after_s: float) -> None:
        await asyncio.sleep(after_s)  # at any moment: that is the point
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((self.home / "pid").read_text()), signal.SIGKILL)


async def test_over_fifty_outages_with_a_messenger_that_dies_at_random_both_words_arrive_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni.executors.connection.BACKOFF_S", 0.02)
    monkeypatch.setattr("omni.executors.connection.STABLE_S", 0.0)  # else each death makes the next pause longer
    chance = random.Random(20)
    async with connected(tmp_path) as (bench, _):
        stage = Stage(bench, tmp_path)
        for _ in range(ROUNDS):
            for mode in ("BRAINSTEM", "NORMAL"):
                killer = await strike(stage, chance)
                stage.put(cmd.NoteMode(mode, reason="as observed", cleared=True))
                if chance.random() < 0.1:
                    await stage.restart()
                await stage.settle()
                await killer
        await stage.notifier.stop()
    judge(stage, tmp_path)


async def strike(stage: Stage, chance: random.Random) -> asyncio.Task[None]:
    """Choose how the messenger meets the next notice."""
    fate = chance.choice(FATES)
    if fate == "outside":
        return asyncio.create_task(stage.kill(chance.random() * 0.02))
    if fate:
        (stage.home / "fate").write_text(fate)
    return asyncio.create_task(asyncio.sleep(0))


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

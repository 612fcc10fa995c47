"""Words about the cloud through the real adapter for OpenClaw, before a gateway that is killed at awkward moments."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from tests.executors.bench import workbench
from tests.fakes.gateway import TOKEN, FakeGateway, fake_gateway
from tests.notify.stage import Stage

from omni.config import Config, McpServer, NotifyConfig
from omni.domain import events as ev
from omni.domain.values import Mode

ROUNDS = 50
SEED = 20
CHAT = "42"
MODES: dict[Mode, str] = {"BRAINSTEM": "Cloud offline, tasks suspended", "NORMAL": "Cloud restored"}
# What meets a notice, and how often it is chosen.
FATES = {"calm": 8, "killed": 4, "taken": 4, "noted": 3, "failed": 3, "adapter": 1}
SEEN_WITHIN_S = 20.0


class House:
    """The gateway, and what happens to it."""

    def __init__(self, gateway: FakeGateway, stage: Stage, chance: random.Random) -> None:
        self.gateway = gateway
        self.stage = stage
        self.chance = chance
        self.met: list[str] = []

    async def strike(self) -> asyncio.Task[None]:
        """Choose how the gateway meets the next notice; the task ends when that is over."""
        fate = self.chance.choices(list(FATES), list(FATES.values()))[0]
        self.met.append(fate)
        self.gateway.channel = {"taken": "hang", "noted": "hang", "failed": "queued"}.get(fate, "ok")
        return asyncio.create_task(getattr(self, f"_{fate}")(), name=fate)

    async def _calm(self) -> None:
        """Nothing happens."""

    async def _killed(self) -> None:
        """It is killed at any moment, whether it was asked already or not."""
        await asyncio.sleep(self.chance.random() * 0.05)
        await self._restart()

    async def _taken(self) -> None:
        """It is killed when the channel has the message and nobody has noted that."""
        had = len(self.gateway.messages)
        await seen(lambda: len(self.gateway.messages) > had)
        await self._restart()

    async def _noted(self) -> None:
        """It is killed when it has noted that the channel has the message, and has not answered us."""
        had = len(self.gateway.messages)
        await seen(lambda: len(self.gateway.messages) > had)
        self.gateway.ledger[next(reversed(self.gateway.ledger))] = "sent"
        await self._restart()

    async def _failed(self) -> None:
        """Its channel fails, and it says so; later it is killed."""
        had = self._delays()
        await seen(lambda: self._delays() > had)
        await self._restart()

    async def _adapter(self) -> None:
        """The adapter is killed."""
        await asyncio.sleep(self.chance.random() * 0.05)
        for each in psutil.Process().children(recursive=True):
            if "omni.adapters.openclaw" in each.cmdline():
                each.kill()

    async def _restart(self) -> None:
        """What was on its way is given up by the next life of the gateway, which says so."""
        await self.gateway.kill()
        given_up = {key: "unknown" for key, state in self.gateway.ledger.items() if state == "queued"}
        self.gateway.ledger |= given_up
        self.gateway.channel = "ok"
        await asyncio.sleep(self.chance.random() * 0.1)
        await self.gateway.up()

    def _delays(self) -> int:
        return sum(isinstance(event, ev.NoticeDelayed) for event, _ in self.stage.stem.log)


async def seen(holds: Callable[[], bool]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(SEEN_WITHIN_S):
        while not holds():  # noqa: ASYNC110 - what it looks at belongs to fakes without events for it
            await asyncio.sleep(0.002)


@asynccontextmanager
async def housed(home: Path, chance: random.Random) -> AsyncIterator[House]:
    """The adapter connected to a gateway that has met the chat."""
    async with fake_gateway() as gateway:
        gateway.chats.add(CHAT)
        claw = McpServer(url=gateway.url, options={"token": TOKEN})
        notify = NotifyConfig(executor="openclaw", channel="telegram", target=CHAT)
        config = Config(mcp_servers={"openclaw": claw}, notify=notify)
        async with workbench(home, *config.executors.values()) as bench:
            await bench.connected("openclaw")
            house = House(gateway, Stage(bench, config), chance)
            yield house
            await house.stage.notifier.stop()


@pytest.mark.slow
async def test_over_fifty_outages_with_openclaw_killed_at_random_both_words_arrive_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni.executors.connection.BACKOFF_S", 0.02)
    monkeypatch.setattr("omni.executors.connection.STABLE_S", 0.0)  # else each death makes the next pause longer
    chance = random.Random(SEED)
    async with housed(tmp_path, chance) as house:
        for _ in range(ROUNDS):
            for mode in MODES:
                fate = await house.strike()
                house.stage.turn(mode)
                if chance.random() < 0.1:
                    await house.stage.restart()
                await house.stage.settle()
                await fate
        judge(house)


def judge(house: House) -> None:
    said = [text for to, text in house.gateway.messages if to == CHAT]
    words = [word for text in said for word in MODES.values() if text.startswith(word)]
    assert words == list(MODES.values()) * ROUNDS
    assert set(house.met) == set(FATES)
    assert len(house.gateway.calls("conversations.send")) > len(said), "nothing was ever asked again"
    dropped = [event for event, _ in house.stage.stem.log if isinstance(event, ev.NoticeDropped)]
    assert len(dropped) <= house.met.count("taken") + house.met.count("killed")  # those that nobody can know of

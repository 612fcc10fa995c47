"""Outages of the cloud told through the real OpenClaw while it is killed at random: each word arrives exactly once."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import httpx
import pytest
from tests.failover.scene import HASTE, Watched
from tests.fakes.processes import CloudProcess, ProviderProcess, TelegramProcess, running
from tests.peers.gateway import GatewayClient
from tests.peers.openclaw import TOKEN, OpenClawHouse
from tests.peers.programs import OPENCLAW, missing
from tests.torture.daemon_process import DaemonProcess, until

from omni.domain import events as ev

ROUNDS = int(os.environ.get("OMNI_ROUNDS") or 3)
SEED = int(os.environ.get("OMNI_SEED") or 20)
CHAT = "42"
S = TypeVar("S", ev.NoticeDelivered, ev.NoticeDelayed, ev.NoticeDropped)
OFFLINE, RESTORED = "Cloud offline, tasks suspended", "Cloud restored"
MODE_WITHIN_S = 60.0
GREETED_WITHIN_S = 400.0  # the first turn of an agent takes a minute and more on a busy machine
UP_WITHIN_S = 600.0
TOLD_WITHIN_S = 1800.0  # a notice that has failed often is tried again after 12.5 minutes at most
CALM_S = 25.0  # the longest that a gateway is left in peace
PACE_S = 10.0  # the longest between two changes of the weather
NEAR_S = 0.1  # how near to a message a kill is that aims at it


class Town(Watched):
    """A daemon with one cloud that can be switched off, and a chat that it reaches through OpenClaw."""

    def __init__(self, home: Path, cloud: CloudProcess, house: OpenClawHouse) -> None:
        self.cloud = cloud
        self.house = house
        self.restarts = 0
        super().__init__(
            DaemonProcess(
                home,
                {"openclaw": {"url": house.ws, "options": {"token": TOKEN}}},
                api_keys={"primary": {"anthropic": "sk-ant-of-a-test"}},
                providers={"anthropic": {"api_base": cloud.url, "default_model": "fake-light"}},
                fault_handler=HASTE,
                notify={"executor": "openclaw", "channel": "telegram", "target": CHAT},
            )
        )

    def switch(self, *, on: bool) -> None:
        """Switch the cloud, and return when the daemon has noticed."""
        self.cloud.set(fault="ok" if on else "cut")
        mode = "NORMAL" if on else "BRAINSTEM"
        until(lambda: self.status()["mode"] == mode, MODE_WITHIN_S, f"the mode is {mode}")

    def restart(self) -> None:
        self.daemon.kill()
        self.client.close()  # a connection to the dead daemon would be used for a question to the new one
        self.client = httpx.Client(trust_env=False, timeout=30)
        self.daemon.start().ready()
        self.restarts += 1
        until(lambda: self.status()["mode"] == "NORMAL", MODE_WITHIN_S, "the new daemon is at work")

    def words(self) -> list[str]:
        """What of the two words has arrived in the chat, oldest first."""
        texts = [each.text for each in self.house.telegram.sent() if each.chat_id == CHAT]
        return [word for text in texts for word in (OFFLINE, RESTORED) if text.startswith(word)]

    def owed(self) -> set[str]:
        """The notices that the chat has neither got nor been denied."""
        settled = {each.key for each in self._of_messenger(ev.NoticeDelivered)} | {each.key for each in self.dropped()}
        return {each.key for each in self.events(ev.NoticeQueued)} - settled

    def dropped(self) -> list[ev.NoticeDropped]:
        return self._of_messenger(ev.NoticeDropped)

    def delayed(self) -> int:
        return len(self._of_messenger(ev.NoticeDelayed))

    def _of_messenger(self, kind: type[S]) -> list[S]:
        return [each for each in self.events(kind) if each.sink == "messenger"]


class Kill(NamedTuple):
    """One kill: how long the gateway had been ready, and whether it aimed at a message."""

    after_s: float
    aimed: bool


class Killer(threading.Thread):
    """Kills the gateway again and again, at random or just after it has sent something, and starts it again."""

    def __init__(self, town: Town, seed: int) -> None:
        super().__init__(daemon=True)
        self.kills: list[Kill] = []
        self._house = town.house
        self._chance = random.Random(seed)
        self.spares = threading.Event()  # the gateway is up
        self._enough = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._enough.is_set():
                self._strike()
                supervise(self._house)
        except BaseException as failure:
            self._failure = failure

    def end(self) -> None:
        """No kill begins after this; the gateway is up."""
        self._enough.set()
        self.join()
        if self._failure:
            raise self._failure

    def _strike(self) -> None:
        self.spares.set()
        began, calm_s, aimed = time.monotonic(), self._chance.random() * CALM_S, self._chance.random() < 0.5
        (self._await_message if aimed else self._enough.wait)(calm_s)
        self.spares.clear()
        self._house.kill()
        self._house.kill_all()
        self.kills.append(Kill(time.monotonic() - began, aimed))

    def _await_message(self, within_s: float) -> None:
        """Return a moment after the next message has arrived, or when the time is up."""
        sent, deadline = len(self._house.telegram.sent()), time.monotonic() + within_s
        while len(self._house.telegram.sent()) == sent and time.monotonic() < deadline:
            if self._enough.wait(0.005):
                return
        time.sleep(self._chance.random() * NEAR_S)  # any moment: that is the point


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    if reason := missing(OPENCLAW, "OMNI_TEST_OPENCLAW"):
        pytest.skip(reason)
    cloud, provider, telegram = CloudProcess(tmp_path, "cloud"), ProviderProcess(tmp_path), TelegramProcess(tmp_path)
    house = OpenClawHouse(tmp_path / "house", provider, telegram)
    town = Town(tmp_path, cloud, house)
    try:
        with running(cloud, provider, telegram, house):
            for each in (cloud, provider, telegram):
                each.up()
            supervise(house)
            town.daemon.start().ready()
            town.switch(on=True)
            yield town
    finally:
        town.close()


def supervise(house: OpenClawHouse) -> None:
    """Start it, and again when it ends by itself, as an init system does: it gives up where its disk is slow."""

    def is_ready() -> bool:
        if house.process is None or house.process.poll() is not None:
            house.start()
        return house.answers("/readyz")

    until(is_ready, UP_WITHIN_S, "the gateway is ready")
    held_back = httpx.get(f"{house.url}/readyz", timeout=30, trust_env=False).json().get("suppressed", [])
    for channel in held_back:  # three deaths within five minutes, and it leaves its channels alone
        with GatewayClient(house, "operator.admin") as client:
            client.ask("channels.start", channel=channel)


def greet(town: Town) -> None:
    """Have the gateway meet the chat."""
    town.house.telegram.inject("hello")
    with GatewayClient(town.house, "operator.admin") as client:
        until(lambda: f"telegram:{CHAT}" in client.chats(), GREETED_WITHIN_S, "the gateway knows the chat")


def outages(town: Town, killer: Killer, chance: random.Random) -> None:
    """The cloud goes and comes, at its own pace. The daemon is killed too: a new one tries at once what is owed."""
    for _ in range(ROUNDS):
        for on in (False, True):
            town.switch(on=on)
            time.sleep(chance.random() * PACE_S)  # weather, not a wait: what follows does not rely on it
        if killer.spares.is_set() and town.owed():
            town.restart()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("known", [True, False], ids=["met", "never-met"])
def test_over_outages_with_kills_at_random_both_words_arrive_once_each(town: Town, known: bool) -> None:
    if known:
        greet(town)
    killer = Killer(town, SEED)
    killer.start()
    try:
        outages(town, killer, random.Random(SEED))
    finally:
        killer.end()
    town.restart()  # what is owed is tried at once
    until(lambda: not town.owed(), TOLD_WITHIN_S, f"everything is told; owed: {town.owed()}")
    words = town.words()
    (town.daemon.home / "figures.txt").write_text(figures(town, killer, words), "utf-8")
    assert killer.kills
    assert words == [OFFLINE, RESTORED] * ROUNDS, figures(town, killer, words)


def figures(town: Town, killer: Killer, words: list[str]) -> str:
    aimed = sum(each.aimed for each in killer.kills)
    counts = f"{words.count(OFFLINE)} offline, {words.count(RESTORED)} restored of {ROUNDS} each"
    kills = f"{len(killer.kills)} kills ({aimed} aimed at a message), {town.restarts} of the daemon"
    return (
        f"{counts}; {kills}; {town.delayed()} tries again; dropped: {[each.detail for each in town.dropped()]}; {words}"
    )

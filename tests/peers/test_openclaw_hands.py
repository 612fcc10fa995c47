"""The real OpenClaw as the hands of a real daemon: what it leaves, what dies under it, and what its models say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.failover.scene import HASTE
from tests.fakes.processes import (
    MASTER_KEY,
    CloudProcess,
    FakeProxyProcess,
    MessagesProcess,
    ProviderProcess,
    TelegramProcess,
    running,
)
from tests.peers.gateway import GatewayClient
from tests.peers.openclaw import TOKEN, OpenClawHouse
from tests.peers.programs import OPENCLAW, missing
from tests.peers.work import Works
from tests.torture.daemon_process import until

from omni.domain import events as ev

pytestmark = pytest.mark.timeout(900)
ASKED_WITHIN_S = 240.0  # the first turn of an agent takes a minute and more on a busy machine
ENDED_WITHIN_S = 480.0
PRIMARY, BACKUP = "sk-or-primary", "sk-or-backup"
MODELS = {"fast": "fake-light", "heavy": "fake-heavy"}


class Hands(Works):
    """A daemon with OpenClaw as executor, before a proxy and a cloud; OpenClaw has a provider of its own at first."""

    def __init__(
        self, house: OpenClawHouse, api: MessagesProcess, proxy: FakeProxyProcess, cloud: CloudProcess
    ) -> None:
        self.house = house
        self.proxy = proxy
        self.cloud = cloud
        there = {"api_base": f"{cloud.url}/api/v1", "models": MODELS, "default_model": MODELS["fast"]}
        super().__init__(
            house.home,
            api,
            openclaw={"url": house.ws, "options": {"token": TOKEN}},
            notify={"enabled": False},
            api_keys={"primary": {"openrouter": PRIMARY}, "backup": {"openrouter": BACKUP}},
            providers={"openrouter": there},
            router={"lightweight_model": "fast", "heavyweight_model": "heavy"},
            fault_handler=HASTE,
            lite_llm_url=proxy.url,
            lite_llm_key=MASTER_KEY,
        )

    def give(self, description: str) -> str:
        """Hand a task to OpenClaw; its id."""
        until(self._is_connected, ASKED_WITHIN_S, "the daemon reaches the gateway")
        (task_id,) = self.submit(description, executor="openclaw")
        return task_id

    def at_work(self, description: str) -> str:
        """The same, and its model has been asked."""
        before = len(self.house.provider.asked())
        task_id = self.give(description)
        until(lambda: len(self.house.provider.asked()) > before, ASKED_WITHIN_S, "the model is asked")
        return task_id

    def runs(self, task_id: str) -> list[str]:
        """How the gateway itself says that the runs of a task stand."""
        with GatewayClient(self.house) as client:
            return sorted(client.tasks(f"agent:main:omni-{task_id}").values())

    def _is_connected(self) -> bool:
        found = [each for each in self.status()["executors"] if each["name"] == "openclaw"]
        return bool(found) and found[0]["health"]["state"] == "ready"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, messages: MessagesProcess) -> Iterator[Hands]:
    if reason := missing(OPENCLAW, "OMNI_TEST_OPENCLAW"):
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("hands")
    provider, telegram = ProviderProcess(home), TelegramProcess(home)
    proxy, cloud = FakeProxyProcess(home), CloudProcess(home, "cloud")
    house = OpenClawHouse(home / "home", provider, telegram)
    hands = Hands(house, messages, proxy, cloud)
    try:
        with running(provider, telegram, proxy, cloud, house):
            for each in (provider, telegram, proxy, cloud, house):
                each.up()
            hands.up()
            yield hands
    finally:
        hands.close()


@pytest.fixture
def hands(whole: Hands) -> Hands:
    """The same, and nobody outside remembers what was before."""
    for each in (whole.house.provider, whole.house.telegram, whole.proxy, whole.cloud):
        each.anew()
    return whole


def test_a_cancelled_task_leaves_no_run(hands: Hands) -> None:
    task_id = hands.at_work("[[slow:300]]")
    hands.cancel(task_id)
    assert hands.ended(task_id, ENDED_WITHIN_S)["state"] == "cancelled"
    until(lambda: hands.house.provider.asked()[-1].ended == "left", 60, "OpenClaw has let go of the model")
    assert hands.runs(task_id) == ["cancelled"]
    assert len(hands.house.provider.asked()) == 1


def test_a_run_that_a_killed_gateway_takes_up_again_is_adopted_and_begun_by_nobody_else(hands: Hands) -> None:
    task_id = hands.at_work("[[slow:10]]")
    hands.house.kill_all()
    hands.house.up()
    task = hands.ended(task_id, ENDED_WITHIN_S)
    assert task["state"] == "completed", task
    assert "slow done" in task["result"]["content"]
    assert len(task["attempts"]) == 1
    assert hands.runs(task_id) == ["cancelled", "completed"]
    assert len(hands.house.provider.asked()) == 2  # before the kill, and by OpenClaw's own recovery


def test_a_task_outlives_the_death_of_both(hands: Hands) -> None:
    task_id = hands.at_work("[[slow:10]]")
    hands.daemon.kill()
    hands.house.kill_all()
    hands.up()
    hands.house.up()
    task = hands.ended(task_id, ENDED_WITHIN_S)
    assert task["state"] == "completed", task
    assert "slow done" in task["result"]["content"]
    assert len(hands.house.provider.asked()) == 2
    assert len({each.handle for each in hands.story(task_id) if isinstance(each, ev.AttemptPlanned)}) == 1


@pytest.mark.parametrize("status", ["400", "500"])
def test_a_model_that_fails_fails_the_task_in_its_words(hands: Hands, status: str) -> None:
    task = hands.ended(hands.give(f"[[status:{status}]]"), ENDED_WITHIN_S)
    assert task["state"] == "failed", task
    assert task["error"]["message"], task


def test_a_model_that_is_limited_rests_the_hands_or_fails_the_task_and_never_counts_as_done(hands: Hands) -> None:
    task_id = hands.give("[[status:429]]")
    until(lambda: _limited(hands, task_id), ENDED_WITHIN_S, "the limit is told")
    assert hands.task(task_id)["state"] != "completed"
    hands.cancel(task_id)


def test_a_proxy_that_is_killed_in_the_middle_of_an_answer_does_not_cost_openclaws_task(hands: Hands) -> None:
    through_the_port(hands)
    hands.proxy.set(fault="hangstream")
    hands.cloud.set(text="answered by the cloud itself")
    task_id = hands.give("say something")
    until(hands.proxy.calls, ASKED_WITHIN_S, "the proxy is asked")
    hands.proxy.kill()
    task = hands.ended(task_id, ENDED_WITHIN_S)
    assert (task["state"], task["result"]["content"]) == ("completed", "answered by the cloud itself"), task
    assert len(task["attempts"]) == 1
    assert {each.key for each in hands.cloud.calls()} == {BACKUP}
    assert hands.house.provider.asked() == []


def through_the_port(hands: Hands) -> None:
    """Have OpenClaw find its models at Omni's port, with a named key."""
    key = next(word for word in hands.daemon.run("token", "model", "openclaw").stdout.split() if "omni-c-" in word)
    model = {"id": "fast", "name": "fast", "contextWindow": 128000, "maxTokens": 4096}
    port: dict[str, Any] = {"baseUrl": f"http://127.0.0.1:{hands.daemon.port}/v1", "apiKey": key}
    hands.house.kill_all()
    hands.house.configure(
        {
            **hands.house._config(),
            "models": {
                "mode": "merge",
                "providers": {"omni": {**port, "api": "openai-completions", "models": [model]}},
            },
            "agents": {"defaults": {"model": {"primary": "omni/fast"}, "heartbeat": {"every": "0m"}}},
        }
    )
    hands.house.up()


def _limited(hands: Hands, task_id: str) -> bool:
    words = str([each for each in hands.story(task_id) if not isinstance(each, ev.TaskCreated)])
    return "429" in words or "rate" in words.lower()

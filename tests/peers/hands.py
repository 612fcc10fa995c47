"""A daemon with the real OpenClaw as its hands, before a proxy and a cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
from tests.peers.work import Works
from tests.torture.daemon_process import until

ASKED_WITHIN_S = 240.0  # the first turn of an agent takes a minute and more on a busy machine
PRIMARY, BACKUP = "sk-or-primary", "sk-or-backup"
MODELS = {"fast": "fake-light", "heavy": "fake-heavy"}


class Hands(Works):
    """One daemon and its gateway; OpenClaw has a provider of its own at first."""

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

    def through_the_port(self) -> None:
        """Have OpenClaw find its models at Omni's port, from its next start, with a key in its name."""
        printed = self.daemon.run("token", "model", "openclaw", within_s=120).stdout
        key = next(word for word in printed.split() if "omni-c-" in word)
        model = {"id": "fast", "name": "fast", "contextWindow": 128000, "maxTokens": 4096}
        port = {"baseUrl": f"http://127.0.0.1:{self.daemon.port}/v1", "apiKey": key, "api": "openai-completions"}
        self.house.configure(
            {
                **self.house._config(),
                "models": {"mode": "merge", "providers": {"omni": {**port, "models": [model]}}},
                "agents": {"defaults": {"model": {"primary": "omni/fast"}, "heartbeat": {"every": "0m"}}},
            }
        )

    def runs(self, task_id: str) -> list[str]:
        """How the gateway itself says that the runs of a task stand."""
        with GatewayClient(self.house) as client:
            return sorted(client.tasks(f"agent:main:omni-{task_id}").values())

    def _is_connected(self) -> bool:
        found = [each for each in self.status()["executors"] if each["name"] == "openclaw"]
        return bool(found) and found[0]["health"]["state"] == "ready"


@contextmanager
def around(home: Path, messages: MessagesProcess) -> Iterator[Hands]:
    """Hands with all that is around them up, but for the gateway."""
    provider, telegram = ProviderProcess(home), TelegramProcess(home)
    proxy, cloud = FakeProxyProcess(home), CloudProcess(home, "cloud")
    house = OpenClawHouse(home / "home", provider, telegram)
    hands = Hands(house, messages, proxy, cloud)
    try:
        with running(provider, telegram, proxy, cloud, house):
            for each in (provider, telegram, proxy, cloud):
                each.up()
            hands.up()
            yield hands
    finally:
        hands.close()

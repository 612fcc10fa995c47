"""The real OpenClaw gateway in a home of its own, between a fake provider and a fake Telegram."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fakes.processes import ProviderProcess, Started, TelegramProcess, running
from tests.peers.programs import OPENCLAW, PROGRAMS, missing
from tests.torture.daemon_process import Someone, free_port, is_alive, until

Json = dict[str, Any]
TOKEN = "gateway-token-of-a-test"
BOT_TOKEN = "123456:bot-token-of-a-test"
READY_WITHIN_S = 240.0  # 16 s on a quiet machine
COMMAND_WITHIN_S = 60.0
MARK = "OMNI_TEST_OPENCLAW_HOME"  # in the environment of the gateway and so of all it starts


class OpenClawHouse(Started):
    """One state directory and one port; the gateway in it comes and goes."""

    def __init__(
        self, home: Path, provider: ProviderProcess, telegram: TelegramProcess, trusted_proxies: Sequence[str] = ()
    ) -> None:
        self.home = home
        self.provider = provider
        self.telegram = telegram
        port = free_port()
        super().__init__([str(OPENCLAW), "gateway", "run"], port, home / "gateway.said", self._environment())
        self.state.mkdir(parents=True)
        self.configure(self._config(trusted_proxies))

    @property
    def state(self) -> Path:
        return self.home / ".openclaw"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def configure(self, config: Mapping[str, Any]) -> None:
        """What the next start finds."""
        (self.state / "openclaw.json").write_text(json.dumps(dict(config)), "utf-8")

    def up(self) -> OpenClawHouse:
        return self.start().ready("/readyz", READY_WITHIN_S)

    def kill_all(self) -> None:
        """SIGKILL to the gateway and to everything that it has started, as when the machine goes away."""
        them = self.family()
        self.kill()
        for each in them:
            if is_alive(each):
                psutil.Process(each.pid).kill()
        until(lambda: not any(map(is_alive, them)), 10, "all of the gateway is gone")

    def family(self) -> list[Someone]:
        """Every live process that carries our mark: the gateway and all it started, orphans too."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.home):
                    found.append(Someone(process.pid, process.create_time()))
            except (psutil.Error, OSError):
                continue  # gone meanwhile, or another user's
        return [each for each in found if is_alive(each)]

    def end(self) -> None:
        """Leave nothing running, whatever state the test ended in."""
        super().end()
        for each in self.family():
            if is_alive(each):
                psutil.Process(each.pid).kill()

    def run(self, *words: str, within_s: float = COMMAND_WITHIN_S) -> subprocess.CompletedProcess[str]:
        """Run one command of OpenClaw's command line to its end."""
        return subprocess.run(
            [str(OPENCLAW), *words], env=self.environ, capture_output=True, text=True, timeout=within_s, check=False
        )

    def _environment(self) -> dict[str, str]:
        """Nothing of whoever runs the tests; the Node.js that OpenClaw wants comes first."""
        path = os.pathsep.join([str(OPENCLAW.parent), str(PROGRAMS), os.environ.get("PATH", os.defpath)])
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": path, "HOME": str(self.home), MARK: str(self.home), "NO_COLOR": "1"}

    def _config(self, trusted_proxies: Sequence[str] = ()) -> Json:
        model = {"id": "fake-1", "name": "Fake 1", "contextWindow": 128000, "maxTokens": 4096}
        provider = {"baseUrl": f"{self.provider.url}/v1", "apiKey": "sk-fake-provider", "api": "openai-completions"}
        telegram = {"enabled": True, "botToken": BOT_TOKEN, "apiRoot": self.telegram.url}
        return {
            "gateway": {
                "mode": "local",
                "port": self.port,
                "bind": "loopback",
                "auth": {"mode": "token", "token": TOKEN},
                "trustedProxies": list(trusted_proxies),
            },
            "models": {"mode": "merge", "providers": {"fake": {**provider, "models": [model]}}},
            "agents": {"defaults": {"model": {"primary": "fake/fake-1"}, "heartbeat": {"every": "0m"}}},
            "tools": {"toolSearch": False},
            "channels": {"telegram": {**telegram, "dmPolicy": "open", "allowFrom": ["*"]}},
        }


@contextmanager
def at_home(home: Path, *, trusted_proxies: Sequence[str] = ()) -> Iterator[OpenClawHouse]:
    """A gateway that is up, with its provider and its Telegram; skips the test where there is no OpenClaw.

    `trusted_proxies` may say who the client is; without one the gateway refuses whoever comes through a proxy.
    """
    if reason := missing(OPENCLAW, "OMNI_TEST_OPENCLAW"):
        pytest.skip(reason)
    provider, telegram = ProviderProcess(home), TelegramProcess(home)
    gateway = OpenClawHouse(home / "home", provider, telegram, trusted_proxies)
    with running(provider, telegram, gateway):
        provider.up()
        telegram.up()
        yield gateway.up()

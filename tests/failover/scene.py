"""A daemon with everything around it that can fail: a proxy, two clouds, and a model on this machine.

`north` is Anthropic, `south` is OpenRouter. All keys differ, so that the ledgers of the clouds tell which one was used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
from tests.fakes.processes import MASTER_KEY, CloudProcess, FakeProxyProcess, OllamaProcess, Started
from tests.torture.daemon_process import DaemonProcess, until
from websockets.sync.client import ClientConnection, connect

from omni.domain import events as ev
from omni.eventlog.reader import open_reader
from omni.eventlog.store import Recorded
from omni.eventlog.upcasters import log_codec

E = TypeVar("E", bound=ev.Event)
P = TypeVar("P", bound=Started)
KEYS = {
    "primary": {"anthropic": "sk-ant-north-primary", "openrouter": "sk-or-south-primary"},
    "backup": {"anthropic": "sk-ant-north-backup", "openrouter": "sk-or-south-backup"},
}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
# The owner's rules, with rests and rounds that a test can wait for.
HASTE = {
    "proxy_check_interval_s": 0.3,
    "lite_llm_timeout": 0.5,
    "proxy_confirm_delay_s": 0.1,
    "dwell_s": 0.5,
    "check_interval": 0.3,
    "cloud_check_timeout": 1,
    "cloud_failure_span_s": 0.5,
}


def _told(door: ClientConnection, method: str, params: dict[str, Any]) -> dict[str, Any]:
    door.send(json.dumps({"method": method, "params": params}))
    answer: dict[str, Any] = json.loads(door.recv(10))
    assert "result" in answer, answer
    return dict(answer["result"])


class Around(Generic[P]):
    """What stands around a daemon. Outlives many daemons: `anew` makes it as good as new for the next one."""

    def __init__(self, home: Path) -> None:
        self.north = CloudProcess(home, "north")
        self.south = CloudProcess(home, "south")
        self.ollama = OllamaProcess(home)
        self.proxy: P = self.make_proxy(home)

    def make_proxy(self, home: Path) -> P:
        """The proxy of this kind of scene; the clouds are known already."""
        raise NotImplementedError

    @property
    def fakes(self) -> tuple[CloudProcess, CloudProcess, OllamaProcess]:
        return self.north, self.south, self.ollama

    def anew(self) -> None:
        for each in self.fakes:
            each.anew()

    def end(self) -> None:
        for each in (self.proxy, *self.fakes):
            each.end()


class Scripted(Around[FakeProxyProcess]):
    """With a proxy that does what a test says."""

    def make_proxy(self, home: Path) -> FakeProxyProcess:
        return FakeProxyProcess(home)

    def anew(self) -> None:
        self.proxy.anew()
        super().anew()


class Watched:
    """One daemon, what is asked of it and what it recorded."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.client = httpx.Client(trust_env=False, timeout=30)

    def close(self) -> None:
        self.client.close()
        self.daemon.end()

    def submit(self, *descriptions: str, **params: Any) -> list[str]:
        """Hand tasks in, in this order, for the model executor; returns their ids."""
        with connect(self.daemon.url, additional_headers=self.daemon.headers, proxy=None) as door:
            told = [_told(door, "create_task", {"description": d, "wait_s": 0, **params}) for d in descriptions]
        return [str(each["task_id"]) for each in told]

    def task(self, task_id: str) -> dict[str, Any]:
        with connect(self.daemon.url, additional_headers=self.daemon.headers, proxy=None) as door:
            return _told(door, "get_task_status", {"task_id": task_id})

    def until_state(self, state: str, *task_ids: str, within_s: float = 20) -> None:
        """Wait until all of these tasks are in a state."""
        for task_id in task_ids:
            until(lambda: self.task(task_id)["state"] == state, within_s, f"{task_id} is {state}: {self.task(task_id)}")  # noqa: B023 - called here

    def status(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.daemon.port}/api/status"
        report: dict[str, Any] = self.client.get(url, headers=self.daemon.headers).raise_for_status().json()
        return report

    def log(self) -> list[Recorded]:
        """The whole log, oldest first."""
        reader = open_reader(self.daemon.database, log_codec())
        try:
            return list(reader.read())
        finally:
            reader.close()

    def events(self, kind: type[E]) -> list[E]:
        """Every event of one type, oldest first."""
        return [each.event for each in self.log() if isinstance(each.event, kind)]


class Scene(Watched, Generic[P]):
    """One daemon among what stands around it; `start` brings it up, `close` ends it and leaves the rest."""

    def __init__(self, home: Path, around: Around[P], **config: Any) -> None:
        self.north, self.south, self.ollama = around.fakes
        self.proxy = around.proxy
        executors = config.pop("mcp_servers", {})
        super().__init__(DaemonProcess(home, executors, **{**self._config(), **config}))

    def start(self, *, within_s: float = 30) -> Scene[P]:
        """The daemon up, one round of probes done, the model port open."""
        self.daemon.start().ready()
        until(self._ready, within_s, "the model port answers and the first round of probes is in")
        return self

    # --- what is asked --------------------------------------------------------------------------------------------

    def ask(self, text: str = "hello", dialect: str = "chat", model: str = "fast", **body: Any) -> httpx.Response:
        """One call through the daemon's model port, with the owner's own token."""
        url = f"http://127.0.0.1:{self.daemon.port}{PATHS[dialect]}"
        whole: dict[str, Any] = {"model": model, **body}
        if dialect == "responses":
            whole["input"] = text
        else:
            whole |= {"max_tokens": 64, "messages": [{"role": "user", "content": text}]}
        return self.client.post(url, json=whole, headers=self.daemon.headers)

    def timed(self, text: str = "hello", dialect: str = "chat", **body: Any) -> tuple[httpx.Response, float]:
        """The same, and how many seconds it took."""
        began = time.monotonic()
        return self.ask(text, dialect, **body), time.monotonic() - began

    @property
    def mode(self) -> str:
        return str(self.status()["mode"])

    def until_mode(self, mode: str, within_s: float = 20) -> float:
        """Wait for a mode; returns the monotonic time at which it was there."""
        until(lambda: self.mode == mode, within_s, f"the mode is {mode} (status: {self.status()})")
        return time.monotonic()

    def component(self, kind: str, name: str) -> dict[str, Any]:
        """What the status says of one component; empty when it says nothing."""
        found = [each for each in self.status()["components"] if (each["kind"], each["name"]) == (kind, name)]
        return dict(found[0]) if found else {}

    # --- what is recorded -----------------------------------------------------------------------------------------

    def modes(self) -> list[str]:
        """Every mode that was entered, in order."""
        return [event.after for event in self.events(ev.ModeChanged)]

    def entered(self, mode: str, after_s: float = 0.0) -> float | None:
        """When a mode was first entered after a moment, on the machine's monotonic clock; None: not yet."""
        for each in self.log():
            if isinstance(each.event, ev.ModeChanged) and each.event.after == mode and each.mono_ms > after_s * 1000:
                return each.mono_ms / 1000
        return None

    def channels(self) -> list[tuple[str, str]]:
        """Every call that was settled: where it went, and how it ended."""
        log = self.log()
        went = {each.event.call: each.event.channel for each in log if isinstance(each.event, ev.CallReserved)}
        ended = [each.event for each in log if isinstance(each.event, ev.CallSettled)]
        return [(went[event.call], event.verdict) for event in ended]

    def keys_seen(self) -> dict[str, set[str]]:
        """Which keys model calls came with, by cloud; pings are left out."""
        return {cloud.name: {e.key for e in cloud.calls()} for cloud in (self.north, self.south)}

    # --- within ---------------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        models = {"fast": "fake-light", "heavy": "fake-heavy"}
        return {
            "api_keys": KEYS,
            "providers": {
                "anthropic": {"api_base": self.north.url, "models": models, "default_model": "fake-light"},
                "openrouter": {"api_base": f"{self.south.url}/api/v1", "models": models, "default_model": "fake-light"},
            },
            "brainstem": {"api_base": self.ollama.url, "model": "qwen2.5:7b"},
            "router": {"lightweight_model": "fast", "heavyweight_model": "heavy"},
            "fault_handler": HASTE,
            "notify": {"enabled": False},
            "lite_llm_url": self.proxy.url,
            "lite_llm_key": MASTER_KEY,
        }

    def _ready(self) -> bool:
        assert self.daemon.alive, self.daemon.said
        url = f"http://127.0.0.1:{self.daemon.port}/v1/models"
        if self.client.get(url, headers=self.daemon.headers).status_code != 200:
            return False
        noted = self.events(ev.ModeNoted)
        return bool(noted) and noted[-1].cleared


@contextmanager
def scenes(home: Path, around: Around[P]) -> Iterator[Callable[..., Scene[P]]]:
    """Starts daemons among what is around, each time as good as new; nothing of them is left afterwards."""
    made: list[Scene[P]] = []

    def make(**config: Any) -> Scene[P]:
        around.anew()
        made.append(Scene(home, around, **config))
        return made[-1].start()

    try:
        yield make
    finally:
        for each in made:
            each.close()

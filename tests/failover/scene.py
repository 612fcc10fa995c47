"""A daemon with everything around it that can fail: a proxy, two clouds, and a model on this machine.

`north` is Anthropic, `south` is OpenRouter. All keys differ, so that the ledgers of the clouds tell which one was used.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tests.fakes.processes import MASTER_KEY, CloudProcess, OllamaProcess, Started
from tests.torture.daemon_process import DaemonProcess, until

from omni.domain import events as ev
from omni.eventlog.reader import open_reader
from omni.eventlog.store import Recorded
from omni.eventlog.upcasters import log_codec

E = TypeVar("E", bound=ev.Event)
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


class Scene:
    """Everything on loopback; `start` brings it up, `close` leaves nothing running."""

    def __init__(self, home: Path, proxy: Started | None = None, **config: Any) -> None:
        self.north = CloudProcess(home, "north")
        self.south = CloudProcess(home, "south")
        self.ollama = OllamaProcess(home)
        self.proxy = proxy
        self.home = home
        self._config = config
        self.client = httpx.Client(trust_env=False, timeout=30)

    def start(self, *, within_s: float = 20) -> Scene:
        """Everything up, one round of probes done, the model port open."""
        for fake in (self.north, self.south, self.ollama):
            fake.start()
        for fake in (self.north, self.south, self.ollama):
            fake.ready("/__ledger", 15)
        self.daemon = DaemonProcess(self.home, self._config.pop("mcp_servers", {}), **self._whole())
        self.daemon.start().ready()
        until(self._ready, within_s, "the model port answers and the first round of probes is in")
        return self

    def close(self) -> None:
        self.client.close()
        if hasattr(self, "daemon"):
            self.daemon.end()
        for each in (self.proxy, self.north, self.south, self.ollama):
            if each is not None:
                each.end()

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

    def status(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.daemon.port}/api/status"
        report: dict[str, Any] = self.client.get(url, headers=self.daemon.headers).raise_for_status().json()
        return report

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

    def forget(self) -> None:
        for each in (self.north, self.south, *([self.proxy] if isinstance(self.proxy, CloudProcess) else [])):
            each.forget()

    # --- within ---------------------------------------------------------------------------------------------------

    def _whole(self) -> dict[str, Any]:
        models = {"fast": "fake-light", "heavy": "fake-heavy"}
        known: dict[str, Any] = {
            "api_keys": KEYS,
            "providers": {
                "anthropic": {"api_base": self.north.url, "models": models, "default_model": "fake-light"},
                "openrouter": {"api_base": f"{self.south.url}/api/v1", "models": models, "default_model": "fake-light"},
            },
            "brainstem": {"api_base": self.ollama.url, "model": "qwen2.5:7b"},
            "router": {"lightweight_model": "fast", "heavyweight_model": "heavy"},
            "fault_handler": HASTE,
            "notify": {"enabled": False},
        }
        if self.proxy is not None:
            known |= {"lite_llm_url": self.proxy.url, "lite_llm_key": MASTER_KEY}
        return {**known, **self._config}

    def _ready(self) -> bool:
        assert self.daemon.alive, self.daemon.said
        url = f"http://127.0.0.1:{self.daemon.port}/v1/models"
        if self.client.get(url, headers=self.daemon.headers).status_code != 200:
            return False
        noted = self.events(ev.ModeNoted)
        return bool(noted) and noted[-1].cleared

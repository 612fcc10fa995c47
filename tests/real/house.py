"""Two fake clouds behind a real proxy. A model group for each fault keeps the cooldown of one test from another's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
from tests.failover.scene import KEYS, Around
from tests.fakes.processes import MASTER_KEY, PROXY_WITHIN_S, CloudProcess, ProxyProcess
from tests.fakes.upstream import FAULTS
from tests.torture.daemon_process import free_port

DIALECTS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
PRIMARY = KEYS["primary"]
MODELS = {"fast": "fake-light", "heavy": "fake-heavy"}
NORTH_KEY, SOUTH_KEY = "sk-north-primary", "sk-or-south-primary"
TIMEOUT_S = 4.0
STREAM_TIMEOUT_S = 1.0
COOLDOWN_S = 60


class Real(Around[ProxyProcess]):
    """Around a daemon, with a real proxy: Anthropic first and OpenRouter after it, both with their primary keys."""

    def make_proxy(self, home: Path) -> ProxyProcess:
        return ProxyProcess(home, proxy_config(self._groups(), cooldown_s=1))

    def _groups(self) -> Iterator[dict[str, Any]]:
        for name, model in MODELS.items():
            yield self._first(name, f"anthropic/{model}", stream_timeout=TIMEOUT_S)
            yield self._second(name, f"openrouter/{model}", stream_timeout=TIMEOUT_S)
        yield self._first("warm-north", "anthropic/fake-light")
        yield self._second("warm-south", "openrouter/fake-light")

    def _first(self, name: str, model: str, **more: Any) -> dict[str, Any]:
        return group(name, model, self.north.url, PRIMARY["anthropic"], order=1, **more)

    def _second(self, name: str, model: str, **more: Any) -> dict[str, Any]:
        return group(name, model, f"{self.south.url}/api/v1", PRIMARY["openrouter"], order=2, **more)

    def anew(self) -> None:
        """The proxy is started again only when it has died: that takes seconds."""
        super().anew()
        if self.proxy.process is None or self.proxy.process.poll() is not None:
            self.proxy.up()
            self._warm()
        self.proxy.thaw()
        super().anew()

    def _warm(self) -> None:
        """What the proxy imports at its first call of a kind stands in the way of all others for a second."""
        with httpx.Client(trust_env=False, timeout=20, headers={"Authorization": f"Bearer {MASTER_KEY}"}) as client:
            for model, path, stream in itertools.product(
                ("warm-north", "warm-south"), DIALECTS.values(), (False, True)
            ):
                answer = client.post(self.proxy.url + path, json=question(model, "hello", path, stream=stream))
                assert answer.status_code == 200, answer.text


class Front:
    """`north` is an OpenAI channel and asked first, `south` is OpenRouter and asked after it."""

    def __init__(self, home: Path) -> None:
        self.north = CloudProcess(home, "north")
        self.south = CloudProcess(home, "south")
        self.dead_port = free_port()
        self.proxy = ProxyProcess(home, proxy_config([*self._singles(), *self._pairs(), *self._dead()]))
        self.client = httpx.Client(trust_env=False, timeout=15, headers={"Authorization": f"Bearer {MASTER_KEY}"})

    def up(self) -> Front:
        self.proxy.start()  # it takes longest
        self.north.up()
        self.south.up()
        self.proxy.ready("/health/liveliness", PROXY_WITHIN_S)
        return self.warm()

    def up_again(self) -> Front:
        """The proxy once more, after a test has ended it."""
        self.proxy.up()
        return self.warm()

    def warm(self) -> Front:
        for path in DIALECTS.values():  # what the proxy imports at its first call of a kind takes a second
            self.ask("ok", path=path)
        self.forget()
        return self

    def close(self) -> None:
        self.client.close()
        for each in (self.proxy, self.north, self.south):
            each.end()

    def forget(self) -> None:
        self.north.forget()
        self.south.forget()

    def ask(self, model: str, text: str = "hello", path: str = DIALECTS["chat"], **body: Any) -> httpx.Response:
        """Ask for a group; a name without its dialect means the one of the path."""
        return self.client.post(self.proxy.url + path, json=question(single(model, path), text, path, **body))

    def _singles(self) -> Iterator[dict[str, Any]]:
        for fault in sorted(FAULTS):
            for path in DIALECTS.values():
                yield group(single(fault, path), "openai/fake-light", f"{self.north.url}/v1", NORTH_KEY)

    def _pairs(self) -> Iterator[dict[str, Any]]:
        for fault in sorted(FAULTS):
            yield group(f"pair-{fault}", "openai/fake-light", f"{self.north.url}/v1", NORTH_KEY, order=1)
            yield self._second(f"pair-{fault}")

    def _dead(self) -> Iterator[dict[str, Any]]:
        nowhere = f"http://127.0.0.1:{self.dead_port}/v1"
        yield group("pair-dead", "openai/fake-light", nowhere, NORTH_KEY, order=1)
        yield self._second("pair-dead")
        for path in DIALECTS.values():
            yield group(single("dead", path), "openai/fake-light", nowhere, NORTH_KEY)

    def _second(self, name: str) -> dict[str, Any]:
        return group(name, "openrouter/qwen/fake-light", f"{self.south.url}/api/v1", SOUTH_KEY, order=2)


def single(fault: str, path: str) -> str:
    """The group with one deployment for one fault in one dialect; a pair has one name for all."""
    dialect = next(name for name, each in DIALECTS.items() if each == path)
    return fault if fault.startswith("pair-") else f"{fault}-{dialect}"


def proxy_config(models: Iterable[dict[str, Any]], cooldown_s: float = COOLDOWN_S) -> dict[str, Any]:
    """A proxy as we recommend it: no retries, usage in every stream, no database."""
    return {
        "model_list": list(models),
        "router_settings": {"num_retries": 0, "timeout": TIMEOUT_S, "cooldown_time": cooldown_s},
        "litellm_settings": {"num_retries": 0, "request_timeout": TIMEOUT_S, "telemetry": False},
        "general_settings": {
            "master_key": MASTER_KEY,
            "always_include_stream_usage": True,
            "background_health_checks": False,
            "disable_spend_logs": True,
        },
    }


def group(name: str, model: str, api_base: str, api_key: str, **more: Any) -> dict[str, Any]:
    """One deployment of a model group, with no retries of its own and time limits of its own."""
    limits = {"timeout": TIMEOUT_S, "stream_timeout": STREAM_TIMEOUT_S, "max_retries": 0}
    where = {"model": model, "api_base": api_base, "api_key": api_key}
    return {"model_name": name, "litellm_params": {**where, **limits, **more}}


def question(model: str, text: str, path: str = DIALECTS["chat"], **body: Any) -> dict[str, Any]:
    """A body in the dialect of the path."""
    if path == DIALECTS["responses"]:
        return {"model": model, "input": text, **body}
    return {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}], **body}

"""The real Claude Code behind Omni's model port, while a proxy dies and comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.failover.scene import HASTE
from tests.fakes.processes import (
    MASTER_KEY,
    REAL_PYTHON,
    MessagesProcess,
    ProviderProcess,
    ProxyProcess,
    Started,
    running,
)
from tests.peers.claude import ClaudeHome, Ran
from tests.real.house import group, proxy_config
from tests.torture.daemon_process import DaemonProcess, until

from omni.domain import events as ev
from omni.eventlog.reader import open_reader
from omni.eventlog.upcasters import log_codec

MODEL = "fast"
PRIMARY, BACKUP = "sk-ant-primary", "sk-ant-backup"
WAITS = 'touch there; while [ ! -f go ]; do python3 -c "import time; time.sleep(0.05)"; done; echo went'


class Port:
    """A daemon between a Claude Code, a proxy, and the cloud that stands behind the proxy and beside it."""

    def __init__(self, home: Path, claude: ClaudeHome, proxy: Started, **config: Any) -> None:
        self.claude = claude
        self.cloud = claude.api
        self.proxy = proxy
        cloud = {"kind": "anthropic", "api_base": self.cloud.url, "models": {MODEL: "claude-fake-1"}}
        settled: dict[str, Any] = {
            "providers": {"anthropic": cloud},
            "api_keys": {"primary": {"anthropic": PRIMARY}, "backup": {"anthropic": BACKUP}},
            "router": {"lightweight_model": MODEL, "heavyweight_model": MODEL},
            "fault_handler": HASTE,
            "notify": {"enabled": False},
            "lite_llm_url": proxy.url,
            "lite_llm_key": MASTER_KEY,
        }
        self.daemon = DaemonProcess(home, {}, **{**settled, **config})
        self.client = httpx.Client(trust_env=False, timeout=30)

    def start(self) -> Port:
        """The daemon up, and Claude Code pointed at it with a key of its own."""
        self.daemon.start().ready()
        until(lambda: self._get("/v1/models").status_code == 200, 30, "the model port answers")
        until(lambda: any(each.cleared for each in self.events(ev.ModeNoted)), 30, "the first round of probes is in")
        key = next(word for word in self.daemon.run("token", "model", "claude").stdout.split() if "omni-c-" in word)
        where = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{self.daemon.port}", "ANTHROPIC_AUTH_TOKEN": key}
        self.claude.environ = {**where, "ANTHROPIC_API_KEY": ""}
        return self

    def close(self) -> None:
        self.client.close()
        self.daemon.end()

    def run(self, prompt: str, retries: str = "0") -> Ran:
        words = ("--model", MODEL, "--allowedTools", "Bash")
        return self.claude.run(prompt, *words, CLAUDE_CODE_MAX_RETRIES=retries)

    @property
    def mode(self) -> str:
        return str(self._get("/api/status").json()["mode"])

    def keys(self) -> list[str]:
        """With which keys the cloud was asked for answers, oldest first."""
        return [each.key for each in self.cloud.asked()]

    def events(self, kind: type[Any]) -> list[Any]:
        """Every event of one type, oldest first."""
        reader = open_reader(self.daemon.database, log_codec())
        try:
            return [each.event for each in reader.read() if isinstance(each.event, kind)]
        finally:
            reader.close()

    def channels(self) -> list[tuple[str, str]]:
        """Every call that was settled: where it went, and how it ended."""
        went = {each.call: each.channel for each in self.events(ev.CallReserved)}
        return [(went[each.call], each.verdict) for each in self.events(ev.CallSettled)]

    def _get(self, path: str) -> httpx.Response:
        return self.client.get(f"http://127.0.0.1:{self.daemon.port}{path}", headers=self.daemon.headers)


def _litellm(home: Path, cloud: MessagesProcess) -> ProxyProcess:
    models = [group(MODEL, "anthropic/claude-fake-1", cloud.url, PRIMARY, timeout=60, stream_timeout=60)]
    return ProxyProcess(home, proxy_config(models))


def _warm(proxy: Started) -> None:
    """What LiteLLM imports at its first call stands in the way of its own health checks for a second."""
    body = {"model": MODEL, "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    answer = httpx.post(f"{proxy.url}/v1/messages", json=body, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module", params=["scripted", "litellm"])
def proxy(
    request: pytest.FixtureRequest, messages: MessagesProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Started]:
    """A stand-in that speaks the dialect itself, and the real LiteLLM where `make test-real` has installed it."""
    if request.param == "litellm" and not REAL_PYTHON.exists():
        pytest.skip("there is no .venv-real here; `make test-real` makes it")
    home = tmp_path_factory.mktemp("proxy")
    process = MessagesProcess(home, "proxy") if request.param == "scripted" else _litellm(home, messages)
    with running(process):
        yield process


@contextmanager
def opened(home: Path, claude: ClaudeHome, cloud: Started, **config: Any) -> Iterator[Port]:
    """A port without a proxy."""
    made = Port(home, claude, cloud, **{"lite_llm_url": "", **config})
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def port(proxy: Any, claude: ClaudeHome, tmp_path: Path) -> Iterator[Port]:
    if proxy.process is None or proxy.process.poll() is not None:
        _warm(proxy.up())
    claude.api.forget()
    made = Port(tmp_path, claude, proxy)
    try:
        yield made.start()
    finally:
        made.close()


def test_a_task_with_a_tool_goes_through_the_proxy_and_is_metered(port: Port) -> None:
    ran = port.run('[[tool:Bash:{"command":"echo hi","description":"d"}]][[text:all done]]')
    assert (ran.code, ran.result["result"], ran.result["is_error"]) == (0, "all done", False)
    assert port.channels() == [("proxy", "ok")] * 2
    assert {each.client for each in port.events(ev.CallReserved)} == {"claude"}
    assert all(each.usage and each.usage.output_tokens for each in port.events(ev.CallSettled))


def test_a_proxy_that_is_killed_between_two_calls_is_not_noticed_by_the_task(port: Port) -> None:
    steps = f'[[tool:Bash:{{"command":{json.dumps(WAITS)},"description":"d"}}]]'
    steps += '[[tool:Bash:{"command":"echo two","description":"d"}]][[text:finished]]'
    run = port.claude.start(steps, "--model", MODEL, "--allowedTools", "Bash")
    until((port.claude.work / "there").exists, 30, "the first tool runs")
    port.proxy.kill()
    (port.claude.work / "go").touch()
    ran = run.end()
    assert (ran.code, ran.result["result"], ran.result["is_error"]) == (0, "finished", False)
    assert not ran.of("system", "api_retry")
    assert port.keys()[-2:] == [BACKUP] * 2
    ok = [channel for channel, verdict in port.channels() if verdict == "ok"]
    assert ok == ["proxy", "anthropic", "anthropic"]
    until(lambda: port.mode == "DEGRADED", 20, "the daemon knows that the proxy is gone")


def test_a_proxy_that_is_killed_in_the_middle_of_an_answer_costs_that_answer_and_not_the_task(port: Port) -> None:
    run = port.claude.start("[[slow:4]]", "--model", MODEL, "--include-partial-messages")
    run.until(lambda events: any("content_block_delta" in str(each) for each in events), "the answer comes", 60)
    port.proxy.kill()
    ran = run.end()
    assert (ran.code, ran.result["is_error"]) == (0, False)
    assert ran.result["result"].endswith("slow done")  # asked again as a stream or in one piece: that is its own affair
    went = port.channels()
    assert (went[0], went[-1]) == (("proxy", "broken_stream"), ("anthropic", "ok"))
    assert went[1:-1] in ([], [("proxy", "refused")])  # it may ask again before anybody knows that the proxy is gone
    assert port.keys()[-1] == BACKUP


def test_a_cloud_that_speaks_another_dialect_is_enough_with_tools_and_streams(
    claude: ClaudeHome, tmp_path: Path
) -> None:
    router = ProviderProcess(tmp_path)
    there = {"kind": "openrouter", "api_base": f"{router.url}/v1", "default_model": "fake-1"}
    keys = {"primary": {"openrouter": "sk-or-primary"}}
    with running(router), opened(tmp_path, claude, router.up(), providers={"openrouter": there}, api_keys=keys) as port:
        ran = port.run('[[twice:Bash:{"command":"echo hi","description":"d"}]][[text:all done]]')
        assert (ran.code, ran.result["result"], ran.result["is_error"]) == (0, "all done", False)
        assert "hi" in router.asked()[-1].result
        ran = port.run("[[slow:1]]")
        assert ran.result["result"].endswith(". slow done")
        assert set(port.channels()) == {("openrouter", "ok")}


def test_over_its_budget_a_run_ends_at_once_and_says_so(claude: ClaudeHome, tmp_path: Path) -> None:
    priced = {"kind": "anthropic", "api_base": claude.api.url, "models": {MODEL: "claude-sonnet-4-5"}}
    little = {"providers": {"anthropic": priced}, "budget": {"daily_usd": 0.000001}}
    with opened(tmp_path, claude, claude.api, **little) as port:
        ran = port.run("hello", retries="")  # as many as it likes
        assert (ran.code, ran.result["is_error"], ran.result["api_error_status"]) == (1, True, 402)
        assert "over budget: " in ran.result["result"]
        assert "omni costs" in ran.result["result"]
        assert not ran.of("system", "api_retry")
        assert port.keys() == []

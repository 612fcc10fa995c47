"""Fakes and the real proxy as processes of their own: started on free ports, frozen, killed and ended by their pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import yaml
from tests.fakes.messages import MessagesControl
from tests.fakes.ollama import OllamaControl, OllamaEntry
from tests.fakes.provider import ProviderControl
from tests.fakes.script import Asked
from tests.fakes.telegram import Sent, TelegramControl
from tests.fakes.upstream import Control, Entry
from tests.torture.daemon_process import free_port, until

ROOT = Path(__file__).parents[2]
REAL_PYTHON = ROOT / ".venv-real" / "bin" / "python"
FAKE_WITHIN_S = 15.0
PROXY_WITHIN_S = 90.0  # 5 s on a quiet machine
MASTER_KEY = "sk-master"
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no network but loopback
    "LITELLM_MODE": "PRODUCTION",  # no .env of whoever runs the tests
    "LITELLM_LOG": "ERROR",
    "DISABLE_ADMIN_UI": "True",
    "NO_DOCS": "True",
}
S = TypeVar("S", bound="Started")


class Started:
    """A process on a port that it keeps over restarts; freezing and killing reach this process alone."""

    def __init__(self, line: Sequence[str], port: int, said: Path, environ: Mapping[str, str]) -> None:
        self.line = list(line)
        self.port = port
        self.said = said
        self.environ = dict(environ)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self: S) -> S:
        """Begin to start; `ready` waits."""
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                self.line, cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        return self

    def ready(self: S, path: str, within_s: float) -> S:
        """Return when a GET of `path` is answered with 200; a process that ends instead fails with its last words."""
        until(lambda: self._ended() or self.answers(path), within_s, f"{self.line[1:4]} answers {path}")
        assert not self._ended(), f"{self.line} ended:\n{self.said.read_text('utf-8', 'replace')[-3000:]}"
        return self

    def answers(self, path: str, within_s: float = 1.0) -> bool:
        try:
            return httpx.get(self.url + path, timeout=within_s, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def freeze(self) -> None:
        """SIGSTOP: the kernel still takes connections, nobody answers them."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> float:
        """SIGKILL; returns the monotonic time at which the process was gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        return time.monotonic()

    def end(self) -> None:
        """Leave nothing running, frozen or not."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


class _Fake(Started):
    """One of our fakes; control and ledger over its port."""

    untouched: msgspec.Struct

    def __init__(self, module: str, home: Path, name: str, *options: str) -> None:
        port = free_port()
        line = [sys.executable, "-m", module, "--port", str(port), *options]
        super().__init__(line, port, home / f"{name}.said", {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])})

    def up(self: Any) -> Any:
        return self.start().ready("/__ledger", FAKE_WITHIN_S)

    def set(self, **control: Any) -> None:
        httpx.post(self.url + "/__control", json=control, trust_env=False).raise_for_status()

    def anew(self) -> None:
        """As just started: no fault, an empty ledger, whatever the test before has done to it."""
        if self.process is None or self._ended():
            self.up()
            return
        self.thaw()
        self.set(**msgspec.to_builtins(self.untouched))
        self.forget()

    def forget(self) -> None:
        httpx.delete(self.url + "/__ledger", trust_env=False).raise_for_status()

    def _ledger(self) -> dict[str, Any]:
        shown: dict[str, Any] = httpx.get(self.url + "/__ledger", trust_env=False).raise_for_status().json()
        return shown


class CloudProcess(_Fake):
    """`tests.fakes.upstream` on its own."""

    untouched = Control()

    def __init__(self, home: Path, name: str, keys: Sequence[str] | None = None) -> None:
        allowed = () if keys is None else ("--keys", *keys)
        super().__init__("tests.fakes.upstream", home, name, "--name", name, *allowed)
        self.name = name

    def entries(self, path: str = "") -> list[Entry]:
        """What was asked, oldest first; only of paths that contain `path`."""
        return [e for e in msgspec.convert(self._ledger()["entries"], list[Entry]) if path in e.path]

    def calls(self) -> list[Entry]:
        """What was asked of models; pings and lists left out."""
        return [e for e in self.entries() if e.path.endswith(("completions", "messages", "responses"))]

    def peak(self) -> int:
        return int(self._ledger()["peak"])


class FakeProxyProcess(CloudProcess):
    """`tests.fakes.upstream` in the part of a LiteLLM proxy and all that is behind it."""

    def __init__(self, home: Path, name: str = "proxy") -> None:
        super().__init__(home, name)
        self.line.append("--litellm")


class OllamaProcess(_Fake):
    """`tests.fakes.ollama` on its own."""

    untouched = OllamaControl()

    def __init__(self, home: Path, *names: str) -> None:
        super().__init__("tests.fakes.ollama", home, "ollama", *(("--models", *names) if names else ()))

    def entries(self) -> list[OllamaEntry]:
        return msgspec.convert(self._ledger()["entries"], list[OllamaEntry])

    def loaded(self) -> list[str]:
        """The models in memory, from the API that Ollama itself has for it."""
        models = httpx.get(self.url + "/api/ps", trust_env=False).raise_for_status().json()["models"]
        return [each["name"] for each in models]


class MessagesProcess(_Fake):
    """`tests.fakes.messages` on its own."""

    untouched = MessagesControl()

    def __init__(self, home: Path, name: str = "messages") -> None:
        super().__init__("tests.fakes.messages", home, name)

    def entries(self) -> list[Asked]:
        """Every request, oldest first."""
        return msgspec.convert(self._ledger()["entries"], list[Asked])

    def asked(self, session: str = "") -> list[Asked]:
        """What was asked of a model; only by that session."""
        return [e for e in self.entries() if e.path == "/v1/messages" and session in e.session]


class ProviderProcess(_Fake):
    """`tests.fakes.provider` on its own."""

    untouched = ProviderControl()

    def __init__(self, home: Path) -> None:
        super().__init__("tests.fakes.provider", home, "provider")

    def asked(self) -> list[Asked]:
        return msgspec.convert(self._ledger()["entries"], list[Asked])


class TelegramProcess(_Fake):
    """`tests.fakes.telegram` on its own."""

    untouched = TelegramControl()

    def __init__(self, home: Path) -> None:
        super().__init__("tests.fakes.telegram", home, "telegram")

    def inject(self, text: str, chat_id: int = 42) -> None:
        """Somebody writes to the bot."""
        told = {"text": text, "chat_id": chat_id}
        httpx.post(self.url + "/__inject", json=told, trust_env=False).raise_for_status()

    def sent(self) -> list[Sent]:
        """Every message of the bot that arrived here, oldest first."""
        return msgspec.convert(self._ledger()["sent"], list[Sent])


class ProxyProcess(Started):
    """A real LiteLLM proxy from `.venv-real`, on a configuration of its own."""

    def __init__(self, home: Path, config: Mapping[str, Any], name: str = "proxy", python: Path = REAL_PYTHON) -> None:
        port = free_port()
        path = home / f"{name}.yaml"
        path.write_text(yaml.safe_dump(dict(config)), "utf-8")
        where = ["--config", str(path), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        line = [str(python), str(python.with_name("litellm")), *where]
        super().__init__(line, port, home / f"{name}.said", {**kept, "HOME": str(home), **QUIET})

    def up(self) -> ProxyProcess:
        """Live, as its own liveness check says it."""
        return self.start().ready("/health/liveliness", PROXY_WITHIN_S)


@contextlib.contextmanager
def running(*processes: Started) -> Iterator[None]:
    """Ends them all, whatever happened."""
    try:
        yield
    finally:
        for each in processes:
            each.end()

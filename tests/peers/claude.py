"""The real Claude Code in a home of its own, which knows no cloud but the one on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.fakes.processes import MessagesProcess
from tests.peers.programs import CLAUDE
from tests.torture.daemon_process import until

Json = dict[str, Any]
KEY = "sk-fake-claude"
RUNS_WITHIN_S = 60.0
QUIET = {
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}
STREAMED = ("-p", "--output-format", "stream-json", "--verbose", "--strict-mcp-config")


class Ran(NamedTuple):
    """A run that has ended."""

    code: int
    events: list[Json]
    said: str  # on stderr
    took_s: float

    @property
    def result(self) -> Json:
        """The one `result` event; a run without it fails here with what it said."""
        found = [each for each in self.events if each["type"] == "result"]
        assert len(found) == 1, f"{len(found)} results, code {self.code}: {self.said}"
        return found[0]

    def of(self, kind: str, subtype: str = "") -> list[Json]:
        return [e for e in self.events if e["type"] == kind and subtype in e.get("subtype", "")]


class Running:
    """A run that goes on; its events are read from a file, so that nothing blocks and nothing is lost by a kill."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path, since_s: float) -> None:
        self.process = process
        self._out = out
        self._err = err
        self._since_s = since_s

    @property
    def events(self) -> list[Json]:
        whole = self._out.read_text("utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def until(self, holds: Callable[[list[Json]], Any], what: str, within_s: float = 20) -> None:
        """Wait for something in the events; a run that ends before it fails at once."""
        until(lambda: holds(self.events) or self._ended(), within_s, what)
        assert holds(self.events), f"the run ended before {what}: {self._err.read_text('utf-8')}"

    def signal(self, number: signal.Signals) -> Running:
        self.process.send_signal(number)
        return self

    def end(self, within_s: float = RUNS_WITHIN_S) -> Ran:
        """Wait for its end; one that goes on longer is killed, and that is a failure."""
        try:
            code = self.process.wait(within_s)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        return Ran(code, self.events, self._err.read_text("utf-8"), time.monotonic() - self._since_s)

    def _ended(self) -> bool:
        return self.process.poll() is not None


class ClaudeHome:
    """An empty HOME, a directory to work in, and the command line between them."""

    def __init__(self, home: Path, api: MessagesProcess) -> None:
        self.home = home
        self.api = api
        self.work = home / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.environ: dict[str, str] = {}  # beside what every run has
        self._runs = 0

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of whoever runs the tests but where programs lie."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        retries = {"CLAUDE_CODE_MAX_RETRIES": "0"}
        where = {"HOME": str(self.home), "ANTHROPIC_BASE_URL": self.api.url, "ANTHROPIC_API_KEY": KEY}
        return {**kept, **QUIET, **retries, **where, **self.environ}

    @property
    def settings(self) -> Path:
        """The user's settings in this home; not there until a test writes them."""
        return self.home / ".claude" / "settings.json"

    def start(self, prompt: str, *words: str, cwd: Path | None = None, **environ: str) -> Running:
        """Begin a run that streams its events; an empty value takes a variable away."""
        self._runs += 1
        out, err = (self.home / f"run-{self._runs}.{name}" for name in ("events", "said"))
        line = [str(CLAUDE), *STREAMED, *words, "--", prompt]
        env = {name: value for name, value in {**self.environment, **environ}.items() if value}
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                line, cwd=cwd or self.work, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
        return Running(process, out, err, time.monotonic())

    def run(self, prompt: str, *words: str, cwd: Path | None = None, **environ: str) -> Ran:
        """One run from its beginning to its end."""
        return self.start(prompt, *words, cwd=cwd, **environ).end()

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        self.settings.parent.mkdir(exist_ok=True)
        self.settings.write_text(json.dumps(settings), "utf-8")

    def transcripts(self) -> Iterator[Path]:
        """The conversations that Claude Code keeps on disk."""
        return self.home.glob(".claude/projects/*/*.jsonl")

    def recorded(self, session: str) -> bool:
        """Whether the first message of a session is on disk: killed before, it cannot be gone on with."""
        return any('"type":"user"' in each.read_text("utf-8") for each in self.transcripts() if each.stem == session)


def new_session() -> str:
    return str(uuid.uuid4())

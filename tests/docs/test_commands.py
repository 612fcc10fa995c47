"""Every shell command on the pages runs: against one real daemon in an empty home, with a cloud on loopback.

What a line stands for is written in `lines.py`; what cannot run here says so in a comment before its fence.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.conftest import Daemon, Omni, free_port, make_omni
from tests.docs.lines import DRY, ENDLESS, PARSED, Line, bare, commands, lines, require_parsed, strangers
from tests.docs.pages import ROOT, Fence, fences
from tests.fakes.processes import CloudProcess, running

from omni.runtime.ports import SystemClock

SHELL = fences("sh")
RUN = [fence for fence in SHELL if not fence.why_not]
# What stands on several pages, or in both languages, runs once.
ONCE = list({tuple(bare(line.text) for line in lines(fence.text)): fence for fence in reversed(RUN)}.values())[::-1]
KEY = "sk-or-v1-canary-primary-0001"
CONFIG = """\
api_keys: {{primary: {{openrouter: {key}}}}}
providers: {{openrouter: {{api_base: "{cloud}/v1"}}}}
tiers: [{{name: P1, light: fake-light, channel: openrouter}}]
mcp_servers:
  echo: {{url: "null:", types: [coding]}}
  absent: {{url: "null:", types: [gpu], enabled: false}}
  answers: {{adapter: model}}
runbook:
  nap: {{argv: [sleep, "60"]}}
  system_report: {{builtin: system_report}}
"""
# Runs a command that ends by Ctrl-C only: until it has said something.
ENDLESS_PROGRAM = """\
import os, select, signal, subprocess, sys
environ = {**os.environ}
if sys.argv[1] == "serve":
    environ |= {"OMNI_DATA_DIR": os.path.abspath("served"), "OMNI_PORT": environ["FREE_PORT"]}
process = subprocess.Popen(["omni", *sys.argv[1:]], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
there, _, _ = select.select([process.stdout], [], [], 30)
said = os.read(process.stdout.fileno(), 65536) if there else b""
process.send_signal(signal.SIGINT)
rest, _ = process.communicate(timeout=20)
sys.stdout.buffer.write(said + rest)
sys.exit(0 if said and process.returncode in (0, 130) else process.returncode or 1)
"""


class Stage:
    """The daemon, and the programs that fences find."""

    def __init__(self, omni: Omni) -> None:
        self.omni = omni
        self.bin = omni.home / "bin"
        self.bin.mkdir()
        self._program("omni", f'#!/bin/sh\nexec "{sys.executable}" -m omni.cli.main "$@"\n')
        self._program("endless", f"#!{sys.executable}\n{ENDLESS_PROGRAM}")
        omni.environ |= {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "SSH_TTY": "none",  # no browser opens here
            "GIT_CONFIG_GLOBAL": os.devnull,
            "NO_COLOR": "1",
        }
        self._said = 0
        self.config = Path(omni.environ["OMNI_CONFIG"])
        self._said_first = self.config.read_text()

    def _program(self, name: str, text: str) -> None:
        file = self.bin / name
        file.write_text(text)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def restore(self, script: str) -> None:
        """Undo what a page may have changed for the pages after it."""
        if self.config.read_text() != self._said_first:
            self.config.write_text(self._said_first)
            assert self.omni("config", "reload").returncode == 0
        if "mode brainstem" in script:
            assert self.omni("mode", "auto").returncode == 0

    def task(self, text: str, executor: str, *more: str) -> str:
        """Hand in a task; gives its id."""
        self._said += 1
        done = self.omni("submit", f"{text} {self._said}", "--executor", executor, "--json", *more)
        return str(json.loads(done.stdout)["task"]["id"])

    def directory(self, cwd: Path, text: str) -> Path:
        """A directory with what `lines.py` says is there."""
        cwd.mkdir()
        (cwd / "other.yaml").write_text("router: {complexity_threshold: 10}\n")
        (cwd / ".mcp.json").write_text('{"mcpServers": {"clock": {"command": "uvx", "args": ["mcp-server-time"]}}}')
        if "log.jsonl" in text and "--jsonl log.jsonl" not in text:
            assert self.omni("replay", "--jsonl", str(cwd / "log.jsonl")).returncode == 0
        if "git " not in text:
            return cwd
        git = ["git", "-C", str(cwd), "-c", "user.name=x", "-c", "user.email=x@example.com"]
        for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["branch", "omni/01a2b3c4-d5e6"]):
            subprocess.run([*git, *words], check=True, env=self.omni.environ, timeout=30)
        return cwd

    def script(self, fence: Fence) -> str:
        """What bash is given for a fence."""
        return "\n".join(["set -euo pipefail", *(self._shell(line) for line in lines(fence.text))])

    def _shell(self, line: Line) -> str:
        text = self._filled(line.text)
        if line.kind == PARSED:
            return ":"
        if line.kind == DRY:
            return f"( cd {ROOT} && {text.partition('#')[0].replace('make ', 'make -n ')} ) >/dev/null"
        if line.kind == ENDLESS:
            return text.replace("omni ", "endless ", 1)
        # What it finds wrong with this machine is no mistake of the page; only to break down would be.
        return f"{text.partition('#')[0]} || test $? -lt 9" if text.startswith("omni doctor") else text

    def _filled(self, text: str) -> str:
        now = datetime.fromtimestamp(SystemClock().wall_ms() / 1000, UTC)
        filled = re.sub(r"--at \S+", "--at 0s", text)
        filled = re.sub(r"--from \d+ --to \d+", "--from 2 --to 5", filled)
        filled = re.sub(r"replay at \d+(?= |$)", "replay at 5", filled)
        filled = re.sub(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z?", f"{now:%Y-%m-%dT%H:%M:%S}", filled)
        filled = re.sub(r"(?<![\w:-])[012]\d:[0-5]\d(?![\w:])", f"{now:%H:%M:%S}", filled)
        filled = filled.replace("18765", str(self.omni.port)).replace("18766", str(free_port()))
        filled = re.sub(r"\bTOKEN\b", (self.omni.data_dir / "token").read_text().strip(), filled)
        filled = re.sub(r"\bDIR\b", "directory", filled)
        return re.sub(r"\bID\b", lambda _: self._meant(text), filled)

    def _meant(self, text: str) -> str:
        if " cancel " in text:
            return self.task("nap", "runbook")
        if " resolve " in text:
            return self.task("hold", "absent", "--wait", "20")
        return self.task("hello", "echo", "--wait", "20")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One daemon for all pages."""
    cloud = CloudProcess(tmp_path_factory.mktemp("cloud"), "north", [KEY])
    with running(cloud):
        omni = make_omni(tmp_path_factory.mktemp("docs") / "home")
        config = omni.home / ".config" / "omni" / "config.yaml"
        config.parent.mkdir(parents=True)
        config.write_text(CONFIG.format(key=KEY, cloud=cloud.up().url))
        omni.environ["OMNI_CONFIG"] = str(config)
        daemon = Daemon(omni)
        daemon.start()
        yield Stage(omni)
        daemon.stop()


def test_there_are_commands_on_the_pages() -> None:
    assert len(RUN) > 40


@pytest.mark.parametrize("fence", SHELL, ids=str)
def test_every_omni_line_is_read_by_the_parser(fence: Fence) -> None:
    for line in lines(fence.text):
        for words in commands(line.text):
            require_parsed(words)


@pytest.mark.parametrize("fence", RUN, ids=str)
def test_a_fence_begins_only_what_is_here_or_says_why_not(fence: Fence) -> None:
    assert [line.text for line in lines(fence.text) if strangers(line)] == []


@pytest.mark.slow
@pytest.mark.parametrize("fence", ONCE, ids=str)
def test_the_commands_of_a_fence_run(fence: Fence, stage: Stage, tmp_path: Path) -> None:
    assert [line.text for line in lines(fence.text) if strangers(line)] == []  # nothing of it is begun then
    cwd = stage.directory(tmp_path / "here", fence.text)
    script = stage.script(fence)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env={**stage.omni.environ, "FREE_PORT": str(free_port())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    stage.restore(script)
    assert done.returncode == 0, f"{script}\n---\n{done.stdout[-2000:]}\n---\n{done.stderr[-2000:]}"

"""The adapter as the daemon runs it, around a stub of the CLI; and what is left of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from tests.executors.bench import Bench

from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.domain.values import Route

STUB = Path(__file__).parents[2] / "fakes" / "claude_stub.py"
NAME = "claude"


class Yard:
    """One data directory, and the stub's own directory beside it."""

    def __init__(self, home: Path) -> None:
        self.data = home / "data"
        self.state = home / "stub"
        self.state.mkdir()
        self.repository = home / "repository"

    def executor(self, *, env: dict[str, str] | None = None, **options: Any) -> ExecutorConfig:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        whole = {"STUB_STATE": str(self.state), "PATH": path, **(env or {})}
        given = {"binary": str(STUB), "models": "own", **options}
        return ExecutorConfig(
            name=NAME, transport="bundled", adapter="claude_code", env=whole, options=given, max_concurrency=16
        )

    def calls(self) -> list[dict[str, Any]]:
        """What the stub was started with, in order."""
        return [json.loads(path.read_text()) for path in sorted(self.state.glob("call-*.json"))]

    def notes(self, handle: str) -> dict[str, Any]:
        """What the adapter has on record of an attempt."""
        path = self.data / "adapters" / NAME / "attempts" / f"{handle}.json"
        found: dict[str, Any] = json.loads(path.read_text())["notes"]
        return found

    def sessions(self) -> set[str]:
        return {path.name for path in (self.state / "sessions").glob("*")}

    def make_repository(self) -> Path:
        subprocess.run(["git", "init", "-q", "-b", "main", str(self.repository)], check=True)
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        words = ["commit", "-q", "--allow-empty", "-m", "Begin"]
        subprocess.run(["git", "-C", str(self.repository), *who, *words], check=True)
        return self.repository

    def worktrees(self) -> list[str]:
        """The worktrees that the repository knows, without the user's own."""
        words = ["git", "-C", str(self.repository), "worktree", "list", "--porcelain"]
        told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found = [line.removeprefix("worktree ") for line in told.splitlines() if line.startswith("worktree ")]
        return [each for each in found if Path(each) != self.repository.resolve()]

    def left(self) -> list[str]:
        """The programs of this yard that run now."""
        return [found for process in psutil.process_iter() if (found := self._ours(process))]

    def keys_on_disk(self) -> list[Path]:
        return [path for path in (self.data / "adapters" / NAME / "runs").glob("*") if path.is_file()]

    def _ours(self, process: psutil.Process) -> str:
        try:
            marked = process.environ().get("STUB_STATE") == str(self.state) and "OMNI_RUN" in process.environ()
            alive = process.status() != psutil.STATUS_ZOMBIE
            return f"{process.pid} {process.cmdline()}" if marked and alive else ""
        except psutil.Error:
            return ""


def again(task_id: str, description: str, n: int = 2, **other: Any) -> cmd.StartAttempt:
    """The next attempt of a task, by the handle of the first."""
    fields: dict[str, Any] = {"timeout_ms": 30_000, "idle_timeout_ms": 30_000, "resume": True, **other}
    return cmd.StartAttempt(task_id, n, Route(NAME), description, key=f"{task_id}:{n}", handle=f"h-{task_id}", **fields)


async def outcome_of(bench: Bench, task_id: str, n: int, wait_s: float = 20) -> Any:
    """The report that ended this attempt."""
    kinds = (cmd.ReportSucceeded, cmd.ReportFailed, cmd.ReportInterrupted, cmd.ReportCancelled)
    return await bench.until(object, lambda m: isinstance(m, kinds) and (m.task_id, m.n) == (task_id, n), wait_s)


async def at_work(bench: Bench, *task_ids: str) -> None:
    """Each of these runs a tool now."""
    for task_id in task_ids or ("t",):
        await bench.until(cmd.ProgressMade, lambda m, t=task_id: m.task_id == t and "Bash" in m.message)  # type: ignore[misc]

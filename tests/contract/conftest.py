from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.npm_peers import everything
from tests.torture.daemon_process import DaemonProcess


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with one commit and one file that is not in it."""
    path = tmp_path_factory.mktemp("repository")
    (path / "kept.txt").write_text("kept\n", "utf-8")
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("add", "kept.txt"), (*author, "commit", "-q", "-m", "Keep a file / 保存文件")):
        subprocess.run(["git", *words], cwd=path, check=True, capture_output=True)
    (path / "loose.txt").write_text("loose\n", "utf-8")
    return path


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[DaemonProcess]:
    """One daemon with executors that nobody here wrote, put there by configuration alone."""
    home = tmp_path_factory.mktemp("contract")
    process = DaemonProcess(home, _servers(everything(), repository), allowed_workdirs=[str(repository)])
    process.start().ready()
    yield process
    process.end()


def _servers(everything_line: list[str], repository: Path) -> dict[str, Any]:
    def server(command: list[str], tool: str, arguments: dict[str, Any], **keys: Any) -> dict[str, Any]:
        return {"command": command[0], "args": command[1:], "tool": tool, "arguments": arguments, **keys}

    clock = [sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC"]
    git = [sys.executable, "-m", "mcp_server_git"]
    return {
        "dry": {"url": "null:", "types": ["general"]},
        "clock": server(clock, "get_current_time", {"timezone": "Asia/Shanghai"}, keywords=["o'clock", "几点"]),
        "convert": server(
            clock,
            "convert_time",
            {"source_timezone": "UTC", "time": "{description}", "target_timezone": "Asia/Tokyo"},
            types=["conversion"],
        ),
        "history": server(git, "git_log", {"repo_path": "{workdir}", "max_count": 3}, keywords=["git log", "提交记录"]),
        "changes": server(git, "git_status", {"repo_path": "{workdir}"}, types=["changes"]),
        "echo": server(everything_line, "echo", {"message": "{description}"}, keywords=["echo", "重复"]),
        "steps": server(
            everything_line,
            "trigger-long-running-operation",
            {"duration": 1, "steps": 4},
            types=["steps"],
        ),
        "endless": server(
            everything_line,
            "trigger-long-running-operation",
            {"duration": 100, "steps": 500},
            types=["endless"],
        ),
    }

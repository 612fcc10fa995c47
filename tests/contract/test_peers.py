"""Executors that nobody here wrote, named in the configuration and nowhere else, do tasks through the whole daemon."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.doors import DOORS, WAIT_S, call, over_http, over_ws
from tests.torture.daemon_process import DaemonProcess

pytestmark = pytest.mark.slow

# What is asked, who shall do it and by which word, and what the answer then holds.
ASKED = {
    "english": ("Please echo this sentence back", "echo", "keyword echo", "Echo: Please echo this sentence back"),
    "chinese": ("现在上海几点了？", "clock", "keyword 几点", "Asia/Shanghai"),
}


@pytest.mark.parametrize("language", ASKED)
@pytest.mark.parametrize("door", DOORS)
def test_a_task_from_every_door_reaches_an_executor_for_a_reason_that_can_be_asked(
    daemon: DaemonProcess, door: str, language: str
) -> None:
    text, executor, reason, answer = ASKED[language]
    task, decision = asyncio.run(DOORS[door](daemon, text))
    assert task["state"] == "completed", task
    assert task["executor"] == executor
    assert task["description"] == text
    assert answer in task["result"]["content"]
    assert decision["executor"] == executor
    assert reason in decision["reason"]
    assert {each["executor"] for each in decision["candidates"]} >= {"dry", "clock", "history", "echo"}


def test_the_time_server_converts_the_time_that_the_task_names(daemon: DaemonProcess) -> None:
    task = _do(daemon, description="12:00", executor="convert")
    assert json.loads(task["result"]["content"])["target"]["datetime"].endswith("T21:00:00+09:00")


def test_what_the_time_server_refuses_fails_the_task_in_the_servers_own_words(daemon: DaemonProcess) -> None:
    task = _do(daemon, description="half past never", executor="convert")
    assert task["state"] == "failed"
    assert "Invalid time format" in task["error"]["message"]


@pytest.mark.parametrize("text", ["Show me the git log", "看一下提交记录"])
def test_the_git_server_reads_the_history_of_the_tasks_own_directory(
    daemon: DaemonProcess, repository: Path, text: str
) -> None:
    task = _do(daemon, description=text, workdir=str(repository))
    assert task["executor"] == "history"
    assert "Keep a file / 保存文件" in task["result"]["content"]


def test_the_git_server_tells_what_has_changed(daemon: DaemonProcess, repository: Path) -> None:
    task = _do(daemon, description="what is new here", type="changes", workdir=str(repository))
    assert "loose.txt" in task["result"]["content"]


def test_a_directory_outside_the_allowed_ones_reaches_no_server(daemon: DaemonProcess, tmp_path: Path) -> None:
    async def ask() -> Any:
        async with over_http(daemon) as client:
            told = {"description": "look", "executor": "changes", "workdir": str(tmp_path)}
            return await client.call_tool("create_task", told)

    result = asyncio.run(ask())
    assert result.is_error
    assert "outside the allowed directories" in result.content[0].text


def test_progress_of_a_long_operation_reaches_the_caller_who_asked_for_it(daemon: DaemonProcess) -> None:
    seen: list[tuple[float, float | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    async def ask() -> dict[str, Any]:
        async with over_ws(daemon) as client:
            task = await call(client, "create_task", description="take four steps", type="steps")
            told = {"task_id": task["id"], "wait_s": WAIT_S}
            result = await client.call_tool("wait_task", told, progress_callback=note)
            return dict(result.structured_content or {})

    assert asyncio.run(ask())["state"] == "completed"
    steps = [progress for progress, total in seen if total == 4]
    assert len(steps) >= 3
    assert steps == sorted(steps)


def test_cancelling_stops_a_long_operation_at_its_server(daemon: DaemonProcess) -> None:
    async def ask() -> tuple[dict[str, Any], dict[str, Any]]:
        async with over_http(daemon) as client, asyncio.timeout(30):
            task = await call(client, "create_task", description="go on and on", type="endless")
            while task["state"] != "executing":
                task = await call(client, "wait_task", task_id=task["id"], wait_s=0.1)
            await call(client, "cancel_task", task_id=task["id"])
            task = await call(client, "wait_task", task_id=task["id"], wait_s=20)
            return task, await call(client, "task_events", task_id=task["id"])

    task, told = asyncio.run(ask())
    assert task["state"] == "cancelled"
    types = [each["type"] for each in told["events"]]
    assert types[-3:] == ["task.cancel_requested", "attempt.cancelled", "task.cancelled"]


def _do(daemon: DaemonProcess, **told: Any) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with over_http(daemon) as client:
            return await call(client, "create_task", **told, wait_s=WAIT_S)

    return asyncio.run(ask())

"""Each tool that is called at an executor leaves one line that says for which attempt, how long, and how it ended."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs
from tests.executors.bench import peer, workbench, written

from omni.domain import commands as cmd

FIELDS = {
    "event", "log_level", "executor", "tool", "task", "attempt", "duration_ms", "outcome", "error", "detail",
}  # fmt: skip


def called(lines: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in lines if line["event"] == "tool.called"]


async def test_every_way_in_which_an_attempt_ends_is_told_in_its_line(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with workbench(tmp_path, peer(tmp_path)) as bench:
            await bench.connected("peer")
            await bench.run("peer", "hello", "a")
            await bench.run("peer", "fail the disk is full", "b")
            await bench.run("peer", "refuse -32602", "c")
            await bench.run("peer", "sleep 60", "d", idle_timeout_ms=400)
            bench.start("peer", "sleep 61", "e")
            await bench.until(cmd.ReportStarted, lambda m: m.task_id == "e")
            bench.cancel("peer", "e")
            await bench.outcome("e")
            await bench.run("peer", "die", "f")
    assert [(line["task"], line["attempt"], line["outcome"], line["error"]) for line in called(lines)] == [
        ("a", 1, "succeeded", None),
        ("b", 1, "failed", "failed"),
        ("c", 1, "failed", "bad_request"),
        ("d", 1, "failed", "idle_timeout"),
        ("e", 1, "cancelled", "unconfirmed"),
        ("f", 1, "interrupted", "interrupted"),
    ]
    assert all(set(line) == FIELDS and line["log_level"] == "info" for line in called(lines))
    assert {(line["executor"], line["tool"]) for line in called(lines)} == {("peer", "act")}
    assert "the disk is full" in called(lines)[1]["detail"]
    assert 400 <= called(lines)[3]["duration_ms"] < 10_000


async def test_a_call_that_was_never_made_leaves_no_line(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with workbench(tmp_path, peer(tmp_path, command="no-such-command-here"), connect_s=0.5) as bench:
            await bench.run("peer", "hello")
    assert not called(lines)


async def test_tools_that_are_called_for_no_task_are_told_too(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with workbench(tmp_path, peer(tmp_path)) as bench:
            await bench.connected("peer")
            await bench.hands.use_tool("peer", "echo", {"n": 1}, 10)
            await bench.hands.use_tool("peer", "act", {"description": "fail so"}, 10)
    assert [(line["tool"], line["task"], line["outcome"], line["error"]) for line in called(lines)] == [
        ("echo", None, "succeeded", None),
        ("act", None, "failed", "tool_error"),
    ]


async def test_a_call_that_the_end_of_the_daemon_cuts_off_is_told(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with workbench(tmp_path, peer(tmp_path)) as bench:
            bench.start("peer", "sleep 60")
            await written(tmp_path / "called")
    assert [(line["task"], line["outcome"]) for line in called(lines)] == [("t", "cancelled")]

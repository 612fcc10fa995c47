"""Log lines: one JSON object each, masked, in a file that stays bounded and private."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from omni import logs
from omni.domain.task import Task
from omni.domain.values import Route, TaskSpec, TaskState
from omni.logs import Journal, RotatingFile
from omni.redact import Redactor

TASK = Task(
    "01a1fd61-255d-7000-9a63-bd4140b38bcf",
    TaskSpec("x"),
    created_at=1_000,
    updated_at=3_500,
    version=5,
    position=42,
    queued=2,
    state=TaskState.COMPLETED,
    kind="general",
    route=Route("runbook", "P1"),
    ended_at=3_500,
)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[RotatingFile]:
    opened = RotatingFile(tmp_path / "omni.log")
    yield opened
    opened.close()
    structlog.reset_defaults()
    logging.basicConfig(force=True)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_one_json_object_with_level_time_and_fields(tmp_path: Path, file: RotatingFile) -> None:
    logs.configure(file, "info", Redactor())
    structlog.get_logger().info("attempt.failed", task="t-1", attempt=2)
    (line,) = lines(tmp_path / "omni.log")
    assert (line["event"], line["level"], line["task"], line["attempt"]) == ("attempt.failed", "info", "t-1", 2)
    assert str(line["at"]).endswith("Z")


def test_secrets_are_masked_wherever_they_stand(tmp_path: Path, file: RotatingFile) -> None:
    logs.configure(file, "info", Redactor(["canary-4711"]))
    structlog.get_logger().info("call.made", url="http://x/?k=canary-4711", nested={"a": ["canary-4711"]})
    assert "canary-4711" not in (tmp_path / "omni.log").read_text()


def test_lines_below_the_level_are_not_written(tmp_path: Path, file: RotatingFile) -> None:
    logs.configure(file, "warning", Redactor())
    structlog.get_logger().info("quiet.please")
    structlog.get_logger().warning("loud.enough")
    assert [line["event"] for line in lines(tmp_path / "omni.log")] == ["loud.enough"]


def test_an_exception_keeps_its_traceback(tmp_path: Path, file: RotatingFile) -> None:
    logs.configure(file, "info", Redactor())
    try:
        int("boom")
    except ValueError:
        structlog.get_logger().exception("actor.died")
    (line,) = lines(tmp_path / "omni.log")
    assert "ValueError: invalid literal" in str(line["exception"])


def test_nothing_from_outside_reaches_the_terminal_as_a_control_sequence(
    file: RotatingFile, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(file, "info", Redactor(), console=True)
    structlog.get_logger().warning("executor.lost", detail="\x1b]0;owned\x07\x9b31m\u202ereversed")
    said = capsys.readouterr().err
    assert "owned" in said
    assert not set(said) & set("\x1b\x07\x9b\u202e")


def test_what_libraries_log_becomes_a_line_too(tmp_path: Path, file: RotatingFile) -> None:
    logs.configure(file, "info", Redactor(["canary-4711"]))
    logging.getLogger("uvicorn.error").warning("odd request from %s", "canary-4711")
    (line,) = lines(tmp_path / "omni.log")
    assert (line["event"], line["logger"]) == ("library.logged", "uvicorn.error")
    assert "canary" not in str(line["message"])


def test_the_end_of_a_task_is_one_canonical_line(tmp_path: Path, file: RotatingFile) -> None:
    journal = logs.configure(file, "info", Redactor())
    journal.deliver("gateway", [TASK, TASK])
    first, second = lines(tmp_path / "omni.log")
    assert first == second
    assert first["event"] == "task.ended"
    assert (first["task"], first["duration_ms"], first["position"]) == (TASK.id, 2_500, 42)


def test_the_file_is_private_and_moves_on_before_it_grows_too_large(tmp_path: Path, file: RotatingFile) -> None:
    long = "x" * (logs.MAX_BYTES // 2)
    for _ in range(2 * logs.KEEP + 4):
        file.write(long)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"omni.log", *(f"omni.log.{n}" for n in range(1, logs.KEEP + 1))}
    assert max(sizes.values()) <= logs.MAX_BYTES
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_what_a_service_manager_catches_begins_anew_when_it_is_too_large(tmp_path: Path) -> None:
    said = tmp_path / logs.SAID
    handle = os.open(said, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(handle, b"x" * logs.MAX_BYTES)
    assert not logs.bound_said(said, handle)
    os.write(handle, b"y")
    assert not logs.bound_said(tmp_path / "another", handle)
    assert logs.bound_said(said, handle)
    os.write(handle, b"goes on")
    os.close(handle)
    assert said.read_bytes() == b"goes on"
    assert (tmp_path / f"{logs.SAID}.1").stat().st_size == logs.MAX_BYTES + 1


def test_a_log_that_cannot_be_written_is_not_complained_of_line_by_line(
    tmp_path: Path, file: RotatingFile, capsys: pytest.CaptureFixture[str]
) -> None:
    file.close()
    for _ in range(50):
        file.write("{}")
    assert capsys.readouterr().err.count("cannot write the log") == 1


def test_a_disk_that_takes_no_log_stops_no_work(
    tmp_path: Path, file: RotatingFile, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115 - the fixture closes it
    file._file.close()
    file._file = full
    Journal(file, Redactor()).deliver("gateway", [TASK])
    assert "cannot write the log" in capsys.readouterr().err


@pytest.mark.parametrize("console", [False, True])
def test_a_stderr_that_takes_nothing_either_stops_no_work(
    tmp_path: Path, file: RotatingFile, monkeypatch: pytest.MonkeyPatch, console: bool
) -> None:
    logs.configure(file, "info", Redactor(), console=console)
    file.close()
    end, into = os.pipe()
    os.close(end)
    gone = open(into, "w", buffering=1, encoding="utf-8")  # noqa: SIM115, PTH123 - to be closed it has to be flushed
    monkeypatch.setattr(sys, "stderr", gone)
    structlog.get_logger().error("storage.failed", actor="router")
    monkeypatch.undo()
    with contextlib.suppress(BrokenPipeError):
        gone.close()

"""Who waits for a task is told what keeps it."""

from __future__ import annotations

from typing import Any

import pytest

from omni.cli.output import Output
from omni.cli.show import task_lines
from omni.cli.waiting import wait_for

FAILED = {"n": 1, "state": "failed", "executor": "helper", "error": {"message": "no model answered"}}


class Client:
    """A daemon's answers, one after the other."""

    def __init__(self, *answers: dict[str, Any], progress: tuple[str, ...] = ()) -> None:
        self._answers = list(answers)
        self._progress = progress

    def persist(self, _tool: str, _question: dict[str, Any], *, on_progress: Any, **_how: object) -> dict[str, Any]:
        for text in self._progress:
            on_progress(text)
        return {"task": self._answers.pop(0)}


def task(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "01a1fe66-b4e1-7000-bd0e-62432d6dbfe9", "state": state, "executor": "helper", **more}


def test_the_reason_of_a_failed_attempt_is_told_before_the_next_one_begins(capsys: pytest.CaptureFixture[str]) -> None:
    later = task("idle", attempt=1, attempts=[FAILED])
    client: Any = Client(later, task("running", attempt=2, attempts=[FAILED]), task("completed"))
    wait_for(client, task("running", attempt=1), None, Output(as_json=False))
    said = capsys.readouterr().err
    assert "idle by helper, attempt 1, which failed: no model answered" in said
    assert said.count("no model answered") == 1


def test_that_a_task_waits_for_the_cloud_is_told_to_whoever_waits_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = Client(task("waiting"), task("completed"))
    wait_for(client, task("waiting"), None, Output(as_json=False))
    assert capsys.readouterr().err.count("waiting by helper for the cloud; it goes on by itself") == 1


def test_what_the_executor_says_of_its_work_is_told_once_for_each_look(capsys: pytest.CaptureFixture[str]) -> None:
    own = f"Task {task('running')['id']} is running on helper."
    client: Any = Client(task("running"), task("running"), task("completed"), progress=(own, "Read a.py", "Bash\nmake"))
    wait_for(client, task("running"), None, Output(as_json=False))
    said = capsys.readouterr().err
    assert said.count("Bash make") == 1
    assert "Read a.py" not in said
    assert own not in said


def test_a_task_that_waits_for_the_cloud_has_no_time_for_its_next_try() -> None:
    facts = {
        "description": "x",
        "created_at": "2026-01-01T00:00:00Z",
        "retry_at": "2026-01-01T00:00:05Z",
        "attempts": [],
    }
    out = Output(as_json=False)
    assert any("next try" in line for line in task_lines(out, task("idle", **facts)))
    assert not any("next try" in line for line in task_lines(out, task("waiting", **facts)))

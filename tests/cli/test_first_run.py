"""The first minutes: from an empty home to a finished task."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.cli.conftest import Daemon, Omni

pytestmark = pytest.mark.slow


def first_run(omni: Omni, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "omni.cli.first_run", *words],
        cwd=omni.home,
        env=omni.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_empty_home_gets_a_daemon_a_finished_task_and_the_next_commands(omni: Omni) -> None:
    done = first_run(omni, "--once")
    assert done.returncode == 0, done
    for said in (
        "completed",
        "System report",
        "task.routed",
        "attempt.succeeded",
        "Try next:",
        "omni why",
        "omni replay",
        "omni dashboard",
    ):
        assert said in done.stdout
    assert "Traceback" not in done.stderr
    assert omni("status").returncode == 3, "the daemon was stopped"
    assert omni.json("tasks")["tasks"][0]["state"] == "completed"
    assert omni.json("verify")["ok"] is True


def test_a_daemon_that_runs_already_is_used_and_left_running(own_daemon: Daemon) -> None:
    done = first_run(own_daemon.omni, "--once")
    assert done.returncode == 0, done
    assert "already listens" in done.stdout
    assert own_daemon.omni("status").returncode == 0


def test_something_else_on_the_port_is_said_and_nothing_is_started(omni: Omni) -> None:
    with http.server.HTTPServer(("127.0.0.1", omni.port), http.server.BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        done = first_run(omni, "--once")
        thread.join(10)
    assert done.returncode == 3, done
    assert "something other than Omni" in done.stderr
    assert "--port" in done.stderr
    assert not omni.data_dir.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_goes_on_until_it_is_told_to_stop_and_then_stops_its_daemon(omni: Omni, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "omni.cli.first_run"],
        cwd=omni.home,
        env=omni.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "until you press Ctrl-C" in line:
                break
        assert omni("status").returncode == 0
        process.send_signal(how)
        assert process.wait(20) == 0
    until = time.monotonic() + 10
    while omni("status").returncode != 3:
        assert time.monotonic() < until


def test_a_daemon_that_is_killed_meanwhile_is_told_and_not_a_riddle(omni: Omni) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "omni.cli.first_run"],
        cwd=omni.home,
        env=omni.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any("until you press Ctrl-C" in line for line in process.stdout)
        os.kill(int((omni.data_dir / "omni.db.lock").read_text()), signal.SIGKILL)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGKILL
    assert "the daemon was ended by SIGKILL" in errors
    assert "next: make run, or omni serve" in errors


def test_ctrl_c_before_the_daemon_is_ready_ends_quietly(omni: Omni) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "omni.cli.first_run"],
        cwd=omni.home,
        env=omni.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 10
        while not omni.data_dir.exists():
            assert time.monotonic() < until
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopping the daemon" in said
    assert "Traceback" not in said


def test_the_next_commands_never_overwrite_a_configuration_that_is_there(omni: Omni) -> None:
    (omni.home / "config.yaml").write_text("language: en\n")
    done = first_run(omni, "--once")
    assert "$EDITOR config.yaml" not in done.stdout
    assert "config check" in done.stdout

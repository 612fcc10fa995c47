"""The real daemon under managers that supervise: started bare, killed, drained, and gone."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from msgspec.structs import replace
from tests.fakes.services import launchd as fake_launchd
from tests.fakes.services import systemd as fake_systemd
from tests.fakes.services.server import Served
from tests.torture.caller import calling
from tests.torture.daemon_process import DaemonProcess, until
from websockets.sync.client import ClientConnection, connect

from omni.config import load
from omni.ops.service import Launchd, make_plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
GATE_RESTARTS, RESTARTS = 2, 30
DRY = {"dry": {"url": "null:", "types": ["general"]}}
SLOW_S = 4.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    made = DaemonProcess(tmp_path, DRY)
    yield made
    made.end()


def settle(daemon: DaemonProcess, **limits: Any) -> None:
    """Another configuration for the next start."""
    body = yaml.safe_load(daemon.config.read_text())
    body["limits"].update(limits)
    body["runbook"] = {"rest": {"argv": ["sleep", str(SLOW_S)]}, "sleep": {"argv": ["sleep", "60"]}}
    daemon.config.write_text(yaml.safe_dump(body))


def told(daemon: DaemonProcess, *words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(daemon.run(*words, "--json").stdout)
    return document


def events(daemon: DaemonProcess) -> list[str]:
    done = daemon.run("replay", "--jsonl", "-")
    return [json.loads(line).get("type", "") for line in done.stdout.splitlines()]


# --- under launchd and systemd ----------------------------------------------------------------------------------------


def under_launchd(daemon: DaemonProcess, restarts: int) -> None:
    home = daemon.home
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    fake = fake_launchd.Launchd(home, scale=0.05)
    served = Served(home / "bin", {"launchctl": fake})
    loaded = load(daemon.config, environ=environ, overrides={"data_dir": str(daemon.data_dir)})
    plan = make_plan(loaded.config, loaded.path, environ, options=["--port", str(daemon.port)])
    plan = replace(plan, stop_within_s=400, environment={"PYTHONPATH": str(Path("src").absolute())})
    manager = Launchd(plan, home=home, environ=served.environ)
    try:
        pid = manager.install().pid
        for _ in range(restarts):
            until(lambda: daemon.answers, 30, "the daemon answers")
            state = manager.restart()
            assert state.running
            assert state.pid != pid
            pid = state.pid
        until(lambda: daemon.answers, 30, "the daemon answers")
        assert pid is not None
        assert psutil.Process(pid).environ().get("PATH", "").endswith(fake_launchd.PATH.split(":")[-1])
        os.kill(pid, signal.SIGKILL)
        until(lambda: manager.state().pid not in {None, pid}, 30, "launchd starts it again")
        until(lambda: daemon.answers, 30, "the daemon answers")
        children = psutil.Process(manager.state().pid).children(recursive=True)
        manager.uninstall()
        assert fake.ended == ["TERM"]
        assert not [each for each in children if each.is_running()]
        assert (daemon.data_dir / "omni.db").exists()
    finally:
        served.close()
        fake.close()
    assert told(daemon, "verify")["ok"]
    assert events(daemon).count("system.stopped") == restarts + 1


def test_launchd_runs_restarts_revives_and_ends_the_real_daemon(daemon: DaemonProcess) -> None:
    under_launchd(daemon, GATE_RESTARTS)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_launchd_restarts_the_real_daemon_again_and_again(daemon: DaemonProcess) -> None:
    under_launchd(daemon, RESTARTS)


def test_the_command_line_installs_starts_stops_and_removes_a_unit_of_systemd(daemon: DaemonProcess) -> None:
    daemon.config.write_text("api_keys: {primary: {anthropic: '${MADE_UP_API_KEY}'}}\n" + daemon.config.read_text())
    fake = fake_systemd.Systemd(daemon.home, scale=0.05)
    served = Served(daemon.home / "bin", {"systemctl": fake, "loginctl": fake.loginctl})
    daemon.environ = {**served.environ, "MADE_UP_API_KEY": "sk-made-up", "PYTHONPATH": str(Path("src").absolute())}
    daemon.environ["XDG_CONFIG_HOME"] = ""
    try:
        assert daemon.run("service", "status").returncode == 3
        installed = daemon.run("service", "install", within_s=60)
        assert installed.returncode == 0, installed.stderr
        assert "omni service install --env MADE_UP_API_KEY" in installed.stderr
        assert daemon.answers
        kept = daemon.run("service", "install", "--env", "MADE_UP_API_KEY", "--json", within_s=60)
        assert "MADE_UP_API_KEY" not in kept.stderr
        state = json.loads(kept.stdout)
        assert (state["schema"], state["running"], state["current"]) == ("omni.service/1", True, True)
        assert "sk-made-up" not in Path(state["file"]).read_text()
        private = daemon.data_dir / "service.env"
        assert private.stat().st_mode & 0o777 == 0o600
        assert told(daemon, "service", "restart")["pid"] != state["pid"]
        assert not told(daemon, "service", "stop")["running"]
        by_hand = daemon.start().ready()
        refused = daemon.run("service", "start")
        assert (refused.returncode, "answers at" in refused.stderr) == (2, True)
        assert by_hand.terminate() == 0
        assert told(daemon, "service", "start")["running"]
        daemon.config.write_text("prot: 1\n")
        removed = daemon.run("service", "uninstall", "--json")
        assert not json.loads(removed.stdout)["installed"], removed.stderr
        assert (daemon.data_dir / "omni.db").exists()
        assert not daemon.answers
    finally:
        served.close()
        fake.close()


# --- crash loops ------------------------------------------------------------------------------------------------------


def test_a_crash_loop_pauses_dispatch_says_so_and_ends_by_a_persons_word(daemon: DaemonProcess) -> None:
    settle(daemon, crash_loop_starts=2)
    for made in (1, 2):
        daemon.start().ready()  # the port answers, and the Router may still be about to write that it began
        until(lambda: events(daemon).count("router.started") == made, 20, "the start is counted")  # noqa: B023
        daemon.kill()
    daemon.start().ready()
    with calling(daemon) as caller:
        task = caller.submit("say hello", wait_s=0)["result"]["task_id"]
        gone = caller.submit("say nothing", wait_s=0)["result"]["task_id"]
    status = told(daemon, "status")
    assert status["dispatch"]["state"] == "paused"
    assert "omni mode auto" in daemon.run("status").stdout
    assert _ready(daemon)["dispatch"]["state"] == "paused"
    assert told(daemon, "task", "cancel", gone)["task"]["state"] == "cancelled"
    assert told(daemon, "task", "show", task)["task"]["state"] == "idle"
    assert daemon.run("mode", "auto").returncode == 0
    until(lambda: told(daemon, "task", "show", task)["task"]["state"] == "completed", 20, "it goes on")
    assert "dispatch" not in _ready(daemon)
    assert daemon.terminate() == 0
    daemon.start().ready()
    assert told(daemon, "status")["dispatch"]["state"] == "open"
    assert daemon.terminate() == 0
    assert told(daemon, "verify")["ok"]
    recorded = events(daemon)
    assert recorded.count("router.dispatch_paused") == recorded.count("router.dispatch_resumed") == 1
    assert "crash_loop" in daemon.run("replay", "--jsonl", "-").stdout


def _ready(daemon: DaemonProcess) -> dict[str, Any]:
    from omni.cli.status import fetch

    return fetch("127.0.0.1", daemon.port, "", "/readyz")


# --- stops ------------------------------------------------------------------------------------------------------------


def running(daemon: DaemonProcess, what: str) -> str:
    """A task that has begun."""
    with calling(daemon) as caller:
        task: str = caller.submit(what, executor="runbook", wait_s=0)["result"]["task_id"]
    until(lambda: told(daemon, "task", "show", task)["task"]["state"] == "executing", 20, "it has begun")
    return task


def test_short_work_ends_by_itself_at_a_stop_and_what_comes_meanwhile_waits(daemon: DaemonProcess) -> None:
    settle(daemon, drain_s=20)
    daemon.start().ready()
    task = running(daemon, "rest")
    assert daemon.process is not None
    with calling(daemon) as caller, calling(daemon) as patient, ThreadPoolExecutor() as threads:
        waits = threads.submit(patient.submit, "rest", executor="runbook", wait_s=20)
        until(lambda: _executing(daemon) == 2, 20, "both have begun")
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: not _is_ready(daemon), 10, "it says that it is being stopped")
        late = caller.submit("say hello", wait_s=0)["result"]["task_id"]
        assert waits.result()["result"]["state"] == "completed"
    assert daemon.wait(20) == 0
    assert told(daemon, "task", "show", task)["task"]["state"] == "completed"
    assert told(daemon, "task", "show", late)["task"]["state"] == "idle"
    assert told(daemon, "verify")["ok"]


def _executing(daemon: DaemonProcess) -> int:
    return sum(each["state"] == "executing" for each in told(daemon, "tasks")["tasks"])


def _is_ready(daemon: DaemonProcess) -> bool:
    from omni.cli.status import NotReady

    try:
        _ready(daemon)
    except NotReady:
        return False
    return True


@pytest.mark.parametrize("hurry", [signal.SIGTERM, None])
def test_long_work_is_left_when_its_time_is_up_or_somebody_is_in_a_hurry(
    daemon: DaemonProcess, hurry: signal.Signals | None
) -> None:
    settle(daemon, drain_s=60 if hurry else 1)
    daemon.start().ready()
    task = running(daemon, "sleep")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGTERM)
    until(lambda: not _is_ready(daemon), 10, "it drains")
    began = time.monotonic()
    if hurry:
        daemon.process.send_signal(hurry)
    assert daemon.wait(30) == 0
    assert time.monotonic() - began < 15
    assert told(daemon, "task", "show", task)["task"]["state"] == "executing"  # the next start asks what became of it


# --- files ------------------------------------------------------------------------------------------------------------


def test_sixty_four_clients_fit_into_the_files_of_launchd(daemon: DaemonProcess) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    settle(daemon)
    daemon.start(before=few).ready()
    with ExitStack() as stack:
        clients = [stack.enter_context(_connected(daemon)) for _ in range(63)]
        caller = stack.enter_context(calling(daemon))
        assert caller.submit("say hello")["result"]["state"] == "completed"
        done = caller.submit("rest", executor="runbook", wait_s=20)["result"]
        assert done["state"] == "completed", done
        for client in clients:
            client.send('{"method":"ping"}')
            assert json.loads(client.recv(timeout=10)) == {"result": "pong"}
    assert daemon.terminate() == 0
    assert "Too many open files" not in daemon.said
    assert "Too many open files" not in (daemon.data_dir / "logs" / "omni.log").read_text()


def _connected(daemon: DaemonProcess) -> AbstractContextManager[ClientConnection]:
    return connect(daemon.url, additional_headers=daemon.headers, proxy=None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the limits of another process")
def test_a_low_soft_limit_is_raised_and_files_are_private(daemon: DaemonProcess) -> None:
    def soft() -> None:
        os.umask(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))

    daemon.start(before=soft).ready()
    assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE) == (4096, 4096)
    assert not [each for each in daemon.data_dir.rglob("*") if each.stat().st_mode & 0o077]
    assert daemon.terminate() == 0

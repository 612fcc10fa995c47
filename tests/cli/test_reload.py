"""Another configuration for a daemon that runs: a real process, a file on disk, and the command line."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pty
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import CONFIG, Daemon, Omni

from omni.cli.status import fetch
from omni.domain.errors import DaemonUnreachable

pytestmark = pytest.mark.slow

SLOW = Path(__file__).parent / "slow_server.py"
WITHIN_S = 20.0


def until(condition: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    """Wait for a condition, with a bound."""
    end = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)
    return value


def write(omni: Omni, text: str) -> None:
    (omni.home / "config.yaml").write_text(text)


def reload(omni: Omni, *words: str, code: int = 0) -> dict[str, Any]:
    return omni.json("config", "reload", *words, code=code)


def changed(said: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {each["key"]: (each["old"], each["new"]) for each in said["changes"]}


def log_lines(omni: Omni, event: str) -> list[dict[str, Any]]:
    lines = (omni.data_dir / "logs" / "omni.log").read_text().splitlines()
    return [said for said in map(json.loads, lines) if said["event"] == event]


def loaded(omni: Omni) -> int:
    """How many times the log says which configuration is in force."""
    report = omni.json("verify")
    assert report["ok"], report
    return int(report["by_type"]["system.config_loaded"])


def executors(omni: Omni) -> dict[str, str]:
    return {each["name"]: each["health"]["state"] for each in omni.json("status")["executors"]}


def stdio(gate: Path, mark: str) -> str:
    """An executor that answers with its mark once the file is there."""
    argv = json.dumps([str(SLOW), str(gate), mark])
    return f"{{command: {json.dumps(sys.executable)}, args: {argv}, tool: work, types: [slow], max_concurrency: 2}}"


@pytest.fixture
def omni_served(own_daemon: Daemon) -> Omni:
    return own_daemon.omni


def test_an_executor_appears_and_one_that_waited_for_it_goes_on(omni_served: Omni) -> None:
    omni = omni_served
    task = omni.json("submit", "anything", "--type", "rare", "--executor", "echo", "--wait", "10")["task"]
    assert task["state"] == "completed"
    write(omni, "mcp_servers: {echo: {url: 'null:', types: [other], keywords: [never-said]}}\n")
    said = reload(omni)
    assert said["outcome"] == "applied"
    assert changed(said)["mcp_servers.echo.types"] == (["general"], ["other"])
    assert "mcp_servers.absent" in changed(said)
    held = omni.json("submit", "say hello", "--type", "general")["task"]
    until(lambda: omni.json("task", "show", held["id"])["task"]["state"] == "held")
    write(omni, CONFIG)
    reload(omni)
    until(lambda: omni.json("task", "show", held["id"])["task"]["state"] == "completed")
    assert executors(omni)["echo"] == "ready"
    assert loaded(omni) == 3
    assert omni("verify").returncode == 0
    why = omni.json("why", held["id"])
    assert why["then"]["configuration"]["digest"] == omni.json("status")["config"]["digest"]


def test_a_file_that_says_the_same_is_no_event(omni_served: Omni) -> None:
    omni = omni_served
    write(omni, CONFIG + "# a word more\n")
    assert omni.json("status")["config"]["changed_on_disk"] is True
    assert "config.yaml changed on disk: omni config reload" in omni("status").stdout
    said = reload(omni)
    assert (said["outcome"], said["changes"]) == ("unchanged", [])
    assert omni.json("status")["config"]["changed_on_disk"] is False
    assert loaded(omni) == 1


@pytest.mark.parametrize("text", ["limits: {conections: 5}\n", "mcp_servers: [\n", "budget: {daily_usd: -1}\n"])
def test_a_broken_file_is_refused_whole_and_said_everywhere(omni_served: Omni, text: str) -> None:
    omni = omni_served
    before = omni.json("status")["config"]["digest"]
    write(omni, f"language: zh\n{text}")
    said = reload(omni, code=2)
    assert said["outcome"] == "refused"
    assert any("line 2" in each or "line 3" in each for each in said["errors"]), said["errors"]
    status = omni.json("status")
    assert status["config"]["digest"] == before
    assert status["config"]["refused"]["errors"] == said["errors"]
    assert "was refused" in omni("status").stdout
    assert log_lines(omni, "config.refused")[-1]["errors"] == said["errors"]
    assert omni.json("submit", "still here", "--type", "general", "--wait", "10")["task"]["state"] == "completed"
    write(omni, CONFIG)
    assert omni.json("status")["config"]["refused"] is None
    assert loaded(omni) == 1


def test_a_file_that_is_gone_is_refused_and_no_default_takes_its_place(omni_served: Omni) -> None:
    (omni_served.home / "config.yaml").unlink()
    said = reload(omni_served, code=2)
    assert "does not exist" in said["errors"][0]
    assert executors(omni_served)["echo"] == "ready"


def test_a_file_of_which_nothing_is_left_is_refused_too(omni_served: Omni) -> None:
    write(omni_served, "")
    said = reload(omni_served, code=2)
    assert (said["outcome"], "is empty" in said["errors"][0]) == ("refused", True)
    assert "echo" in executors(omni_served)
    write(omni_served, "# defaults\n")
    assert reload(omni_served)["outcome"] == "applied"
    write(omni_served, "")
    assert reload(omni_served, code=2)["outcome"] == "refused"


def test_what_needs_a_restart_is_named_and_the_rest_holds_at_once(omni_served: Omni) -> None:
    omni = omni_served
    limits = "limits: {drain_s: 0.2, nesting: 32, open_tasks: 7}"
    text = CONFIG.replace("limits: {drain_s: 0.2}", limits)
    write(omni, text + "host: localhost\nauth: none\nlog_level: warning\n")
    said = reload(omni)
    assert said["needs_restart"] == ["host", "auth", "limits.nesting"]
    assert [each["key"] for each in said["changes"] if not each["restart"]] == ["log_level", "limits.open_tasks"]
    assert omni.json("status")["config"]["needs_restart"] == ["host", "auth", "limits.nesting"]
    assert "from the next start on" in omni("status").stdout
    assert reload(omni)["outcome"] == "unchanged"
    assert fetch("127.0.0.1", omni.port, "", "/healthz")["status"] == "alive"
    with pytest.raises(Exception, match="token"):
        fetch("127.0.0.1", omni.port, "", "/api/status")


def test_a_dry_run_and_a_diff_show_it_masked_and_change_nothing(omni_served: Omni) -> None:
    omni = omni_served
    canary = "canary-4711-canary"
    write(omni, CONFIG + f"lite_llm_key: {canary}\nbudget: {{daily_usd: 3}}\n")
    said = reload(omni, "--dry-run")
    assert said["outcome"] == "would_apply"
    assert changed(said) == {"lite_llm_key": ("", "***"), "budget.daily_usd": ("(not set)", 3.0)}
    text = omni("config", "diff").stdout
    assert "budget.daily_usd: (not set) → 3.0" in text
    assert canary not in text + json.dumps(said)
    assert omni.json("status")["config"]["changed_on_disk"] is True
    assert loaded(omni) == 1
    reload(omni)
    kept = [each.read_bytes() for each in omni.data_dir.rglob("*") if each.is_file() and each.name != "token"]
    assert not [each for each in kept if canary.encode() in each]


def test_sighup_reloads_and_the_log_says_so(own_daemon: Daemon) -> None:
    omni = own_daemon.omni
    write(omni, CONFIG + "budget: {daily_usd: 2}\n")
    assert own_daemon.process is not None
    own_daemon.process.send_signal(signal.SIGHUP)
    until(lambda: omni.json("status")["spend"]["caps"]["daily_usd"] == 2.0)
    until(lambda: [each["outcome"] for each in log_lines(omni, "config.read_again")] == ["applied"])
    write(omni, "budget: {daily_usd: nonsense}\n")
    own_daemon.process.send_signal(signal.SIGHUP)
    until(lambda: omni.json("status")["config"]["refused"])
    assert own_daemon.process.poll() is None


def test_sighup_while_the_daemon_starts_ends_nothing_and_is_not_lost(own_daemon: Daemon) -> None:
    omni, file = own_daemon.omni, own_daemon.omni.home / "service.env"
    assert own_daemon.stop() == 0
    write(omni, CONFIG + 'budget: {daily_usd: "${CAP}"}\n')
    os.mkfifo(file, 0o600)
    omni.environ["OMNI_ENV_FILE"] = str(file)
    threading.Thread(target=_changed_while_it_is_read, args=(file, own_daemon), daemon=True).start()
    own_daemon.start()
    until(lambda: omni.json("status")["spend"]["caps"]["daily_usd"] == 2.0)


def _changed_while_it_is_read(file: Path, daemon: Daemon) -> None:
    with file.open("w") as old:  # opens once the daemon has begun to read
        new = file.with_name("new.env")
        new.touch(0o600)
        new.write_text("CAP=2\n")
        new.replace(file)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        old.write("CAP=1\n")


@pytest.mark.parametrize("kept", [True, False], ids=["nohup", "alone"])
def test_who_closes_the_terminal_ends_the_daemon_unless_it_was_told_to_stay(omni: Omni, kept: bool) -> None:
    write(omni, CONFIG)
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if kept else signal.SIG_DFL)
        os.execvpe(sys.executable, omni.command("serve"), omni.environ)  # noqa: S606 - becomes the daemon
    try:
        until(lambda: _answers(omni))
        os.close(terminal)  # the kernel tells whoever has it as theirs
        until(lambda: _answers(omni) if kept else os.waitpid(pid, os.WNOHANG)[0])
        if kept:
            until(lambda: log_lines(omni, "config.read_again"))
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def _answers(omni: Omni) -> bool:
    with contextlib.suppress(DaemonUnreachable):
        return fetch("127.0.0.1", omni.port, "", "/readyz").get("status") == "ready"
    return False


def test_strangers_and_executors_cannot_reload(omni_served: Omni) -> None:
    key = omni_served.json("token", "model", "worker")["key"]
    for token in ("", "wrong", key):
        with pytest.raises(Exception, match=r"token|not"):
            fetch("127.0.0.1", omni_served.port, token, "/api/config/reload", body={})
    token = (omni_served.data_dir / "token").read_text().strip()
    said = fetch_any(omni_served.port, token, {"config": {"language": "zh"}})
    assert "unknown field" in said


def fetch_any(port: int, token: str, body: Any) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with contextlib.closing(connection):
        connection.request("POST", "/api/config/reload", json.dumps(body), headers)
        answer = connection.getresponse()
        assert answer.status == 400
        return answer.read().decode()


def test_what_runs_on_a_changed_or_removed_executor_ends_there_and_nothing_is_lost_under_load(
    own_daemon: Daemon, tmp_path: Path
) -> None:
    omni = own_daemon.omni
    base = 'mcp_servers:\n  echo: {url: "null:", types: [general]}\n'
    write(omni, base + f"  slow: {stdio(tmp_path / 'gate', 'first')}\n")
    reload(omni)
    until(lambda: executors(omni)["slow"] == "ready")
    running = [omni.json("submit", f"run {n}", "--type", "slow")["task"]["id"] for n in range(2)]
    until(lambda: all(state(omni, each) == "executing" for each in running))
    queued = [omni.json("submit", f"queue {n}", "--type", "slow")["task"]["id"] for n in range(2)]
    write(omni, base + f"  slow: {stdio(tmp_path, 'second')}\n")
    assert reload(omni)["outcome"] == "applied"
    load = [omni.json("submit", f"echo {n}", "--type", "general")["task"]["id"] for n in range(5)]
    until(lambda: all(state(omni, each) == "completed" for each in load))
    assert {state(omni, each) for each in running} == {"executing"}
    (tmp_path / "gate").touch()
    until(lambda: all(state(omni, each) == "completed" for each in [*running, *queued]))
    assert {result(omni, each) for each in running} == {"first"}
    assert {result(omni, each) for each in queued} == {"second"}
    assert all(len(shown(omni, each)["attempts"]) == 1 for each in [*running, *queued, *load])
    last = omni.json("submit", "the last", "--type", "slow")["task"]["id"]
    write(omni, base)
    reload(omni)
    until(lambda: state(omni, last) in {"completed", "held"})
    assert "slow" not in executors(omni)
    assert omni("verify").returncode == 0
    assert own_daemon.stop() == 0
    own_daemon.start()
    assert omni.json("verify")["ok"] is True


def shown(omni: Omni, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = omni.json("task", "show", task_id)["task"]
    return task


def state(omni: Omni, task_id: str) -> str:
    return str(shown(omni, task_id)["state"])


def result(omni: Omni, task_id: str) -> str:
    return str(shown(omni, task_id)["result"]["content"]).strip()


def test_reloads_go_one_after_the_other_and_a_crash_after_one_starts_with_the_file(own_daemon: Daemon) -> None:
    omni = own_daemon.omni
    write(omni, CONFIG + "budget: {daily_usd: 4}\n")
    both = [omni.start("config", "reload", "--json") for _ in range(3)]
    said = [json.loads(each.communicate(timeout=60)[0])["outcome"] for each in both]
    assert sorted(said) == ["applied", "unchanged", "unchanged"]
    assert loaded(omni) == 2
    own_daemon.stop(signal.SIGKILL)
    own_daemon.start()
    assert omni.json("status")["spend"]["caps"]["daily_usd"] == 4.0
    assert loaded(omni) == 2  # it is the one that was in force
    own_daemon.stop(signal.SIGKILL)
    write(omni, CONFIG)
    own_daemon.start()
    assert loaded(omni) == 3


def test_without_any_file_the_next_command_is_the_one_that_writes_it() -> None:
    from omni.cli.reload import lines

    said: dict[str, Any] = {"path": None, "outcome": "unchanged", "errors": [], "changes": [], "warnings": []}
    assert lines(said) == ["no configuration file: the embedded defaults are in force; omni init writes a file"]

"""Commands against a running daemon: what they give, and with which exit code."""

import json
import signal
import stat
import threading
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import CONFIG, Daemon, Omni

pytestmark = pytest.mark.slow
TASK_KEYS = {
    "id", "description", "type", "state", "executor", "tier", "model", "priority", "labels", "attempt", "attempts",
    "result", "error", "cost_usd", "usage", "held", "created_at", "updated_at", "ended_at", "position",
}  # fmt: skip
UNKNOWN = "01900000-0000-7000-8000-000000000000"


def submitted(omni: Omni, *words: str, code: int = 0) -> dict[str, Any]:
    document = omni.json("submit", *words, code=code)
    assert document["schema"] == "omni.task/1"
    task: dict[str, Any] = document["task"]
    return task


def test_submit_prints_the_id_alone_and_says_the_next_command_beside_it(served: Omni) -> None:
    done = served("submit", "greet the world", "--executor", "echo")
    assert done.returncode == 0, done
    task_id = done.stdout.strip()
    assert str(uuid.UUID(task_id)) == task_id
    assert f"next: omni task tail {task_id}" in done.stderr


def test_submit_with_wait_gives_the_finished_task(served: Omni) -> None:
    task = submitted(served, "greet the world", "--executor", "echo", "--wait", "--label", "a", "--label", "b")
    assert set(task) >= TASK_KEYS
    assert (task["state"], task["executor"], task["labels"]) == ("completed", "echo", ["a", "b"])


def test_the_exit_code_of_wait_tells_how_the_task_ended(served: Omni) -> None:
    assert submitted(served, "broken", "--executor", "runbook", "--wait", code=1)["state"] == "failed"
    assert submitted(served, "x", "--executor", "absent", "--wait", code=6)["state"] == "held"
    slow = submitted(served, "nap", "--executor", "runbook", "--wait", "0.3", code=124)
    assert slow["state"] in {"idle", "dispatching", "executing"}
    cancelled = served.json("task", "cancel", slow["id"])
    assert cancelled["task"]["cancel_requested"] or cancelled["task"]["state"] == "cancelled"
    assert served("task", "tail", slow["id"]).returncode == 1


def test_the_text_may_come_from_stdin_or_from_a_file(served: Omni) -> None:
    text = "first line\nsecond line: Grüße 你好\n"
    (served.home / "task.txt").write_text(text)
    from_file = submitted(served, "@task.txt", "--executor", "echo")
    from_stdin = served.json("submit", "-", "--executor", "echo", stdin=text.encode())["task"]
    assert from_file["description"] == from_stdin["description"] == text.rstrip("\n")


def test_the_same_key_gives_the_same_task_and_another_payload_is_refused(served: Omni) -> None:
    key = uuid.uuid4().hex
    first = submitted(served, "once", "--executor", "echo", "--key", key)
    again = submitted(served, "once", "--executor", "echo", "--key", key)
    assert first["id"] == again["id"]
    error = served.json("submit", "twice", "--executor", "echo", "--key", key, code=2)["error"]
    assert error["kind"] == "idempotency_conflict"
    assert error["hint"]


def test_an_executor_that_does_not_exist_is_refused_with_a_hint(served: Omni) -> None:
    error = served.json("submit", "x", "--executor", "ehco", code=2)["error"]
    assert "echo" in error["message"] + error["hint"]


def test_tasks_are_listed_newest_first_and_page_by_page(served: Omni) -> None:
    made = [submitted(served, f"page {n}", "--executor", "echo", "--wait")["id"] for n in range(3)]
    first = served.json("tasks", "--limit", "2")
    assert first["schema"] == "omni.tasks/1"
    assert [each["id"] for each in first["tasks"]] == [made[2], made[1]]
    second = served.json("tasks", "--limit", "1", "--cursor", first["next"])
    assert [each["id"] for each in second["tasks"]] == [made[0]]
    completed = served.json("tasks", "--state", "completed", "--limit", "500")["tasks"]
    assert {each["state"] for each in completed} == {"completed"}


def test_the_table_of_tasks_shows_a_beginning_of_the_id_that_other_commands_take(served: Omni) -> None:
    task = submitted(served, "short ids", "--executor", "echo", "--wait")
    line = next(each for each in served("tasks").stdout.splitlines() if "short ids" in each)
    assert served.json("task", "show", line.split()[0])["task"] == served.json("task", "show", task["id"])["task"]


def test_a_task_nobody_knows_exits_4(served: Omni) -> None:
    for words in (["task", "show"], ["task", "cancel"], ["task", "retry"], ["task", "tail"], ["why"]):
        error = served.json(*words, UNKNOWN, code=4)["error"]
        assert error["kind"] == "not_found"
        assert error["hint"]


def test_an_ambiguous_beginning_lists_the_candidates(served: Omni) -> None:
    one, two = (submitted(served, f"twin {n}", "--executor", "echo")["id"] for n in range(2))
    assert one[:6] == two[:6]
    error = served.json("task", "show", one[:6], code=2)["error"]
    assert error["kind"] == "ambiguous"
    assert one[:6] in error["message"]


def test_why_names_the_choice_the_reason_and_every_candidate(served: Omni) -> None:
    task = submitted(served, "draw the moon", "--executor", "echo", "--wait")
    answer = served.json("why", task["id"])
    assert answer["schema"] == "omni.why/1"
    decision = answer["decision"]
    assert decision["executor"] == "echo"
    assert decision["reason"]
    assert {c["executor"] for c in decision["candidates"]} == {"echo", "absent", "runbook"}
    told = served("why", task["id"]).stdout
    assert "went to echo" in told
    assert "rejected" in told


def test_why_of_a_held_task_says_what_it_waits_for(served: Omni) -> None:
    task = submitted(served, "x", "--executor", "absent")
    answer = served.json("why", task["id"])
    assert answer["held"]["reason"]
    assert "omni task resolve" in served("why", task["id"]).stdout


@pytest.mark.parametrize("look", ["show", "tail"])
def test_looking_at_a_held_task_names_the_command_that_decides_about_it(served: Omni, look: str) -> None:
    task = submitted(served, "x", "--executor", "absent")
    done = served("task", look, task["id"])
    assert f"omni task resolve {task['id']} " in done.stdout + done.stderr


def test_cancelling_a_task_that_has_ended_says_that_nothing_was_stopped(served: Omni) -> None:
    task = submitted(served, "over", "--executor", "echo", "--wait")
    assert "nothing was stopped" in served("task", "cancel", task["id"]).stdout


def test_a_held_task_can_be_decided_about(served: Omni) -> None:
    task = submitted(served, "x", "--executor", "absent", "--wait", code=6)
    choice = task["held"]["options"][-1]
    resolved = served.json("task", "resolve", task["id"], choice)["task"]
    assert resolved["state"] in {"failed", "completed", "idle", "held"}
    not_held = submitted(served, "y", "--executor", "echo", "--wait")
    assert served.json("task", "resolve", not_held["id"], "fail", code=2)["error"]["kind"] == "not_held"


def test_a_task_that_has_ended_is_retried_as_a_new_one(served: Omni) -> None:
    task = submitted(served, "again", "--executor", "echo", "--wait")
    retried = served.json("task", "retry", task["id"], "--wait")["task"]
    assert retried["id"] != task["id"]
    assert (retried["retry_of"], retried["state"]) == (task["id"], "completed")


def test_tail_shows_each_event_once_and_ends_with_the_task(served: Omni) -> None:
    task = submitted(served, "follow me", "--executor", "echo")
    document = served.json("task", "tail", task["id"])
    assert document["schema"] == "omni.events/1"
    types = [each["type"] for each in document["events"]]
    assert types[0] == "task.created"
    assert types[-1] == "task.completed"
    assert len({each["position"] for each in document["events"]}) == len(types)
    assert served("task", "tail", task["id"]).stdout.count("task.created") == 1


def test_status_tells_mode_executors_and_counts(served: Omni) -> None:
    status = served.json("status")
    assert status["schema"] == "omni.status/1"
    assert list(status)[1] == "mode"
    assert status["mode"] == "NORMAL"
    assert status["daemon"]["running"] is True
    assert {e["name"] for e in status["executors"]} == {"echo", "absent", "runbook"}
    assert all(isinstance(n, int) for n in status["counts"].values())
    assert "NORMAL" in served("status").stdout


def test_status_on_watch_draws_again_until_ctrl_c(served: Omni) -> None:
    with served.start("status", "--watch", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(2):
            assert json.loads(process.stdout.readline())["schema"] == "omni.status/1"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert b"Traceback" not in rest


def test_ctrl_c_while_waiting_leaves_the_task_running(served: Omni) -> None:
    with served.start("submit", "nap", "--executor", "runbook", "--wait") as process:
        assert process.stderr is not None
        task_id = process.stderr.readline().decode().split(":")[0]
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().decode()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert served.json("task", "show", task_id)["task"]["state"] in {"idle", "dispatching", "executing"}
    served("task", "cancel", task_id)


def test_a_wrong_token_exits_5(served: Omni, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "token").write_text("x" * 43)
    (other / "token").chmod(0o600)
    for words in (["status"], ["tasks"], ["submit", "x"]):
        error = served.json(*words, "--data-dir", str(other), code=5)["error"]
        assert error["kind"] == "not_authorised"
        assert "omni token show" in error["hint"]


def test_no_token_at_all_exits_5_too(served: Omni, tmp_path: Path) -> None:
    for words in (["status"], ["tasks"]):
        assert served.json(*words, "--data-dir", str(tmp_path), code=5)["error"]["kind"] == "not_authorised"


def test_the_whole_log_verifies_while_the_daemon_runs(served: Omni) -> None:
    submitted(served, "one more", "--executor", "echo", "--wait")
    report = served.json("verify")
    assert report["schema"] == "omni.verify/1"
    assert report["ok"] is True
    assert report["violations"] == 0
    assert report["events"] == report["head"]


def test_logs_can_be_filtered_by_task_and_level(served: Omni) -> None:
    task = submitted(served, "leave a trace", "--executor", "echo", "--wait")
    mine = served.json("logs", "--task", task["id"])["lines"]
    assert mine
    assert {each["task"] for each in mine} == {task["id"]}
    assert {each["level"] for each in served.json("logs", "--level", "warning")["lines"]} <= {"warning", "error"}


def test_the_calls_of_a_task_in_and_out_are_found_by_it(served: Omni) -> None:
    task = submitted(served, "Show a system report of this machine", "--executor", "runbook", "--wait")
    mine = {each["event"]: each for each in served.json("logs", "--task", task["id"])["lines"]}
    assert {"call.answered", "tool.called", "task.ended"} <= set(mine)
    assert mine["call.answered"]["outcome"] == "ok"
    out = mine["tool.called"]
    assert (out["executor"], out["attempt"], out["outcome"], out["error"]) == ("runbook", 1, "succeeded", None)


def test_the_key_for_scrapers_opens_the_metrics_alone(served: Omni) -> None:
    given = served.json("token", "metrics")
    assert served.json("token", "metrics") == given
    assert answered(given["url"], given["key"]) == 200
    assert answered(given["url"].replace("/metrics", "/api/status"), given["key"]) == 403


def answered(url: str, key: str) -> int:
    """The status of a GET with this key."""
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 - loopback
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def test_logs_are_followed(served: Omni) -> None:
    with served.start("logs", "-f", "-n", "0", "--json") as process:
        assert process.stdout is not None
        found: list[str] = []
        read = threading.Thread(target=lambda: found.append(process.stdout.readline().decode()))  # type: ignore[union-attr]
        read.start()
        for n in range(50):  # the follower may still be starting
            submitted(served, f"seen {n}", "--executor", "echo", "--wait")
            read.join(0.2)
            if found:
                break
        process.send_signal(signal.SIGINT)
    assert json.loads(found[0])["event"]
    assert process.returncode == 130


def test_ids_and_results_from_outside_send_nothing_to_the_terminal(served: Omni) -> None:
    task = submitted(served, "evil \x1b]0;title\x07 text \x9b31m", "--executor", "echo", "--wait")
    for words in (["tasks"], ["task", "show", task["id"]], ["why", task["id"]], ["task", "tail", task["id"]]):
        shown = served(*words).stdout
        assert "\x1b" not in shown
        assert "\x9b" not in shown


def test_the_token_file_is_private_and_rotation_takes_effect_at_once(own_daemon: Daemon) -> None:
    omni = own_daemon.omni
    path = omni.data_dir / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = omni.json("token", "show")["token"]
    after = omni.json("token", "rotate")["token"]
    assert before != after == path.read_text().strip()
    assert omni("tasks").returncode == 0


def test_the_daemon_stops_clean_on_sigterm_and_on_ctrl_c(own_daemon: Daemon) -> None:
    assert own_daemon.stop(signal.SIGTERM) == 0
    own_daemon.start()
    assert own_daemon.stop(signal.SIGINT) == 0
    assert "Traceback" not in own_daemon.errors.read_text()
    assert "next: omni submit" in own_daemon.errors.read_text()


def test_a_second_daemon_exits_8_on_the_same_log_and_2_on_the_same_port(own_daemon: Daemon, tmp_path: Path) -> None:
    same = own_daemon.omni("serve")
    assert same.returncode == 8, same
    assert "next: " in same.stderr
    port = own_daemon.omni("serve", "--data-dir", str(tmp_path / "another"))
    assert port.returncode == 2, port
    assert "in use" in port.stderr
    assert "Traceback" not in same.stderr + port.stderr


def test_a_wait_goes_on_through_a_restart_of_the_daemon(own_daemon: Daemon) -> None:
    omni = own_daemon.omni
    with omni.start("submit", "nap", "--executor", "runbook", "--wait", "120", "--json") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        task_id = process.stderr.readline().decode().split(":")[0]
        own_daemon.stop(signal.SIGKILL)
        own_daemon.start()
        omni("task", "cancel", task_id)
        omni("task", "resolve", task_id, "fail")
        task = json.loads(process.stdout.read())["task"]
    assert task["id"] == task_id
    assert process.returncode == {"failed": 1, "cancelled": 1, "held": 6}[task["state"]]


def test_reading_goes_on_when_the_daemon_is_dead(own_daemon: Daemon) -> None:
    omni = own_daemon.omni
    done = submitted(omni, "greet", "--executor", "echo", "--wait")
    held = submitted(omni, "x", "--executor", "absent")
    live = {
        "tasks": omni.json("tasks"),
        "show": omni.json("task", "show", done["id"]),
        "why": omni.json("why", done["id"]),
        "tail": omni.json("task", "tail", done["id"]),
        "held": omni.json("tasks", "--state", "held"),
    }
    counts = {k: n for k, n in omni.json("status")["counts"].items() if n}
    own_daemon.stop(signal.SIGKILL)
    dead = {
        "tasks": omni.json("tasks"),
        "show": omni.json("task", "show", done["id"][:18]),
        "why": omni.json("why", done["id"]),
        "tail": omni.json("task", "tail", done["id"]),
        "held": omni.json("tasks", "--state", "held"),
    }
    assert dead == live
    status = omni.json("status", code=3)
    assert status["daemon"]["running"] is False
    assert status["mode"] is None
    assert status["counts"] == counts
    assert omni.json("task", "tail", held["id"], code=6)["task"]["state"] == "held"
    assert omni.json("verify")["ok"] is True
    for words in (["submit", "x"], ["task", "cancel", done["id"]], ["task", "retry", done["id"]]):
        error = omni.json(*words, code=3)["error"]
        assert error["kind"] == "daemon_unreachable"
        assert error["hint"] == "omni serve"


def test_text_from_stdin_is_kept_when_nobody_takes_it(omni: Omni) -> None:
    error = omni.json("submit", "-", stdin=b"a long thought", code=3)["error"]
    (kept,) = omni.home.glob("omni-unsent-*.txt")
    assert kept.read_text() == "a long thought"
    assert str(kept) in error["hint"]
    assert "--key" in error["hint"]


def test_on_a_fresh_machine_reading_says_that_there_is_nothing_yet(omni: Omni) -> None:
    assert omni.json("tasks", code=3)["error"]["hint"] == "omni serve"
    assert omni.json("verify", code=4)["error"]["kind"] == "not_found"
    assert omni.json("logs", code=4)["error"]["kind"] == "not_found"
    assert omni.json("status", code=3)["counts"] == {}
    assert not omni.data_dir.exists(), "a command that reads must not make a data directory"


def test_logs_without_a_line_that_fits_say_so(omni: Omni) -> None:
    (omni.data_dir / "logs").mkdir(parents=True)
    (omni.data_dir / "logs" / "omni.log").write_text('{"level": "info", "event": "started"}\n')
    done = omni("logs", "--level", "error", "--task", "0190")
    assert (done.returncode, done.stdout) == (0, "")
    assert "omni.log has no line of level error or above about task 0190\n  next: omni logs\n" in done.stderr
    assert (omni("logs").stderr, omni("logs", "-n", "0").stderr) == ("", "")
    assert omni.json("logs", "--level", "error")["lines"] == []


def test_the_configuration_of_these_tests_is_sound(omni: Omni) -> None:
    (omni.home / "config.yaml").write_text(CONFIG)
    assert omni.json("config", "check")["warnings"] == []


def test_a_backup_is_a_verified_log_of_its_own(served: Omni, tmp_path: Path) -> None:
    submitted(served, "keep me", "--executor", "echo", "--wait")
    target = tmp_path / "copy.db"
    made = served.json("backup", str(target))
    assert made["schema"] == "omni.backup/1"
    assert (made["ok"], made["bytes"]) == (True, target.stat().st_size)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["copy.db"]
    restored = tmp_path / "restored"
    restored.mkdir()
    target.rename(restored / "omni.db")
    port = ("--port", "1")  # where nobody listens
    assert served.json("verify", "--data-dir", str(restored))["head_hash"] == made["head_hash"]
    assert served.json("tasks", "--data-dir", str(restored), *port)["tasks"][0]["description"] == "keep me"


def test_a_backup_never_replaces_a_file(served: Omni, tmp_path: Path) -> None:
    target = tmp_path / "mine.txt"
    target.write_text("mine")
    assert "exists already" in served.json("backup", str(target), code=2)["error"]["message"]
    assert target.read_text() == "mine"


def test_a_log_that_lost_its_end_is_damage_although_it_looks_sound(own_daemon: Daemon, tmp_path: Path) -> None:
    omni = own_daemon.omni
    submitted(omni, "early", "--executor", "echo", "--wait")
    omni.json("backup", str(tmp_path / "early.db"))
    submitted(omni, "late", "--executor", "echo", "--wait")
    own_daemon.stop()
    for end in ("", "-wal", "-shm"):
        (omni.data_dir / f"omni.db{end}").unlink(missing_ok=True)
    (tmp_path / "early.db").rename(omni.data_dir / "omni.db")
    report = omni.json("verify", code=8)
    assert report["ok"] is False
    assert "missing" in report["damage"][0]["what"]
    assert "DAMAGED" in omni("verify").stdout

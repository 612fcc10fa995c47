"""`omni replay` on real logs: rows, moments, files, and what is said where nothing can be done."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from unicodedata import east_asian_width

import pytest
from tests.cli.conftest import Daemon, Omni
from tests.replay.logs import AT_MS, beginning, completed_life, life, write
from tests.replay.test_timeline import ONE, STORY, TWO

from omni import __version__
from omni.config import log_path
from omni.domain import events as ev

SHORT = ONE[:18]
SOUND = [*beginning(), *completed_life(1, "say hello"), *completed_life(2, "说 你好 " * 20)]
USAGE = [
    (["--event", "task.hold"], 2, "did you mean task.held?"),
    (["--event", "nope"], 2, "there are attempt., call., health., router., system., task."),
    (["--from", "10", "--to", "4"], 2, "--from 10 (position 10) comes after --to 4 (position 4)"),
    (["--from", "yesterday"], 2, "'yesterday' is no position and no point in time"),
    (["--to", "99"], 4, "no position 99 in this log: it ends at 22"),
    (["at", "99"], 4, "no position 99 in this log: it ends at 22"),
    (["at", "soon"], 2, "'soon' is no position and no point in time"),
    (["diff", "1"], 2, "missing argument"),
    (["--task", "ffffffff"], 4, "no task has an id that starts with ffffffff"),
    (["--task", "x"], 2, "not a task id"),
    (["--mermaid"], 2, "--task says which"),
    (["--mermaid", "--task", SHORT, "--executor", "echo"], 2, "--mermaid takes no --executor"),
    (["--html", "-", "--task", SHORT], 2, "--html takes no --task"),
    (["--verify", "--from", "2"], 2, "--verify takes no --from"),
    (["--html", "-", "--jsonl", "-"], 2, "--html and --jsonl are two different results"),
    (["--from", "2", "at", "5"], 2, "omni replay at takes no --from"),
    (["--perfetto", "taken.json"], 2, "taken.json exists already, and nothing is overwritten; another name, or - for"),
    (["--jsonl", "no/such/file"], 2, "no/such is no directory"),
    (["import", "nowhere.jsonl"], 2, "data/log.db is a log already"),
    (["--lang", "fr"], 2, "'fr' is not one of"),
    (["--event", "tsak.*"], 2, "no event's name begins with 'tsak.'"),
    (["att", "5"], 2, "did you mean omni replay at?"),
]


@pytest.fixture
def told(omni: Omni) -> Omni:
    """A home whose log tells a short story with a mode that changes."""
    write(omni.data_dir, *STORY)
    (omni.home / "taken.json").write_text("mine")
    return omni


@pytest.mark.parametrize(
    ("words", "code", "said"), USAGE, ids=lambda each: " ".join(each) if isinstance(each, list) else None
)
def test_what_cannot_be_done_names_the_next_command(told: Omni, words: list[str], code: int, said: str) -> None:
    done = told("replay", *words)
    assert done.returncode == code, done
    assert said.casefold() in done.stderr.casefold().replace(log_path(told.data_dir).name, "log.db")
    assert "\n  next: " in done.stderr
    assert done.stdout == ""
    assert (told.home / "taken.json").read_text() == "mine"


def test_without_a_log_it_says_so(omni: Omni) -> None:
    for words in ([], ["at", "1"], ["diff", "1", "2"], ["--verify"], ["--html", "x.html"]):
        done = omni("replay", *words)
        assert done.returncode == 4, done
        assert "there is no event log in" in done.stderr
    assert not (omni.home / "x.html").exists()


def test_the_rows_of_a_task_are_exact(told: Omni) -> None:
    lines = told("replay", "--task", SHORT, "--from", "11", "--to", "13").stdout.splitlines()
    assert lines == [
        "times count from 2026-09-21 14:13:20.010",
        "POSITION       SINCE  MODE       LANE          EVENT                       WHAT",
        "      11     +0.000s  DEGRADED   absent        attempt.planned             attempt 2 by absent",
        "      12     +0.001s  DEGRADED   absent        call.reserved               model call: small at proxy, free",
        "      13     +0.002s  DEGRADED   echo          call.settled                model call ended: closed",
    ]


def test_a_group_of_events_may_end_in_a_star_as_on_the_dashboard(told: Omni) -> None:
    with_star = told("replay", "--event", "attempt.*")
    assert with_star.returncode == 0, with_star
    assert with_star.stdout == told("replay", "--event", "attempt.").stdout
    assert told.json("replay", "--event", "attempt.*")["events"] == ["attempt."]


def test_rows_of_several_tasks_name_theirs(told: Omni) -> None:
    lines = told("replay", "--event", "task.created", "--event", "health.mode").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["4", "9", "14", "21"]
    assert [line[47:65] for line in lines[2:]] == [SHORT, " " * 18, " " * 18, TWO[:18]]


def test_one_document_holds_the_rows(told: Omni) -> None:
    document = told.json("replay", "--task", ONE, "--event", "call.", "--executor", "absent")
    assert {name: document[name] for name in ("schema", "after", "until", "task_id", "executor", "events")} == {
        "schema": "omni.replay/1", "after": 0, "until": 22, "task_id": ONE, "executor": "absent", "events": ["call."],
    }  # fmt: skip
    assert [(row["position"], row["at"], row["since_ms"], row["mode"]) for row in document["rows"]] == [
        (12, "2026-09-21T14:13:20.011Z", 0, "DEGRADED"),
        (15, "2026-09-21T14:13:20.014Z", 3, "NORMAL"),
    ]
    assert document["rows"][0] | {"at": ""} == {
        "at": "", "position": 12, "at_ms": AT_MS + 11, "since_ms": 0, "mode": "DEGRADED", "lane": "absent",
        "stream": f"task-{ONE}", "task_id": ONE, "attempt": 2, "executor": "absent", "type": "call.reserved",
        "text": "model call: small at proxy, free",
    }  # fmt: skip
    assert told.json("replay", "--executor", "nobody")["rows"] == []
    assert told.json("replay", "--event", "router.started")["rows"][0]["task_id"] is None


def test_a_document_of_many_rows_is_one_document(omni: Omni) -> None:
    write(omni.data_dir, *beginning(), *[event for n in range(1, 101) for event in completed_life(n)])
    assert [row["position"] for row in omni.json("replay")["rows"]] == list(range(1, 604))


def test_nothing_that_fits_is_said(told: Omni) -> None:
    done = told("replay", "--executor", "nobody", "--event", "task.", "--event", "call.")
    assert (done.returncode, done.stdout) == (0, "nothing happened that fits --executor nobody --event task. call.\n")
    assert done.stderr == "next: omni replay, with fewer options\n"


def test_words_come_in_the_language_of_the_configuration_or_the_one_that_is_asked_for(told: Omni) -> None:
    (told.home / "config.yaml").write_text("language: zh\n")
    asked = ["replay", "--event", "task.completed"]
    assert told(*asked).stdout.rstrip().endswith("完成")
    assert told(*asked, "--lang", "en").stdout.rstrip().endswith("done")


@pytest.mark.parametrize(("width", "heads"), [
    (80, "POSITION SINCE MODE LANE WHAT"),
    (120, "POSITION SINCE MODE LANE EVENT WHAT"),
    (160, "POSITION SINCE MODE LANE TASK EVENT WHAT"),
])  # fmt: skip
def test_rows_fit_a_terminal_and_leave_room_for_words(omni: Omni, width: int, heads: str) -> None:
    write(omni.data_dir, *SOUND, *life(3, ev.TaskSuspended("the cloud is offline " * 9)))
    lines = _on_terminal(omni, width, "replay")
    assert lines[1].split() == heads.split()
    assert len(lines) == 18
    assert max(_columns(line) for line in lines) <= width
    assert max(_columns(line) for line in lines) >= width - 2, "the room there is, is used"


def test_modes_and_outcomes_have_colours_unless_nobody_wants_them(told: Omni) -> None:
    coloured = "\n".join(_on_terminal(told, 120, "replay", raw=True))
    assert "\x1b[33mDEGRADED \x1b[0m" in coloured
    assert "\x1b[32mdone\x1b[0m" in coloured
    told.environ["NO_COLOR"] = "1"
    assert "\x1b[3" not in "\n".join(_on_terminal(told, 120, "replay", raw=True))


def test_the_state_at_a_moment_is_what_had_happened_by_then(told: Omni) -> None:
    assert told("replay", "at", "12").stdout.splitlines()[1:] == [
        "mode     DEGRADED: the proxy is down, since 2026-09-21 14:13:20",
        f"daemon   omni {__version__}, pid 1, running, started 2026-09-21 14:13:20",
        "health   nothing is known to be down",
        "tasks    1 dispatching",
        "",
        "EXECUTOR  HEALTH   RUNNING  QUEUED  WAITING  WHY",
        "echo      unknown  0        0       0",
        "absent    unknown  1        0       0        disabled",
        "",
        "ID                  STATE        EXECUTOR  CREATED              TASK",
        f"{SHORT}  dispatching  echo      2026-09-21 14:13:20  say hello",
    ]
    by_time = told.json("replay", "at", "2026-09-21T14:13:20.011Z")
    by_position = told.json("replay", "at", "12")
    assert by_time == by_position
    assert by_position["schema"] == "omni.state/1"
    assert by_position["state"]["tasks"]["counts"] == {"dispatching": 1}
    assert told("replay", "at", "0").stdout == "before the first event there is nothing\n"


def test_the_difference_of_two_moments_is_told_field_by_field(told: Omni) -> None:
    lines = told("replay", "diff", "12", "13").stdout.splitlines()
    assert lines[0].startswith("from position 12 (2026-09-21 14:13:20) to 13 (2026-09-21 14:13:20): ")
    assert any(line.split() == ["health.mode.mode", "DEGRADED", "→", "NORMAL"]
               for line in told("replay", "diff", "13", "14").stdout.splitlines())  # fmt: skip
    assert "nothing differs" in told("replay", "diff", "9", "9").stdout
    found = told.json("replay", "diff", "16", "17")
    assert found["schema"] == "omni.diff/1"
    assert (found["before"]["position"], found["after"]["position"]) == (16, 17)
    assert {"path": f"tasks[{ONE}].state", "before": "dispatching", "after": "completed"} in found["differences"]


def test_verify_is_the_same_check_with_the_same_exit_codes(told: Omni, tmp_path: Path) -> None:
    assert told("replay", "--verify").returncode == told("verify").returncode == 7
    assert told.json("replay", "--verify", code=7) == told.json("verify", code=7)
    sound = Omni(told.home, told.port)
    sound.environ["OMNI_DATA_DIR"] = str(write(tmp_path / "sound", *SOUND))
    assert sound("replay", "--verify").returncode == 0
    database = log_path(tmp_path / "sound")
    database.write_bytes(database.read_bytes().replace(b"say hello", b"say HELLO"))
    assert sound("replay", "--verify").returncode == 8


def test_a_task_is_drawn_as_a_sequence_diagram(told: Omni) -> None:
    diagram = told("replay", "--mermaid", "--task", SHORT).stdout
    assert diagram.startswith("sequenceDiagram\n    participant client as client\n")
    assert diagram.endswith("attempt 1 succeeded after it was given up#59; nothing changes\n")
    document = told.json("replay", "--mermaid", "--task", SHORT)
    assert (document["schema"], document["task_id"], document["mermaid"]) == ("omni.replay/1", ONE, diagram)


@pytest.mark.parametrize("kind", ["perfetto", "html", "jsonl"])
def test_a_file_is_written_once_and_for_its_owner_alone(told: Omni, kind: str) -> None:
    document = told.json("replay", f"--{kind}", "out.file", "--from", "4", "--to", "12")
    out = told.home / "out.file"
    assert out.stat().st_mode & 0o777 == 0o600
    assert document == {
        "schema": "omni.replay/1", "kind": kind, "path": str(out), "bytes": out.stat().st_size,
        "after": 3, "until": 12, "events": 9,
    }  # fmt: skip
    content = out.read_bytes()
    assert told("replay", f"--{kind}", "out.file").returncode == 2
    assert out.read_bytes() == content
    refused = told("replay", f"--{kind}", "-", "--json")
    assert refused.returncode == 2
    assert "both want stdout" in json.loads(refused.stdout)["error"]["message"]


def test_the_trace_goes_to_stdout_whole(told: Omni) -> None:
    trace = json.loads(told("replay", "--perfetto", "-").stdout)
    names = {each["args"]["name"] for each in trace["traceEvents"] if each["name"] == "thread_name"}
    assert names == {"mode", "no daemon", "events", "echo", "absent"}


def test_what_cannot_be_written_whole_is_not_left_there(told: Omni) -> None:
    database = log_path(told.data_dir)
    database.write_bytes(database.read_bytes().replace(b'"the proxy is down"', b'"the proxy is DOWN"'))
    done = told("replay", "--jsonl", "out.jsonl")
    assert done.returncode == 8, done
    assert not (told.home / "out.jsonl").exists()


def test_an_export_makes_the_same_log_elsewhere(told: Omni, tmp_path: Path) -> None:
    assert told("replay", "--jsonl", "log.jsonl").returncode == 0
    there = str(tmp_path / "there")
    done = told("replay", "import", "log.jsonl", "--data-dir", there)
    assert done.returncode == 0, done
    assert "22 events, the same hashes" in done.stdout
    assert done.stderr == f"next: omni verify --data-dir {there}\n"
    assert told("replay", "--data-dir", there).stdout == told("replay").stdout
    assert told.json("replay", "at", "22", "--data-dir", there) == told.json("replay", "at", "22")
    again = told("replay", "import", "log.jsonl", "--data-dir", there)
    assert again.returncode == 2
    assert "is a log already, and an import overwrites nothing" in again.stderr


def test_an_export_goes_through_a_pipe(told: Omni, tmp_path: Path) -> None:
    exported = told("replay", "--jsonl", "-").stdout.encode()
    document = told.json("replay", "import", "-", "--data-dir", str(tmp_path / "there"), stdin=exported)
    assert (document["schema"], document["position"]) == ("omni.import/1", 22)
    assert document["hash"] == told.json("verify", code=7)["head_hash"]


def test_a_damaged_export_is_refused_and_leaves_nothing(told: Omni, tmp_path: Path) -> None:
    lines = told("replay", "--jsonl", "-").stdout.splitlines()
    broken = "\n".join(line.replace("the proxy is down", "the proxy is up") for line in lines).encode()
    done = told("replay", "import", "-", "--data-dir", str(tmp_path / "there"), stdin=broken)
    assert done.returncode == 8, done
    assert not log_path(tmp_path / "there").exists()


def test_the_log_of_a_running_daemon_is_read_and_so_is_a_dead_ones(own_daemon: Daemon) -> None:
    omni = own_daemon.omni
    task = omni.json("submit", "say hello", "--wait", "20")["task"]["id"]
    alive = omni("replay", "--task", task).stdout
    assert [line.split()[4] for line in alive.splitlines()[2:]] == [
        "task.created", "task.routed", "attempt.planned", "attempt.succeeded", "task.completed",
    ]  # fmt: skip
    assert omni.json("replay", "at", "0s")["state"]["tasks"]["counts"] == {"completed": 1}
    assert own_daemon.stop() == 0
    assert omni("replay", "--task", task).stdout == alive
    assert omni("replay", "--event", "system.stopped").stdout.splitlines()[-1].split()[0].isdigit()


def _on_terminal(omni: Omni, width: int, *words: str, raw: bool = False) -> list[str]:
    """What a command prints on a terminal of that width."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = _start(omni, theirs, *words)
    os.close(theirs)
    read = b""
    while chunk := _some(mine):
        read += chunk
    os.close(mine)
    assert process.wait(30) == 0, read
    text = read.decode().replace("\r\n", "\n")
    plain = text if raw else re.sub(r"\r?\x1b\[[0-9;]*[mK]", "", text)
    return plain.splitlines()


def _start(omni: Omni, terminal: int, *words: str) -> subprocess.Popen[bytes]:
    environ = {**omni.environ, "TERM": "xterm"}
    return subprocess.Popen(
        omni.command(*words), cwd=omni.home, env=environ, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
    )


def _some(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other side is closed
        return b""


def _columns(line: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in line)

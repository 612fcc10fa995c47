"""All commands, one by one: help, the document of `--json`, lines that cannot be read, and the contract's exit codes.

A command that is new fails here until it stands in `ALIVE` or in `UNDOCUMENTED`, with what it prints.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.cli.conftest import CONFIG, Daemon, Omni, free_port, make_omni

from omni.cli.app import command_tree
from omni.cli.arguments import split
from omni.cli.examples import EXAMPLES
from omni.cli.usage import runs, walk

STRANGER = "019aa5b2-1c3d-7abc-8000-000000000001"
COMMANDS = {path: command for path, command in walk(command_tree()) if runs(command)}
EVERYTHING = {"": command_tree(), **dict(walk(command_tree()))}


class Try(NamedTuple):
    """A line that works while the daemon runs; how it ends then, and when there is only the log."""

    words: str
    alive: int = 0
    dead: int = 0


NEEDS_DAEMON = 3
PAGE_BYTES = 4096
# {done}, {held} and {running} are tasks; the rest of a line are files in the home.
ALIVE: dict[str, Try] = {
    "submit": Try("submit hello --executor echo --wait 20", dead=NEEDS_DAEMON),
    "tasks": Try("tasks --limit 2"),
    "why": Try("why {done}"),
    "status": Try("status", dead=NEEDS_DAEMON),
    "mode": Try("mode", dead=NEEDS_DAEMON),
    "dashboard": Try("dashboard", dead=NEEDS_DAEMON),
    "costs": Try("costs --by day"),
    "what-if": Try("what-if --config other.yaml"),
    "logs": Try("logs --lines 5"),
    "init": Try("init --openclaw", dead=0),
    "doctor": Try("doctor"),
    "verify": Try("verify"),
    "backup": Try("backup copy-of-{state}.db"),
    "drill": Try("drill none --live", dead=NEEDS_DAEMON),
    "version": Try("version"),
    "completion": Try("completion bash"),
    "replay": Try("replay --to 5"),
    "replay at": Try("replay at 5"),
    "replay diff": Try("replay diff 2 5"),
    "replay import": Try("replay import {export} --data-dir other-{state}"),
    "task show": Try("task show {done}"),
    "task tail": Try("task tail {done}"),
    "task cancel": Try("task cancel {running}", dead=NEEDS_DAEMON),
    "task retry": Try("task retry {done}", dead=NEEDS_DAEMON),
    "task resolve": Try("task resolve {held} fail", dead=NEEDS_DAEMON),
    "token show": Try("token show"),
    "token rotate": Try("token rotate --data-dir other-{state}"),
    "token model": Try("token model cursor"),
    "token new": Try("token new phone"),
    "token metrics": Try("token metrics"),
    "config check": Try("config check"),
    "config show": Try("config show"),
    "config reload": Try("config reload", dead=NEEDS_DAEMON),
    "config diff": Try("config diff", dead=NEEDS_DAEMON),
    "config import": Try("config import mcp.json"),
}
# These speak to a program in its own language, with --json as without; see `EXAMPLES`.
UNDOCUMENTED = {
    "serve": "it runs until it is stopped",
    "mcp": "it speaks MCP on stdout",
    "config schema": "it is a JSON Schema, to be saved for an editor",
}
# These would change what this machine starts: tests/ops runs them against stand-ins of launchctl and systemctl.
ELSEWHERE = {path for path in COMMANDS if path.startswith("service ")}
OF_A_TASK = [path for path in ALIVE if "{done}" in ALIVE[path].words or path in {"task cancel", "task resolve"}]
OF_THE_LOG = [
    "tasks", "why", "costs", "what-if", "verify", "backup", "replay", "replay at", "replay diff", "task show",
]  # fmt: skip


class Ran(NamedTuple):
    """How a line ended."""

    code: int
    out: str
    err: str


class Told(NamedTuple):
    """A home in which things have happened, and the names of what is in it."""

    omni: Omni
    names: Mapping[str, str]

    def words(self, path: str, **names: str) -> list[str]:
        return ALIVE[path].words.format(**self.names, **names).split()


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A daemon with a task that is done, one that is held, and one that runs."""
    omni = make_omni(tmp_path_factory.mktemp("alive") / "home")
    daemon = _started(omni)
    yield Told(omni, _lived(omni))
    daemon.stop()


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The same, killed."""
    omni = make_omni(tmp_path_factory.mktemp("dead") / "home")
    daemon = _started(omni)
    names = _lived(omni)
    daemon.stop(signal.SIGKILL)
    return Told(omni, names)


@pytest.fixture(scope="module")
def damaged(dead: Told, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A backup of the dead one's log in a home of its own, whose pages hold something else behind the first."""
    omni = make_omni(tmp_path_factory.mktemp("damaged") / "home")
    shutil.copy(dead.omni.home / "other.yaml", omni.home)
    (omni.home / "data").mkdir(mode=0o700)
    log = omni.home / "data" / "omni.db"
    assert dead.omni("backup", str(log)).returncode == 0
    raw = log.read_bytes()
    assert len(raw) > 3 * PAGE_BYTES
    log.write_bytes(raw[:PAGE_BYTES] + bytes(byte ^ 0x5A for byte in raw[PAGE_BYTES:]))
    return Told(omni, dead.names)


def _started(omni: Omni) -> Daemon:
    (omni.home / "config.yaml").write_text(CONFIG)
    (omni.home / "mcp.json").write_text('{"mcpServers": {"clock": {"command": "uvx", "args": ["mcp-server-time"]}}}')
    (omni.home / "other.yaml").write_text(CONFIG + "router: {complexity_threshold: 10}\n")
    daemon = Daemon(omni)
    daemon.start()
    return daemon


def _lived(omni: Omni) -> dict[str, str]:
    """Hand in three tasks; gives their ids, and an export of the log so far."""
    lines = {
        "done": ("hello", "--executor", "echo", "--wait", "20"),
        "held": ("hello", "--executor", "absent", "--wait", "20"),
        "running": ("nap", "--executor", "runbook"),
    }
    ids = {name: json.loads(omni("submit", *words, "--json").stdout)["task"]["id"] for name, words in lines.items()}
    exported = omni("replay", "--jsonl", "export.jsonl")
    assert exported.returncode == 0, exported
    return {**ids, "export": "export.jsonl"}


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs a line in this process, in an empty home: for lines that are refused before anything is begun."""
    from omni.cli.main import main

    for name in [name for name in os.environ if name.startswith("OMNI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OMNI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("OMNI_PORT", str(free_port()))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ran:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capfd.readouterr()
        return Ran(int(left.value.code or 0), said.out, said.err)

    return run


def test_every_command_is_tried_here() -> None:
    assert set(ALIVE) | set(UNDOCUMENTED) | ELSEWHERE == set(COMMANDS)
    assert {path for path in COMMANDS if not EXAMPLES[path].schema} == set(UNDOCUMENTED)


# ---- help --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 250])
@pytest.mark.parametrize("path", EVERYTHING)
def test_its_help_fits_a_hundred_columns(path: str, columns: int, line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = line(*path.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: omni {path}".rstrip())
    assert max(map(len, done.out.splitlines())) <= 100
    assert line(*path.split(), "-h") == done


@pytest.mark.parametrize("group", [path for path, each in EVERYTHING.items() if hasattr(each, "commands")])
def test_no_sentence_of_a_list_of_commands_is_cut_off(group: str, line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert [each for each in line(*group.split(), "--help").out.splitlines()[1:] if each.endswith("...")] == []


@pytest.mark.parametrize("path", EVERYTHING)
def test_it_and_all_its_parameters_are_explained(path: str) -> None:
    command = EVERYTHING[path]
    assert command.help
    unexplained = [p.name for p in command.params if not (getattr(p, "help", None) or "").strip()]
    assert unexplained == []


# ---- lines that cannot be read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERYTHING)
def test_a_wrong_option_is_a_usage_error_that_leads_to_its_help(path: str, line: Any) -> None:
    done = line(*path.split(), "--no-such-option")
    assert done.code == 2
    _require_complaint(done, f"omni {path}".rstrip() + " --help")
    assert "--no-such-option" in done.err


@pytest.mark.parametrize("path", COMMANDS)
def test_a_surplus_argument_is_a_usage_error(path: str, line: Any) -> None:
    known = dict.fromkeys(("done", "held", "running"), STRANGER)
    words = ALIVE[path].words if path in ALIVE else path
    given = words.format(**known, export="x", state="x").split()
    surplus = [*given, "one-more", "and-another"] if path != "mode" else [*given, "auto", "one-more"]
    done = line(*surplus)
    assert done.code == 2
    _require_complaint(done)


@pytest.mark.parametrize("path", [p for p, c in COMMANDS.items() if any(a.required for a in c.params)])
def test_a_missing_argument_is_a_usage_error_that_leads_to_its_help(path: str, line: Any) -> None:
    done = line(*path.split())
    assert done.code == 2
    _require_complaint(done, f"omni {path} --help")


@pytest.mark.parametrize("path", COMMANDS)
def test_with_json_a_usage_error_is_one_document_and_stderr_is_empty(path: str, line: Any) -> None:
    done = line(*path.split(), "--no-such-option", "--json")
    assert (done.code, done.err) == (2, "")
    _require_error_document(done.out, "usage")


# ---- documents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ALIVE)
def test_with_a_daemon_it_gives_its_document(alive: Told, path: str) -> None:
    done = alive.omni(*alive.words(path, state="alive"), "--json")
    assert done.returncode == ALIVE[path].alive, done
    _require_document(path, done)


@pytest.mark.parametrize("path", ALIVE)
def test_without_a_daemon_it_reads_the_log_or_says_what_to_start(dead: Told, path: str) -> None:
    done = dead.omni(*dead.words(path, state="dead"), "--json")
    assert done.returncode == ALIVE[path].dead, done
    if done.returncode == NEEDS_DAEMON and path != "status":  # of a dead daemon the status is a document, too
        error = _require_error_document(done.stdout, "daemon_unreachable")
        assert "omni serve" in error["hint"]
    else:
        _require_document(path, done)


@pytest.mark.parametrize("path", [path for path in ALIVE if ALIVE[path].dead == NEEDS_DAEMON])
def test_without_a_daemon_people_are_told_the_same(dead: Told, path: str) -> None:
    done = dead.omni(*dead.words(path, state="dead"))
    assert done.returncode == NEEDS_DAEMON
    assert "\n  next: omni serve" in done.stderr
    assert path == "status" or done.stdout == ""


def test_what_other_programs_read_is_not_wrapped(alive: Told) -> None:
    schema = json.loads(alive.omni("config", "schema", "--json").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    bridge = alive.omni("mcp", "--json", stdin=b"")
    assert (bridge.returncode, bridge.stdout) == (0, "")
    script = alive.omni("completion", "zsh")
    assert script.returncode == 0
    assert "compdef" in script.stdout


# ---- the other exit codes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", OF_A_TASK)
def test_an_unknown_id_is_not_found(alive: Told, path: str) -> None:
    for unknown in (STRANGER, STRANGER[:9]):
        words = ALIVE[path].words.format(done=unknown, held=unknown, running=unknown).split()
        done = alive.omni(*words)
        assert done.returncode == 4, done
        _require_complaint(Ran(done.returncode, done.stdout, done.stderr), "omni tasks")
        _require_error_document(alive.omni(*words, "--json").stdout, "not_found")


@pytest.mark.parametrize("path", [path for path in ALIVE if ALIVE[path].dead == NEEDS_DAEMON])
def test_without_a_token_it_is_not_authorised(alive: Told, path: str, tmp_path: Path) -> None:
    _require_login(alive, path, tmp_path / "data")


@pytest.mark.parametrize("path", ["submit", "status", "mode", "drill"])  # of more wrong ones a minute it hears none
def test_with_a_wrong_token_it_is_not_authorised(alive: Told, path: str, tmp_path: Path) -> None:
    token = tmp_path / "data" / "token"
    token.parent.mkdir(mode=0o700)
    token.write_text("a-token-of-somebody-else-that-is-long-enough")
    token.chmod(0o600)
    _require_login(alive, path, token.parent)


def _require_login(told: Told, path: str, data_dir: Path) -> None:
    done = told.omni(*told.words(path, state="elsewhere"), "--data-dir", str(data_dir))
    assert done.returncode == 5, done
    assert "omni token show" in done.stderr.split("\n  next: ")[1]
    assert done.stdout == ""


@pytest.mark.parametrize("path", OF_THE_LOG)
def test_of_a_damaged_log_it_says_so(damaged: Told, path: str) -> None:
    words = damaged.words(path, state="damaged")
    done = damaged.omni(*words)
    assert done.returncode == 8, done
    assert "next: " in done.stderr
    assert "Traceback" not in done.stderr
    document = json.loads(damaged.omni(*words, "--json").stdout)
    assert document["schema"] in {"omni.error/1", f"omni.{EXAMPLES[path].schema}/1"}


def test_a_second_daemon_finds_the_log_locked(alive: Told) -> None:
    done = alive.omni("serve", "--port", str(free_port()))
    assert done.returncode == 8, done
    assert done.stdout == ""
    assert "\n  next: " in done.stderr
    _require_error_document(alive.omni("serve", "--port", str(free_port()), "--json").stdout, "log")


def test_a_failed_task_a_held_one_and_a_wait_that_ends_too_early_have_their_codes(alive: Told) -> None:
    assert alive.omni("submit", "broken", "--executor", "runbook", "--wait", "20").returncode == 1
    assert alive.omni("submit", "hello", "--executor", "absent", "--wait", "20").returncode == 6
    assert alive.omni("submit", "nap", "--executor", "runbook", "--wait", "0.2").returncode == 124


def test_a_pipe_that_closes_early_is_no_mistake(dead: Told) -> None:
    omni = dead.omni
    line = " ".join(omni.command("replay"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | head -c 10"],
        env=omni.environ, cwd=omni.home, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (len(done.stdout), done.stderr) == (10, b"")


def _require_complaint(done: Ran, following: str = "") -> None:
    """Two lines on stderr, the second with a command that can be run; nothing on stdout."""
    assert done.out == ""
    said, _, then = done.err.rstrip("\n").rpartition("\n  next: ")
    assert said.startswith("omni: "), done.err
    assert "Traceback" not in said
    assert then == following if following else then.startswith("omni "), then
    read = then.split(",")[0].split(" or ")[0]
    assert split(read.split()[1:])


def _require_document(path: str, done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == f"omni.{EXAMPLES[path].schema}/1"


def _require_error_document(text: str, kind: str) -> dict[str, Any]:
    document = json.loads(text)
    assert document["schema"] == "omni.error/1"
    error: dict[str, Any] = document["error"]
    assert set(error) == {"kind", "message", "hint"}
    assert error["kind"] == kind
    assert error["hint"]
    return error

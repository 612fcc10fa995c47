"""What the adapter for Claude Code relies on, seen at the real program."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fakes.processes import MessagesProcess, running
from tests.peers.claude import KEY, ClaudeHome, Ran, new_session
from tests.torture.daemon_process import Someone, is_alive, until

ACCOUNT = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-of-a-test"}
FOREVER = "python3 -c 'import time; time.sleep(300)'"  # a bare sleep is refused


def call(tool: str, **given: Any) -> str:
    return f"[[tool:{tool}:{json.dumps(given)}]]"


def test_a_session_goes_on_under_its_id_and_a_fork_under_a_new_one(claude: ClaudeHome) -> None:
    first, fork = new_session(), new_session()
    begun = claude.run("[[text:one]]", "--session-id", first)
    assert begun.of("system", "init")[0]["session_id"] == begun.result["session_id"] == first
    forked = claude.run("[[text:two]]", "--resume", first, "--fork-session", "--session-id", fork)
    assert forked.result["session_id"] == fork
    assert "[[text:one]]" in claude.api.asked(fork)[0].prompt
    assert claude.run("[[text:three]]", "--resume", fork).result["session_id"] == fork
    assert claude.run("[[text:four]]", "--resume", first).result["session_id"] == first


def test_the_cost_of_a_session_adds_up_and_its_usage_does_not(claude: ClaudeHome) -> None:
    session = new_session()
    once = claude.run("[[text:one]]", "--session-id", session).result
    twice = claude.run("[[text:two]]", "--resume", session).result
    assert twice["total_cost_usd"] == pytest.approx(2 * once["total_cost_usd"])
    assert twice["usage"]["output_tokens"] == once["usage"]["output_tokens"]


def test_a_session_is_found_from_another_directory_and_from_one_made_anew(claude: ClaudeHome, tmp_path: Path) -> None:
    session, elsewhere = new_session(), tmp_path / "elsewhere"
    claude.run("[[text:one]]", "--session-id", session)
    elsewhere.mkdir()
    assert claude.run("[[text:two]]", "--resume", session, cwd=elsewhere).result["result"] == "two"
    shutil.rmtree(claude.work)
    claude.work.mkdir()
    assert claude.run("[[text:three]]", "--resume", session).result["result"] == "three"
    assert "[[text:one]]" in claude.api.asked(session)[-1].prompt


def test_a_used_id_is_refused_in_words_and_an_unknown_one_with_a_result(claude: ClaudeHome) -> None:
    used, unknown = new_session(), new_session()
    claude.run("[[text:one]]", "--session-id", used)
    again = claude.run("[[text:two]]", "--session-id", used)
    assert (again.code, again.events) == (1, [])
    assert again.said.startswith(f"Error: Session ID {used} is already in use")
    lost = claude.run("[[text:two]]", "--resume", unknown)
    assert lost.code == 1
    assert f"No conversation found with session ID: {unknown}" in lost.said
    assert (lost.result["subtype"], lost.result["num_turns"]) == ("error_during_execution", 0)
    assert len(claude.api.asked()) == 1


@pytest.mark.parametrize("whose", ["user", "project"])
def test_settings_beat_the_environment_until_their_sources_are_left_out(
    claude: ClaudeHome, tmp_path: Path, whose: str
) -> None:
    elsewhere = MessagesProcess(tmp_path, "elsewhere")
    with running(elsewhere):
        settings = {"env": {"ANTHROPIC_BASE_URL": elsewhere.up().url}}
        folder = (claude.home if whose == "user" else claude.work) / ".claude"
        folder.mkdir(exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
        claude.run("[[text:one]]")
        assert [len(elsewhere.asked()), len(claude.api.asked())] == [1, 0]
        claude.run("[[text:two]]", "--setting-sources", "")
        assert [len(elsewhere.asked()), len(claude.api.asked())] == [1, 1]
        given = json.dumps({"env": {"ANTHROPIC_BASE_URL": claude.api.url, "ANTHROPIC_API_KEY": "sk-by-flag"}})
        claude.run("[[text:three]]", "--settings", given)
        assert [each.key for each in claude.api.asked()] == [KEY, "sk-by-flag"]


def test_one_path_of_the_api_is_enough_for_a_run_with_tools(claude: ClaudeHome) -> None:
    claude.api.set(bare=True)
    task = call("Task", description="look", prompt="[[text:found]]", subagent_type="Explore", run_in_background=False)
    ran = claude.run(task + call("Bash", command="echo hello"), "--model", "a-model", "--allowedTools", "Task,Bash")
    assert ran.result["result"] == "TOOL SAID: hello"
    assert {(each.method, each.path, each.model) for each in claude.api.entries()} == {
        ("POST", "/v1/messages", "a-model")
    }


# How a status of the API ends a run: the error of the synthetic message, and the text of the result.
REFUSED = {
    401: ("authentication_failed", "Invalid API key"),
    429: ("rate_limit", "Request rejected (429)"),
    500: ("server_error", "API Error: 500"),
    529: ("server_error", "529 Overloaded"),
}


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("status", REFUSED)
def test_a_refusal_of_the_api_is_a_success_that_is_an_error(claude: ClaudeHome, status: int, retries: int) -> None:
    error, text = REFUSED[status]
    ran = claude.run(f"[[status:{status}]]", CLAUDE_CODE_MAX_RETRIES=str(retries))
    assert (ran.code, ran.result["subtype"], ran.result["is_error"]) == (1, "success", True)
    assert (ran.result["terminal_reason"], ran.result["api_error_status"]) == ("api_error", status)
    assert text in ran.result["result"]
    assert [each["error"] for each in ran.of("assistant")] == [error]
    assert [each["error_status"] for each in ran.of("system", "api_retry")] == [status] * retries
    assert len(claude.api.asked()) == retries + 1
    assert ran.took_s < 10


def test_an_api_that_is_not_there_is_named_by_a_word_and_no_status(claude: ClaudeHome) -> None:
    ran = claude.run("[[text:one]]", ANTHROPIC_BASE_URL="http://127.0.0.1:1")
    assert (ran.result["is_error"], ran.result["api_error_status"]) == (True, None)
    assert ran.result["api_error"] == "connection_failed"


@pytest.mark.parametrize("claim", ["five_hour", "seven_day"])
def test_the_limit_of_an_account_says_when_it_ends_and_is_asked_once(claude: ClaudeHome, claim: str) -> None:
    claude.environ = ACCOUNT
    ran = claude.run(f"[[limit:{claim}:7200]]", CLAUDE_CODE_MAX_RETRIES="3")
    info = ran.of("rate_limit_event")[0]["rate_limit_info"]
    assert (info["status"], info["rateLimitType"]) == ("rejected", claim)
    assert isinstance(info["resetsAt"], int)
    assert (ran.result["is_error"], ran.result["api_error"]) == (True, "usage_limit_reached")
    assert "hit your" in ran.result["result"]
    assert "resets" in ran.result["result"]
    assert len(claude.api.asked()) == 1


def test_the_same_answer_to_a_key_is_an_ordinary_rate_limit(claude: ClaudeHome) -> None:
    ran = claude.run("[[limit:five_hour:7200]]")
    assert ran.result["api_error_status"] == 429
    assert "api_error" not in ran.result
    assert ran.of("rate_limit_event") == []


def test_a_denied_permission_is_a_success_that_names_it(claude: ClaudeHome, tmp_path: Path) -> None:
    ran = claude.run(call("Write", file_path=str(tmp_path / "outside"), content="x"), "--permission-mode", "dontAsk")
    assert (ran.code, ran.result["subtype"], ran.result["is_error"]) == (0, "success", False)
    assert [each["tool_name"] for each in ran.result["permission_denials"]] == ["Write"]
    assert [each["tool_name"] for each in ran.of("system", "permission_denied")] == ["Write"]
    assert not (tmp_path / "outside").exists()


BOUNDS = {
    "turns": ("--max-turns", "2", "error_max_turns", "max_turns"),
    "budget": ("--max-budget-usd", "0.001", "error_max_budget_usd", "budget_exhausted"),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_ends_a_run_with_errors_and_without_a_text(claude: ClaudeHome, bound: str) -> None:
    option, value, subtype, reason = BOUNDS[bound]
    ran = claude.run('[[loop:Bash:{"command": "true"}]]', option, value, "--allowedTools", "Bash")
    assert (ran.code, ran.result["subtype"], ran.result["is_error"]) == (1, subtype, True)
    assert ran.result["terminal_reason"] == reason
    assert ran.result["errors"]
    assert "result" not in ran.result


# How a signal ends a run that runs a command: its exit code, whether it has a result, whether the command lives on.
SIGNALS = {signal.SIGINT: (0, True, False), signal.SIGTERM: (143, False, False), signal.SIGKILL: (-9, False, True)}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_the_middle_of_a_command(claude: ClaudeHome, number: signal.Signals) -> None:
    code, with_result, lives_on = SIGNALS[number]
    run = claude.start(call("Bash", command=FOREVER), "--allowedTools", "Bash")
    family = until(lambda: _family(run.process.pid, "time.sleep(300)"), 20, "the command runs")
    ran = run.signal(number).end()
    try:
        assert ran.code == code
        assert len(ran.of("result")) == with_result
        if lives_on:
            assert any(map(is_alive, family))
        else:
            until(lambda: not any(map(is_alive, family)), 5, "the command is gone")
    finally:
        for each in filter(is_alive, family):
            psutil.Process(each.pid).kill()
    if with_result:
        assert ran.result["is_error"]


def test_a_killed_session_can_be_gone_on_with(claude: ClaudeHome) -> None:
    session = new_session()
    run = claude.start("[[slow:60]]", "--session-id", session)
    until(lambda: claude.api.asked(session), 20, "the model is asked")
    until(lambda: claude.recorded(session), 20, "the session is on disk")
    run.signal(signal.SIGKILL).end()
    ran = claude.run("[[text:on we go]]", "--resume", session)
    assert ran.result["result"] == "on we go"
    assert "[[slow:60]]" in claude.api.asked(session)[-1].prompt


HANDS = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("hands")
@server.tool()
def run_command(name: str) -> str:
    return "ran " + name
@server.tool()
def other(name: str) -> str:
    return "other " + name
server.run()
"""


@pytest.fixture
def narrow(claude: ClaudeHome, tmp_path: Path) -> list[str]:
    """The words that leave a session one tool of one server and one file."""
    (tmp_path / "hands.py").write_text(HANDS, "utf-8")
    (tmp_path / "log.txt").write_text("what happened", "utf-8")
    servers = {"mcpServers": {"hands": {"command": sys.executable, "args": [str(tmp_path / "hands.py")]}}}
    allowed = ["--tools", "Read", "--allowedTools", "mcp__hands__run_command", f"Read(/{tmp_path / 'log.txt'})"]
    config = ["--mcp-config", json.dumps(servers), "--setting-sources", "", "--permission-mode", "dontAsk"]
    return [*config, *allowed]


def test_a_session_can_be_left_one_tool_and_one_file(claude: ClaudeHome, narrow: list[str], tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    script = [
        call("mcp__hands__run_command", name="a"),
        call("Read", file_path=str(tmp_path / "log.txt")),
        call("mcp__hands__other", name="a"),
        call("Read", file_path=str(tmp_path / "secret.txt")),
        call("Bash", command="true"),
    ]
    ran = claude.run("".join(script), *narrow)
    did, read, other, secret, bash = [each.result for each in claude.api.asked() if each.result]
    assert "ran a" in did
    assert "what happened" in read
    assert (other[:5], secret[:5], bash[:5]) == ("ERROR", "ERROR", "ERROR")
    assert "No such tool" in bash
    assert _denied(ran) == ["mcp__hands__other", "Read"]


def _denied(ran: Ran) -> list[str]:
    return [each["tool_name"] for each in ran.result["permission_denials"]]


def _family(pid: int, words: str) -> list[Someone]:
    """All that a process has started, when one of them has those words in its command line."""
    them = psutil.Process(pid).children(recursive=True)
    found = any(words in " ".join(each.info["cmdline"] or []) for each in _looked_at(them))
    return [Someone(each.pid, each.create_time()) for each in them] if found else []


def _looked_at(them: list[psutil.Process]) -> list[Any]:
    """Their command lines, without those that are gone meanwhile."""
    pids = {each.pid for each in them}
    return [each for each in psutil.process_iter(["pid", "cmdline"]) if each.info["pid"] in pids]

"""Faults of executors: real MCP servers whose tools are other than the configuration says, and absent programs."""

from typing import Any

import psutil
import pytest
from tests.cli.conftest import free_port
from tests.ops.doctor.conftest import SCHEMA, Home, Upstream


def typed(**properties: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}}


def test_a_server_that_fits_gives_no_trouble_and_ends_with_the_look(home: Home) -> None:
    home.server({"act": SCHEMA})
    found = home.findings()
    assert [each for each in found if each.is_trouble] == []
    assert "executor.peer" in {each.name for each in found}
    assert not [each for each in psutil.process_iter() if str(home.path / "tools.json") in " ".join(_line(each))]


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_renamed_tool_is_found_with_its_new_name(home: Home) -> None:
    home.server({"act_now": SCHEMA, "other": SCHEMA})
    found = home.finding("mcp.tool_absent")
    assert "'act'" in found.says
    assert "act_now, other" in found.says
    assert "mcp_servers.peer.tool: act_now" in found.mend


def test_a_required_argument_that_is_not_given_is_found(home: Home) -> None:
    home.server({"act": {**typed(prompt="string", description="string"), "required": ["prompt"]}})
    found = home.finding("mcp.argument_missing")
    assert "'prompt'" in found.says
    assert "mcp_servers.peer.arguments" in found.mend


def test_an_argument_that_the_tool_does_not_know_is_found(home: Home) -> None:
    home.server({"act": typed(prompt="string")}, arguments={"prompt": "{description}", "colour": "red"})
    assert "'colour'" in home.finding("mcp.argument_unknown").says


def test_an_argument_that_the_tool_refuses_is_found(home: Home) -> None:
    schema = {**typed(prompt="string"), "additionalProperties": False}
    home.server({"act": schema}, arguments={"prompt": "{description}", "colour": "red"})
    assert home.finding("mcp.argument_refused").level == "error"


@pytest.mark.parametrize(
    ("kind", "value"), [("string", "{attempt}"), ("integer", "{description}"), ("boolean", "yes"), ("array", "{key}")]
)
def test_an_argument_of_another_type_is_found(home: Home, kind: str, value: str) -> None:
    home.server({"act": typed(what=kind)}, arguments={"what": value})
    found = home.finding("mcp.argument_type")
    assert f"must be {kind}" in found.says
    assert "mcp_servers.peer.arguments" in found.mend


@pytest.mark.parametrize(
    ("kind", "value"), [("integer", "{attempt}"), ("number", "{attempt}"), ("string", "task {attempt}")]
)
def test_a_placeholder_keeps_its_type(home: Home, kind: str, value: str) -> None:
    home.server({"act": typed(what=kind)}, arguments={"what": value})
    assert [each for each in home.findings() if each.is_trouble] == []


def test_a_server_that_cannot_be_started_is_found(home: Home) -> None:
    home.server({}, command="no-such-program-here", args=[])
    found = home.finding("mcp.unreachable")
    assert "no-such-program-here" in found.says
    assert "no-such-program-here" in found.mend


def test_a_server_that_dies_at_once_is_found_with_its_last_words(home: Home) -> None:
    home.server({}, args=["-c", "raise SystemExit('the licence has run out')"])
    assert "the licence has run out" in home.finding("mcp.unreachable").says


def test_a_remote_server_that_is_away_is_found(home: Home) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    home.config["mcp_servers"]["far"] = {"url": url, "tool": "act"}
    found = home.finding("mcp.unreachable")
    assert "connection refused" in found.says
    assert url in found.mend


def test_a_memory_without_its_tools_is_found(home: Home) -> None:
    home.server({"recall": typed(query="string"), "add_message": typed(messages="array")})
    entry = home.config["mcp_servers"].pop("peer")
    home.config["mcp_servers"]["memos"] = {key: entry[key] for key in ("command", "args")}
    found = home.finding("mcp.memory_unfit")
    assert "'search_memory'" in found.says
    assert "options.search_tool" in found.mend


def test_a_memory_whose_tool_wants_something_else_is_found(home: Home) -> None:
    wants = {**typed(query="string", licence="string"), "required": ["licence"]}
    home.server({"search_memory": wants, "add_message": typed(messages="array")})
    entry = home.config["mcp_servers"].pop("peer")
    home.config["mcp_servers"]["memos"] = {key: entry[key] for key in ("command", "args")}
    assert "'licence'" in home.finding("mcp.memory_unfit").says


def test_an_absent_claude_is_found(home: Home) -> None:
    home.config["mcp_servers"]["claude"] = {"adapter": "claude_code", "options": {"binary": "claude-of-nobody"}}
    assert "npm install -g @anthropic-ai/claude-code" in home.finding("program.absent").mend


def test_a_claude_that_does_not_start_is_found(home: Home) -> None:
    home.program("claude", "exit 3")
    home.config["mcp_servers"]["claude"] = {"adapter": "claude_code"}
    assert home.finding("program.broken").mend.endswith("bin/claude --version")


def test_a_claude_that_is_there_is_well(home: Home) -> None:
    home.program("claude", "echo 2.1.329")
    home.config["mcp_servers"]["claude"] = {"adapter": "claude_code"}
    assert any("2.1.329" in each.says for each in home.findings() if each.name == "executor.claude")


@pytest.fixture
def openclaw(home: Home, upstream: Upstream) -> Home:
    upstream.answers["/healthz"] = (200, {"ok": True})
    home.config["mcp_servers"]["openclaw"] = {"url": upstream.url.replace("http", "ws")}
    return home


@pytest.mark.parametrize(("version", "old"), [("v18.20.4", True), ("v22.1.0", False), ("nonsense", True)])
def test_a_node_that_is_too_old_is_found(openclaw: Home, version: str, old: bool) -> None:
    openclaw.program("node", f"echo {version}")
    found = [each for each in openclaw.findings() if each.is_trouble]
    assert [each.name for each in found] == (["program.too_old"] if old else [])
    assert all("Node 22" in each.mend for each in found)


def test_a_gateway_that_is_away_is_found(openclaw: Home, upstream: Upstream) -> None:
    openclaw.program("node", "echo v24.0.0")
    upstream.answers["/healthz"] = (503, {"ok": False})
    assert openclaw.finding("gateway.unreachable").mend == "openclaw gateway run"


def test_a_command_of_the_runbook_that_is_not_there_is_found(home: Home) -> None:
    home.config["runbook"] = {"report": {"argv": ["no-such-program-here"]}}
    assert "runbook.report.argv" in home.finding("program.absent").mend


def test_config_check_live_asks_what_the_configuration_points_to(home: Home) -> None:
    home.server({"act_now": SCHEMA})
    home.write()
    told = home.omni.json("config", "check", "--live", code=2)
    assert told["schema"] == "omni.config_check/1"
    assert told["ok"] is False
    names = {each["name"] for each in told["findings"]}
    assert "mcp.tool_absent" in names
    assert not names & {"port", "daemon.none", "token.none", "disk"}
    home.server({"act": SCHEMA})
    home.write()
    assert home.omni.json("config", "check", "--live")["ok"] is True

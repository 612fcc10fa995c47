"""`omni config import`: what is printed, and what it does to the file in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.conftest import Omni

SERVERS = {
    "mcpServers": {
        "github": {"url": "https://api.example.com/mcp", "headers": {"Authorization": "Bearer canary-bearer-1"}},
        "clock": {"command": "uvx", "args": ["mcp-server-time"]},
        "old": {"type": "sse", "url": "http://127.0.0.1:9/sse"},
    }
}
OURS = "# mine\nmcp_servers:\n  # first\n  clock: {command: mine, tool: now}  # stays\n"


@pytest.fixture
def theirs(omni: Omni) -> Path:
    file = omni.home / ".mcp.json"
    file.write_text(json.dumps(SERVERS))
    return file


def config(omni: Omni, text: str = OURS) -> Path:
    file = omni.home / "config.yaml"
    file.write_text(text)
    return file


def test_without_apply_it_prints_what_is_missing_and_writes_nothing(omni: Omni, theirs: Path) -> None:
    file = config(omni)
    done = omni("config", "import", str(theirs))
    assert done.returncode == 0, done
    assert yaml.safe_load(done.stdout) == {
        "mcp_servers": {
            "github": {
                "url": "https://api.example.com/mcp",
                "headers": {"Authorization": "Bearer ${GITHUB_AUTHORIZATION}"},
            }
        }
    }
    assert file.read_text() == OURS
    for told in ("mcp_servers.clock", "mcpServers.old: it speaks SSE", "GITHUB_AUTHORIZATION", "omni config import"):
        assert told in done.stderr
    assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize("option", ["--apply", "--write"])
def test_applied_it_is_in_the_file_and_all_else_stays(omni: Omni, theirs: Path, option: str) -> None:
    file = config(omni)
    file.chmod(0o640)
    document = omni.json("config", "import", str(theirs), option)
    assert document["applied"] is True
    assert [line for line in file.read_text().splitlines() if line in OURS.splitlines()] == OURS.splitlines()
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in omni.home.glob(".config.yaml*")] == []
    shown = omni.json("config", "show", environ={"GITHUB_AUTHORIZATION": "x-y-z-1"})["config"]["mcp_servers"]
    assert shown["clock"]["command"] == "mine"
    assert shown["github"]["url"] == "https://api.example.com/mcp"

    before = file.read_text()
    again = omni.json("config", "import", str(theirs), option)
    assert (again["applied"], again["add"], file.read_text()) == (False, {}, before)


def test_what_was_added_is_told_with_the_reload_and_nothing_else_is_printed(omni: Omni, theirs: Path) -> None:
    config(omni)
    done = omni("config", "import", str(theirs), "--apply")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("added to config.yaml\n")
    assert "next: omni config check; then, with a daemon that runs: omni config reload\n" in done.stderr
    again = omni("config", "import", str(theirs), "--apply")
    assert (again.stdout, "reload" in again.stderr) == ("", False)


def test_what_could_not_be_read_afterwards_is_not_written(omni: Omni, theirs: Path) -> None:
    file = config(omni)
    theirs.write_text(json.dumps({"mcpServers": {"x": {"command": "x", "args": ["--dir", "${NOWHERE}"]}}}))
    document = omni.json("config", "import", str(theirs), "--apply", code=2)
    assert "NOWHERE" in document["error"]["message"]
    assert str(file) in document["error"]["message"]
    assert file.read_text() == OURS
    assert sorted(each.name for each in omni.home.iterdir()) == [".mcp.json", "config.yaml"]


def test_through_a_link_the_file_behind_it_is_written(omni: Omni, theirs: Path) -> None:
    real = omni.home / "dotfiles.yaml"
    real.write_text("port: 18765\n")
    (omni.home / "config.yaml").symlink_to(real)
    omni("config", "import", str(theirs), "--apply")
    assert (omni.home / "config.yaml").is_symlink()
    assert "github" in real.read_text()


def test_with_no_file_to_add_to_it_says_what_makes_one(omni: Omni, theirs: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(omni.home / "conf")}
    assert omni("config", "import", str(theirs), environ=environ).returncode == 0
    document = omni.json("config", "import", str(theirs), "--apply", code=2, environ=environ)
    assert document["error"]["hint"] == "omni init --yes"


@pytest.mark.parametrize(("text", "why"), [(None, "cannot be read"), ("{}", "has none of what can be imported")])
def test_a_file_that_brings_nothing_is_told(omni: Omni, text: str | None, why: str) -> None:
    file = omni.home / "other.json"
    if text is not None:
        file.write_text(text)
    document: dict[str, Any] = omni.json("config", "import", str(file), code=2)
    assert why in document["error"]["message"]


def test_a_proxys_models_become_ways_that_can_be_used(omni: Omni) -> None:
    config(omni, "api_keys: {primary: {anthropic: '${ANTHROPIC_API_KEY}'}}\n")
    theirs = omni.home / "proxy.yaml"
    theirs.write_text(
        "model_list: [{model_name: quick, litellm_params: {model: groq/llama-3.3, api_key: sk-canary-1}}]"
    )
    keys = {"ANTHROPIC_API_KEY": "sk-ant-1", "GROQ_API_KEY": "gsk-1"}
    assert omni("config", "import", str(theirs), "--apply", environ=keys).returncode == 0
    checked = omni.json("config", "check", environ=keys)
    assert {each["name"] for each in checked["channels"] if each["usable"]} == {"anthropic", "groq"}

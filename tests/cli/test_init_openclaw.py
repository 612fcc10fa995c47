"""`omni init --openclaw`: what it prints, and what it does with an OpenClaw that is a program on the PATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Omni

# Keeps its servers as the real one prints them; with `broken` in its home it refuses, with `deaf` it forgets.
OPENCLAW = """\
import json, os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
file = home / "servers.json"
servers = json.loads(file.read_text()) if file.exists() else {}
with (home / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if (home / "broken").exists() and sys.argv[2] == "set":
    sys.exit(f"config is invalid near {sys.argv[-1]}")
if sys.argv[1:3] == ["mcp", "list"]:
    print(json.dumps(servers, indent=2))
elif sys.argv[1:3] == ["mcp", "set"]:
    if not (home / "deaf").exists():
        file.write_text(json.dumps({**servers, sys.argv[3]: json.loads(sys.argv[4])}))
    print("Saved MCP server")
else:
    sys.exit("unknown command")
"""
TOKEN = "t0ken-of-the-tests-that-is-long-enough-for-it"


class Claw:
    """The program, and what it was called with."""

    def __init__(self, omni: Omni) -> None:
        self.home = omni.home
        self.bin = omni.home / "bin"
        self._program("openclaw", OPENCLAW)
        # A PATH of our own: whatever is installed on this machine stays out of the test.
        self.path = f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin"
        omni.environ["PATH"] = self.path

    def _program(self, name: str, text: str) -> None:
        self.bin.mkdir(exist_ok=True)
        file = self.bin / name
        file.write_text(f"#!{sys.executable}\n{text}")
        file.chmod(0o755)

    @property
    def entry(self) -> Any:
        return json.loads((self.home / "servers.json").read_text())["omni"]

    @property
    def calls(self) -> list[list[str]]:
        file = self.home / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def has(self, **entry: Any) -> None:
        (self.home / "servers.json").write_text(json.dumps({"omni": entry, "other": {"url": "http://x"}}))


@pytest.fixture
def claw(omni: Omni) -> Claw:
    omni.data_dir.mkdir(parents=True)
    token = omni.data_dir / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    return Claw(omni)


def wanted(omni: Omni) -> dict[str, Any]:
    return {
        "url": f"http://127.0.0.1:{omni.port}/mcp",
        "transport": "streamable-http",
        "headers": {"Authorization": f"Bearer {TOKEN}"},
    }


def test_the_printed_line_holds_no_token_and_registers_it_in_a_shell(omni: Omni, claw: Claw) -> None:
    claw._program("omni", "import sys\nfrom omni.cli.main import main\nmain(sys.argv[1:])")
    done = omni("init", "--openclaw")
    assert done.returncode == 0, done
    assert TOKEN not in done.stdout + done.stderr
    assert claw.calls == []
    subprocess.run(["sh", "-c", done.stdout], env=omni.environ, check=True, capture_output=True)
    assert claw.entry == wanted(omni)


def test_a_directory_with_every_sign_in_it_survives_the_shell(omni: Omni, claw: Claw) -> None:
    claw._program("omni", "import sys\nfrom omni.cli.main import main\nmain(sys.argv[1:])")
    odd = omni.home / 'my "data" $HOME `x` \\ it\'s'
    (omni.data_dir).rename(odd)
    for words in ((), ("--stdio",)):
        done = omni("init", "--openclaw", *words, "--data-dir", str(odd))
        subprocess.run(["sh", "-c", done.stdout], env=omni.environ, check=True, capture_output=True)
        assert (str(odd) in claw.entry["args"]) if words else (claw.entry == wanted(omni))


def test_applying_registers_it_and_says_the_token_nowhere(omni: Omni, claw: Claw) -> None:
    done = omni("init", "--openclaw", "--apply")
    assert done.returncode == 0, done
    assert "now registered" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert claw.entry == wanted(omni)
    assert [call[:3] for call in claw.calls if call[1] == "set"] == [["mcp", "set", "omni"]]


def test_applying_again_changes_nothing(omni: Omni, claw: Claw) -> None:
    assert omni.json("init", "--openclaw", "--apply")["changed"] is True
    assert omni.json("init", "--openclaw", "--apply")["changed"] is False
    assert len([call for call in claw.calls if call[1] == "set"]) == 1


def test_another_entry_is_replaced_by_force_only_and_keeps_what_is_not_ours(omni: Omni, claw: Claw) -> None:
    headers = {"Authorization": "Bearer secret-of-another"}
    claw.has(url="http://127.0.0.1:1/mcp?key=hidden", headers=headers, tools={"include": ["create_task"]})
    done = omni("init", "--openclaw", "--apply")
    assert done.returncode == 2, done
    assert "http://127.0.0.1:1/mcp" in done.stderr
    assert "--force" in done.stderr
    for secret in ("secret-of-another", "hidden", TOKEN):
        assert secret not in done.stdout + done.stderr
    assert claw.entry["headers"] == headers
    assert omni("init", "--openclaw", "--apply", "--force").returncode == 0
    assert claw.entry == {**wanted(omni), "tools": {"include": ["create_task"]}}


def test_through_the_bridge_there_is_no_token_and_the_bridge_starts(omni: Omni, claw: Claw) -> None:
    (omni.data_dir / "token").unlink()  # none is needed to register it
    assert omni("init", "--openclaw", "--stdio", "--apply").returncode == 0
    entry = claw.entry
    assert set(entry) == {"command", "args"}
    kept = {"HOME": str(omni.home), "PATH": "/usr/bin:/bin", "PYTHONPATH": omni.environ["PYTHONPATH"]}
    started = subprocess.run(
        [entry["command"], *entry["args"]], input=b"", env=kept, cwd="/", capture_output=True, timeout=60, check=False
    )
    assert started.returncode == 0, started.stderr


def test_without_a_login_there_is_no_header(omni: Omni, claw: Claw) -> None:
    (omni.home / "config.yaml").write_text("auth: none\n")
    assert omni("init", "--openclaw", "--apply").returncode == 0
    assert "headers" not in claw.entry


def test_without_openclaw_it_says_how_to_get_it(omni: Omni, claw: Claw) -> None:
    (claw.bin / "openclaw").unlink()
    document = omni.json("init", "--openclaw", "--apply", code=2)
    assert "no program openclaw" in document["error"]["message"]
    assert "npm install -g openclaw" in document["error"]["hint"]


def test_without_a_token_it_says_what_makes_one(omni: Omni, claw: Claw) -> None:
    (omni.data_dir / "token").unlink()
    done = omni("init", "--openclaw", "--apply")
    assert done.returncode == 2
    assert "omni serve" in done.stderr
    assert claw.calls == []


@pytest.mark.parametrize("trouble", ["broken", "deaf"])
def test_an_openclaw_that_fails_is_told_without_the_token(omni: Omni, claw: Claw, trouble: str) -> None:
    (omni.home / trouble).touch()
    done = omni("init", "--openclaw", "--apply")
    assert done.returncode != 0
    assert {"broken": "config is invalid", "deaf": "does not have it"}[trouble] in done.stderr
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["--apply"], ["--stdio"], ["--force"], ["--openclaw", "--force"]], ids=str)
def test_options_that_say_nothing_together_are_refused(omni: Omni, words: list[str]) -> None:
    done = omni("init", *words)
    assert done.returncode == 2
    assert "next: omni init --openclaw" in done.stderr


def test_the_entry_is_the_same_wherever_it_is_printed(omni: Omni, claw: Claw) -> None:
    document = omni.json("init", "--openclaw", "--stdio")
    assert document["command"].startswith("openclaw mcp set omni ")
    assert Path(document["entry"]["command"]).is_absolute()

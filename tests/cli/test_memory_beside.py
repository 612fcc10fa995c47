"""A memory in a person's configuration: real daemon, real servers, and what the record says afterwards."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from tests.cli.conftest import Daemon, Omni

SERVERS = Path(__file__).parents[1] / "executors" / "servers"


def configure(omni: Omni, mode: str) -> None:
    servers = {
        "memos": {
            "command": sys.executable, "args": [str(SERVERS / "recollect.py")], "options": {"timeout_s": 10},
            "env": {"RECOLLECT_NOTES": str(omni.home), "RECOLLECT_MODE": mode},
        },
        "peer": {
            "command": sys.executable, "args": [str(SERVERS / "peer.py"), "stdio"], "tool": "echo",
            "arguments": {"task": "{description}", "notes": "{context}"}, "env": {"PEER_NOTES": str(omni.home)},
            "types": ["general"], "needs_cloud": False,
        },
    }  # fmt: skip
    (omni.home / "config.yaml").write_text(json.dumps({"mcp_servers": servers}))


def test_notes_go_along_and_the_record_says_so(omni: Omni) -> None:
    configure(omni, "well")
    daemon = Daemon(omni)
    daemon.start()
    try:
        done = omni.json("submit", "cross the river", "--wait", "50")["task"]
        assert "- the bridge is closed" in json.loads(done["result"]["content"])["notes"]
        assert "1 from memory" in omni("task", "tail", done["id"]).stdout
        assert [each["name"] for each in omni.json("status")["executors"]] == ["peer"]
    finally:
        daemon.stop()
    pid = int((omni.home / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_with_a_memory_that_never_answers_the_daemon_works_and_ends(omni: Omni) -> None:
    configure(omni, "mute")
    daemon = Daemon(omni)
    daemon.start()
    try:
        done = omni.json("submit", "cross the river", "--wait", "50")["task"]
        assert json.loads(done["result"]["content"]) == {"task": "cross the river", "notes": ""}
    finally:
        began = time.monotonic()
        assert daemon.stop() == 0
    assert time.monotonic() - began < 15
    pid = int((omni.home / "pid").read_text())
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)
        raise AssertionError("the memory outlived the daemon")

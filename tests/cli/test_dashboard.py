"""The link that opens the dashboard, from the command line."""

import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.cli.conftest import Omni

from omni.cli.dashboard import not_here

BROWSER = """#!/bin/sh
printf '%s\\n' "$@" > "$OPENED"
"""


def test_the_link_is_printed_alone_and_what_it_is_good_for_beside_it(served: Omni) -> None:
    done = served("dashboard")
    assert done.returncode == 0
    (link,) = done.stdout.split()
    assert link.startswith(f"http://127.0.0.1:{served.port}/login?code=")
    assert "once, within 60 s" in done.stderr
    assert (served.data_dir / "token").read_text().strip() not in done.stdout


def test_every_link_is_another_one_and_leads_to_the_login(served: Omni) -> None:
    first, second = served.json("dashboard"), served.json("dashboard")
    assert first["url"] != second["url"]
    assert (first["schema"], first["expires_in_s"], first["opened"]) == ("omni.dashboard/1", 60, False)
    target = urlsplit(first["url"])
    asking = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    asking.request("GET", f"{target.path}?{target.query}", headers={"Accept": "text/html"})
    assert asking.getresponse().status == 200
    asking.close()


def test_without_a_daemon_the_next_command_starts_one(omni: Omni) -> None:
    done = omni("dashboard")
    assert done.returncode == 3
    assert "omni serve" in done.stderr
    assert omni.json("dashboard", code=3)["error"]["kind"] == "daemon_unreachable"


def test_another_daemons_token_is_not_taken(served: Omni, omni: Omni) -> None:
    omni.data_dir.mkdir()
    (omni.data_dir / "token").write_text("x" * 43)
    assert omni("dashboard", "--port", str(served.port)).returncode == 5


def test_nothing_opens_on_a_machine_that_is_only_reached_from_elsewhere(served: Omni, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    there = {**browser(tmp_path), "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22", "OPENED": str(opened)}
    done = served("dashboard", "--open", environ=there)
    assert (done.returncode, opened.exists()) == (0, False)
    assert "not opened: this terminal is on another machine" in done.stderr


def test_a_browser_is_given_a_private_file_and_never_the_link(served: Omni, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    link = served.json("dashboard", "--open", environ={**browser(tmp_path), "OPENED": str(opened)})
    assert link["opened"]
    said = opened.read_text()
    assert "code=" not in said
    file = served.data_dir / "dashboard.html"
    assert said.strip() == file.as_uri()
    assert file.stat().st_mode & 0o777 == 0o600
    assert link["url"] in file.read_text()


def browser(directory: Path) -> dict[str, str]:
    """A desktop with a browser that only takes down what it was given."""
    program = directory / "browser"
    program.write_text(BROWSER)
    program.chmod(0o755)
    return {"DISPLAY": ":0", "BROWSER": f"{program} %s", "PATH": os.environ["PATH"]}


@pytest.mark.parametrize(
    ("environ", "platform", "here"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_TTY": "/dev/pts/0", "DISPLAY": "localhost:10.0"}, "linux", False),
        ({"SSH_CONNECTION": "x"}, "darwin", False),
    ],
)
def test_a_browser_is_started_only_where_it_would_be_seen(environ: dict[str, str], platform: str, here: bool) -> None:
    assert (not_here(environ, platform) == "") is here

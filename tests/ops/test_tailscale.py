"""What `tailscale` says of itself, and what follows for the daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from omni.config import Config
from omni.ops.tailscale import SERVE_STATUS, STATUS, Remark, Said, Tailscale, Way, look, remarks, run_program, ways

PORT = 18765
NAME = "mac-mini.tail1234.ts.net"
ON = {
    "Version": "1.98.1",
    "BackendState": "Running",
    "AuthURL": "",
    "TailscaleIPs": ["100.101.102.103", "fd7a:115c:a1e0::1"],
    "Self": {"HostName": "Mac mini", "DNSName": f"{NAME}.", "OS": "macOS", "Online": True},
    "MagicDNSSuffix": "tail1234.ts.net",
    "CertDomains": [NAME],
    "Peer": None,
}
SERVED: dict[str, Any] = {
    "TCP": {"443": {"HTTPS": True}},
    "Web": {f"{NAME}:443": {"Handlers": {"/": {"Proxy": f"http://127.0.0.1:{PORT}"}}}},
}


def runner(status: Any, served: Any = None) -> Any:
    def run(arguments: Sequence[str]) -> Said:
        answers: dict[tuple[str, ...], Any] = {STATUS: status, SERVE_STATUS: {} if served is None else served}
        answer = answers[tuple(arguments)]
        return answer if isinstance(answer, Said) else Said(json.dumps(answer).encode())

    return run


def judged(status: Any, served: Any = None, *allowed: str) -> list[Remark]:
    return remarks(look(PORT, runner(status, served)), Config(allowed_hosts=allowed))


def test_a_name_that_leads_here_and_is_allowed_is_as_it_should_be() -> None:
    seen = look(PORT, runner(ON, SERVED))

    assert seen == Tailscale(state="Running", name=NAME, ways=(Way(NAME, 443),))
    assert remarks(seen, Config(allowed_hosts=(NAME,))) == [
        Remark(f"the tailnet reaches the daemon at https://{NAME}/, with the token")
    ]


def test_a_name_that_the_daemon_would_refuse_is_told_with_the_line_to_write() -> None:
    (only,) = judged(ON, SERVED)

    assert only.trouble
    assert "403" in only.says
    assert f"allowed_hosts: [{NAME}]" in only.next


@pytest.mark.parametrize("foreground", [False, True])
def test_the_open_internet_is_trouble_however_it_was_opened(foreground: bool) -> None:
    public = {**SERVED, "AllowFunnel": {f"{NAME}:443": True}}
    (only,) = judged(ON, {"Foreground": {"a1b2": public}} if foreground else public, NAME)

    assert only.trouble
    assert "whole internet" in only.says
    assert only.next == "tailscale funnel --https=443 off"


def test_a_funnel_that_is_off_or_another_port_is_no_trouble() -> None:
    others = {
        "TCP": {"443": {"HTTPS": True}, "8443": {"HTTPS": True}},
        "Web": {**SERVED["Web"], f"{NAME}:8443": {"Handlers": {"/": {"Proxy": "http://127.0.0.1:3000"}}}},
        "AllowFunnel": {f"{NAME}:443": False, f"{NAME}:8443": True},
    }
    assert [each.trouble for each in judged(ON, others, NAME)] == [False]


def test_a_way_below_a_path_does_not_work() -> None:
    served = {**SERVED, "Web": {f"{NAME}:443": {"Handlers": {"/omni": {"Proxy": f"http://localhost:{PORT}"}}}}}
    (only,) = judged(ON, served, NAME)

    assert only.trouble
    assert f"https://{NAME}/omni" in only.says


def test_a_machine_that_was_renamed_is_told_its_new_name() -> None:
    served = {**SERVED, "Web": {f"{NAME}:443": {"Handlers": {}}}}
    (only,) = judged(ON, served, "old-name.tail1234.ts.net:443", "omni")

    assert only.trouble
    assert "old-name.tail1234.ts.net" in only.says
    assert NAME in only.next


def test_nothing_served_says_how_to_serve() -> None:
    (only,) = judged(ON)

    assert not only.trouble
    assert only.next == f"tailscale serve --bg {PORT}"


@pytest.mark.parametrize("state", ["Stopped", "NeedsLogin", "Starting", ""])
def test_one_that_is_not_connected_is_no_trouble(state: str) -> None:
    (only,) = judged({"BackendState": state, "Self": None}, Said(problem="is not asked then"))

    assert (only.trouble, only.next) == (False, "tailscale up")


@pytest.mark.parametrize(
    "status",
    [Said(b"not json"), Said(b"[" * 5000), Said(problem="exit code 1: failed to connect to local tailscaled")],
)
def test_no_answer_is_told_and_no_trouble_of_ours(status: Said) -> None:
    (only,) = judged(status)

    assert not only.trouble
    assert "does not say how it is" in only.says


@pytest.mark.parametrize("nonsense", [[], 7, {"Web": []}, {"Web": {"x": 1}}, {"TCP": {"x": {"TCPForward": 5}}},
                                      {"Web": {"h:443": {"Handlers": {"/": {"Proxy": "http://[::1"}}}}},
                                      {"Foreground": {"a": None}}])  # fmt: skip
def test_an_answer_of_another_shape_leads_nowhere(nonsense: Any) -> None:
    assert look(PORT, runner(ON, nonsense)).ways == ()


def test_every_form_of_our_address_is_known_and_no_other() -> None:
    targets = {
        "http://127.0.0.1:18765": True, "http://localhost:18765": True, "https+insecure://127.0.0.1:18765/": True,
        "127.0.0.1:18765": True, "http://[::1]:18765": True, "http://127.0.0.1:1876": False,
        "http://10.0.0.2:18765": False, "http://127.0.0.1.evil.com:18765": False, "": False,
    }  # fmt: skip
    for target, ours in targets.items():
        served = {"Web": {f"{NAME}:443": {"Handlers": {"/": {"Proxy": target}}}}}
        assert bool(list(ways(served, PORT))) == ours, target


def test_ways_are_written_as_people_type_them() -> None:
    served = {
        "TCP": {"80": {"HTTP": True}, "8443": {"HTTPS": True}, "2222": {"TCPForward": f"127.0.0.1:{PORT}"}},
        "Web": {
            f"{NAME}:80": {"Handlers": {"/": {"Proxy": f"http://127.0.0.1:{PORT}"}}},
            f"{NAME}:8443": {"Handlers": {"/": {"Proxy": f"http://127.0.0.1:{PORT}"}}},
        },
        "AllowFunnel": {f"{NAME}:2222": True},
    }
    found = list(ways(served, PORT, NAME))

    assert [way.url for way in found] == [f"http://{NAME}/", f"https://{NAME}:8443/", f"tcp://{NAME}:2222"]
    assert [way.funnel for way in found] == [False, False, True]


# --- a program that is really run -----------------------------------------------------------------------------------


def program(home: Path, body: str) -> str:
    path = home / "tailscale"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_program_is_asked_and_believed(tmp_path: Path) -> None:
    (tmp_path / "on").write_text(json.dumps(ON))
    (tmp_path / "served").write_text(json.dumps(SERVED))
    here = program(tmp_path, f'case "$*" in "serve status --json") cat {tmp_path}/served;; *) cat {tmp_path}/on;; esac')

    assert look(PORT, run_program(here)).ways == (Way(NAME, 443),)


def test_a_program_that_fails_hangs_or_is_not_there_is_told(tmp_path: Path) -> None:
    failing = program(tmp_path, "echo 'failed to connect to local Tailscale service' >&2; exit 1")
    assert "failed to connect" in look(PORT, run_program(failing)).problem
    hanging = program(tmp_path, "exec sleep 60")
    assert "did not answer" in look(PORT, run_program(hanging, within_s=0.2)).problem
    assert "cannot be started" in look(PORT, run_program(os.fspath(tmp_path / "nothing"))).problem

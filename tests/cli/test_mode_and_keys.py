"""`omni mode` and `omni token model`, against a daemon that is a process."""

import re
from datetime import datetime, timedelta

import httpx
from tests.cli.conftest import Omni

from omni.cli import status


def test_a_person_suspends_by_hand_and_gives_the_decision_back(served: Omni) -> None:
    before = served.json("mode")
    assert before["schema"] == "omni.mode/1"
    assert before["mode"] == "NORMAL"
    forced = served.json("mode", "brainstem")
    assert (forced["mode"], forced["cause"]) == ("BRAINSTEM", "operator")
    waits = served.json("submit", "say hello", "--executor", "echo", "--key", "by-hand")
    assert waits["task"]["state"] == "waiting"
    assert served.json("status")["mode"] == "BRAINSTEM"
    waiting = waits["task"]["id"]
    assert "goes on by itself" in served("task", "show", waiting).stdout
    assert "goes on by itself" in served("why", waiting).stdout
    assert served.json("mode", "auto")["mode"] == "NORMAL"
    done = served.json("submit", "say hello", "--executor", "echo", "--key", "by-hand", "--wait")
    assert done["task"]["state"] == "completed"


def test_times_are_those_of_the_clock_on_the_wall(served: Omni) -> None:
    served("mode", "brainstem")
    for words in (["mode"], ["status"]):
        here, there = (served(*words, environ={"TZ": zone}).stdout for zone in ("UTC", "Asia/Shanghai"))
        (here_at,), (there_at,) = (re.findall(r"since +(\S+ \S+)$", text, re.MULTILINE) for text in (here, there))
        assert datetime.fromisoformat(there_at) - datetime.fromisoformat(here_at) == timedelta(hours=8)
    served("mode", "auto")


def test_a_mode_that_there_is_not_is_told_with_those_that_there_are(served: Omni) -> None:
    refused = served("mode", "normal")
    assert refused.returncode == 2
    assert "auto" in refused.stderr
    assert "brainstem" in refused.stderr


def test_without_a_daemon_there_is_no_mode_to_change(served: Omni) -> None:
    error = served.json("mode", "brainstem", "--port", "1", code=3)["error"]
    assert error["kind"] == "daemon_unreachable"


def test_a_model_key_opens_the_model_port_and_nothing_else(served: Omni) -> None:
    given = served.json("token", "model", "cursor")
    assert served.json("token", "model", "cursor") == given
    login = {"authorization": f"Bearer {given['key']}"}
    url = f"http://127.0.0.1:{served.port}"
    assert httpx.get(f"{url}/v1/models", headers=login, trust_env=False).status_code == 200
    assert httpx.get(f"{url}/api/status", headers=login, trust_env=False).status_code == 403
    wrong = {"authorization": f"Bearer {given['key'][:-1]}x"}
    assert httpx.get(f"{url}/v1/models", headers=wrong, trust_env=False).status_code == 401


def test_a_client_without_a_proper_name_gets_no_key(served: Omni) -> None:
    assert "cannot be the name" in served.json("token", "model", "a b", code=2)["error"]["message"]


def test_normal_names_what_is_left_alone_all_the_same() -> None:
    breaker = {"kind": "breaker", "name": "proxy/large", "state": "open"}
    key = {"kind": "key", "name": "east/backup", "state": "invalid"}
    fine = {"kind": "cloud", "name": "east", "state": "up"}
    assert status._but({"components": [fine]}) == ""
    said = status._but({"components": [fine, breaker, key]})
    assert said == "; 1 model(s) left alone for now, 1 key(s) refused or out of credit (below)"

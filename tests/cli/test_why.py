"""`omni why`: the card of a decision, straight from the log, with and without a daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Omni, make_omni
from tests.domain.given import READY, Desk
from tests.replay.test_why import CLERK, CODER, DOWN, ONE, write

from omni.domain import commands as cmd


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Omni:
    """A log without a daemon: nobody could take the task until the clerk came back."""
    omni = make_omni(tmp_path_factory.mktemp("decided") / "home")
    desk = Desk(CODER, CLERK)
    desk.note("clerk", DOWN)
    desk.put(cmd.NoteMode("DEGRADED", reason="the proxy is gone", cleared=True))
    desk.create(ONE)  # positions 8 to 10: created, routed to nobody, held
    desk.note("clerk", READY)
    desk.succeed(ONE)
    write(omni.data_dir, desk)
    return omni


def test_the_card_stands_in_the_log_and_needs_no_daemon(decided: Omni) -> None:
    card = decided.json("why", ONE[:20])
    assert card["schema"] == "omni.why/1"
    assert (card["task_id"], card["state"], card["decision"]["executor"]) == (ONE, "completed", "clerk")
    assert card["then"]["configuration"]["digest"] == "digest-1"
    assert {"kind": "executor_down", "about": ["clerk"], "if": "if clerk had been down"}.items() <= card["otherwise"][
        0
    ].items()


def test_people_read_what_was_known_and_what_would_have_led_elsewhere(decided: Omni) -> None:
    told = decided("why", ONE).stdout
    for words in (
        f"{ONE} went to clerk",
        "when it was decided: position ",
        "mode     DEGRADED",
        "budget   $0.00 spent; this task $0.00",
        "config   digest-1, in force since position 1",
        "if its type had been coding: to coder on P1, small",
        "if clerk had been down: nowhere (no executor can take this general task",
    ):
        assert words in told
    assert "not running" not in decided("why", ONE).stderr, "nobody misses the daemon"


def test_at_an_earlier_position_the_card_is_that_of_then(decided: Omni) -> None:
    held = decided.json("why", ONE, "--at", "10")
    assert (held["state"], held["as_of"], held["chosen"]) == ("held", 10, None)
    assert held["otherwise"][0]["if"] == "if clerk had been ready"
    assert "omni task resolve" in decided("why", ONE, "--at", "10").stdout
    created = decided("why", ONE, "--at", "8").stdout
    assert "no executor has been chosen yet" in created
    assert "at that moment: position 8" in created
    assert decided.json("why", ONE, "--at", "3", code=4)["error"]["kind"] == "not_found"
    assert decided.json("why", ONE, "--at", "yesterday", code=2)["error"]["hint"]
    assert decided.json("why", ONE, "--at", "999", code=4)["error"]["hint"]


def test_a_daemon_that_runs_is_not_asked(served: Omni, tmp_path: Path) -> None:
    task = served.json("submit", "say hello", "--executor", "echo", "--wait")["task"]
    card = served.json("why", task["id"])
    assert card["then"]["mode"]["mode"] == "NORMAL"
    assert card["reproduced"] is True
    assert "if the client had named no executor" not in [each["if"] for each in card["otherwise"]]
    elsewhere = make_omni(tmp_path / "elsewhere")
    elsewhere.environ["OMNI_PORT"] = str(served.port)
    elsewhere.data_dir.mkdir()
    (elsewhere.data_dir / "token").write_text((served.data_dir / "token").read_text())
    far = elsewhere.json("why", task["id"])
    assert (far["decision"], "then" in far) == (card["decision"], False), (
        "its log is out of reach: it tells what it knows"
    )

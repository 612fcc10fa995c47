"""Nothing that comes from outside commands the terminal."""

from __future__ import annotations

import json

import pytest

from omni.cli.output import Output, clean, one_line

EVIL = "a\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202egnp.exe\u2066\rb"


@pytest.mark.parametrize("show", [clean, one_line])
def test_controls_and_turns_of_direction_are_shown_and_not_sent(show: object) -> None:
    shown = show(EVIL)  # type: ignore[operator]
    assert shown.isprintable()
    assert "\\u202egnp.exe" in shown


def test_a_json_document_holds_no_raw_control_character_and_reads_back_exactly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(as_json=True).document("task", {"task": EVIL, EVIL: 1})
    printed = capsys.readouterr().out
    assert printed.rstrip("\n").isprintable()
    assert json.loads(printed) == {"schema": "omni.task/1", "task": EVIL, EVIL: 1}

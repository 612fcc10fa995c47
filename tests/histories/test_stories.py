"""The golden logs are what today's rules write, byte for byte, in another place and at another time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tests.histories.make import file_of, play
from tests.histories.stories import STORIES

from omni.config import log_path
from omni.eventlog.transfer import export_jsonl


@pytest.mark.parametrize("name", STORIES)
def test_the_rules_of_today_still_write_the_same_log(name: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    export_jsonl(log_path(play(name, tmp_path / name)), out)
    assert events(out.getvalue()) == events(file_of(name).read_bytes()), "see README.md, if that was the purpose"


def events(export: bytes) -> list[bytes]:
    """The lines of the events; those around them name the version that exported it."""
    found = [line for line in export.splitlines() if line.startswith(b'{"line":"event"')]
    assert len(found) > 50
    return found

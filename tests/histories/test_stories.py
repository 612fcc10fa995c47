"""The golden logs can be played again: the same rules write the same log, in another place and at another time."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.histories.make import play
from tests.histories.stories import STORIES

from omni.replay.verify import verify


@pytest.mark.parametrize("name", STORIES)
def test_a_history_played_twice_is_the_same_log_and_a_sound_one(name: str, tmp_path: Path) -> None:
    first, second = (verify(play(name, tmp_path / str(n)) / "omni.db") for n in range(2))
    assert first.ok, (first.damage, first.findings)
    assert first.head_hash == second.head_hash

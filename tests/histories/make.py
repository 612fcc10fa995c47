"""Makes the golden logs again, by hand only: `python -m tests.histories.make [name …]`. Read what changed, then commit.

`old-version` was written by an old version and is never made again; `damaged` is made from `quiet-day`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.histories.stories import STORIES

LOGS = Path(__file__).with_name("logs")


def play(name: str, data_dir: Path) -> Path:
    """Let a history happen once more; the data directory that holds its log afterwards."""
    with tempfile.TemporaryDirectory(dir=data_dir.parent) as scratch:
        story = STORIES[name](Path(scratch))
        try:
            story.end()
        finally:
            story.close()
        shutil.copytree(
            Path(scratch) / f"life-{story.lives}", data_dir, ignore=shutil.ignore_patterns("ballast*", "*.lock")
        )
    return data_dir

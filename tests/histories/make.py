"""Makes the golden logs again, by hand only: `python -m tests.histories.make [name …]`. Read what changed, then commit.

`old-version` and `before-sinks` were written by old versions and are never made again; `damaged` is `quiet-day` after
a forger's visit.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tests.histories.stories import STORIES

from omni.config import log_path
from omni.eventlog.transfer import export_jsonl, import_jsonl
from omni.eventlog.transfer_lines import EndLine, EventLine, Line, LineReader, LineWriter

LOGS = Path(__file__).with_name("logs")
SOUND = (*STORIES, "old-version", "before-sinks")
DAMAGED = "damaged"
FORGED = '"billed_usd":0.1834', '"billed_usd":0.0834'


def play(name: str, data_dir: Path) -> Path:
    """Let a history happen once more; the data directory that holds its log afterwards."""
    with tempfile.TemporaryDirectory(dir=data_dir.parent) as scratch:
        story = STORIES[name](Path(scratch))
        try:
            story.end()
        finally:
            story.close()
        unwanted = shutil.ignore_patterns("ballast*", "*.lock")
        shutil.copytree(Path(scratch) / f"life-{story.lives}", data_dir, ignore=unwanted)
    return data_dir


def unpack(name: str, data_dir: Path) -> Path:
    """Make a data directory with a golden log in it."""
    with file_of(name).open("rb") as file:
        import_jsonl(file, log_path(data_dir))
    return data_dir


def file_of(name: str) -> Path:
    """Where a golden log is kept."""
    return LOGS / f"{name}.jsonl"


def main(names: list[str]) -> None:
    """Write the files of these histories, or of all."""
    for name in names or STORIES:
        with _scratch() as scratch:
            database = log_path(play(name, scratch / name))
            with file_of(name).open("wb") as out:
                sys.stdout.write(f"{name}: {export_jsonl(database, out)} events\n")
    forge(file_of("quiet-day"), file_of(DAMAGED))


def forge(sound: Path, damaged: Path) -> None:
    """Make one call of a log cheaper, and put every check right that does not need the chain."""
    with sound.open("rb") as file, damaged.open("wb") as out:
        writer = LineWriter(out)
        for line in LineReader(file):
            if isinstance(line, EndLine):
                writer.end(line.events)
            else:
                writer.write(_forged(line))


def _forged(line: Line) -> Line:
    if isinstance(line, EventLine):
        return msgspec.structs.replace(line, body=line.body.replace(*FORGED))
    return line


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The table of findings for `docs/doctor.md`: `python -m omni.ops.doctor.page` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from omni.ops.doctor.catalogue import KINDS, Kind


def table() -> str:
    """Every finding there can be, as a table in Markdown."""
    return "\n".join(["| finding | level | what it means |", "|---|---|---|", *_rows()])


def _rows() -> Iterator[str]:
    for kind in KINDS.values():
        yield f"| `{kind.name}` | {_level(kind)} | {kind.means}{' · `--fix`' if kind.fixed else ''} |"


def _level(kind: Kind) -> str:
    return f"**error** {kind.exit_code}" if kind.level == "error" else kind.level


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")

"""Pages that show what a command prints: `$ omni …` and its output, compared with what it prints now."""

from __future__ import annotations

import re
from pathlib import Path

_SHOWN = re.compile(r"^```console\n\$ (omni .*)\n((?:.*\n)*?)```$", re.MULTILINE)


def shown(page: Path) -> list[tuple[str, str]]:
    """Each command of a page with the output that the page shows."""
    return _SHOWN.findall(page.read_text(encoding="utf-8"))


def require_alike(page: list[str], printed: list[str]) -> None:
    """A line that ends in … may go on; ⋮ stands for the rest."""
    for at, line in enumerate(page):
        if line == "⋮":
            assert len(printed) > at
            return
        whole = printed[at] if at < len(printed) else "(nothing)"
        alike = whole.startswith(line[:-1]) if line.endswith("…") else whole == line
        assert alike, f"the page shows {line!r}, and this is printed: {whole!r}"
    assert len(page) == len(printed)

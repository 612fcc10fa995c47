"""Compares what replay says of a golden log with the file that says what it has to be.

`OMNI_RENEW_GOLDEN=1 pytest tests/histories` writes the files anew. Then read every difference: it is right only if it
is what happened (`stories.py`), said as it is meant to be said now.
"""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec

EXPECTED = Path(__file__).with_name("expected")
RENEW = os.environ.get("OMNI_RENEW_GOLDEN") == "1"
_HIDDEN = {"style", "script", "title"}
_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "li", "tr", "dt", "dd", "caption", "figcaption", "pre", "summary", "time"}
_BLOCKS = _PARAGRAPHS | {"div", "section", "header", "footer", "details", "text"}


def same(name: str, what: str, said: str) -> None:
    """Hold a text to its file, line by line."""
    file = EXPECTED / name / what
    if RENEW:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(said, encoding="utf-8")
    assert said.splitlines() == file.read_text(encoding="utf-8").splitlines(), f"{file}: see {Path(__file__).name}"


def plain(value: Any) -> str:
    """JSON for people to compare."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def visible(document: str) -> str:
    """What a page says, one piece to a line, without how it looks and without the raw events folded away in it."""
    reader = _Visible()
    reader.feed(document)
    lines = (" ".join(line.split()) for line in "".join(reader.text).splitlines())
    return "\n".join(line for line in lines if line) + "\n"


class _Visible(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self._hidden: list[str] = []  # what is open of what is not looked at, innermost last

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = tag == "details" and (self._hidden or ("class", "raw") in attrs)
        self._hidden += [tag] if tag in _HIDDEN or raw else []
        self.text.append("\n" if tag in _BLOCKS else " | " if tag in {"td", "th"} else "")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()
        self.text.append("\n" if tag in _BLOCKS else "")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)

"""The pages that people read, taken apart: fences, links, headings, names of files and commands.

A comment in front of a fence says why it is not what its language says; it cannot be seen on the rendered page:

    <!-- not run: REASON -->               a `sh` fence that needs more than there is; its `omni` lines are parsed
    <!-- not a configuration: REASON -->   a `yaml` fence of another program
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERY_PAGE = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "adr").glob("*.md"))]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_WHY = re.compile(r"<!-- not (?:run|a configuration): (.+?) -->\s*$", re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!`)\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
_CODE = re.compile(r"`([^`\n]+)`")


class Fence(NamedTuple):
    """One block of code; `why_not` is the reason in the comment before it."""

    page: Path
    line: int
    language: str
    text: str
    why_not: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def fences(*languages: str) -> list[Fence]:
    """All fences in one of these languages."""
    return [fence for page in PAGES for fence in _of_page(page) if fence.language in languages]


def _of_page(page: Path) -> Iterator[Fence]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        before = text[: found.start()]
        why = _WHY.search(before[before.rfind("<!--") :]) if "<!--" in before else None
        yield Fence(page, before.count("\n") + 1, found["language"], found["text"], why[1] if why else "")


def prose(page: Path) -> str:
    """A page without its fences."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Where a page leads, pictures included; only what is not on another machine."""
    found = (one or other for one, other in _LINK.findall(prose(page)))
    return [each for each in found if not re.match(r"[a-z]+:", each)]


def headings(page: Path) -> list[str]:
    """The headings of a page, as written."""
    return _HEADING.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    found: dict[str, int] = {}
    names = set()
    for heading in headings(page):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


def code(page: Path) -> list[str]:
    """What stands between back-ticks in a page's text."""
    return _CODE.findall(prose(page))

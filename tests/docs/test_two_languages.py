"""The README in English and in Chinese: the same headings, commands, configurations, links and rows."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, Fence, fences, headings, links

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
MOST_LINES = 250


def _bare(fence: Fence) -> list[str]:
    """The lines of a fence without comments and spaces."""
    return [text for line in fence.text.splitlines() if (text := re.sub(r"\s+#.*$", "", line).strip())]


def _of(page: str) -> list[tuple[str, list[str]]]:
    return [(each.language, _bare(each)) for each in fences("sh", "yaml", "json", "python") if each.page.name == page]


def test_they_have_the_same_commands_and_configurations() -> None:
    assert _of("README.md") == _of("README.zh.md")
    assert len(_of("README.md")) > 10


def test_they_have_as_many_headings_of_the_same_levels() -> None:
    marks = [re.findall(r"^(#+) ", page.read_text(encoding="utf-8"), re.MULTILINE) for page in (ENGLISH, CHINESE)]
    assert marks[0] == marks[1]
    assert len(headings(ENGLISH)) == len(headings(CHINESE))


def test_they_lead_to_the_same_pages() -> None:
    def pages(of: list[str]) -> list[str]:
        return [link for link in of if link.startswith("docs/") and "/img/" not in link]

    assert pages(links(ENGLISH)) == pages(links(CHINESE))


def test_their_tables_have_the_same_rows_and_the_same_figures() -> None:
    rows = [[line for line in page.read_text("utf-8").splitlines() if line[:1] == "|"] for page in (ENGLISH, CHINESE)]
    assert [line.count(" | ") for line in rows[0]] == [line.count(" | ") for line in rows[1]]
    figures = [[re.findall(r"\d[\d,.]*", line) for line in of] for of in rows]
    assert figures[0] == figures[1]


def test_every_figure_was_measured() -> None:
    """The figures of the README stand in the page that says how they were measured."""
    text = ENGLISH.read_text(encoding="utf-8")
    table = text[text.index("## Figures") : text.index("## What was not reached")]
    measured = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8").replace(",", "")
    values = re.findall(
        r"\d+(?:\.\d+)?", "".join(r.split("|")[2] for r in table.splitlines() if r[:1] == "|").replace(",", "")
    )
    assert len(values) > 12
    assert [value for value in values if value not in measured] == []


def test_both_can_be_read_at_one_sitting() -> None:
    assert all(len(page.read_text(encoding="utf-8").splitlines()) <= MOST_LINES for page in (ENGLISH, CHINESE))


def test_the_pictures_differ_in_nothing_but_colours_and_words() -> None:
    def shape(name: str) -> str:
        text = (ROOT / "docs" / "img" / name).read_text(encoding="utf-8")
        text = re.sub(r"#[0-9a-f]{6}", "#", text)
        return re.sub(r">[^<>]*</text>|aria-label=\"[^\"]*\"", "", text)

    assert len({shape(name) for name in ("omni.svg", "omni-dark.svg", "omni-zh.svg", "omni-zh-dark.svg")}) == 1

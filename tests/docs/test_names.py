"""What the pages lead to is there: links, anchors, pictures, files, tests, commands and options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.docs.pages import EVERY_PAGE, PAGES, ROOT, anchors, code, fences, links, prose

from omni.cli.app import command_tree
from omni.cli.usage import walk

# A path of this repository, as a page names it; … and * stand for more than one.
PATH = re.compile(r"^(?:src|tests|docs|scripts|bench|deploy|\.github)/[\w./{},*-]+$")
OMNI = re.compile(r"^omni((?: [a-z][a-z-]*)*)(?: |$)")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
TREE: dict[str, Any] = {"": command_tree(), **dict(walk(command_tree()))}
GLOBALS = {"--json", "--data-dir", "--config", "--host", "--port", "--help", "-h"}
# Commands that a page names in order to say that they are not Omni's.
FOREIGN: set[str] = set()


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", EVERY_PAGE, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_pictures_are_used_and_there() -> None:
    used = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    pictures = set((ROOT / "docs" / "img").iterdir())
    assert pictures - used == set(), "a picture that no page shows"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = {each for each in code(page) if PATH.match(each)}
    assert {each for each in named if not _there(each)} == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_that_a_page_names_is_one_with_such_options(page: Path) -> None:
    wrong = []
    for text in code(page):
        if not (found := OMNI.match(text)) or text in FOREIGN:
            continue
        path = _path(found[1].split())
        known = {o for p in TREE[path].params for o in p.opts} | GLOBALS
        unknown = set(OPTION.findall(text.split(" -- ")[0])) - known
        if unknown or (not path and found[1].strip()):
            wrong.append(text)
    assert wrong == []


def test_every_decision_is_listed_by_its_number_once() -> None:
    numbers = [file.name[:4] for file in (ROOT / "docs" / "adr").glob("*.md")]
    assert len(numbers) == len(set(numbers))


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / link).resolve() for link in links(index)}
    assert {page for page in PAGES if page.parent == index.parent and page != index} - named == set()


def test_commands_stand_in_fences_that_say_so() -> None:
    unsaid = [fence for fence in fences("", "text") if re.search(r"^(\$ |omni |make )", fence.text, re.MULTILINE)]
    assert [str(fence) for fence in unsaid if not _is_usage(fence.text)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_command_hides_in_an_indented_block(page: Path) -> None:
    assert re.findall(r"^    (?:omni|make|git|curl|docker|\$) .*$", prose(page), re.MULTILINE) == []


def _is_usage(text: str) -> bool:
    """What the reference shows above the options: one line, with arguments in capitals."""
    return text.startswith("omni ") and text.count("\n") == 1


def _there(path: str) -> bool:
    """Whether a path is there; `{a,b}` and `*` stand for several."""
    if braces := re.search(r"\{([^}]*)\}", path):
        return all(_there(path.replace(braces[0], each)) for each in braces[1].split(","))
    return any(ROOT.glob(path)) if "*" in path else (ROOT / path.rstrip("/")).exists()


def _path(words: list[str]) -> str:
    return next((p for n in (2, 1) if (p := " ".join(words[:n])) in TREE and p), "")

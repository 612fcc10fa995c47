"""The page on security names tests that are there."""

from __future__ import annotations

import re

import pytest
from tests.deploy.dockerfile import ROOT

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?P<rule>[^|]+?) \| (?P<tests>`tests/[^|]+?) \|$", PAGE, re.MULTILINE)
NAMED = sorted({name for _, tests in ROWS for name in re.findall(r"`([^`]+)`", tests)})


def test_every_rule_has_a_test() -> None:
    table = PAGE.partition("| rule | shown by |")[2].partition("\n\n")[0]
    assert len(ROWS) == len(table.strip().splitlines()) - 1
    assert len(ROWS) >= 20


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_is_there(name: str) -> None:
    file, _, function = name.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    if function:
        assert re.search(rf"^(async )?def {function}\(", text, re.MULTILINE), name
    assert "def test_" in text


def test_the_pages_name_files_that_are_there() -> None:
    for page in ("docs/security.md", "docs/docker.md", "docs/tailscale.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / "docs" / target).exists(), (page, target)

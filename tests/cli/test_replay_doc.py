"""Every command on the page about looking back runs, and says what the page says."""

import re
import shlex
from pathlib import Path

import pytest
from tests.cli.conftest import Omni
from tests.docs.shown import require_alike, shown

HERE = Path(__file__).parents[2]
PAGE = (HERE / "docs" / "replay.md").read_text()
LOG = HERE / "tests" / "histories" / "logs" / "daemon-killed.jsonl"
SHOWN = shown(HERE / "docs" / "replay.md")


@pytest.fixture
def omni_there(omni: Omni) -> Omni:
    done = omni("replay", "import", str(LOG))
    assert done.returncode == 0, done
    return omni


@pytest.mark.parametrize(("line", "said"), SHOWN, ids=[line for line, _ in SHOWN])
def test_an_example_prints_what_the_page_shows(omni_there: Omni, line: str, said: str) -> None:
    done = omni_there(*shlex.split(line)[1:])
    assert done.returncode == 0, done
    require_alike(said.splitlines(), done.stdout.splitlines())


def test_the_page_has_examples_of_every_way_to_look() -> None:
    assert [line.split()[2] for line, _ in SHOWN] == ["--task", "--from", "at", "diff", "--mermaid"]


def test_every_option_of_the_page_is_one(omni: Omni) -> None:
    known = omni("replay", "--help").stdout
    named = set(re.findall(r"[ `](--[a-z]+)(?![a-z-])", PAGE)) - {"--json", "--all"}  # `omni verify --all`
    assert {option for option in named if option not in known} == set()
    assert len(named) == 11

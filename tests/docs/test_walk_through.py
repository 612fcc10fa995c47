"""The walk through a real drill shows what the commands print of its log."""

import shlex
from pathlib import Path

import pytest
from tests.cli.conftest import Omni, make_omni
from tests.docs.pages import PAGES, ROOT
from tests.docs.shown import require_alike, shown

PAGE = ROOT / "docs" / "walk-through.md"
LOG = Path(__file__).parent / "cloud-down.jsonl"
SHOWN = shown(PAGE)


@pytest.fixture
def there(tmp_path: Path) -> Omni:
    omni = make_omni(tmp_path / "home")
    assert omni("replay", "import", str(LOG)).returncode == 0
    return omni


@pytest.mark.parametrize(("line", "said"), SHOWN, ids=[line for line, _ in SHOWN])
def test_a_command_prints_what_the_page_shows(there: Omni, line: str, said: str) -> None:
    done = there(*shlex.split(line)[1:])
    assert done.returncode == 0, done
    require_alike(said.splitlines(), done.stdout.splitlines())


def test_the_page_walks_through_timeline_task_reasons_state_difference_and_verdict() -> None:
    ways = [shlex.split(line)[1:] for line, _ in SHOWN]
    assert [words[0] for words in ways] == ["replay", "replay", "why", "replay", "replay", "verify"]
    assert [ways[3][1], ways[4][1]] == ["at", "diff"]


def test_every_page_with_outputs_is_compared_somewhere() -> None:
    assert {page.name for page in PAGES if shown(page)} == {"replay.md", "walk-through.md"}

"""The page says what the code says, every finding is made somewhere, and every finding is planted somewhere."""

import ast
import re
from pathlib import Path

import pytest

from omni.cli.app import command_tree
from omni.cli.usage import walk
from omni.ops.doctor.catalogue import KINDS, exit_code, found
from omni.ops.doctor.page import table

ROOT = Path(__file__).parents[3]
CODE = ROOT / "src" / "omni" / "ops" / "doctor"


def _text(folder: Path, *, without: str) -> str:
    return "\n".join(each.read_text() for each in sorted(folder.glob("*.py")) if each.name != without)


def test_the_page_has_the_table_of_the_code() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    assert table() in page, "python -m omni.ops.doctor.page prints the table that belongs into docs/doctor.md"


def test_every_finding_can_be_made() -> None:
    code = _text(CODE, without="catalogue.py")
    made = {name for name in re.findall(r'"([a-z]+\.[a-z_]+)"', code) if name in KINDS}
    by_kind = {f"mcp.argument_{kind}" for kind in re.findall(r'Misfit\("([a-z]+)"', code)}
    assert by_kind == {name for name in KINDS if name.startswith("mcp.argument_")}
    assert KINDS.keys() - made - by_kind == set()


def test_every_command_that_is_named_exists() -> None:
    """In what is said to people: all texts of the code but the docstrings."""
    known = {"", *dict(walk(command_tree()))}
    for text in _said():
        for words, options in _COMMAND.findall(text):
            path = words.split()
            named = next((" ".join(path[:n]) for n in (2, 1) if " ".join(path[:n]) in known), None)
            assert named is not None, text
            taken = (
                {name for each in dict(walk(command_tree()))[named].params for name in each.opts} if named else set()
            )
            assert set(options.split()) <= taken | _GLOBAL, text


_COMMAND = re.compile(r"(?<![-/.\w])omni((?: [a-z][a-z-]*\b(?![.:/]))+)((?: --[a-z-]+)*)")
_GLOBAL = {"--json", "--data-dir", "--config", "--host", "--port"}
_NOT_COMMANDS = re.compile(r"\bomni \{|\bomni daemon")


def _said() -> list[str]:
    texts = []
    for file in sorted(CODE.glob("*.py")):
        tree = ast.parse(file.read_text())
        docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        nodes = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs)
        texts += [n.value for n in nodes if isinstance(n.value, str) and "omni " in n.value]
    assert len(texts) > 20
    return [text for text in texts if not _NOT_COMMANDS.search(text)]


def test_at_least_twenty_five_faults_are_planted() -> None:
    tests = _text(Path(__file__).parent, without="test_page.py")
    planted = {name for name in KINDS if f'"{name}"' in tests}
    assert len(planted) >= 60
    assert {name for name, kind in KINDS.items() if kind.level == "error"} - planted <= HARD_TO_PLANT


HARD_TO_PLANT = {"port.forbidden", "data.not_writable"}  # root, as whom tests may run, may do both


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], 0),
        (["disk.low", "daemon.none"], 0),
        (["port.taken"], 3),
        (["port.taken", "config.invalid"], 2),
        (["config.invalid", "token.unusable"], 5),
        (["token.unusable", "log.damaged", "port.taken"], 8),
    ],
)
def test_the_gravest_error_gives_the_exit_code(names: list[str], code: int) -> None:
    assert exit_code([found(name, "planted") for name in names]) == code

"""`docs/cli.md` says what the parser says, and every command has an example there."""

import re
import shlex
from pathlib import Path

from omni.cli.app import command_tree
from omni.cli.arguments import split
from omni.cli.examples import EXAMPLES
from omni.cli.exits import MEANINGS
from omni.cli.reference import page
from omni.cli.usage import runs, walk

SRC = Path(__file__).parents[2] / "src" / "omni"
PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_file_is_what_the_code_gives() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


def test_every_command_that_does_something_has_an_example() -> None:
    assert set(EXAMPLES) == {path for path, command in walk(command_tree()) if runs(command)}


def test_every_example_is_of_its_own_command_and_is_read_by_its_parser() -> None:
    commands = dict(walk(command_tree()))
    for path, example in EXAMPLES.items():
        found = re.search(r"omni .*?(?=\)|$)", example.line)
        assert found is not None
        _, words = split(shlex.split(found[0].strip('"'))[1:])
        named = path.split()
        assert words[: len(named)] == named
        commands[path].make_context(path, words[len(named) :])  # raises where an option or argument is not one


def test_the_page_names_every_variable_that_a_person_can_set() -> None:
    between_our_processes = {"CHILD", "OPTIONS", "OWNER", "RUN", "RUNBOOK", "SERVICE", "STATE"}
    sources = "".join(file.read_text(encoding="utf-8") for file in SRC.rglob("*.py"))
    named = {f"OMNI_{name}" for name in set(re.findall(r'"OMNI_([A-Z_]+)"', sources)) - between_our_processes}
    text = PAGE.read_text(encoding="utf-8")
    assert {name for name in named if f"`{name}`" not in text} == set()


def test_the_page_names_every_exit_code_and_every_option_of_the_parser() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \| ", text, re.MULTILINE)] == list(MEANINGS)
    options = {o for _, c in walk(command_tree()) for p in c.params for o in p.opts if o.startswith("-")}
    assert {option for option in options if not re.search(rf"`[^`]*{option}\b", text)} - {"-h", "--help"} == set()

"""The table of docs/logs.md against the code: every event that is logged, its levels, and the fields it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import omni

SOURCES = Path(omni.__file__).parent
DOC = Path(__file__).parents[1] / "docs" / "logs.md"
LEVELS = {"debug", "info", "warning", "error", "exception"}
NAME = re.compile(r"[a-z_]+\.[a-z_]+")
WRITTEN_BY_HAND = {"task.ended"}  # `omni.logs` writes it past structlog


class Said(NamedTuple):
    """One place in the code that writes a line."""

    event: str
    level: str
    fields: frozenset[str]


def said_in(tree: ast.AST) -> Iterator[Said]:
    """Every call of a logger, and of a `say` that stands for one of its methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and (level := _level(node.func)):
            fields = frozenset(each.arg for each in node.keywords if each.arg)
            yield from (Said(event, level, fields - {"exc_info"}) for event in _events(node.args[0]))


def _level(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return "any" if function.id == "say" else ""
    is_log = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "log"
    return function.attr if is_log and isinstance(function, ast.Attribute) and function.attr in LEVELS else ""


def _events(argument: ast.expr) -> Iterator[str]:
    choices = (argument.body, argument.orelse) if isinstance(argument, ast.IfExp) else (argument,)
    for each in choices:
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and NAME.fullmatch(each.value):
            yield each.value


def logged() -> list[Said]:
    return [said for file in SOURCES.rglob("*.py") for said in said_in(ast.parse(file.read_text()))]


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Levels and fields by event."""
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| ([a-z, ]+) \| ([^|]*) \|", DOC.read_text(), re.MULTILINE)
    return {event: ({*levels.split(", ")}, {*re.findall(r"`(\w+)`", fields)}) for event, levels, fields in rows}


def test_the_documentation_names_every_event_and_no_other() -> None:
    in_code = (
        {said.event for said in logged() if said.level != "any"} | WRITTEN_BY_HAND | {"library.logged", "tool.called"}
    )
    assert sorted(documented()) == sorted(in_code)


def test_levels_and_fields_are_those_of_the_code() -> None:
    table = documented()
    for said in logged():
        if said.event not in table:
            continue  # the test above says so
        levels, fields = table[said.event]
        assert said.level == "any" or said.level.replace("exception", "error") in levels, said
        assert said.fields <= fields, (said.event, said.fields - fields)


def test_the_canonical_line_has_the_fields_of_the_documentation() -> None:
    from omni.domain.task import Task
    from omni.domain.values import TaskSpec
    from omni.logs import _canonical

    line = _canonical(Task("t", TaskSpec("say"), 0, 0, 1, 1, 1))
    assert set(line) - {"event", "level", "at"} == documented()["task.ended"][1]


def test_a_line_that_is_written_in_a_new_way_is_found() -> None:
    code = "log.info('a.b' if x else 'a.c', one=1, **more); say('d.e'); log.exception('f.g'); other.info('h.i')"
    found = {(said.event, said.level, *said.fields) for said in said_in(ast.parse(code))}
    assert found == {("a.b", "info", "one"), ("a.c", "info", "one"), ("d.e", "any"), ("f.g", "exception")}

"""Every hint in the sources names a command to run next, and every `omni …` in one is a command with such options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omni.cli.app import command_tree
from omni.cli.usage import walk

SRC = Path(__file__).parents[2] / "src" / "omni"
# What a person can type where Omni itself cannot help.
PROGRAMS = """
omni git df ls rm tail file export mkdir chmod chown fuser pgrep ps kill lsof ulimit sudo mount iconv python pip uvx
node npm brew apt ollama openclaw claude docker tailscale
launchctl systemctl loginctl pmset timedatectl sntp sysctl xattr [$]EDITOR
"""
COMMAND = re.compile(r"(?:^|[\s`(])(" + "|".join(PROGRAMS.split()) + r")(?=$|[\s,`])")
OMNI = re.compile(r"(?:^|`|\(|, |; |then |or |with |run )omni((?: [a-z][a-z-]*(?![\w.]))+|(?= --))((?: --?[a-z-]+\b)*)")
GLOBALS = {"--json", "--data-dir", "--config", "--host", "--port", "--help"}


def _text(node: ast.expr) -> str | None:
    """What a hint says, with … for what is filled in; None where it comes from somewhere else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) or "…" for part in parts)
        case ast.FormattedValue():
            return "…"
        case _:
            return None


def _hints() -> Iterator[Any]:
    for file in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = [k.value for k in node.keywords if k.arg == "hint"] if isinstance(node, ast.Call) else []
            branches = [b for v in named for b in ((v.body, v.orelse) if isinstance(v, ast.IfExp) else (v,))]
            for value in branches:
                if text := _text(value):
                    yield pytest.param(text, id=f"{file.relative_to(SRC)}:{value.lineno}")


HINTS = list(_hints())
TREE: dict[str, Any] = {"": command_tree(), **dict(walk(command_tree()))}


def test_the_sources_have_hints() -> None:
    assert len(HINTS) > 100


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_names_a_command(hint: str) -> None:
    computed = (
        hint.startswith("…") or "use: …" in hint
    )  # its beginning is filled in: a path, a command, a list of names
    assert computed or COMMAND.search(hint), hint


@pytest.mark.parametrize("hint", [each for each in HINTS if "omni" in str(each.values[0])])
def test_what_it_names_is_a_command_with_such_options(hint: str) -> None:
    for words, options in OMNI.findall(hint):
        path = _longest(words.split())
        assert path or not words.strip(), f"{hint!r} names no command"
        known = {o for p in TREE[path].params for o in p.opts} | GLOBALS
        assert set(options.split()) <= known, hint


def _longest(words: list[str]) -> str:
    return next((p for n in (2, 1) if (p := " ".join(words[:n])) in TREE and p), "")

"""The lines of a `sh` fence: what becomes of each in a test, and what its placeholders stand for.

Placeholders, as pages use them: `ID` is a task that is done (for `cancel` one that runs, for `resolve` one that is
held); `TOKEN` the login token; `DIR` an empty directory; port 18765 the daemon's own, 18766 a free one; any date and
time, and any time of day, is now, and so is whatever stands behind `--at`; positions are 2 and 5.
`log.jsonl`, `other.yaml` and `.mcp.json` are there, and the directory is a git repository with a branch
`omni/01a2b3c4-d5e6`, as a task leaves it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from omni.cli.app import command_tree
from omni.cli.arguments import split
from omni.cli.usage import runs

# What is not simply run, and why. The first pattern that fits decides.
RUN, ENDLESS, PARSED, DRY = "run", "endless", "parsed", "dry"
_RULES: tuple[tuple[str, str, str], ...] = (
    (r"omni serve", ENDLESS, "until it listens, in a data directory of its own"),
    (r"omni (status --watch|logs (-f|--follow))", ENDLESS, "until it has said something"),
    (r"omni drill ", PARSED, "takes a minute; tests/ops and tests/torture hold drills"),
    (r"omni service ", PARSED, "would change what this machine starts; tests/ops does that with stand-ins"),
    (r"omni init (?=.*--apply)", PARSED, "needs OpenClaw; tests/cli does that with a stand-in"),
    (r"(OMNI_PORT=\d+ )?make ", DRY, "`make -n`: the targets are there; each takes minutes"),
    (r"source \.venv/bin/activate", PARSED, "there is one environment only in a test"),
    (
        r"\.venv/bin/python -m pytest ",
        PARSED,
        "a test does not run others; tests/docs/test_names.py looks for the file",
    ),
)
# A fence may begin these and no others, unless a comment before it says why it is not run.
_PROGRAMS = {
    "omni", "curl", "git", "make", "cd", "ls", "cat", "cp", "mv", "rm", "mkdir", "chmod", "echo", "export", "eval",
    "test", "tar", "df", "du", "source", "sed", "grep", "head",
}  # fmt: skip
_ASSIGNED = re.compile(r"^(?:[A-Z_]+=(?:\$\([^)]*\)|\"[^\"]*\"|\S*)\s*)+")


class Line(NamedTuple):
    """One command of a fence, continued lines joined, and what becomes of it."""

    text: str
    kind: str
    why: str


def lines(fence: str) -> list[Line]:
    """The commands of a fence."""
    joined = fence.replace("\\\n", " ").splitlines()
    return [_line(text) for each in joined if (text := each.strip()) and not text.startswith("#")]


def _line(text: str) -> Line:
    text = text.replace(".venv/bin/omni", "omni")
    for pattern, kind, why in _RULES:
        if re.match(pattern, text):
            return Line(text, kind, why)
    return Line(text, RUN, "")


def strangers(line: Line) -> set[str]:
    """Programs in a line that a fence may not begin without a word."""
    if line.kind != RUN:
        return set()
    words = _ASSIGNED.sub("", _without_text(line.text)).strip()
    begun = [part.split()[0] for part in re.split(r"\||&&|;", words) if part.strip()]
    return set(begun) - _PROGRAMS


def bare(line: str) -> str:
    """A line without the comment behind it."""
    return re.sub(r"\s+#.*$", "", line)


def _without_text(line: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "TEXT", bare(line))


def commands(text: str) -> Iterator[list[str]]:
    """Each `omni` in a line, as the words behind it."""
    words = shlex.split(text, comments=True)
    begins = [at for at, word in enumerate(words) if word == "omni" and _begins_one(words[:at])]
    for at in begins:
        rest = words[at + 1 :]
        stop = next((n for n, word in enumerate(rest) if word in {"|", "&&", "||", ";", ">", ">>", "<"}), len(rest))
        yield rest[:stop]
    for inner in re.findall(r"\$\((omni [^)]*)\)", text):
        yield shlex.split(inner)[1:]


def _begins_one(before: list[str]) -> bool:
    return not before or before[-1] in {"|", "&&", "||", ";"} or all("=" in word for word in before)


def require_parsed(words: list[str]) -> None:
    """Let the real parser read a command line; raises its complaint."""
    _, rest = split(words)
    command: Any = command_tree()
    path = "omni"
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest[0]]
        path, rest = f"{path} {rest[0]}", rest[1:]
    if rest in (["--help"], ["-h"]):
        return
    assert not (hasattr(command, "commands") and rest and rest[0][0] != "-"), f"there is no command {path} {rest[0]}"
    assert rest or runs(command), f"{path} needs a command"
    command.make_context(path, rest)

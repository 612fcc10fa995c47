"""What is wrong with a configuration, where, and in words a person can act on."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from omni.domain.errors import ConfigError
from omni.redact import Redactor

HINT = "correct it and run `omni config check`; `omni config schema` lists every key"
_SHOWN = 12

Path = tuple[str | int, ...]


class Mark(Struct, frozen=True):
    """Where a value was written: a file and line, a variable or a flag; `text` is a scalar as written."""

    origin: str
    line: int = 0
    text: str | None = None

    def __str__(self) -> str:
        return f"{self.origin} line {self.line}" if self.line else self.origin


Marks = dict[Path, Mark]


class Problem(Struct, frozen=True):
    """One thing that is wrong, at one key."""

    path: Path
    text: str


def dotted(path: Path) -> str:
    """Write a key path as a person would: `mcp_servers.memo.args[1]`."""
    parts = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)
    return parts.removeprefix(".") or "the file"


def mark_of(path: Path, marks: Marks) -> Mark | None:
    """The mark of a path, or of the nearest key above it that has one."""
    while path and path not in marks:
        path = path[:-1]
    return marks.get(path)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word, as the end of a sentence; empty when nothing is near."""
    import difflib

    near = difflib.get_close_matches(word.lower().replace("-", "_"), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def refuse(problems: list[Problem], marks: Marks, secrets: Iterable[str] = ()) -> None:
    """Raise one ConfigError that lists the problems, without any secret; do nothing when there are none."""
    if not problems:
        return
    clean = Redactor(secrets).text
    lines = [clean(_line(each, marks)) for each in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"and {len(problems) - _SHOWN} more")
    raise ConfigError("the configuration cannot be used\n" + "\n".join(f"  {line}" for line in lines), hint=HINT)


def _line(problem: Problem, marks: Marks) -> str:
    mark = mark_of(problem.path, marks)
    where = f"{mark}: " if mark else ""
    return f"{where}{dotted(problem.path)}: {problem.text}"

"""Reads a Dockerfile into stages of steps, as far as ours goes; what it does not know is an error, never skipped."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

ROOT: Final = Path(__file__).parents[2]
KNOWN: Final = frozenset({
    "ARG", "FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "VOLUME", "STOPSIGNAL", "HEALTHCHECK",
    "ENTRYPOINT", "CMD",
})  # fmt: skip


class Step(Struct, frozen=True):
    """One instruction: its name, its flags (`--from=build`), and the rest of the line as it stands."""

    name: str
    rest: str
    flags: dict[str, str]

    @property
    def words(self) -> list[str]:
        """The rest as an exec form says it, or split as a shell would."""
        if self.rest.startswith("["):
            return [str(each) for each in json.loads(self.rest)]
        return shlex.split(self.rest)


class Stage(Struct, frozen=True):
    """One FROM and what follows it; `base` is an image or an earlier stage."""

    name: str
    base: str
    steps: tuple[Step, ...]

    def all(self, name: str) -> list[Step]:
        """The steps of one kind, in order."""
        return [step for step in self.steps if step.name == name]

    def last(self, name: str) -> Step:
        """The one of a kind that counts."""
        return self.all(name)[-1]


def parse(text: str) -> list[Stage]:
    """The stages in order. Raises ValueError at an instruction that is not known here."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for step in _steps(text):
        if step.name == "ARG" and not stages:
            name, _, value = step.rest.partition("=")
            arguments[name] = value
        elif step.name == "FROM":
            stages.append(_stage(step, arguments))
        elif step.name == "ARG":
            raise ValueError("an ARG within a stage is not known here")
        else:
            stages[-1] = Stage(stages[-1].name, stages[-1].base, (*stages[-1].steps, step))
    return stages


def by_name(stages: list[Stage]) -> Mapping[str, Stage]:
    return {stage.name: stage for stage in stages}


def environment(stages: Mapping[str, Stage], name: str) -> dict[str, str]:
    """What ENV of a stage, and of those that it stands on, leave in the environment."""
    stage = stages[name]
    found = environment(stages, stage.base) if stage.base in stages else {}
    for step in stage.all("ENV"):
        found |= dict(pair.split("=", 1) for pair in step.words)
    return found


def _stage(step: Step, arguments: Mapping[str, str]) -> Stage:
    match = re.fullmatch(r"(\S+) AS (\S+)", step.rest)
    assert match, f"a stage wants a name: {step.rest}"
    return Stage(match[2], re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], match[1]), ())


def _steps(text: str) -> Iterator[Step]:
    whole = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        whole += line.removesuffix("\\").strip() + " "
        if line.endswith("\\") or not whole.strip():
            whole = whole.lstrip()
            continue
        yield _step(whole.strip())
        whole = ""
    assert not whole.strip(), "the file ends within a step"


def _step(line: str) -> Step:
    name, _, rest = line.partition(" ")
    if name not in KNOWN or "<<" in rest:
        raise ValueError(f"not known here: {line}")
    flags = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest) if name in {"COPY", "HEALTHCHECK", "RUN", "FROM"} else None:
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    return Step(name, rest.strip(), flags)


def stages() -> list[Stage]:
    """Those of the project's own file."""
    return parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))

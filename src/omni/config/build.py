"""Plain values to typed records, naming the exact key and line of everything that does not fit."""

from __future__ import annotations

import math
import re
import types
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from omni.config.problems import Marks, Path, Problem, did_you_mean, mark_of

T = TypeVar("T", bound=Struct)
HIDDEN_FIELDS = frozenset({"secret_paths"})
_AT_PATH = re.compile(r" - at `[^`]*`$")
_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
}
_NAMES |= {"object": "a mapping", "null": "nothing"}


class Builder:
    """Builds records and collects problems instead of stopping at the first.

    `chosen` holds the places that took a word from a closed list.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self.problems: list[Problem] = []
        self.chosen: dict[Path, str] = {}

    def record(self, value: Any, kind: type[T], path: Path = ()) -> T | None:
        """Build one struct from a mapping; None after a problem. A key without a value counts as left out."""
        if value is None:
            value = {}
        if not isinstance(value, dict):
            self._problem(path, f"expected a mapping, got {_shown(value)}")
            return None
        fields = {f.encode_name: f for f in msgspec.structs.fields(kind) if f.name not in HIDDEN_FIELDS}
        before = len(self.problems)
        for name in value.keys() - fields.keys():
            self._problem((*path, name), f"unknown key{did_you_mean(name, fields)}")
        said = {name: each for name, each in value.items() if name in fields and each is not None}
        built = {name: self._value(each, fields[name].type, (*path, name)) for name, each in said.items()}
        for name in [name for name, field in fields.items() if field.required and name not in built]:
            self._problem(path, f"the key {name!r} is missing")
        built = {fields[name].name: each for name, each in built.items()}
        return kind(**built) if len(self.problems) == before else None

    def _value(self, value: Any, kind: Any, path: Path) -> Any:
        if _is_struct(kind):
            return self.record(value, kind, path)
        origin, inner = get_origin(kind), get_args(kind)
        if origin is dict and isinstance(value, dict) and inner[1] is not Any:
            return self._mapping(value, inner[1], path)
        if origin is tuple and isinstance(value, list):
            return tuple(self._value(each, inner[0], (*path, index)) for index, each in enumerate(value))
        if origin in (Union, types.UnionType):
            return self._value(value, inner[0], path)
        return self._leaf(value, kind, path)

    def _mapping(self, value: dict[str, Any], kind: Any, path: Path) -> dict[str, Any]:
        if not _is_struct(kind):
            value = {name: each for name, each in value.items() if each is not None}
        return {name: self._value(each, kind, (*path, name)) for name, each in value.items()}

    def _leaf(self, value: Any, kind: Any, path: Path) -> Any:
        if kind is str and isinstance(value, int | float):
            return self._as_written(value, path)
        if get_origin(kind) is Literal:
            return self._choice(value, get_args(kind), path)
        if isinstance(value, float) and not math.isfinite(value):
            return self._problem(path, "expected a finite number")
        try:
            # Not strict: a variable or a flag brings "18765" where a number is meant.
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            return self._problem(path, f"{_plain(error, kind)}, got {_shown(value)}")

    def _as_written(self, value: Any, path: Path) -> str:
        mark = self._marks.get(path)
        return mark.text if mark and mark.text else str(value)

    def _choice(self, value: Any, choices: tuple[str, ...], path: Path) -> Any:
        if value in choices:
            self.chosen[path] = value
            return value
        near = did_you_mean(str(value), choices)
        return self._problem(path, f"expected one of {', '.join(choices)}, got {_shown(value)}{near}")

    def _problem(self, path: Path, text: str) -> Any:
        self.problems.append(Problem(path, text))
        return None

    def line_order(self) -> list[Problem]:
        """The problems in the order of the file."""
        return sorted(self.problems, key=lambda each: getattr(mark_of(each.path, self._marks), "line", 0))


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _plain(error: msgspec.ValidationError, kind: Any) -> str:
    text = _AT_PATH.sub("", str(error))
    wanted = re.match(r"Expected `(\w+)[^`]*`(.*?)(?:, got `.*)?$", text)
    if not wanted:
        base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        return f"expected {_NAMES.get(getattr(base, '__name__', ''), 'something else')}"
    return f"expected {_NAMES.get(wanted[1], wanted[1])}{wanted[2]}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…'"

"""Templates of tool arguments: any JSON value whose strings may hold placeholders like `{description}`.

Values go in as values. Text that was filled in is never looked at again, so a description that contains
`{key}` or a quote stays exactly what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, TypeAlias

from omni.domain.commands import StartAttempt
from omni.domain.errors import ConfigError

PLACEHOLDERS = (
    "description", "task_id", "attempt", "key", "workdir", "model", "tier", "base_url", "api_key", "session",
    "handle", "earlier", "resume", "repair", "timeout_s", "context",
)  # fmt: skip
MAX_DEPTH = 64

_Values: TypeAlias = Mapping[str, Any]
_Filler: TypeAlias = Callable[[_Values], Any]
# One scan knows escapes and placeholders alike; any other brace is ordinary text (JSON inside a string stays legible).
_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Template:
    """A template that was read once and is filled for each attempt."""

    __slots__ = ("_fill", "names")

    def __init__(self, fill: _Filler, names: frozenset[str]) -> None:
        self._fill = fill
        self.names = names

    def fill(self, values: _Values) -> Any:
        """The value with every placeholder filled in; a missing value raises KeyError."""
        return self._fill(values)


def compile_template(template: Any, known: tuple[str, ...] = PLACEHOLDERS) -> Template:
    """Read a template; ConfigError for a placeholder that is not `known`, or nesting beyond any use."""
    names: set[str] = set()
    fill = _node(template, names, MAX_DEPTH)
    if strange := sorted(names - set(known)):
        plain = f"{{{{{strange[0]}}}}} for the plain text"
        raise ConfigError(
            f"the template has an unknown placeholder {{{strange[0]}}}",
            hint=f"use one of {', '.join(known)}, or write {plain}; then omni config check",
        )
    return Template(fill, frozenset(names))


def render(template: Any, values: _Values) -> Any:
    """Fill a template once; the placeholders that may occur are the names in `values`."""
    return compile_template(template, tuple(values)).fill(values)


def _node(template: Any, names: set[str], depth: int) -> _Filler:
    if depth == 0:
        raise ConfigError(f"the template is nested more than {MAX_DEPTH} levels deep", hint="omni config check")
    if isinstance(template, str):
        return _text(template, names)
    if isinstance(template, Mapping):
        return _mapping({key: _node(each, names, depth - 1) for key, each in template.items()})
    if isinstance(template, list | tuple):
        return _sequence([_node(each, names, depth - 1) for each in template])
    return _constant(template)


def _mapping(fillers: dict[str, _Filler]) -> _Filler:
    pairs = tuple(fillers.items())
    return lambda values: {key: fill(values) for key, fill in pairs}


def _sequence(fillers: list[_Filler]) -> _Filler:
    return lambda values: [fill(values) for fill in fillers]


def _constant(value: Any) -> _Filler:
    return lambda _values: value


def _text(text: str, names: set[str]) -> _Filler:
    pieces, used = _pieces(text)
    names.update(used)
    if not used:
        return _constant("".join(pieces))
    if len(used) == 1 and pieces == ["", ""]:
        return itemgetter(used[0])  # the placeholder is the whole string: the value keeps its type
    return _joined(pieces, used)


def _pieces(text: str) -> tuple[list[str], list[str]]:
    """Split into literal pieces and the names between them; there is one piece more than names."""
    pieces, used, at = [""], [], 0
    for match in _TOKEN.finditer(text):
        pieces[-1] += text[at : match.start()]
        at = match.end()
        if match[1]:
            used.append(match[1])
            pieces.append("")
        else:
            pieces[-1] += match[0][0]
    pieces[-1] += text[at:]
    return pieces, used


def _joined(pieces: list[str], used: list[str]) -> _Filler:
    layout = "%s".join(piece.replace("%", "%%") for piece in pieces)
    names = tuple(used)
    return lambda values: layout % tuple(_written(values[name]) for name in names)


def _written(value: Any) -> str:
    return value if type(value) is str else "" if value is None else str(value)


def values_for(start: StartAttempt, base_url: str = "", api_key: str = "", context: str = "") -> dict[str, Any]:
    """What the placeholders stand for in one attempt; `base_url` is where its model calls go, `api_key` lets them in.

    `context` is what a memory knows about the task, empty when it knows nothing.

    A dry run leaves both out: what it renders goes into the event log.
    """
    return {
        "description": start.description,
        "task_id": start.task_id,
        "attempt": start.n,
        "key": start.key,
        "workdir": start.workdir,
        "model": start.route.model,
        "tier": start.route.tier,
        "base_url": base_url,
        "api_key": api_key,
        "session": start.session or start.handle,
        "handle": start.handle,
        "earlier": start.session,
        "resume": start.resume,
        "repair": start.repair,
        "timeout_s": start.timeout_ms / 1000,
        "context": context,
    }

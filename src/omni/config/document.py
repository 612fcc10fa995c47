"""YAML text to plain values with a mark for each key: lines for errors, duplicates refused, bombs defused."""

from __future__ import annotations

import re
from typing import Any

from omni.config.problems import HINT, Mark, Marks, Path
from omni.domain.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 50_000
_TAG = "tag:yaml.org,2002:"
_NAMES = ("map", "seq", "null", "bool", "int", "float", "str", "timestamp", "binary", "value")
_TAGS = frozenset(_TAG + name for name in _NAMES)

_STRING_OR_COMMENT = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|//[^\n]*|/\*.*?\*/""", re.DOTALL)
_SURROGATES = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)


def without_comments(text: str) -> str:
    """JSON as people write it (comments, trailing commas, tabs) as YAML, of which the rest of it is a part."""
    bare = _STRING_OR_COMMENT.sub(lambda found: found[1] or _blank(found[0]), text).replace("\t", " ")
    return _SURROGATES.sub(lambda found: f"\\U{_joined(found[1], found[2]):08x}", bare)


def parse_foreign(text: str, origin: str) -> tuple[dict[str, Any], Marks]:
    """The same as `parse_document` for a file of another program: JSON as editors take it, or YAML."""
    return parse_document(without_comments(text) if text.lstrip()[:1] in {"{", "/"} else text, origin)


def _blank(comment: str) -> str:
    """Nothing, on as many lines."""
    return " " + "\n" * comment.count("\n")


def _joined(high: str, low: str) -> int:
    """One character from the two halves that JSON writes it in."""
    return 0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00


def parse_document(text: str, origin: str) -> tuple[dict[str, Any], Marks]:
    """Read one YAML (or JSON) mapping; `origin` names the file in errors.

    Raises ConfigError with the line for bad YAML, duplicate keys, foreign tags and too much of anything.
    """
    import yaml

    if len(text) > MAX_BYTES:
        raise _error(origin, 0, f"is larger than {MAX_BYTES // 1024} KiB")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_depth(yaml.parse(text, Loader=loader), origin)
        node = yaml.compose(text, Loader=loader)
        return _Reader(origin, loader("")).document(node)
    except yaml.YAMLError as error:
        raise _yaml_error(error, text, origin) from None


def _check_depth(events: Any, origin: str) -> None:
    # Composing recurses, and in the C loader a deep document would end the process: look at events first.
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > MAX_DEPTH + 2:
            raise _error(origin, event.start_mark.line + 1, f"is nested deeper than {MAX_DEPTH} levels")


class _Reader:
    """Turns composed nodes into values; each visit counts, so an alias bomb runs into the bound."""

    def __init__(self, origin: str, loader: Any) -> None:
        self._origin = origin
        self._loader = loader
        self._visits = 0
        self.marks: Marks = {}

    def document(self, node: Any) -> tuple[dict[str, Any], Marks]:
        if node is None or node.tag == _TAG + "null":
            return {}, self.marks
        if node.id != "mapping":
            raise self._refuse(node, "is not a mapping of keys to values")
        value: dict[str, Any] = self._value(node, ())
        return value, self.marks

    def _value(self, node: Any, path: Path) -> Any:
        self._visits += 1
        if self._visits > MAX_NODES or len(path) > MAX_DEPTH:
            raise self._refuse(node, "unfolds into too much (aliases?)")
        if node.tag not in _TAGS:
            raise self._refuse(node, f"uses the tag {node.tag!r}, which is not allowed")
        if node.id == "mapping":
            return self._mapping(node, path)
        if node.id == "sequence":
            return [self._item(each, (*path, index)) for index, each in enumerate(node.value)]
        return self._scalar(node)

    def _item(self, node: Any, path: Path) -> Any:
        self.marks[path] = self._mark(node, node)
        return self._value(node, path)

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                merged = {**self._merge(value, path), **merged}
                continue
            name = self._key(key, own)
            self.marks[(*path, name)] = self._mark(key, value)
            own[name] = self._value(value, (*path, name))
        return {**merged, **own}

    def _merge(self, node: Any, path: Path) -> dict[str, Any]:
        sources = node.value if node.id == "sequence" else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            value = self._value(source, path)
            if not isinstance(value, dict):
                raise self._refuse(source, "merges (<<) something that is not a mapping")
            merged = {**value, **merged}
        return merged

    def _key(self, key: Any, seen: dict[str, Any]) -> str:
        if key.id != "scalar":
            raise self._refuse(key, "has a key that is not plain text")
        if key.value in seen:
            raise self._refuse(key, f"has the key {key.value!r} twice")
        return str(key.value)

    def _scalar(self, node: Any) -> Any:
        if node.tag in (_TAG + "timestamp", _TAG + "binary", _TAG + "value"):
            return node.value
        try:
            return self._loader.construct_object(node)
        except (ValueError, KeyError, OverflowError):
            return node.value

    def _mark(self, at: Any, value: Any) -> Mark:
        return Mark(self._origin, at.start_mark.line + 1, value.value if value.id == "scalar" else None)

    def _refuse(self, node: Any, text: str) -> ConfigError:
        return _error(self._origin, node.start_mark.line + 1, text)


def _yaml_error(error: Any, text: str, origin: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark else 0
    reason = getattr(error, "problem", None) or "it holds a character that YAML does not allow"
    written = text.splitlines()[line - 1 : line] or [""]
    quote = '; put "${…}" in quotes between { } or [ ]' if "${" in written[0] else ""
    return _error(origin, line, f"is not valid YAML: {reason}{quote}")


def _error(origin: str, line: int, text: str) -> ConfigError:
    return ConfigError(f"{Mark(origin, line)} {text}", hint=HINT)

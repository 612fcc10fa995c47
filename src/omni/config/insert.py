"""Keys put into a YAML file that a person wrote: comments, order and everything else stay as they are.

The text is changed at single places, found by the parser's marks. The result is read again and must say exactly what
the file said before and the new keys, or nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omni.config.document import parse_document
from omni.domain.errors import ConfigError

_STEP = 2


def insert(text: str, add: Mapping[str, Any], origin: str = "the file") -> str:
    """The text with keys added that it does not have. Raises ConfigError where there is no safe place for one."""
    import yaml

    old, _ = parse_document(text, origin)
    new = text if text.endswith("\n") or not text else text + "\n"
    try:
        for name, value in add.items():
            new = _with(new, (name,), value)
        said, _ = parse_document(new, origin)
    except (yaml.YAMLError, ConfigError):
        said = {}
    if said != merged(old, add):
        raise _refusal(origin)
    return new


def merged(old: Any, add: Any) -> Any:
    """Two trees of mappings as one; what the first says stays."""
    if not isinstance(old, dict) or not isinstance(add, Mapping):
        return old
    both = {name: merged(each, add[name]) if name in add else each for name, each in old.items()}
    return {**both, **{name: each for name, each in add.items() if name not in old or old[name] is None}}


def dumped(values: Mapping[str, Any]) -> str:
    """Keys and values as YAML, each key on a line of its own and what is small within it on one line."""
    return "\n".join(_dump({name: value}, flow=None if _is_nested(value) else False) for name, value in values.items())


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _dump(value: Any, *, flow: bool | None) -> str:
    import yaml

    width = 1_000_000 if flow else 120
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=width, default_flow_style=flow)
    return text.rstrip("\n")


def _with(text: str, path: tuple[str, ...], value: Any) -> str:
    """The text with one key; where there is a mapping of that name, with the keys that it lacks."""
    node, key = _found(text, path)
    if node is None:
        return _added(text, path, value)
    if isinstance(value, Mapping) and node.id == "mapping" and not _is_alias(text, key):
        for name, each in value.items():
            text = _with(text, (*path, name), each)
    elif node.tag.endswith(":null"):
        return _filled(text, key, node, value)
    return text


def _found(text: str, path: tuple[str, ...]) -> tuple[Any, Any]:
    """The node at a path and that of its key; None where there is none."""
    import yaml

    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    key: Any = None
    for name in path:
        pairs = node.value if node is not None and node.id == "mapping" else ()
        key, node = next(((k, v) for k, v in pairs if k.value == name), (None, None))
    return node, key


def _added(text: str, path: tuple[str, ...], value: Any) -> str:
    parent, _ = _found(text, path[:-1])
    if len(path) == 1:
        return _appended(text, parent, {path[0]: value})
    if parent.flow_style:
        return _in_flow(text, parent, {path[-1]: value})
    first = parent.value[0][0]
    return _at_line(text, first.start_mark.line, dumped({path[-1]: value}), first.start_mark.column)


def _appended(text: str, root: Any, value: Mapping[str, Any]) -> str:
    if root is not None and root.flow_style:
        return _in_flow(text, root, value)
    gap = "\n" if text else ""
    return f"{text}{gap}{dumped(value)}\n"


def _filled(text: str, key: Any, node: Any, value: Any) -> str:
    """A key that stands without a value, or with `null`, with one; a comment beside it stays."""
    start, end = node.start_mark.index, node.end_mark.index
    if start == end and isinstance(value, Mapping) and value:
        return _at_line(text, key.end_mark.line + 1, dumped(value), key.start_mark.column + _STEP)
    flow = _dump([value], flow=True)[1:-1]
    return f"{text[:start]} {flow}{text[end:]}"


def _at_line(text: str, line: int, block: str, column: int) -> str:
    lines = text.splitlines(keepends=True)
    indented = "".join(f"{' ' * column}{each}\n" for each in block.splitlines())
    return "".join([*lines[:line], indented, *lines[line:]])


def _in_flow(text: str, node: Any, value: Mapping[str, Any]) -> str:
    """Before the closing brace of `{…}`."""
    end = node.end_mark.index - 1
    before = text[:end].rstrip()
    comma = "" if before.endswith(("{", ",")) else ", "
    return f"{before}{comma}{_dump(dict(value), flow=True)[1:-1]}{text[end:]}"


def _is_alias(text: str, key: Any) -> bool:
    return text[key.end_mark.index :].lstrip(": \t").startswith("*")


def _refusal(origin: str) -> ConfigError:
    return ConfigError(
        f"there is no safe place in {origin} for all of it", hint="omni config import FILE, and put the keys in by hand"
    )

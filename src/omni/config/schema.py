"""The JSON Schema of the configuration file, generated from the records: what `load` takes, an editor takes too.

A key without a value counts as left out, `${VAR}` may stand for any single value, and a number for a text.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from omni.config.build import HIDDEN_FIELDS
from omni.config.descriptions import DESCRIPTIONS
from omni.config.load import ALIASES
from omni.config.model import Config

_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_NOTHING = {"type": "null"}
_SINGLE = ("integer", "number", "boolean")
_ABOUT = ("description", "default", "deprecated")  # stays outside of the alternatives, where editors look for it

_Node = dict[str, Any]


def json_schema() -> dict[str, Any]:
    """The schema an editor can check `config.yaml` with."""
    (reference,), components = msgspec.json.schema_components([Config], ref_template="#/$defs/{name}")
    definitions: dict[str, _Node] = dict(components)
    for name in HIDDEN_FIELDS:
        del definitions["Config"]["properties"][name]
    _add_aliases(definitions)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Omni configuration",
        **reference,
        "$defs": {name: _record(name, each) for name, each in definitions.items()},
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    return plain


def _add_aliases(definitions: dict[str, Any]) -> None:
    holders = {"fault_handler": "FaultHandler"}
    for (section, old), new in ALIASES.items():
        properties = definitions[holders[section]]["properties"]
        properties[old] = {**properties[new], "deprecated": True, "description": f"The older name of {new}."}


def _record(name: str, definition: _Node) -> _Node:
    said, required = DESCRIPTIONS[name], definition.get("required", ())
    properties = {
        key: _as_written({"description": said.get(key, ""), **node}, may_be_empty=key not in required)
        for key, node in definition["properties"].items()
    }
    about = inspect.cleandoc(definition.get("description", ""))
    return {**definition, "description": about, "properties": properties}


def _as_written(node: _Node, *, may_be_empty: bool) -> _Node:
    """A value as a file may hold it, which is more than the record holds in the end."""
    about = {key: node[key] for key in _ABOUT if key in node}
    bare = _inside({key: each for key, each in node.items() if key not in _ABOUT})
    if not bare:
        return node  # anything
    choices = [*bare.pop("anyOf", ()), *([bare] if bare else ())]
    if any("enum" in each or each.get("type") in _SINGLE for each in choices):
        choices.append(_VARIABLE)
    if may_be_empty and _NOTHING not in choices:
        choices.append(_NOTHING)
    return {**about, **(choices[0] if len(choices) == 1 else {"anyOf": choices})}


def _inside(node: _Node) -> _Node:
    """The same for what a list or a mapping holds; a text may be written as a number."""
    if node.get("type") == "string":
        return {**node, "type": ["string", "number"]}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            node = {**node, key: _as_written(node[key], may_be_empty=key == "additionalProperties")}
    if "anyOf" in node:
        node = {**node, "anyOf": [_inside(each) for each in node["anyOf"]]}
    return node

"""Whether a template of arguments fits the input schema of its tool. No IO here.

A placeholder that is the whole text keeps its type, so `{attempt}` is a number; beside other words it becomes text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from omni.domain.template import compile_template
from omni.executors.forms import json_types, properties_of, resolved

# What stands for each placeholder here: values of the types that an attempt brings.
SAMPLE: dict[str, Any] = {
    "description": "text", "task_id": "text", "attempt": 1, "key": "text", "workdir": "text", "model": "text",
    "tier": "text", "base_url": "text", "api_key": "text", "session": "text", "handle": "text", "earlier": "text",
    "resume": False, "repair": False, "timeout_s": 1.5, "context": "text",
}  # fmt: skip
_WHOLE = re.compile(r"\{[a-z_]+\}")


class Misfit(NamedTuple):
    """One argument that does not fit; `kind` ends the name of the finding."""

    kind: str  # missing, unknown, refused, type
    says: str


def misfits(template: Any, schema: Mapping[str, Any]) -> Iterator[Misfit]:
    """What a tool with this schema would make of the arguments."""
    filled = compile_template(template).fill(SAMPLE)
    if not isinstance(filled, Mapping):
        yield Misfit("type", "`arguments` must be a mapping of the tool's arguments")
        return
    known = properties_of(schema)
    required = [each for each in schema.get("required") or () if isinstance(each, str)]
    listed = ", ".join(known) or "none"
    for name in (each for each in required if each not in filled):
        yield Misfit("missing", f"the tool requires {name!r}, and `arguments` does not give it")
    for name, value in filled.items():
        if name in known:
            yield from _typed(name, value, template.get(name), resolved(known[name], schema))
        elif schema.get("additionalProperties") is False:
            yield Misfit("refused", f"the tool refuses the argument {name!r}; it has: {listed}")
        elif known:
            yield Misfit("unknown", f"the tool has no argument {name!r}; it has: {listed}")


def _typed(name: str, value: Any, written: Any, node: Mapping[str, Any]) -> Iterator[Misfit]:
    wanted, given = json_types(node), _type(value)
    if wanted and given not in wanted and not (given == "integer" and "number" in wanted):
        what = f"{written} is" if isinstance(written, str) and _WHOLE.fullmatch(written) else "it is"
        yield Misfit("type", f"the argument {name!r} must be {' or '.join(sorted(wanted))}, and {what} {given}")
    elif isinstance(choices := node.get("enum"), list) and value not in choices and value == written:
        shown = ", ".join(map(repr, choices[:10]))
        yield Misfit("type", f"the argument {name!r} must be one of {shown}, and it is {value!r}")


def _type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return names.get(type(value)) or ("object" if isinstance(value, Mapping) else "array")

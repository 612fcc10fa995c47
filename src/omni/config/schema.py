"""The JSON Schema of the configuration file, generated from the records."""

from __future__ import annotations

from typing import Any

import msgspec

from omni.config.build import HIDDEN_FIELDS
from omni.config.load import ALIASES
from omni.config.model import Config


def json_schema() -> dict[str, Any]:
    """The schema an editor can check `config.yaml` with; `${VAR}` in place of a number is not modelled."""
    (reference,), components = msgspec.json.schema_components([Config], ref_template="#/$defs/{name}")
    definitions: dict[str, Any] = dict(components)
    properties = definitions["Config"]["properties"]
    for name in HIDDEN_FIELDS:
        del properties[name]
    _add_aliases(definitions)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Omni configuration",
        **reference,
        "$defs": definitions,
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    return plain


def _add_aliases(definitions: dict[str, Any]) -> None:
    holders = {"fault_handler": "FaultHandler"}
    for (section, old), new in ALIASES.items():
        properties = definitions[holders[section]]["properties"]
        properties[old] = {**properties[new], "deprecated": True, "description": f"The older name of {new}."}

"""The schema that editors check a file with says what `load` says, and explains each key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from tests.config.conftest import Configure

from omni.config import Config, json_schema
from omni.config.changes import AT_A_START, LIMITS_AT_A_START
from omni.config.descriptions import DESCRIPTIONS
from omni.domain.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
SCHEMA = json_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def complaints(text: str) -> list[str]:
    return [error.message for error in CHECK.iter_errors(yaml.safe_load(text))]


def properties() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for record, definition in SCHEMA["$defs"].items():
        for key, node in definition["properties"].items():
            yield record, key, node


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_example_fits() -> None:
    assert complaints(EXAMPLE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("record", "key", "node"), list(properties()))
def test_every_key_is_explained_and_has_its_default(record: str, key: str, node: dict[str, Any]) -> None:
    assert len(node["description"]) > 8
    assert "\n" not in node["description"]
    assert "default" in node or key in SCHEMA["$defs"][record]["required"]


def test_nothing_is_explained_that_there_is_not() -> None:
    known = {(record, key) for record, key, _ in properties()}
    assert {(record, key) for record, keys in DESCRIPTIONS.items() for key in keys} <= known


def test_every_record_forbids_unknown_keys() -> None:
    assert all(each["additionalProperties"] is False for each in SCHEMA["$defs"].values())


def test_what_needs_a_restart_is_named_as_such_and_nothing_else_is() -> None:
    said = {(record, key) for record, key, node in properties() if "Needs a restart" in node["description"]}
    meant = {("Config", key) for key in AT_A_START} | {("Limits", key) for key in LIMITS_AT_A_START}
    assert said == meant
    assert set(Config.__struct_fields__) >= AT_A_START


@pytest.mark.parametrize(
    "text",
    [
        "prot: 1", "port: x", "port: 70000", "auth: no one", "limits: {x: 1}", "limits: [1]", "tiers: [{}]",
        "budget: {daily_usd: -1}", "language: de", "mcp_servers: {a: {types: coding}}", "log_level: 7",
        "notify: {events: [weather]}", "providers: {x: {kind: other}}", "fault_handler: {dwell_s: 0}",
    ],
)  # fmt: skip
def test_schema_and_loader_refuse_the_same(configure: Configure, text: str) -> None:
    assert complaints(text)
    with pytest.raises(ConfigError):
        configure(text)


@pytest.mark.parametrize(
    "text",
    [
        "port: ${PORT:-1}", "notify:", "mcp_servers: {a: {url: 'null:', env: {A: 1}}}", "auth: ${A:-token}",
        "api_keys: {primary: {anthropic: }}", "mcp_servers: {a: {command: x, tool: t, args: [1]}}",
        "tiers: [{name: P1}]", "budget: {daily_usd: }", "fault_handler: {consecutive_failures_threshold: 3}",
        "notify: {quiet_hours: {from: '22:00', to: '7:00', except: []}}",
    ],
)  # fmt: skip
def test_schema_and_loader_take_the_same(configure: Configure, text: str) -> None:
    assert complaints(text) == []
    configure(text)

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omni.config import Config, json_schema, load

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def every_key() -> Iterator[tuple[str, str]]:
    for record, definition in json_schema()["$defs"].items():
        for key in definition["properties"]:
            yield record, key


@pytest.mark.parametrize(("record", "key"), sorted(every_key()))
def test_the_example_explains_every_key(record: str, key: str) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")

    assert re.search(rf"(^|[\s{{#(]){key}(:| is)", text, re.MULTILINE), f"{record}.{key} is not in the example"


def test_the_example_loads_and_warns_of_nothing_but_absent_secrets(tmp_path: Path) -> None:
    clouds = ("ANTHROPIC_API_KEY", "ANTHROPIC_BACKUP_KEY", "OPENROUTER_API_KEY", "OPENROUTER_BACKUP_KEY")
    loaded = load(EXAMPLE, environ={"HOME": str(tmp_path), **{each: f"{each}-canary" for each in clouds}})

    assert loaded.warnings
    assert [each for each in loaded.warnings if "secret is absent" not in each] == []
    assert list(loaded.config.executors) == ["dry_run", "clock", "runbook"]


def test_the_example_shows_the_defaults_where_it_does_not_say_example(tmp_path: Path) -> None:
    example = load(EXAMPLE, environ={"HOME": str(tmp_path)}).config
    plain = Config()

    for section in ("host", "port", "auth", "log_level", "language", "limits", "fault_handler", "notify"):
        assert getattr(example, section) == getattr(plain, section), section
    assert example.brainstem.model == "qwen2.5:7b"
    assert [each.name for each in example.tiers] == [each.name for each in plain.model_tiers]


def test_importing_the_configuration_brings_in_no_parser_and_no_heavy_library() -> None:
    heavy = "{'yaml', 'platformdirs', 'mcp', 'litellm', 'hashlib'}"
    script = f"import sys, omni.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(EXAMPLE.parent / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"

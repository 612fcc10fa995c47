"""Fences with data: configurations are read by the loader that the daemon uses, JSON and Python by their parsers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.docs.pages import Fence, fences

from omni.config import load

VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
YAML = [fence for fence in fences("yaml") if not fence.why_not]


def test_there_are_configurations_to_check() -> None:
    assert len(YAML) > 15


@pytest.mark.parametrize("fence", YAML, ids=str)
@pytest.mark.parametrize("with_keys", [True, False], ids=["keys", "no keys"])
def test_a_configuration_is_one(fence: Fence, with_keys: bool, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(fence.text, encoding="utf-8")
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {}}')  # a page may include one
    named = [name for name in VARIABLE.findall(fence.text) if with_keys or not name.endswith("_KEY")]
    loaded = load(file, environ={"HOME": str(tmp_path), **dict.fromkeys(named, "made-up")})
    assert loaded.path == file


@pytest.mark.parametrize("fence", fences("json", "jsonl"), ids=str)
def test_json_is_json(fence: Fence) -> None:
    for document in fence.text.splitlines() if fence.language == "jsonl" else [fence.text]:
        json.loads(document)


@pytest.mark.parametrize("fence", fences("python"), ids=str)
def test_python_is_python(fence: Fence) -> None:
    compile(fence.text, str(fence), "exec")

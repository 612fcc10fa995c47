from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from omni.config import Loaded, load

Configure = Callable[..., Loaded]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Write a configuration file and load it with exactly the given environment and flags."""

    def run(text: str, environ: dict[str, str] | None = None, **overrides: Any) -> Loaded:
        file = tmp_path / "config.yaml"
        file.write_text(dedent(text), encoding="utf-8")
        return load(file, overrides=overrides, environ={"HOME": str(tmp_path), **(environ or {})})

    return run

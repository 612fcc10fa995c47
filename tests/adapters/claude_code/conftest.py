"""A yard with the stub in the place of the real CLI."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.adapters.claude_code.yard import Yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)

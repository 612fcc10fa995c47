"""Where the real programs lie: named by the environment, else installed by `scripts/setup_peers.sh`."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fakes.processes import ROOT

PROGRAMS = ROOT / ".peers" / "node_modules" / ".bin"
CLAUDE = Path(os.environ.get("OMNI_TEST_CLAUDE") or PROGRAMS / "claude")
OPENCLAW = Path(os.environ.get("OMNI_TEST_OPENCLAW") or PROGRAMS / "openclaw")
REMEDY = "`make test-peers` installs it"


def missing(program: Path, variable: str) -> str:
    """Why tests with that program cannot run here; empty when they can."""
    return "" if program.exists() else f"there is no {program}: {REMEDY}, or name one by {variable}"

"""The command line, each call a process of its own, beside a running daemon."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from bench.figures import Sheet
from bench.processes import ROOT, Daemon
from bench.setup import Setup

GOALS_MS: dict[tuple[str, ...], float] = {("status",): 100, ("--help",): 200}


def measure(setup: Setup, sheet: Sheet) -> None:
    """The section `cli`."""
    with Daemon(setup.home / "cli") as omni:
        omni.ready().await_executor("dry")
        took: dict[tuple[str, ...], list[float]] = {words: [] for words in GOALS_MS}
        for _ in range(setup.commands):
            for words, found in took.items():
                found.append(_run(omni, words))
    for words, found in took.items():
        sheet.add(f"omni {' '.join(words)}", found, "ms", at_most=GOALS_MS[words])


def _run(omni: Daemon, words: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(omni.command(*words), cwd=ROOT, env=omni.environment, capture_output=True, check=True)
    return (time.perf_counter() - began) * 1e3

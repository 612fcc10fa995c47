"""Tasks whose executor is a real MCP server, started by the daemon and spoken to over stdio."""

from __future__ import annotations

import sys

from bench.figures import Sheet
from bench.processes import ROOT, Daemon
from bench.setup import Setup
from bench.throughput import OURS, Shape, Side, completed, in_turns, label

SHAPES: tuple[Shape, ...] = ((1, 1), (8, 1))


def measure(setup: Setup, sheet: Sheet) -> None:
    """The section `stdio`."""
    servers = {
        "tool": {
            "command": sys.executable,
            "args": [str(ROOT / "bench" / "stdio_server.py")],
            "tool": "nothing",
            "arguments": {"text": "{description}"},
            "types": ["general"],
            "needs_cloud": False,
            "max_concurrency": 8,
            "on_crash": "retry",
        }
    }
    with Daemon(setup.home / "stdio", servers) as omni:
        omni.ready().await_executor("tool")
        taken = in_turns([Side("omni", omni, OURS, completed)], SHAPES, setup)
    for shape in SHAPES:
        rounds = taken["omni", shape]
        sheet.add(f"{label(shape)}: tasks", [t.round.per_second for t in rounds], "/s")
        sheet.add(f"{label(shape)}: p50", [t.round.p50_ms for t in rounds], "ms")
        cpu = [t.server_cpu_s / t.round.tasks * 1000 for t in rounds]
        sheet.add(f"{label(shape)}: CPU per 1000 tasks, tool included", cpu, "s")

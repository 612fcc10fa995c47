"""Tasks through the MCP door, beside a server that is nothing but the SDK and an empty tool."""

from __future__ import annotations

from typing import Any

import msgspec

from bench.figures import Sheet
from bench.processes import Daemon, bare_server
from bench.setup import Setup
from bench.throughput import TEXT, Shape, Side, in_turns, label, ratios
from bench.wire import Line, MakeRequest, encoder, frame

SHAPES: tuple[Shape, ...] = ((1, 1), (32, 1))
LEGACY, MODERN = "2025-11-25", "2026-07-28"
ARGUMENTS = {"description": TEXT, "priority": 5, "wait_s": 30}
CLIENT = {"name": "bench", "version": "1"}
GOAL_PERCENT = 60.0


def measure(setup: Setup, sheet: Sheet) -> None:
    """The section `mcp`."""
    home = setup.home / "mcp"
    with Daemon(home) as omni:
        omni.ready().await_executor("dry")
        with bare_server(home) as bare:
            sides = []
            for era in (LEGACY, MODERN):
                greet = _initialise if era == LEGACY else None
                sides += [
                    Side(f"omni {era}", omni, _request(era, "create_task"), _task_completed, "mcp", greet),
                    Side(f"bare {era}", bare, _request(era, "nothing"), _answered, "mcp", greet),
                ]
            taken = in_turns(sides, SHAPES, setup)
    for era in (LEGACY, MODERN):
        for shape in SHAPES:
            name = f"{era}, {label(shape)}"
            ours, theirs = taken[f"omni {era}", shape], taken[f"bare {era}", shape]
            sheet.add(f"{name}: tasks", [t.round.per_second for t in ours], "/s")
            sheet.add(f"{name}: p50", [t.round.p50_ms for t in ours], "ms")
            cpu = [t.server_cpu_s / t.round.tasks * 1000 for t in ours]
            sheet.add(f"{name}: server CPU per 1000 tasks", cpu, "s")
            sheet.add(f"{name}: bare SDK calls", [t.round.per_second for t in theirs], "/s")
            cpu = [t.server_cpu_s / t.round.tasks * 1000 for t in theirs]
            sheet.add(f"{name}: bare SDK CPU per 1000 calls", cpu, "s")
            goal = GOAL_PERCENT if shape == (32, 1) else None
            share = [100 * each for each in ratios(ours, theirs, lambda r: r.per_second)]
            sheet.add(f"{name}: tasks, of the bare SDK's calls", share, "%", at_least=goal)


def _request(era: str, tool: str) -> MakeRequest:
    params: dict[str, Any] = {"name": tool, "arguments": ARGUMENTS}
    if era == MODERN:
        prefix = "io.modelcontextprotocol/"
        params["_meta"] = {
            f"{prefix}protocolVersion": MODERN, f"{prefix}clientInfo": CLIENT, f"{prefix}clientCapabilities": {},
        }  # fmt: skip
    return encoder({"jsonrpc": "2.0", "method": "tools/call", "params": params})


def _initialise(line: Line) -> None:
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
    line.ask(msgspec.json.encode({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
    line.send([frame(msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/initialized"}))])


def _task_completed(answer: bytes) -> bool:
    return b'"state":"completed"' in answer


def _answered(answer: bytes) -> bool:
    return b'"done"' in answer

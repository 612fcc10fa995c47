"""What the model port adds to a streamed call, and whether it keeps fifty streams going."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import Sheet
from bench.model_server import PACE_S
from bench.processes import ROOT, Daemon, Program, free_port
from bench.setup import Setup

STREAMS = 50
ADDED_MS = 5.0
AHEAD = 5  # calls that nobody counts: what is loaded for the first ones is no cost of the next


class Side(msgspec.Struct, frozen=True):
    """One end that answers calls: the upstream itself, or the port in front of it."""

    port: int
    key: str = ""

    def request(self, pieces: int) -> bytes:
        asked: dict[str, Any] = {
            "model": "fast",
            "stream": True,
            "max_tokens": pieces,
            "stream_options": {"include_usage": True},
        }
        asked["messages"] = [{"role": "user", "content": f"{os.urandom(8).hex()} " + "say something. " * 100}]
        body = msgspec.json.encode(asked)
        lines = (
            "POST /v1/chat/completions HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {self.key}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join([*lines, "", ""]).encode() + body


class Streamed(msgspec.Struct, frozen=True):
    """One call: milliseconds to its first event and to its end, and how many events came."""

    first_ms: float
    whole_ms: float
    events: int


def measure(setup: Setup, sheet: Sheet) -> None:
    """The section `port`."""
    home = setup.home / "port"
    home.mkdir(parents=True, exist_ok=True)
    with _upstream(home) as upstream:
        models = {"lite_llm_url": f"http://127.0.0.1:{upstream.port}", "router": {"lightweight_model": "fast"}}
        with Daemon(home, extra=models) as omni:
            omni.ready().await_executor("dry")
            direct, through = Side(upstream.port), Side(omni.port, omni.token)
            asyncio.run(_alone(direct, through, setup, sheet))
            asyncio.run(_among(direct, through, setup, sheet))


def _upstream(home: Path) -> Program:
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bench.model_server", str(port)]
    program = Program(command, port, home / "upstream.txt", environment)
    program.await_word("ready")
    return program


async def _alone(direct: Side, through: Side, setup: Setup, sheet: Sheet) -> None:
    calls = 30 if setup.quick else 100
    rounds = [await _in_turns(direct, through, calls) for _ in range(setup.rounds)]
    _tell(sheet, "one call at a time", rounds, judged=not setup.quick)


async def _among(direct: Side, through: Side, setup: Setup, sheet: Sheet) -> None:
    """First bytes of further calls, and what becomes of the streams that run meanwhile."""
    calls = 10 if setup.quick else 30
    pieces = 100 if setup.quick else 400
    running = [asyncio.create_task(_once(through, pieces)) for _ in range(STREAMS)]
    await asyncio.sleep(1.0)
    rounds = [await _in_turns(direct, through, calls) for _ in range(setup.rounds)]
    done = await asyncio.gather(*running)
    _tell(sheet, f"among {STREAMS} streams", rounds, judged=False)
    whole = sum(each.events == pieces + 2 for each in done)  # the pieces, the usage, the end
    sheet.add("streams that came whole", whole, f"of {STREAMS}", at_least=STREAMS)
    late = [each.whole_ms - each.first_ms - (pieces - 1) * PACE_S * 1000 for each in done]
    sheet.add("a stream's delay at its end", late, "ms", note=f"{pieces} pieces, {PACE_S * 1000:g} ms apart")


def _tell(sheet: Sheet, how: str, rounds: Sequence[tuple[list[float], list[float]]], *, judged: bool) -> None:
    ours = [statistics.median(through) for _, through in rounds]
    theirs = [statistics.median(direct) for direct, _ in rounds]
    sheet.add(f"{how}: first byte, direct p50", theirs, "ms")
    sheet.add(f"{how}: first byte, through the port p50", ours, "ms")
    added = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    sheet.add(f"{how}: added p50", added, "ms", at_most=ADDED_MS if judged else None)


async def _in_turns(direct: Side, through: Side, calls: int) -> tuple[list[float], list[float]]:
    first: tuple[list[float], list[float]] = ([], [])
    for i in range(AHEAD + calls):
        for side, taken in zip((direct, through), first, strict=True):
            took = await _once(side, 1)
            if i >= AHEAD:
                taken.append(took.first_ms)
    return first


async def _once(side: Side, pieces: int) -> Streamed:
    """One call over a connection of its own; the clock starts with the request, the connection is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
    request = side.request(pieces)
    began = time.perf_counter()
    writer.write(request)
    seen = b""
    while b"data:" not in seen:
        more = await reader.read(65_536)
        if not more or not (seen + more).startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"no answer: {seen + more!r}")
        seen += more
    first_s = time.perf_counter() - began
    events = seen.count(b"data:")
    while not seen.endswith(b"0\r\n\r\n"):
        more = await reader.read(65_536)
        if not more:
            raise RuntimeError("the stream broke off")
        events += more.count(b"data:")
        seen = seen[-8:] + more
    writer.close()
    return Streamed(first_s * 1000, (time.perf_counter() - began) * 1000, events)

"""Tasks through the plain dialect, from request to completed and durable; beside the yardstick, in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from bench.figures import Sheet
from bench.processes import Daemon, Program, yardstick
from bench.setup import Setup
from bench.wire import NUMBER, MakeRequest, Round, encoder, load

Shape = tuple[int, int]  # connections, requests open on each
SHAPES: tuple[Shape, ...] = ((1, 1), (32, 1), (256, 1), (1, 32))
WARM_UP_S = 0.5
# No two requests are alike, so that nothing can be remembered from one to the next.
TEXT = f"Summarise the quarterly report of branch {NUMBER}, list its three largest risks and draft a reply."

OURS = encoder({"method": "create_task", "params": {"description": TEXT, "priority": 5}})
THEIRS = encoder(
    {
        "jsonrpc": "2.0",
        "method": "tools/call",
        "params": {"name": "submit_task", "arguments": {"kind": "general", "prompt": TEXT, "priority": 5}},
    }
)


class Taken(msgspec.Struct, frozen=True):
    """One round, seen from the client and from the server's processor."""

    round: Round
    server_cpu_s: float
    events: int = 0
    commits: int = 0


class Side(msgspec.Struct):
    """One server in the comparison."""

    name: str
    program: Program
    make: MakeRequest
    accept: Callable[[bytes], bool]
    subprotocol: str = ""
    greet: Callable[..., None] | None = None

    def take(self, shape: Shape, seconds: float) -> Taken:
        """One round of load on connections of its own."""
        connections, per_line = shape
        lines = [self.program.line(self.subprotocol) for _ in range(connections)]
        try:
            for line in lines if self.greet else ():
                self.greet(line)  # type: ignore[misc]
            before, cpu = _written(self.program), self.program.cpu_s()
            seen = load(lines, self.make, self.accept, per_line=per_line, seconds=seconds)
            cpu, after = self.program.cpu_s() - cpu, _written(self.program)
        finally:
            for line in lines:
                line.close()
        return Taken(seen, cpu, after[0] - before[0], after[1] - before[1])


def _written(program: Program) -> tuple[int, int]:
    return program.written() if isinstance(program, Daemon) else (0, 0)


def in_turns(sides: list[Side], shapes: Iterable[Shape], setup: Setup) -> Mapping[tuple[str, Shape], list[Taken]]:
    """Measure all sides shape by shape, first one first and then the other, so that a slow minute hits both."""
    taken: dict[tuple[str, Shape], list[Taken]] = {}
    for side in sides:
        side.take((8, 1), WARM_UP_S)
    for number in range(setup.rounds):
        for shape in shapes:
            for side in sides if number % 2 == 0 else sides[::-1]:
                taken.setdefault((side.name, shape), []).append(side.take(shape, setup.round_s))
    return taken


def ratios(ours: list[Taken], theirs: list[Taken], of: Callable[[Round], float]) -> list[float]:
    """Ours over theirs, round by round."""
    return [of(a.round) / of(b.round) for a, b in zip(ours, theirs, strict=True)]


def completed(answer: bytes) -> bool:
    return b'"status":"completed"' in answer


def no_error(answer: bytes) -> bool:
    return b'"result"' in answer


def measure(setup: Setup, sheet: Sheet) -> None:
    """The section `throughput`."""
    home = setup.home / "throughput"
    with Daemon(home) as omni:
        omni.ready().await_executor("dry")
        other = yardstick(home)
        try:
            sides = [Side("omni", omni, OURS, completed)]
            sides += [Side("yardstick", other, THEIRS, no_error)] if other else []
            taken = in_turns(sides, SHAPES, setup)
        finally:
            if other:
                other.stop()
    for shape in SHAPES:
        _ours(sheet, shape, taken["omni", shape])
        if other:
            _beside(sheet, shape, taken["omni", shape], taken["yardstick", shape])


def _ours(sheet: Sheet, shape: Shape, taken: list[Taken]) -> None:
    name = label(shape)
    sheet.add(f"{name}: tasks", [t.round.per_second for t in taken], "/s")
    sheet.add(f"{name}: p50", [t.round.p50_ms for t in taken], "ms")
    sheet.add(f"{name}: p99", [t.round.p99_ms for t in taken], "ms")
    sheet.add(f"{name}: server CPU per 1000 tasks", [_cpu(t) for t in taken], "s")
    sheet.add(f"{name}: events per commit", [t.events / max(1, t.commits) for t in taken], "")


def _beside(sheet: Sheet, shape: Shape, ours: list[Taken], theirs: list[Taken]) -> None:
    name = label(shape)
    sheet.add(f"{name}: yardstick tasks", [t.round.per_second for t in theirs], "/s")
    sheet.add(f"{name}: yardstick CPU per 1000 tasks", [_cpu(t) for t in theirs], "s")
    goal = 50.0 if shape in {(32, 1), (256, 1)} else None
    share = [100 * each for each in ratios(ours, theirs, lambda r: r.per_second)]
    sheet.add(f"{name}: tasks, of the yardstick's", share, "%", at_least=goal)
    sheet.add(f"{name}: CPU, over the yardstick's", [_cpu(a) / _cpu(b) for a, b in zip(ours, theirs, strict=True)], "×")
    most = 2.0 if shape == (1, 1) else None
    sheet.add(f"{name}: p50, over the yardstick's", ratios(ours, theirs, lambda r: r.p50_ms), "×", at_most=most)


def _cpu(taken: Taken) -> float:
    return taken.server_cpu_s / taken.round.tasks * 1000


def label(shape: Shape) -> str:
    """How a shape is called in the table."""
    connections, per_line = shape
    return f"1 × {per_line}" if connections == 1 else f"{connections} connections"

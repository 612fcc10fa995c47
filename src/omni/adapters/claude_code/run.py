"""One run of the program: its process from the start until nothing of it is left.

    started ──▶ reading ──┬─ `result` ────────────────▶ a moment to exit by itself ─┐
                          ├─ the process ended ─────────────────────────────────────┼─▶ INT ─▶ TERM ─▶ KILL and sweep
                          └─ stop wished, silent, late ─────────────────────────────┘

Each step is taken only as long as the process lives; the sweep always comes, because what a tool left in the background
has a session of its own and outlives every signal to the program. Reading goes on to the end: a run that was
interrupted still says its `result`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from omni.adapters.claude_code.command import RUN_VARIABLE
from omni.adapters.service import Stop
from omni.executors.children import Record, close_pipes, end_all, launched, recorded, signal_group

TICK_S = 0.25
LEFTOVER_S = 0.5  # for the last lines of a process that has ended
MAX_STDERR_BYTES = 16 * 1024

Why: TypeAlias = Literal["result", "exited", "stopped", "idle", "timeout"]
Hear: TypeAlias = Callable[[bytes], Awaitable[bool]]


class Patience(NamedTuple):
    """How long a process is waited for before the next step."""

    exit_s: float = 2.0  # after its result
    int_s: float = 2.0
    term_s: float = 1.0


PATIENT = Patience()
HURRIED = Patience(0.4, 0.6, 0.3)  # the daemon ends us 2.4 s after it closed stdin


class Bounds(NamedTuple):
    """How long a run may be silent, and take as a whole."""

    idle_s: float
    total_s: float


class Ended(msgspec.Struct, frozen=True):
    """How a run ended. `code` is None when it had to be left; negative for a signal. `said`: the end of its stderr."""

    why: Why
    code: int | None
    said: str = ""


class Run:
    """A program that was started. `hear` takes a line and says whether the run is complete with it."""

    def __init__(self, process: asyncio.subprocess.Process, marker: str, bounds: Bounds, hear: Hear) -> None:
        self.record = recorded(process.pid)
        self._process = process
        self._marker = marker
        self._bounds = bounds
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._complete = asyncio.Event()
        self._said = bytearray()

    async def follow(self, stop: Stop) -> Ended:
        """Wait for its end or bring it about, and leave nothing of it."""
        reading = asyncio.create_task(self._read())
        saying = asyncio.create_task(self._listen())
        why: Why = "stopped"
        try:
            why = await self._watch(reading, stop)
        finally:
            await _to_the_end(self._end(why, stop))
            await asyncio.wait({reading, saying}, timeout=LEFTOVER_S)
            for task in (reading, saying):
                task.cancel()
            close_pipes(self._process)
        return Ended(why, self._process.returncode, self._said.decode("utf-8", "replace").strip())

    async def _watch(self, reading: asyncio.Task[None], stop: Stop) -> Why:
        ends_at = self._loop.time() + self._bounds.total_s
        events: dict[asyncio.Task[object], Why] = {
            asyncio.create_task(self._complete.wait()): "result",
            asyncio.create_task(stop.wait()): "stopped",
        }
        try:
            while True:
                done, _ = await asyncio.wait({reading, *events}, timeout=TICK_S, return_when="FIRST_COMPLETED")
                if why := next((events[each] for each in events if each in done), None):
                    return why
                if reading in done:
                    return await self._exited(reading)
                if self._process.returncode is not None:
                    return await self._exited(reading)
                if self._loop.time() - self._heard_at > self._bounds.idle_s:
                    return "idle"
                if self._loop.time() > ends_at:
                    return "timeout"
        finally:
            for each in events:
                each.cancel()

    async def _exited(self, reading: asyncio.Task[None]) -> Why:
        """The process has ended, or closed its output. A descendant may hold the pipe: wait for it a moment only."""
        await asyncio.wait({reading}, timeout=LEFTOVER_S)
        return "result" if self._complete.is_set() else "exited"

    async def _read(self) -> None:
        assert self._process.stdout
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line beyond all bounds: lost, and the rest of it is no event
                continue
            if not line:
                return
            self._heard_at = self._loop.time()
            if await self._hear(line):
                self._complete.set()

    async def _listen(self) -> None:
        assert self._process.stderr
        while chunk := await self._process.stderr.read(4096):
            self._said += chunk
            del self._said[:-MAX_STDERR_BYTES]

    async def _end(self, why: Why, stop: Stop) -> None:
        patience = HURRIED if stop.reason == "ending" else PATIENT
        if why in {"result", "exited"}:
            await self._gone(patience.exit_s)
        for number, wait_s in ((signal.SIGINT, patience.int_s), (signal.SIGTERM, patience.term_s)):
            if self._process.returncode is None:
                signal_group(self._process.pid, number)
                await self._gone(wait_s)
        await asyncio.to_thread(end_run, [(self.record, self._marker)])
        await self._gone(patience.term_s)

    async def _gone(self, within_s: float) -> None:
        """Wait for the process, not for its pipes."""
        until = self._loop.time() + within_s
        while self._process.returncode is None and self._loop.time() < until:  # noqa: ASYNC110 - nothing public tells
            await asyncio.sleep(0.02)


async def start(argv: Sequence[str], env: Mapping[str, str], cwd: str, marker: str, bounds: Bounds, hear: Hear) -> Run:
    """Start the program; raises ExecutorUnavailable."""
    process = await launched(argv, env=env, cwd=cwd, stdin=asyncio.subprocess.DEVNULL)
    return Run(process, marker, bounds, hear)


def end_run(runs: Sequence[tuple[Record | None, str]]) -> int:
    """End whatever is left of these runs, by process and by marker; how many processes that were. Blocks."""
    return end_all([record for record, _ in runs if record], RUN_VARIABLE, {marker for _, marker in runs})


async def _to_the_end(work: Awaitable[None]) -> None:
    """Not even a cancellation may leave a process behind."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(asyncio.CancelledError):
            await task
        raise

"""`omni drill soak`: hold a soak, and say whether its figures hold. Ctrl-C ends it with the figures so far."""

from __future__ import annotations

import asyncio
import secrets
import signal
from typing import TYPE_CHECKING

from omni.cli.context import Context
from omni.cli.drill import Progress, figure_rows, verdict_of
from omni.cli.exits import INTERRUPTED, OK, TASK_FAILED, BadUsage
from omni.cli.output import table

if TYPE_CHECKING:
    from omni.ops.soak.reckoning import Share, Times
    from omni.ops.soak.report import SoakReport, Struck

MINUTES = 10.0
STOPPING = "ending it; what is under way is counted. Once more leaves without figures"
_REMOVED = "stopped; the daemon of the soak has ended, and what it wrote is removed"


def is_meant(fault: str, minutes: float | None, seed: int | None, *, others: bool) -> bool:
    """Whether it is a soak that is asked for. Raises BadUsage for options of one with a drill, or the other way."""
    if fault == "soak" and others:
        raise BadUsage("a soak has a daemon and faults of its own", hint="omni drill soak --minutes 10 --seed 1")
    if fault != "soak" and (minutes is not None or seed is not None):
        raise BadUsage("--minutes and --seed are for a soak", hint="omni drill soak --minutes 10")
    return fault == "soak"


def run(context: Context, minutes: float | None, seed: int | None) -> int:
    """Hold a soak; exit code 1 when a figure is missed, 130 when a person ended it. Raises OmniError."""
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    try:
        report = asyncio.run(_held(context, MINUTES if minutes is None else minutes, seed))
    except (asyncio.CancelledError, KeyboardInterrupt):
        context.out.note(_REMOVED)
        raise KeyboardInterrupt from None
    context.out.show("drill", report.view(), lines(context, report))
    if report.stopped:
        return INTERRUPTED
    return OK if report.ok else TASK_FAILED


async def _held(context: Context, minutes: float, seed: int) -> SoakReport:
    from omni.ops.soak.run import Tempo, soak

    loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def end() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        else:
            context.out.note(STOPPING)
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    return await soak(seed, Tempo(minutes=minutes), Progress(context), stop)


def lines(context: Context, report: SoakReport) -> list[str]:
    """The report for people."""
    tasks, how = report.tasks, ", ended before its time" if report.stopped else ""
    said = ", ".join(f"{number} {name}" for name, number in report.calls.items())
    settings = ", ".join(f"{name} {value:g}" for name, value in report.settings.items())
    counted = (
        f"{tasks.submitted} accepted, {tasks.completed} completed, {tasks.failed} failed, {report.held} held, "
        f"{tasks.open} open, {tasks.lost} lost, {tasks.twice} done twice; {tasks.again} needed another attempt"
    )
    return [
        f"soak of {report.lasted_s:g} s{how}, seed {report.seed}: {verdict_of(context, report.figures)}",
        "",
        *table(("VERDICT", "MEASURED", "WANTED", "FIGURE"), figure_rows(report.figures)),
        "",
        *table(("AVAILABLE", "OF", "VIEW"), [_share(each) for each in report.shares]),
        "",
        *table(("P50", "P99", "MAX", "COUNT", "TIMES"), [_times(each) for each in report.times]),
        "",
        *table(("AT", "LASTED", "FAULT", "EFFECT"), [_fault(each) for each in report.faults]),
        "",
        f"tasks     {counted}",
        f"calls     {said}",
        f"settings  {settings}",
        *(f"note      {note}" for note in report.notes),
    ]


def _share(share: Share) -> tuple[str, str, str]:
    percent = "-" if share.percent is None else f"{share.percent:.3f} %"
    return percent, f"{share.part:g} of {share.whole:g}{f' {share.unit}' if share.unit else ''}", share.name


def _times(times: Times) -> tuple[str, str, str, str, str]:
    shown = ["-" if each is None else f"{each:.3f} s" for each in (times.p50_s, times.p99_s, times.max_s)]
    count = f"{times.count}, {times.missing} never" if times.missing else str(times.count)
    return shown[0], shown[1], shown[2], count, times.name


def _fault(struck: Struck) -> tuple[str, str, str, str]:
    return f"{struck.at_s:.1f} s", f"{struck.lasted_s:.1f} s", struck.kind, "; ".join(struck.effects) or "-"

"""`omni drill`: hold a drill with a daemon of its own, or in the one that runs, and say whether the figures hold."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omni.cli.context import Context, bracketed
from omni.cli.exits import OK, TASK_FAILED, BadUsage
from omni.cli.output import table
from omni.domain.drill import WORDS, Fault

if TYPE_CHECKING:
    from omni.ops.figures import Figure, Report
    from omni.ops.live import Running

T = TypeVar("T")

# What a drill in the running daemon leads to, beside what its name says.
_LIVE: dict[Fault, str] = {
    "proxy-down": "its model calls go directly to the clouds with the backup keys, which may cost something",
    "proxy-hang": "its model calls go directly to the clouds with the backup keys, which may cost something",
    "cloud-down": "its tasks wait until the cloud is back, and the local model is loaded",
    "rate-limit": "its model calls go to the next tier, which may cost something",
    "quota": "its calls of paid models go elsewhere; without a proxy their keys are not used again for ten minutes",
}


_REMOVED = "stopped; the daemon of the drill has ended, and what it wrote is removed"
_ENDED = "stopped; the fault is over, and the daemon goes on by its usual rules: omni status"


def run(context: Context, fault: str, *, live: bool, seconds: float | None, with_calls: bool, sure: bool) -> int:
    """Hold a drill; exit code 1 when a figure is missed. Raises OmniError."""
    if not live:
        if fault == "none" or with_calls:
            raise BadUsage("that is for a daemon that runs", hint=f"omni drill {fault} --live")
        return _say(context, _interruptible(context, _of_its_own(context, fault, seconds), _REMOVED))
    if fault == "kill":
        raise BadUsage(
            "a drill does not kill the running daemon: nobody would be left to measure it, or to start it again",
            hint="omni drill kill, with a daemon of its own",
        )
    if fault == "none":
        return _end(context)
    known = cast("Fault", fault)
    _confirm(context, known, sure=sure)
    work = _live(context, known, seconds, with_calls=with_calls)
    return _say(context, _interruptible(context, work, _ENDED))


def _of_its_own(context: Context, fault: str, seconds: float | None) -> Coroutine[Any, Any, Report]:
    from omni.ops import drill

    return drill.run(fault, Progress(context), seconds=seconds)


def _live(context: Context, fault: Fault, seconds: float | None, *, with_calls: bool) -> Coroutine[Any, Any, Report]:
    from omni.ops import live

    return live.run(fault, _running(context), Progress(context), seconds=seconds, with_calls=with_calls)


def _end(context: Context) -> int:
    from omni.ops import live

    asyncio.run(live.end(_running(context)))
    context.out.show("drill", {"fault": "none", "live": True, "ok": True}, ["no drill is under way"])
    return OK


def _running(context: Context) -> Running:
    from omni.config import log_path
    from omni.llm.keys import ModelKeys
    from omni.ops.live import CLIENT, Running

    host, port = context.address
    return Running(
        url=f"http://{bracketed(host)}:{port}",
        token=context.token,
        model_key=lambda: ModelKeys.of(context.data_dir).client_key(CLIENT),
        log=log_path(context.data_dir),
    )


def _confirm(context: Context, fault: Fault, *, sure: bool) -> None:
    """Ask before the running daemon is told a lie. Raises BadUsage when nobody says yes."""
    if sure:
        return
    if sys.stdin.isatty() and context.out.live:
        context.out.note(f"The daemon that runs will find that {WORDS[fault]}; {_LIVE[fault]}.")
        sys.stderr.write("Go on? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in {"y", "yes"}:
            return
        raise BadUsage("no drill was held", hint=f"omni drill {fault}, with a daemon of its own")
    raise BadUsage(
        f"a drill in the running daemon needs a yes: it will find that {WORDS[fault]}; {_LIVE[fault]}",
        hint=f"omni drill {fault} --live --yes, or omni drill {fault} with a daemon of its own",
    )


class Progress:
    """What is being done, on stderr, with the seconds since the beginning."""

    def __init__(self, context: Context) -> None:
        self._out = context.out
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        self._out.note(f"{time.monotonic() - self._began:6.1f} s  {text}")


def _interruptible(context: Context, work: Coroutine[Any, Any, T], stopped: str) -> T:
    """Do the work; SIGTERM and SIGHUP end it in order too, as Ctrl-C does. Raises KeyboardInterrupt then.

    `stopped` is what is said of that: by then the work has cleaned up after itself.
    """

    async def main() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(main())
    except (asyncio.CancelledError, KeyboardInterrupt):
        context.out.note(stopped)
        raise KeyboardInterrupt from None


def _say(context: Context, report: Report) -> int:
    context.out.show("drill", report.view(), _lines(context, report))
    return OK if report.ok else TASK_FAILED


def _lines(context: Context, report: Report) -> list[str]:
    where = "in the daemon that runs" if report.live else "with a daemon of its own"
    tasks = report.tasks
    counted = (
        f"{tasks.submitted} handed in, {tasks.completed} completed, {tasks.failed} failed, {tasks.open} open, "
        f"{tasks.lost} lost, {tasks.twice} done twice; {tasks.again} needed another attempt"
    )
    settings = ", ".join(f"{name} {value:g}" for name, value in report.settings.items())
    return [
        f"drill {report.fault}, {where}: {verdict_of(context, report.figures)}",
        "",
        *table(("VERDICT", "MEASURED", "WANTED", "FIGURE"), figure_rows(report.figures)),
        "",
        f"tasks     {counted}",
        f"settings  {settings}",
        *(f"note      {note}" for note in report.notes),
    ]


def verdict_of(context: Context, figures: Sequence[Figure]) -> str:
    """How many figures were missed, in a word and its colour."""
    missed = sum(not figure.ok for figure in figures)
    return context.out.style(f"{missed} missed", "bad") if missed else context.out.style("all figures hold", "good")


def figure_rows(figures: Sequence[Figure]) -> list[tuple[str, str, str, str]]:
    """One row a figure: verdict, measured, wanted, name."""
    return [_row(figure) for figure in figures]


def _row(figure: Figure) -> tuple[str, str, str, str]:
    unit = f" {figure.unit}" if figure.unit else ""
    measured = "never" if figure.measured is None else f"{figure.measured:g}{unit}"
    return "ok" if figure.ok else "MISSED", measured, f"{figure.rule} {figure.wanted:g}{unit}", figure.name

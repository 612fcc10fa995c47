"""What breaks in a soak, and how: the drills' faults inside the daemon, and blows at real processes.

    fault          done to                                    lasts           over when
    proxy-down …   the daemon, by `POST /api/drill`           as drawn        by itself, at its time
    kill           the daemon: SIGKILL                        –               started again at once, as by a service
    *-kill         one executor process: SIGKILL              –               the daemon starts another
    *-freeze       one executor process: SIGSTOP              as drawn        SIGCONT
    disk-full      the daemon: no file of its can be written  as drawn        the limit is lifted

Faults come in rounds, each fault once in a round, in an order by chance: so a short soak meets all of them, and the
share of kills does not hang on luck. A second blow, in the middle of a fault that lasts, comes once in three.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import psutil

EXECUTORS = {"hand": "omni.ops.soak.hand", "worker": "omni.adapters.model_task"}
SECOND_BLOW = 1 / 3


class Kind(NamedTuple):
    """How long a fault of this kind lasts, and whether it is wanted that all is well when it begins."""

    shortest_s: float
    longest_s: float
    from_normal: bool = False


KINDS: dict[str, Kind] = {
    "proxy-down": Kind(4, 8, from_normal=True),
    "proxy-hang": Kind(4, 8, from_normal=True),
    "cloud-down": Kind(10, 14, from_normal=True),
    "rate-limit": Kind(3, 5, from_normal=True),
    "quota": Kind(3, 6, from_normal=True),
    "kill": Kind(0, 0),
    "hand-kill": Kind(0, 0),
    "worker-kill": Kind(0, 0),
    "hand-freeze": Kind(2, 6),
    "worker-freeze": Kind(2, 6),
    "disk-full": Kind(1, 3),
}
IN_DAEMON = ("proxy-down", "proxy-hang", "cloud-down", "rate-limit", "quota")
SECOND = ("kill", "hand-kill", "worker-kill", "hand-freeze", "worker-freeze")
MIDDLE = ("proxy-down", "proxy-hang", "cloud-down", "hand-freeze", "worker-freeze")


class Drawn(NamedTuple):
    """A fault as it was drawn: after which pause, for how long, and what else strikes in its middle."""

    kind: str
    pause_s: float
    lasts_s: float
    second: str = ""
    second_lasts_s: float = 0.0


def possible() -> list[str]:
    """The kinds of faults that this system can make."""
    return [kind for kind in KINDS if kind != "disk-full" or sys.platform == "linux"]


def drawn(chance: random.Random, pause_s: tuple[float, float]) -> Iterator[Drawn]:
    """Faults without end; the same chance draws the same ones."""
    while True:
        kinds = possible()
        chance.shuffle(kinds)
        for kind in kinds:
            yield _draw(chance, kind, pause_s)


def _draw(chance: random.Random, kind: str, pause_s: tuple[float, float]) -> Drawn:
    lasts_s = chance.uniform(*KINDS[kind][:2])
    pause, second = chance.uniform(*pause_s), chance.choice(SECOND)
    second_lasts_s = min(chance.uniform(*KINDS[second][:2]), lasts_s / 2)
    if kind not in MIDDLE or chance.random() >= SECOND_BLOW:
        return Drawn(kind, pause, lasts_s)
    return Drawn(kind, pause, lasts_s, second, second_lasts_s)


# --- blows at processes -----------------------------------------------------------------------------------------------


def executor_of(daemon: int, name: str) -> psutil.Process | None:
    """The process of an executor, below a daemon."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(daemon).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if EXECUTORS[name] in child.cmdline():
                    return child
    return None


def strike(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal to this very process; whether it was still there."""
    try:
        process.send_signal(number)
    except psutil.Error:
        return False
    return True


def forbid_writing(daemon: int) -> None:
    """From now on no file that the daemon writes may have a byte beyond its first. Linux only."""
    _limit_files(psutil.Process(daemon), 1)


def allow_writing(daemon: int) -> None:
    """The daemon writes again; and so do those whom it has started meanwhile, for they inherit a limit."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(daemon)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                _limit_files(process, -1)


def _limit_files(process: psutil.Process, soft: int) -> None:
    """Set the soft limit of the size of files; the hard one stays, so that it can be lifted again."""
    limit: Any = process  # the stubs know `rlimit` only where it exists
    _, hard = limit.rlimit(psutil.RLIMIT_FSIZE)
    limit.rlimit(psutil.RLIMIT_FSIZE, (hard if soft < 0 else soft, hard))

"""Cleans up after a drill that died without a word: ends the daemon that it had started, and removes its directory.

A process of its own, beside the drill. It reads the pid of each daemon from stdin, one a line, and acts when stdin is
closed: by a drill that has ended in order, when nothing is left to do, or by the system, because the drill was killed.
Started as `python -m omni.ops.leash HOME`.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterable

import psutil

END_WITHIN_S = 15.0


def clean_up(pids: Iterable[int], home: str) -> None:
    """End those of the processes that still are the daemon of this directory, then remove it."""
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            _end(psutil.Process(pid), home)
    shutil.rmtree(home, ignore_errors=True)


def _end(process: psutil.Process, home: str) -> None:
    """End it in order, by force when it takes too long; a pid that was given to another program is let alone."""
    if not any(home in word for word in process.cmdline()):
        return
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except psutil.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    clean_up([int(line) for line in sys.stdin], sys.argv[1])

"""How much is measured, and on what machine."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from pathlib import Path

import apsw
import msgspec


class Setup(msgspec.Struct, frozen=True):
    """The size of a run. `home` is a scratch directory on the disk that is measured."""

    home: Path
    quick: bool = False

    @property
    def budget_s(self) -> float:
        return 50.0 if self.quick else 300.0  # no section begins after that

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

    @property
    def round_s(self) -> float:
        return 0.5 if self.quick else 1.2

    @property
    def log_tasks(self) -> int:
        return 10_000 if self.quick else 200_000

    @property
    def starts(self) -> int:
        return 3 if self.quick else 5

    @property
    def cold_folds(self) -> int:
        return 1 if self.quick else 2

    @property
    def commands(self) -> int:
        return 5 if self.quick else 15

    @property
    def idle_s(self) -> float:
        return 2.0 if self.quick else 10.0


def machine(home: Path) -> dict[str, str]:
    """What a reader must know of the machine to judge a figure."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "cpu": f"{os.cpu_count()} × {_cpu_model()}",
        "load": " ".join(f"{each:.2f}" for each in os.getloadavg()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "4 KiB write + fdatasync": f"{_sync_ms(home):.3f} ms",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _sync_ms(home: Path) -> float:
    sync = os.fdatasync if sys.platform == "linux" else os.fsync
    file = os.open(home / "sync", os.O_RDWR | os.O_CREAT, 0o600)
    took = []
    try:
        for i in range(200):
            began = time.perf_counter()
            os.pwrite(file, bytes(4096), i * 4096)
            sync(file)
            took.append((time.perf_counter() - began) * 1e3)
    finally:
        os.close(file)
    return statistics.median(took)

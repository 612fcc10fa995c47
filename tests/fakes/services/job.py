"""One supervised process: started bare, ended by SIGTERM, and when that takes too long by SIGKILL with its group."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

_LIMITED = 'ulimit -Sn "$0" && ulimit -Hn "$1" && shift && exec "$@"'


@dataclass
class Spawn:
    """How the process is to be started, and when again."""

    argv: Sequence[str]
    cwd: str
    environment: Mapping[str, str]
    umask: int
    files: tuple[int, int]  # soft and hard
    out: str
    err: str
    stop_within_s: float
    pause_s: float
    again: Callable[[int], bool]  # by the exit code
    throttled: bool = False  # the pause counts from start to start, else from end to start


@dataclass
class Job:
    """Runs `spawn` until it is told to stop. All methods may be called from any thread."""

    spawn: Spawn
    runs: int = 0
    last_exit: int | None = None
    pids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._over = False
        self._not_before = 0.0
        self.stopped_by: str = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None else None

    @property
    def scheduled(self) -> bool:
        return self._wanted and self._process is None

    def start(self) -> None:
        with self._lock:
            self._wanted = True
            self._lock.notify_all()

    def signal(self, number: int) -> bool:
        process = self._process
        if process is None:
            return False
        process.send_signal(number)
        return True

    def stop(self) -> None:
        """TERM, then KILL; returns when it is gone."""
        with self._lock:
            self._wanted = False
            self._lock.notify_all()
            process = self._process
        if process is None:
            return
        self.stopped_by = "TERM"
        process.terminate()
        end = time.monotonic() + self.spawn.stop_within_s
        while self._process is process:
            if time.monotonic() > end and self.stopped_by == "TERM":
                self.stopped_by = "KILL"
                process.kill()
            time.sleep(0.002)

    def discard(self) -> None:
        self.stop()
        with self._lock:
            self._over = True
            self._lock.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while (started := self._due()) is not None:
            process, began = started
            code = process.wait()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left behind in its group
            with self._lock:
                self.last_exit = code
                self._process = None
                self._wanted = self._wanted and self.spawn.again(code)
                since = began if self.spawn.throttled else time.monotonic()
                self._not_before = since + self.spawn.pause_s

    def _due(self) -> tuple[subprocess.Popen[bytes], float] | None:
        """Wait until it is to be started, and start it; None when it never will."""
        with self._lock:
            while not self._over:
                left = self._not_before - time.monotonic()
                if self._wanted and left <= 0:
                    self._process = self._launch()
                    return self._process, time.monotonic()
                self._lock.wait(max(0.001, left) if self._wanted else None)
            return None

    def _launch(self) -> subprocess.Popen[bytes]:
        spawn = self.spawn
        self.runs += 1
        soft, hard = spawn.files
        with open(spawn.out, "ab", opener=_private) as out, open(spawn.err, "ab", opener=_private) as err:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _LIMITED, str(soft), str(hard), *spawn.argv],
                cwd=spawn.cwd,
                env=dict(spawn.environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                umask=spawn.umask,
                start_new_session=True,
            )
        self.pids.append(process.pid)
        return process


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

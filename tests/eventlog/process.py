"""A daemon in a process of its own, reduced to its log: reads commands from stdin, answers one line to each.

append N     N events, one transaction each    ->  ok POSITION | NAME-OF-ERROR message
exit         end without closing anything      ->  (nothing)
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.eventlog.samples import CODEC, said

from omni.domain.errors import EventLogError
from omni.eventlog.sqlite import SqliteEventStore

ROOT = Path(__file__).parents[2]


class LogProcess:
    """Drives the process from a test."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.eventlog.process", str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )  # fmt: skip
        self.pid = self._process.pid
        self.first_line = self._read()

    def ask(self, command: str) -> str:
        self.tell(command)
        return self._read()

    def tell(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def wait(self) -> None:
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def _append(store: SqliteEventStore, events: int) -> str:
    stream = f"task-{os.getpid()}"
    version = len(store.stream(stream))
    for each in range(version + 1, version + events + 1):
        store.append([said(stream, each, f"{os.getpid()} {each}")])
    return f"ok {store.head.position}"


def _answer(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main(path: Path) -> None:
    try:
        store = SqliteEventStore.open(path, CODEC)
        _answer("open", store.boot)
    except EventLogError as error:
        _answer(type(error).__name__, error.message)
        return
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "exit":
            os._exit(0)
        try:
            _answer(_append(store, int(rest[0])))
        except EventLogError as error:
            _answer(type(error).__name__, error.message)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

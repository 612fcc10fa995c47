"""Structured logs: one JSON object a line, secrets masked, to a file that stays bounded.

Logs explain; only the event log is truth.
Event names are `noun.past_participle`; fields are plain values. A task's end gives one canonical line, `task.ended`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from omni.domain.task import Task
from omni.domain.view import timestamp
from omni.redact import Redactor

MAX_BYTES = 20 * 1024 * 1024
KEEP = 4  # beside the one that is written
SAID = "service.log"  # what a service manager catches of the process's own words
COMPLAIN_EVERY_S = 60.0
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_encode = msgspec.json.Encoder(enc_hook=repr).encode


def configure(file: RotatingFile, level: str, redactor: Redactor, *, console: bool = False) -> Journal:
    """Send the process's log lines to `file`, and readable ones to stderr when a person sits there."""
    threshold = _Threshold(level)
    structlog.configure(
        processors=[
            threshold,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            _Render(redactor, console=console),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),  # what is bound once cannot change later
        logger_factory=lambda *_: _Writer(file),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Foreign()], level=logging.WARNING, force=True)
    return Journal(file, redactor, threshold)


class RotatingFile:
    """Append lines; at MAX_BYTES the file moves on to `.1`, `.2` …, and the oldest goes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._lock = threading.Lock()
        self._complained_s = -COMPLAIN_EVERY_S
        bound_said(path.with_name(SAID))
        self._open()

    def write(self, line: str) -> None:
        """Write one line, or several at once: a crash loses nothing that was said."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        try:
            with self._lock:
                if self._size + len(data) > MAX_BYTES:
                    self._rotate()
                self._size += len(data)
                self._file.write(data)
        except (OSError, ValueError) as error:  # a disk that takes no log, or a closed file, must stop no work
            self._complain(error)

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _complain(self, error: Exception) -> None:
        """Seldom: on a service it goes into a file on the same disk."""
        now = time.monotonic()
        if now - self._complained_s >= COMPLAIN_EVERY_S:
            self._complained_s = now
            _say(f"cannot write the log: {error}\n")

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)
        self._path.chmod(0o600)
        self._size = self._file.tell()

    def _rotate(self) -> None:
        self._file.close()
        for n in range(KEEP - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{n}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{n + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        bound_said(self._path.with_name(SAID))
        self._open()


def bound_said(path: Path, fd: int = 2) -> bool:
    """Begin the file anew that a service manager has made our stderr, once it is too large; one older part is kept.

    It cannot be moved away: the manager has opened it, and what is said goes where it is.
    """
    try:
        ours = os.fstat(fd)
        if ours.st_size <= MAX_BYTES or not os.path.samestat(ours, path.stat()):
            return False
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        path.with_name(f"{path.name}.1").chmod(0o600)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)  # else it goes on behind a hole
        os.ftruncate(fd, 0)
    except OSError:  # a closed stderr, no such file, a full disk
        return False
    return True


class _Threshold:
    """First processor: lets through what is said from a level on, which may change."""

    def __init__(self, level: str) -> None:
        self.level = LEVELS[level]

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        if LEVELS.get(method, LEVELS["error"]) < self.level:
            raise structlog.DropEvent
        return event


class _Writer:
    """structlog's idea of a logger: any level writes the rendered line."""

    def __init__(self, file: RotatingFile) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        self._file.write(line)

    debug = info = warning = error = critical = exception = msg


class _Render:
    """Last processor: the event as one redacted JSON line."""

    def __init__(self, redactor: Redactor, *, console: bool) -> None:
        self._redact = redactor.text
        self._console = console

    def __call__(self, logger: Any, method: str, event: Any) -> str:
        line = self._redact(_encode(event).decode())
        if self._console and LEVELS.get(event["level"], 40) >= LEVELS["warning"]:
            fields = " ".join(f"{k}={v}" for k, v in event.items() if k not in {"event", "level", "at"})
            said = self._redact(f"{event['level']}: {event['event']} {fields}")
            _say("".join(c if c.isprintable() else " " for c in said) + "\n")  # it may quote outsiders
        return line


def _say(text: str) -> None:
    """Write to stderr, where that can be done: under a service manager it is a file, often on the same full disk."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)


class _Foreign(logging.Handler):
    """What libraries say through the standard library's logging, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        say = getattr(structlog.get_logger(), level if level in LEVELS else "error")
        say("library.logged", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)


class Journal:
    """Receives tasks that have ended and writes their canonical line.

    It writes past structlog's chain: this is the one line that every task costs, in the Gateway's thread.
    """

    def __init__(self, file: RotatingFile, redactor: Redactor, threshold: _Threshold | None = None) -> None:
        self._file = file
        self._redact = redactor.text
        self._threshold = threshold or _Threshold("info")

    def speak_from(self, level: str) -> None:
        """Let the whole log say what is of this level and above, from now on."""
        self._threshold.level = LEVELS[level]

    def deliver(self, sender: str, tasks: Sequence[Task]) -> None:
        """One line a task, written together."""
        if self._threshold.level > LEVELS["info"]:
            return
        self._file.write("\n".join(self._redact(_encode(_canonical(task)).decode()) for task in tasks))


def _canonical(task: Task) -> dict[str, Any]:
    return {
        "event": "task.ended",
        "level": "info",
        "at": timestamp(task.ended_at),
        "task": task.id,
        "state": task.state.value,
        "type": task.kind,
        "executor": task.route.executor if task.route else None,
        "tier": task.route.tier if task.route else None,
        "attempts": len(task.attempts),
        "duration_ms": (task.ended_at or 0) - task.created_at,
        "cost_usd": task.cost_usd,
        "error": task.error.kind if task.error else None,
        "position": task.position,
    }

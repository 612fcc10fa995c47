"""One daemon per log: an advisory lock held for life on a file of its own.

The lock file is never deleted. Should somebody delete it, a second daemon gets in; the epoch row that every opening
adds to the database then stops the first one at its next append (see `sqlite.py`).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from omni.domain.errors import LogLocked


def lock_path(database: Path) -> Path:
    """The file of a log that its daemon holds; its content is that daemon's pid."""
    return database.with_name(database.name + ".lock")


class DaemonLock:
    """An exclusive lock beside the database; the kernel lets go of it when the process dies."""

    def __init__(self, database: Path) -> None:
        self._fd = os.open(lock_path(database), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as refused:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise LogLocked(
                f"another daemon, pid {holder}, holds the event log {database}",
                hint="end that process, then omni serve",
            ) from refused
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let the next daemon in."""
        os.close(self._fd)

"""What a child says on stderr goes to a file of bounded size; its last words are kept for messages."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from pathlib import Path

from omni.redact import Redactor

MAX_BYTES = 1024 * 1024
LAST_LINES = 4
LAST_CHARS = 400


class LogFile:
    """`logs/executor-NAME.log`: secrets masked, at most 1 MiB, and one older file beside it."""

    def __init__(self, data_dir: Path, name: str, redactor: Redactor | None = None) -> None:
        self._redact = (redactor or Redactor()).text
        self._path = data_dir / "logs" / f"executor-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.log"
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._size = self._path.stat().st_size if self._path.exists() else 0

    def write(self, data: bytes) -> None:
        """Append; when the file is full it becomes the older one. A disk that takes no log must end no work."""
        text = self._redact(data.decode("utf-8", "replace"))
        self._last.extend(line for line in text.splitlines() if line.strip())
        with contextlib.suppress(OSError):
            self._append(text.encode())

    def _append(self, data: bytes) -> None:
        if self._size + len(data) > MAX_BYTES:
            self._path.replace(self._path.with_suffix(".log.1")) if self._size else None
            self._size, data = 0, data[-MAX_BYTES:]
        self._path.touch(mode=0o600)
        with self._path.open("ab") as file:
            self._size += file.write(data)

    @property
    def last_words(self) -> str:
        """The last lines, for "it ended, and this is what it said"."""
        return " | ".join(line.strip() for line in self._last)[-LAST_CHARS:]

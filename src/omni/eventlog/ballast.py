"""A file whose only use is to be deleted: on a full disk it makes room to say what happened."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

BALLAST_BYTES: Final = 8 * 1024 * 1024
SPARE_BYTES: Final = 4 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024


class Ballast:
    """Space kept back beside the database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name("ballast")

    @property
    def held(self) -> bool:
        """Whether the space is kept back now."""
        try:
            return self._path.stat().st_size == BALLAST_BYTES
        except OSError:
            return False

    def release(self) -> None:
        """Give the space back to the file system, if it was held."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def take(self) -> bool:
        """Keep the space back and tell whether that worked; a partial file is removed again.

        Some room beside the ballast must be left, or the next append would give it up again.
        """
        if self.held:
            return True
        try:
            free = os.statvfs(self._path.parent)
            if free.f_bavail * free.f_frsize < BALLAST_BYTES + SPARE_BYTES:
                return False
            self._write()
        except OSError:
            self.release()
            return False
        return True

    def _write(self) -> None:
        # Random bytes, because a file system that compresses or leaves holes would keep nothing back for zeros.
        block = os.urandom(_BLOCK_BYTES)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            for _ in range(BALLAST_BYTES // _BLOCK_BYTES):
                if os.write(fd, block) != _BLOCK_BYTES:
                    raise OSError("the disk took a part of the ballast only")
        finally:
            os.close(fd)

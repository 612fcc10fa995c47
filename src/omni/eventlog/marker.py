"""The head marker: a small file beside the database that remembers how far the log once reached.

A database that lost its end looks perfectly sound: integrity check and hash chain both end early and agree. Only a
witness outside can tell. It is written after each commit and not synced, so it may lag the log; it never leads it,
because the commit was synced first.

    offset 0      slot 0:  magic 8 | position u64 | hash 32 | crc32 u32      little-endian
    offset 4096   slot 1:  the same, written alternately, so that a torn write spoils one slot only
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path
from typing import Final

from omni.eventlog.store import Head

_MAGIC: Final = b"omnihead"
_SLOT: Final = struct.Struct("<8sQ32s")
_CRC: Final = struct.Struct("<I")
_SLOT_STEP: Final = 4096
_SLOT_BYTES: Final = _SLOT.size + _CRC.size


def marker_path(database: Path) -> Path:
    """Return where the head marker of a database lives."""
    return database.with_name(database.name + ".head")


def read_marker(path: Path) -> tuple[Head | None, bool]:
    """Return the furthest head that is remembered, and whether a slot was damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None, False
    slots = [raw[at : at + _SLOT_BYTES] for at in (0, _SLOT_STEP)]
    heads = [head for slot in slots if (head := _parse(slot)) is not None]
    damaged = sum(any(slot) for slot in slots) > len(heads)
    return max(heads, key=lambda head: head.position, default=None), damaged


class HeadMarker:
    """The marker held open for writing; one writer at a time."""

    def __init__(self, path: Path, head: Head) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._turn = 0
        for _ in range(2):
            self.write(head)
        os.fsync(self._fd)

    def write(self, head: Head) -> None:
        """Remember a head that is already durable in the log."""
        body = _SLOT.pack(_MAGIC, head.position, head.hash)
        os.pwrite(self._fd, body + _CRC.pack(zlib.crc32(body)), self._turn * _SLOT_STEP)
        self._turn ^= 1

    def close(self) -> None:
        """Sync and let go; a failing sync only means that the marker lags."""
        with contextlib.suppress(OSError):
            os.fsync(self._fd)
        os.close(self._fd)


def set_aside(path: Path, head: Head, boot: str) -> Path:
    """Keep the marker of a lost tail as evidence under another name."""
    kept = path.with_name(f"{path.name}.lost-{head.position}-{boot}")
    path.rename(kept)
    return kept


def _parse(slot: bytes) -> Head | None:
    if len(slot) != _SLOT_BYTES:
        return None
    magic, position, digest = _SLOT.unpack(slot[: _SLOT.size])
    (crc,) = _CRC.unpack(slot[_SLOT.size :])
    return Head(position, digest) if magic == _MAGIC and crc == zlib.crc32(slot[: _SLOT.size]) else None

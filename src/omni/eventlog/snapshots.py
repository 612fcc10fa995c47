"""Snapshots: state at a position, so that a start need not read the whole log.

They are a cache. Deleting them all changes nothing but the time a start takes, so a snapshot that is damaged, of
another build or of another log is not an error: it is not there.

    <name>-<position>.snapshot:  magic 8 | sha256 of the rest 32 | MessagePack of `Snapshot`
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import Final

import msgspec

KEPT: Final = 2
_MAGIC: Final = b"omnisnap"
_DIGEST_BYTES: Final = 32
_NAME: Final = re.compile(r"[a-z0-9_]+")
_SUFFIX: Final = ".snapshot"


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """State as it was when the log ended at `position` with `hash`; `fingerprint` names the code that made it."""

    name: str
    position: int
    hash: bytes
    fingerprint: str
    payload: bytes


class Snapshots:
    """A directory of snapshots; the caller compares `hash` with the log before it believes one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, name: str, position: int, hash: bytes, fingerprint: str, payload: bytes) -> Path:  # noqa: A002
        """Write a snapshot so that it is there as a whole or not at all, and drop all but the last two.

        One of a later position is of a history that was lost or replaced, and would outlive every snapshot to come.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(name, position)
        content = msgspec.msgpack.encode(Snapshot(name, position, hash, fingerprint, payload))
        _write_whole(path, _MAGIC + hashlib.sha256(content).digest() + content)
        kept = [each for each in self._newest_first(name) if each <= path][:KEPT]
        for old in set(self._newest_first(name)) - set(kept):
            old.unlink(missing_ok=True)
        return path

    def load(self, name: str, fingerprint: str) -> Snapshot | None:
        """Return the newest snapshot that is whole and made by the same code, or None."""
        for path in self._newest_first(name):
            found = _read(path)
            if found is not None and (found.name, found.fingerprint) == (name, fingerprint):
                return found
        return None

    def _path(self, name: str, position: int) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a snapshot")
        return self._directory / f"{name}-{position:020d}{_SUFFIX}"

    def _newest_first(self, name: str) -> list[Path]:
        return sorted(self._directory.glob(f"{name}-{'[0-9]' * 20}{_SUFFIX}"), reverse=True)


def _read(path: Path) -> Snapshot | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        raw = path.read_bytes()
        start = len(_MAGIC) + _DIGEST_BYTES
        content = memoryview(raw)[start:]
        if raw[:start] == _MAGIC + hashlib.sha256(content).digest():
            return msgspec.msgpack.decode(content, type=Snapshot)
    return None


def _write_whole(path: Path, content: bytes) -> None:
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        scratch.rename(path)
    finally:
        scratch.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

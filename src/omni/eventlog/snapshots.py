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
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from omni import __version__
from omni.eventlog.files import sync

KEPT: Final = 2
_MAGIC: Final = b"omnisnap"
_DIGEST_BYTES: Final = 32
_NAME: Final = re.compile(r"[a-z0-9_]+")
_SUFFIX: Final = ".snapshot"
_DIGITS: Final = 20
ABANDONED_S: Final = 3_600.0  # nobody writes on one file for so long


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """State as it was when the log ended at `position` with `hash`; `fingerprint` names the code that made it."""

    name: str
    position: int
    hash: bytes
    fingerprint: str
    payload: bytes


class SnapshotFile(NamedTuple):
    """One that is there: of which position, and how large."""

    path: Path
    position: int
    bytes: int


Surplus = Callable[[Sequence[SnapshotFile], SnapshotFile], Iterable[SnapshotFile]]  # newest first, the new one → to go


def all_but_two(files: Sequence[SnapshotFile], new: SnapshotFile) -> Iterable[SnapshotFile]:
    """Keep the new one and the one before it.

    One of a later position is of a history that was lost or replaced, and would outlive every snapshot to come.
    """
    kept = [each for each in files if each.position <= new.position][:KEPT]
    return set(files) - set(kept)


def fingerprint(shape: type[Any] | None) -> str:
    """Changes with the version and with the shape of the snapshot, so that an old one is never misread."""
    schema = msgspec.json.encode(msgspec.json.schema(shape) if shape else None, order="sorted")
    return f"{__version__}:{hashlib.sha256(schema).hexdigest()[:16]}"


class Snapshots:
    """A directory of snapshots; the caller compares `hash` with the log before it believes one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(
        self,
        name: str,
        position: int,
        hash: bytes,  # noqa: A002
        fingerprint: str,
        payload: bytes,
        surplus: Surplus = all_but_two,
    ) -> Path:
        """Write a snapshot so that it is there as a whole or not at all, and drop what is now one too many."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(name, position)
        content = msgspec.msgpack.encode(Snapshot(name, position, hash, fingerprint, payload))
        _write_whole(path, _MAGIC + hashlib.sha256(content).digest() + content)
        files = list(self._files(name))
        new = next(each for each in files if each.path == path)
        for old in surplus(files, new):
            old.path.unlink(missing_ok=True)
        self._sweep(path.stat().st_mtime - ABANDONED_S)
        return path

    def load(self, name: str, fingerprint: str) -> Snapshot | None:
        """Return the newest snapshot that is whole and made by the same code, or None."""
        return next(self.find(name, fingerprint), None)

    def find(self, name: str, fingerprint: str, until: int | None = None) -> Iterator[Snapshot]:
        """Yield what is whole, made by the same code, and of no later position, newest first."""
        for path in self._newest_first(name):
            if until is None or _position(path) <= until:
                found = read_snapshot(path)
                if found is not None and (found.name, found.fingerprint) == (name, fingerprint):
                    yield found

    def _sweep(self, before_s: float) -> None:
        """Remove what a process left half-written when it was killed."""
        for path in self._directory.glob(f"*{_SUFFIX}.*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before_s:
                    path.unlink()

    def _files(self, name: str) -> Iterator[SnapshotFile]:
        for path in self._newest_first(name):
            with contextlib.suppress(FileNotFoundError):  # another process has just dropped it
                yield SnapshotFile(path, _position(path), path.stat().st_size)

    def _path(self, name: str, position: int) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a snapshot")
        return self._directory / f"{name}-{position:0{_DIGITS}d}{_SUFFIX}"

    def _newest_first(self, name: str) -> list[Path]:
        return sorted(self._directory.glob(f"{name}-{'[0-9]' * _DIGITS}{_SUFFIX}"), reverse=True)


def _position(path: Path) -> int:
    return int(path.name.removesuffix(_SUFFIX)[-_DIGITS:])


def snapshot_files(directory: Path) -> list[Path]:
    """Every snapshot in a directory, whoever made it."""
    return sorted(directory.glob(f"*-{'[0-9]' * _DIGITS}{_SUFFIX}"))


def read_snapshot(path: Path) -> Snapshot | None:
    """The snapshot in a file; None when it is not whole."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        raw = path.read_bytes()
        start = len(_MAGIC) + _DIGEST_BYTES
        content = memoryview(raw)[start:]
        if raw[:start] == _MAGIC + hashlib.sha256(content).digest():
            return msgspec.msgpack.decode(content, type=Snapshot)
    return None


def _write_whole(path: Path, content: bytes) -> None:
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        scratch.rename(path)
    finally:
        scratch.unlink(missing_ok=True)
    sync(path.parent)

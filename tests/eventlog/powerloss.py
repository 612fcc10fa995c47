"""A disk that loses power: an apsw VFS that knows what was synced and makes images of what a cut would leave.

Writes reach the real file at once, so the store works as ever. Beside it we keep, for each file, the bytes as of its
last sync and the operations since. A cut keeps all, none, a prefix, a random half or torn pieces of those operations:
a disk may write unsynced sectors in any order. Nothing is ever really synced, which makes a thousand cuts cheap.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

SECTOR_BYTES = 512
_numbers = itertools.count()
_SUFFIXES = ("", "-wal", "-journal")

Operation = tuple[int, bytes | None]  # (offset, data), or (size, None) for a truncation


class PowerLossDisk(apsw.VFS):
    """Calls `on_operation` before every write, truncation and sync, when a cut may come."""

    def __init__(self) -> None:
        self.vfs_name = f"powerloss-{next(_numbers)}"
        self.synced: dict[str, bytearray] = {}
        self.pending: dict[str, list[Operation]] = {}
        self.on_operation: Callable[[], None] = lambda: None
        super().__init__(self.vfs_name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's names
        return _File(self, name, flags)

    def xDelete(self, name: str, sync_dir: bool) -> None:  # noqa: N802
        self.on_operation()
        super().xDelete(name, sync_dir)
        self.synced.pop(name, None)
        self.pending.pop(name, None)

    def forget(self) -> None:
        self.synced.clear()
        self.pending.clear()

    def cut(self, chance: random.Random, database: Path, image: Path) -> None:
        """Write what the files would hold after a power cut now."""
        for suffix in _SUFFIXES:
            name, target = f"{database}{suffix}", Path(f"{image}{suffix}")
            if name in self.synced:
                target.write_bytes(self._survivors(chance, name))
            else:
                target.unlink(missing_ok=True)
        Path(f"{image}-shm").unlink(missing_ok=True)

    def _survivors(self, chance: random.Random, name: str) -> bytearray:
        content = bytearray(self.synced[name])
        for operation in _kept(chance, self.pending[name]):
            apply(content, operation)
        return content


class _File(apsw.VFSFile):
    def __init__(self, disk: PowerLossDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)
        if self._name not in disk.synced:
            file = Path(self._name)
            disk.synced[self._name] = bytearray(file.read_bytes() if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else b"")
            disk.pending[self._name] = []

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.on_operation()
        self._disk.pending[self._name].append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.on_operation()
        self._disk.pending[self._name].append((size, None))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.on_operation()
        for operation in self._disk.pending[self._name]:
            apply(self._disk.synced[self._name], operation)
        self._disk.pending[self._name] = []


def apply(content: bytearray, operation: Operation) -> None:
    offset, data = operation
    if data is None:
        del content[offset:]
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _kept(chance: random.Random, operations: list[Operation]) -> list[Operation]:
    match chance.choice(("all", "none", "prefix", "half", "torn")):
        case "all":
            return operations
        case "none":
            return []
        case "prefix":
            return operations[: chance.randint(0, len(operations))]
        case "half":
            return [operation for operation in operations if chance.random() < 0.5]
        case _:
            return [_torn(chance, operation) for operation in operations]


def _torn(chance: random.Random, operation: Operation) -> Operation:
    offset, data = operation
    if data is None or chance.random() < 0.5:
        return operation
    return offset, data[: chance.randint(0, len(data) // SECTOR_BYTES) * SECTOR_BYTES]


@contextmanager
def power_loss_disk() -> Iterator[PowerLossDisk]:
    disk = PowerLossDisk()
    yield disk
    disk.unregister()

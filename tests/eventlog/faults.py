"""A disk that fails when told to: an apsw VFS over the real one."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw

_numbers = itertools.count()


class FaultyDisk(apsw.VFS):
    """Counts down writes and syncs; at zero one of them fails. `full` makes every write fail until it is unset."""

    def __init__(self) -> None:
        self.vfs_name = f"faulty-{next(_numbers)}"
        self.full = False
        self.faults: dict[str, tuple[int, type[apsw.Error]]] = {}
        super().__init__(self.vfs_name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)

    def strike(self, operation: str) -> None:
        if self.full and operation == "write":
            raise apsw.FullError("no space")
        if operation in self.faults:
            left, error = self.faults.pop(operation)
            if left == 0:
                raise error("the disk failed")
            self.faults[operation] = (left - 1, error)


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.strike("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.strike("sync")  # a real sync would only cost time: nobody pulls a plug here


@contextmanager
def faulty_disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()

"""Mounts a folder such as a virtual machine shares with its host, and opens a log in it: prints what came of it.

    unshare --user --map-root-user --mount python -m tests.eventlog.shared_folder KIND DIRECTORY [trust]

The kernel takes it for a real `fuse.KIND`. The file system behind it holds nothing and makes nothing; what it was asked
to make is printed too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from pathlib import Path
from threading import Thread
from typing import Final

_LOOKUP, _FORGET, _GETATTR, _INIT, _BATCH_FORGET = 1, 2, 3, 26, 42
MAKES: Final = {8: "mknod", 9: "mkdir", 35: "create"}
_IN: Final = struct.Struct("<IIQQIIII")
_OUT: Final = struct.Struct("<IiQ")
_ROOT: Final = struct.pack(
    "<QII 6Q 10I", 60, 0, 0, 1, 4096, 8, 0, 0, 0, 0, 0, 0, stat.S_IFDIR | 0o755, 2, 0, 0, 0, 4096, 0
)


class Folder:
    """Answers the kernel for one mount."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.asked: list[str] = []
        self._device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"shared", os.fsencode(directory), f"fuse.{kind}".encode(), 0, options.encode()):
            raise OSError(ctypes.get_errno(), "mount")
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            request = os.read(self._device, 1 << 20)
            _, opcode, unique, *_ = _IN.unpack_from(request)
            if opcode in MAKES:
                self.asked.append(MAKES[opcode])
            if opcode not in {_FORGET, _BATCH_FORGET}:
                self._answer(unique, *_reply(opcode))

    def _answer(self, unique: int, error: int, body: bytes) -> None:
        os.write(self._device, _OUT.pack(_OUT.size + len(body), -error, unique) + body)


def _reply(opcode: int) -> tuple[int, bytes]:
    if opcode == _INIT:
        return 0, struct.pack("<4I 2H 2I 2H 8I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, *([0] * 8))
    if opcode == _GETATTR:
        return 0, _ROOT
    return (errno.ENOENT if opcode == _LOOKUP else errno.ENOSYS), b""


def main(kind: str, directory: str, *trust: str) -> None:
    """Mount, open, tell."""
    from tests.eventlog.samples import CODEC

    from omni.domain.errors import OmniError
    from omni.eventlog.sqlite import SqliteEventStore

    folder = Folder(kind, Path(directory))
    try:
        SqliteEventStore.open(Path(directory) / "data" / "omni.db", CODEC, trust_file_system=bool(trust))
    except (OmniError, OSError) as error:
        sys.stdout.write(f"{type(error).__name__} {folder.asked} {error}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

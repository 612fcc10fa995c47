"""Who a directory of ours belongs to: a claim, written before git runs and removed after the last file is gone.

    making ──▶ ready ──▶ open ──▶ kept ──▶ going ──▶ (no claim)
       └────────────────▶ │ └───────────────▶ │

A repository's lock is held by every git that works for us, so while it lives nobody takes its half-made work for a
leftover, also when the process that started it was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from omni.adapters.records import store
from omni.adapters.workspaces.model import WorkspaceError
from omni.runtime.ports import Clock

LOCK_S = 600.0
LOCK_TURN_S = 0.02
DRAFT_MS = 3_600_000  # a draft that is older has nobody who would finish it
_ID = re.compile(r"omni-[0-9a-f]{12}")

State = Literal["making", "ready", "open", "kept", "going"]


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """What the disk refuses, in words for people."""
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            f"no workspace can be made: {error}", hint="df -h, make room, then omni task retry ID"
        ) from error


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """One directory. `common` is the repository's own directory (`.git`), empty for a scratch directory."""

    id: str
    state: State
    at_ms: int = 0
    common: str = ""
    top: str = ""
    branch: str = ""
    base: str = ""


class Claims:
    """The claims, the directories and the locks below one home."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self.trees = home / "trees"
        self._claims = home / "claims"
        self._locks = home / "locks"
        self._clock = clock
        self._turns: dict[str, asyncio.Lock] = {}

    def new(self, state: State, **more: Any) -> Claim:
        """A claim for a directory that nobody ever had."""
        return self.write(Claim(f"omni-{secrets.token_hex(6)}", state, **more))

    @_said()
    def write(self, claim: Claim) -> Claim:
        """Make a claim durable, stamped with the time; raises WorkspaceError."""
        claim = msgspec.structs.replace(claim, at_ms=self._clock.wall_ms())
        for directory in (self.trees, self._claims):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        store(self._path(claim.id), msgspec.json.encode(claim))
        return claim

    def find(self, name: str) -> Claim | None:
        """The claim of a directory; None when there is none that can be read."""
        try:
            found = msgspec.json.decode(self._path(name).read_bytes(), type=Claim)
        except (OSError, msgspec.DecodeError):
            return None
        return found if found.id == name and _ID.fullmatch(name) else None

    def all(self) -> list[Claim]:
        """All claims, oldest first."""
        found = [self.find(path.stem) for path in self._claims.glob("*.json")]
        return sorted((each for each in found if each), key=lambda claim: claim.at_ms)

    def forget(self, claim: Claim) -> None:
        """The directory is gone."""
        self._path(claim.id).unlink(missing_ok=True)

    def root(self, claim: Claim) -> Path:
        """The directory that a claim is about."""
        return self.trees / claim.id

    def id_of(self, root: str) -> str:
        """The id of a directory of ours; empty for any other path."""
        path = Path(root)
        return path.name if path.parent == self.trees and _ID.fullmatch(path.name) else ""

    def strays(self) -> list[Path]:
        """Directories that no claim names, and old drafts. A claim is older than its directory and outlives it."""
        there = list(self.trees.iterdir()) if self.trees.is_dir() else []
        old_s = (self._clock.wall_ms() - DRAFT_MS) / 1000
        drafts = [path for path in self._claims.glob("*.new") if _written_s(path) < old_s]
        return [*drafts, *(path for path in there if not self._path(path.name).exists())]

    @contextlib.asynccontextmanager
    async def lock(self, common: str) -> AsyncIterator[int]:
        """Work in a repository alone; the descriptor is for git to hold on to. Raises WorkspaceError after a while."""
        async with self._turns.setdefault(common, asyncio.Lock()):
            held = self._lock_file(hashlib.sha256(os.fsencode(common)).hexdigest()[:16])
            try:
                await _wait_for(held, common)
                yield held
            finally:
                os.close(held)

    @_said()
    def _lock_file(self, name: str) -> int:
        self._locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(self._locks / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)

    def _path(self, name: str) -> Path:
        return self._claims / f"{name}.json"


async def _wait_for(held: int, common: str) -> None:
    for _ in range(int(LOCK_S / LOCK_TURN_S)):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        await asyncio.sleep(LOCK_TURN_S)
    raise WorkspaceError(
        f"another process has worked in {common} for {LOCK_S:g} s", hint="pgrep -fl git, to find one that hangs"
    )


def _written_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


def wipe(path: Path) -> None:
    """Remove a directory with all that is in it, also what was made read-only; follows no symbolic link."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        path.unlink(missing_ok=True)
    elif path.exists():
        try:
            shutil.rmtree(path)
        except (OSError, RecursionError):  # no right to write; deeper than Python or a path can go
            with contextlib.suppress(FileNotFoundError):  # somebody else removes it, too
                _by_force(path)


def _by_force(top: Path) -> None:
    """Move every directory up before it is emptied, and take the right to. What still stays raises OSError."""
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        directory.chmod(stat.S_IRWXU)
        waiting += _moved_up(directory, top)
        if directory != top:
            directory.rmdir()
    top.rmdir()


def _moved_up(directory: Path, top: Path) -> list[Path]:
    """Empty a directory; the directories that were in it."""
    with os.scandir(directory) as found:
        entries = list(found)
    inner = [each.path for each in entries if each.is_dir(follow_symlinks=False)]
    for each in entries:
        if not each.is_dir(follow_symlinks=False):
            Path(each.path).unlink(missing_ok=True)
    return [_renamed(Path(each), top / secrets.token_hex(8)) for each in inner]


def _renamed(directory: Path, to: Path) -> Path:
    directory.chmod(stat.S_IRWXU)  # its entry for the directory above is written, too
    return directory.rename(to)

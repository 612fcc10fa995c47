"""The files that a configuration was read from, and whether they still say the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from omni.config.environment import VARIABLE
from omni.config.paths import expand

ABSENT = -1


class FileMark(Struct, frozen=True):
    """One file as it was: cheap to compare, and enough to see that it was written since."""

    path: str
    modified_ns: int = 0
    size: int = ABSENT
    inode: int = 0


def mark(path: Path) -> FileMark:
    """A file as it is now; one that is not there is marked as absent."""
    try:
        status = path.stat()
    except OSError:
        return FileMark(str(path))
    return FileMark(str(path), status.st_mtime_ns, status.st_size, status.st_ino)


def files_of(file: Path | None, environ: Mapping[str, str]) -> tuple[FileMark, ...]:
    """The file itself, and the file of variables where the environment names one."""
    named = environ.get(VARIABLE)
    paths = [file.absolute() if file else None, Path(named).absolute() if named else None]
    return tuple(mark(each) for each in paths if each is not None)


def included_files(included: Iterable[str], file: Path | None, environ: Mapping[str, str]) -> tuple[FileMark, ...]:
    """The files of other programs that it includes."""
    base = file.parent if file else None
    return tuple(mark(expand(each, environ, base)) for each in included)


class Watched:
    """Files that may be written while they are in force; one that was only touched is the same. Blocks on the disk."""

    def __init__(self, files: Iterable[FileMark]) -> None:
        self._known = {each.path: each for each in files}
        self._digests = {path: _digest(path) if mark(Path(path)) == each else "" for path, each in self._known.items()}

    def changed(self) -> list[str]:
        """The paths of those that say something else than they did."""
        return [path for path in self._known if self._says_else(path)]

    def _says_else(self, path: str) -> bool:
        now = mark(Path(path))
        if now == self._known[path] and self._digests[path]:
            return False
        if _digest(path) != self._digests[path]:
            return True
        self._known[path] = now
        return False


def _digest(path: str) -> str:
    import hashlib

    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return "absent"

"""Names and directories of workspaces, and what a user should know of one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from omni.adapters.workspaces.model import WorkspaceError
from omni.adapters.workspaces.trees import Repository

MAX_NAME = 40
_UUID_START = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z_-]+")


def short(name: str) -> str:
    """A task's name as part of a branch: the beginning of an id, which `omni show` takes; else what git allows."""
    if found := _UUID_START.match(name):
        return found[1]
    return _NOT_IN_NAMES.sub("-", name).strip("-")[:MAX_NAME] or "task"


def existing(path: str) -> str:
    """The directory that a task names, from the root; raises WorkspaceError."""
    whole = Path(path).expanduser()
    if not whole.is_absolute():
        raise WorkspaceError(f"{path!r} is not a path from the root", hint="omni submit --workdir DIR, from the root")
    if not whole.is_dir():
        raise WorkspaceError(
            f"there is no directory {whole}", hint=f"mkdir -p {whole}, or omni submit --workdir DIR with another"
        )
    return str(whole)


def is_there(path: str | Path) -> bool:
    """Whether a path is a directory."""
    return Path(path).is_dir()


def make_directory(path: Path) -> None:
    """Make a directory of ours; raises WorkspaceError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise WorkspaceError(
            f"no workspace can be made: {error}", hint="df -h, make room, then omni task retry ID"
        ) from error


def below(root: Path, prefix: str) -> Path:
    """The user's subdirectory inside the worktree. Made if HEAD has none; the root if it would lead out."""
    cwd = root / prefix
    if not cwd.resolve().is_relative_to(root):
        return root
    make_directory(cwd)
    return cwd


def note(repository: Repository, root: Path, base: str, *, dirty: bool) -> str:
    """What the user should know of a worktree, in sentences; often nothing."""
    filtered = _has(root / ".gitattributes", "filter=")
    said = {
        f"What is not committed in {repository.top} is not in it: the work began from commit {base[:12]}.": dirty,
        "The repository had no commit: the branch begins with an empty one.": not repository.head,
        "Submodules are empty in it.": (root / ".gitmodules").is_file(),
        "Files under a filter (as LFS) are in it as git stores them.": filtered,
    }
    return " ".join(sentence for sentence, holds in said.items() if holds)


def _has(path: Path, text: str) -> bool:
    try:
        return text in path.read_text(errors="replace")
    except OSError:
        return False


async def blocking(work: Callable[..., None], *given: object) -> None:
    """Do what takes a while with many files, off the loop; raises WorkspaceError."""
    try:
        await asyncio.to_thread(work, *given)
    except OSError as error:
        raise WorkspaceError(
            f"a workspace cannot be cleared: {error}", hint="ls -l its directory, and remove it by hand"
        ) from error


async def every(works: Iterable[Awaitable[None]]) -> None:
    """Do all, one after the other, whatever fails; then WorkspaceError says what did."""
    failed: list[str] = []
    for work in works:
        try:
            await work
        except WorkspaceError as error:
            failed.append(error.message)
    if failed:
        raise WorkspaceError("; ".join(failed))

"""Where a task works, and what came of it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from omni.domain.errors import ExecutorError

MAX_DIFF_BYTES = 200_000


class WorkspaceError(ExecutorError):
    """A workspace could not be made, read or cleared; git's own words are part of the message."""


class Place(Struct, frozen=True):
    """Where a task works. `path` is the directory to start in; for a git `workdir` below the top of its repository it
    is the same subdirectory inside the worktree.

    `root` is the worktree or scratch directory itself, empty where the user's own directory is used. `base` is the
    commit from which the work began. `dirty`: the user's tree has changes that are not committed and so not here.
    `note` says in words what the user should know of this place, or nothing.
    """

    path: str
    kind: Literal["shadow", "direct", "scratch"]
    repository: str = ""
    branch: str = ""
    base: str = ""
    root: str = ""
    dirty: bool = False
    note: str = ""


class Changes(Struct, frozen=True):
    """What a task left in its worktree, all of it committed: the difference from `base` to `commit`, on `branch`.

    `diff` ends with a line that says so when it was cut at 200 KB. `path` is the worktree; `note` as in the place.
    """

    branch: str
    base: str
    commit: str
    files: int
    insertions: int
    deletions: int
    diff: str
    path: str
    note: str = ""

from __future__ import annotations

from pathlib import Path

from omni.adapters.workspaces.model import Changes, Place, WorkspaceError
from omni.config import adapters as config
from omni.runtime.ports import Clock


class Workspaces:
    """The workspaces below one adapter's state directory."""

    def __init__(self, state: Path, options: config.Workspaces, clock: Clock) -> None:
        self._home = state.resolve() / "workspaces"
        self._options = options
        self._clock = clock

    async def place(self, workdir: str, name: str, earlier: Place | None) -> Place:
        """Where the task `name` works; raises WorkspaceError.

        `earlier` is the place of the session to go on from: the same path again, for a session belongs to its cwd.
        """
        raise WorkspaceError("workspaces cannot be made yet")

    async def changes(self, place: Place) -> Changes | None:
        """Commit what is there and describe it; None when nothing changed, or when the place is no worktree."""
        raise WorkspaceError("workspaces cannot be read yet")

    async def release(self, place: Place, *, keep: bool) -> None:
        """The task has ended. With `keep` the place stays for a look, else it goes; commits stay either way."""

    async def prepare(self) -> None:
        """Make one worktree ready for each repository that is named or was used lately. For the background."""

    async def tidy(self) -> None:
        """Clear what crashes left, and what is too old or too many. At a start and after each task."""

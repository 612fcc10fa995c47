"""Workspaces of coding tasks: a git worktree of its own for each, beside the user's tree and never in it (ADR-0040)."""

from omni.adapters.workspaces.model import Changes, Place, WorkspaceError
from omni.adapters.workspaces.workspaces import Workspaces

__all__ = ["Changes", "Place", "WorkspaceError", "Workspaces"]

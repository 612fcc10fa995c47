"""A finding: one thing that doctor has to say, how bad it is, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

Level: TypeAlias = Literal["ok", "note", "warning", "error"]
Mend: TypeAlias = Callable[[], str]  # does it, and says what it did

LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")  # least first


class Finding(Struct, frozen=True):
    """`mend` is the next command or step for a person; `fix` does it, where that is safe."""

    name: str
    level: Level
    says: str
    mend: str = ""
    fix: Mend | None = None

    @property
    def fixable(self) -> bool:
        """Whether `omni doctor --fix` can do it."""
        return self.fix is not None

    @property
    def is_trouble(self) -> bool:
        """Whether it wants something done."""
        return self.level in ("warning", "error")

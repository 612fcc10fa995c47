"""What to draw over a stretch of the log: the mode as bands, each executor's attempts as bars, and where nobody was.

    band    a mode, from the event that brought it to the one that ended it
    bar     one attempt of one task, in its executor's lane
    gap     no daemon was alive, so nothing could be written; after a crash its beginning is the last thing that was

Nothing is drawn longer than is known. A bar of an attempt that was cut off by a crash ends where somebody took note of
it (`until_ms`), and `sure_until_ms` is the last moment at which it is known to have run. What has not ended in the
stretch has no end at all (`until_ms` is None).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from omni.domain.values import Cause, Millis, Mode

BarState: TypeAlias = Literal["planned", "started", "succeeded", "failed", "cancelled", "interrupted"]


class Band(msgspec.Struct, frozen=True):
    """One mode in force. It begins at or before the stretch; `from_position` 0 stands for the log's beginning."""

    mode: Mode
    from_ms: Millis
    until_ms: Millis | None
    from_position: int
    until_position: int | None
    cause: Cause = ""
    reason: str = ""


class Bar(msgspec.Struct, frozen=True):
    """One attempt, from its plan on; `started_ms` is when its executor had it, `reason` why it ended without a result.

    `late` names an outcome that came after it had been given up; it changed nothing.
    """

    task_id: str
    n: int
    executor: str
    state: BarState
    from_ms: Millis
    until_ms: Millis | None
    from_position: int
    until_position: int | None
    started_ms: Millis | None = None
    sure_until_ms: Millis | None = None
    reason: str = ""
    late: str = ""


class Lane(msgspec.Struct, frozen=True):
    """One executor's bars, in the order of their plans."""

    executor: str
    bars: tuple[Bar, ...]


class Gap(msgspec.Struct, frozen=True):
    """No daemon was alive; `until_ms` is None while none is. `crashed`: the one before it ended without a word."""

    from_ms: Millis
    until_ms: Millis | None
    from_position: int
    until_position: int | None
    crashed: bool


class Picture(msgspec.Struct, frozen=True):
    """All of it over `after < position <= until`; `left_out` bars were too many to keep and are not in the lanes."""

    after: int
    until: int
    from_ms: Millis
    until_ms: Millis
    bands: tuple[Band, ...]
    lanes: tuple[Lane, ...]
    gaps: tuple[Gap, ...]
    left_out: int = 0

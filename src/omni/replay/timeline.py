"""What happened, event by event, in words: for one task, one executor, some types of event, or all of it."""

from __future__ import annotations

import msgspec

from omni.domain.values import Millis, Mode


class Row(msgspec.Struct, frozen=True):
    """One event. `since_ms` counts from the first row shown; `mode` is the one in force once the event had happened.

    `lane` is the executor that it is about, or else who wrote it: tasks, router, calls, health, system. `attempt` and
    `executor` are those of the attempt that the event belongs to, 0 and "" outside of any. `text` is for people.
    """

    position: int
    at_ms: Millis
    since_ms: int
    mode: Mode
    lane: str
    stream: str
    task_id: str
    attempt: int
    executor: str
    type: str
    text: str


class Wanted(msgspec.Struct, frozen=True):
    """Which rows: of one task (any unique beginning of its id), with `after < position <= until` (None: to the end), of
    one executor, and of events whose names begin with one of these, as `task.held`, `task.` or `attempt`.
    """

    task: str = ""
    after: int = 0
    until: int | None = None
    executor: str = ""
    events: tuple[str, ...] = ()

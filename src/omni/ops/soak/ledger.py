"""The ledger of a soak's executor: one line before and one after each piece of work, on disk before anything follows.

begun ──▶ (it takes a while) ──▶ done
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from omni.runtime.ports import SystemClock

Word = Literal["begun", "done"]


class Line(msgspec.Struct, frozen=True):
    """One line of the ledger; `at_ms` is wall-clock milliseconds."""

    word: Word
    task_id: str
    attempt: int
    handle: str
    key: str
    at_ms: int


class Ledger:
    """What was really done, in a file that survives everybody."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, word: Word, task_id: str, attempt: int, handle: str, key: str) -> None:
        """Write a line and wait until it is on disk. Raises OSError."""
        line = Line(word, task_id, attempt, handle, key, SystemClock().wall_ms())
        to = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(to, msgspec.json.encode(line) + b"\n")
            os.fsync(to)
        finally:
            os.close(to)

    def lines(self) -> list[Line]:
        """All lines that are whole."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1].splitlines()
        return [msgspec.json.decode(each, type=Line) for each in whole]


def state_of(lines: Iterable[Line], handle: str, key: str) -> dict[str, Any]:
    """The answer of `lookup_attempt`: finished where the effect is there, else free to go on."""
    words = {each.word for each in lines if (each.handle, each.key) == (handle, key)}
    if "done" in words:
        return {"state": "finished", "result": {"text": "done"}}
    return {"state": "unknown", "resumable": True}

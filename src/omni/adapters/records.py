"""What an adapter must still know after a crash: one small file for each attempt.

    planned ──▶ running ──▶ finished        a file is written before each step, and never in halves

A record is the attempt's by its handle. `key` tells repetitions apart: work that has finished under the same key is
answered from its record and not done again; another key under the same handle goes on from the same session.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from omni.runtime.ports import Clock

KEPT = 500
KEPT_MS = 30 * 86_400_000
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")

State = Literal["planned", "running", "finished"]


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt. `outcome` is the structured answer of the result contract; `notes` are the adapter's own."""

    handle: str
    key: str
    task_id: str = ""
    state: State = "planned"
    at_ms: int = 0
    outcome: Mapping[str, Any] | None = None
    notes: dict[str, Any] = {}


class Records:
    """The records in one directory. A file that cannot be read counts as absent: then nobody knows, which is honest."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def find(self, handle: str) -> Record | None:
        """The record of an attempt."""
        if not _NAME.fullmatch(handle):
            return None
        try:
            return msgspec.json.decode(self._path(handle).read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, record: Record) -> Record:
        """Make a record durable, stamped with the time; raises OSError when it cannot be."""
        if not _NAME.fullmatch(record.handle):
            raise ValueError(f"{record.handle!r} cannot be the handle of an attempt")
        record = msgspec.structs.replace(record, at_ms=self._clock.wall_ms())
        store(self._path(record.handle), msgspec.json.encode(record))
        return record

    def all(self) -> list[Record]:
        """All records that can be read, oldest first."""
        found = [self.find(path.stem) for path in self._directory.glob("*.json")]
        return sorted((each for each in found if each), key=lambda record: record.at_ms)

    def prune(self) -> list[Record]:
        """Forget finished attempts beyond number and age; the forgotten ones."""
        finished = [each for each in self.all() if each.state == "finished"]
        since = self._clock.wall_ms() - KEPT_MS
        old = [each for n, each in enumerate(reversed(finished)) if n >= KEPT or each.at_ms < since]
        for record in old:
            self._path(record.handle).unlink(missing_ok=True)
        return old

    def _path(self, handle: str) -> Path:
        return self._directory / f"{handle}.json"


def store(path: Path, data: bytes) -> None:
    """Replace a small file durably and never by halves; raises OSError."""
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)

"""States along a log, so that one in its middle is near: a cache, made at the first need.

Theory of operation. A look at a position folds from the nearest state before it, and on the way leaves a state at every
multiple of `spacing`. They lie beside the log in a directory of their own, compressed, for the owner alone; at most
KEPT of them and BYTES_KEPT together, thinned out evenly. One is believed only when it is whole, made by the same code,
of the same chain at its position, and while the same payloads are erased. All else is as if it were not there: whatever
is wrong with them, or with the disk under them, costs time and changes no answer.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import msgspec

from omni.domain.board import Fact
from omni.eventlog.snapshots import Snapshot, SnapshotFile, Snapshots, fingerprint
from omni.eventlog.store import EventReader
from omni.replay.fold import Folded, FoldedSnapshot, restore
from omni.replay.history import REPORT_EVERY, Count

NAME = "state"
KEPT = 32
BYTES_KEPT = 256 * 1024 * 1024
SPACING = 32_768  # events; as many fold in some 0.15 s
UNPACKED_BYTES = 1024 * 1024 * 1024  # of one; what would be larger is folded again
_UNREADABLE = (msgspec.MsgspecError, zlib.error, ValueError, LookupError, TypeError, RecursionError)
_LEVEL = 1  # more takes longer to compress than it saves to read


def beside(database: Path) -> Path:
    """Where the states of a log lie."""
    return database.with_name(f"{database.name}.checkpoints")


def spacing(head: int) -> int:
    """How far apart the states of a log of this length are."""
    step = SPACING
    while head > step * KEPT:
        step *= 2
    return step


class Checkpoints:
    """The states that are there for one log."""

    def __init__(self, reader: EventReader, directory: Path) -> None:
        self._reader = reader
        self._files = Snapshots(directory)
        self._lost = False  # a state could not be written: the next one will not be tried

    def folded(self, until: int, count: Count) -> Folded:
        """The state after a position, from the nearest one before it. Raises CorruptLog where the log does not fold."""
        folded = self._nearest(until)
        folded.fold(self._leaving(folded, self._reader.facts(folded.position, (), until=until), count))
        return folded

    def _nearest(self, until: int) -> Folded:
        if until < SPACING:
            return Folded()
        found = (self._believed(each) for each in self._files.find(NAME, self._fingerprint, until))
        return next((each for each in found if each is not None), None) or Folded()

    def _believed(self, found: Snapshot) -> Folded | None:
        if self._reader.hash_at(found.position) != found.hash:
            return None
        try:
            folded = restore(msgspec.msgpack.decode(_unpacked(found.payload), type=FoldedSnapshot))
        except _UNREADABLE:
            return None
        return folded if folded.position == found.position else None

    def _leaving(self, folded: Folded, facts: Iterable[Fact], count: Count) -> Iterator[Fact]:
        """Pass events on, and leave the state at every mark; whoever asks for the next event has applied the last."""
        began, step = folded.position, spacing(self._reader.head.position)
        for done, fact in enumerate(facts):
            if done % REPORT_EVERY == 0:
                count(done)
            self._leave(folded, began, step)
            yield fact
        self._leave(folded, began, step)

    def _leave(self, folded: Folded, began: int, step: int) -> None:
        if folded.position % step or folded.position == began or self._lost:
            return
        try:
            hashed = self._reader.hash_at(folded.position) or b""
            payload = zlib.compress(msgspec.msgpack.encode(folded.snapshot()), _LEVEL)
            keep = partial(_surplus, step, self._reader.head.position)
            self._files.save(NAME, folded.position, hashed, self._fingerprint, payload, keep)
        except (OSError, OverflowError):  # no room, no right, or an integer beyond MessagePack's
            self._lost = True

    @cached_property
    def _fingerprint(self) -> str:
        """Of the code, and of what was erased: a state from before holds what nobody is to read any more."""
        erased = hashlib.sha256(b"".join(self._reader.erased())).hexdigest()[:16]
        return f"{fingerprint(FoldedSnapshot)}:{erased}"


def _unpacked(payload: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(payload, UNPACKED_BYTES)
    if not unpacking.eof:
        raise ValueError("it is cut, or larger than any state")
    return content


def _surplus(step: int, head: int, files: Sequence[SnapshotFile], new: SnapshotFile) -> Iterator[SnapshotFile]:
    """What is off the marks or beyond the log, and then, while all are too large, whichever leaves the smallest gap."""
    kept = [each for each in files if each.position % step == 0 and each.position <= head]
    yield from set(files) - set(kept)
    while sum(each.bytes for each in kept) > BYTES_KEPT:
        gone = min(range(len(kept)), key=lambda i: _gap(kept, i))
        yield kept.pop(gone)


def _gap(files: Sequence[SnapshotFile], at: int) -> int:
    """How far apart the neighbours of one state are; newest first, and before the oldest lies the beginning."""
    before = files[at + 1].position if at + 1 < len(files) else 0
    after = files[at - 1].position if at else files[at].position * 2
    return after - before

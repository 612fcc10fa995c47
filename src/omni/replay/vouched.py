"""How far an earlier check has decided a log again, so that the next one need not: a mark beside the log.

Theory of operation. Deciding is the dear part of a check, and the same code decides the same history alike. So a check
that found nothing leaves its counts and the state at the end, under the hash that the chain has there. The next one
believes them when the chain still has that hash, the same code decides, and the same payloads are erased; then it
decides only what came after. Rows, chain, payloads, rules and the fold are always looked at whole: if anything in the
history was changed, either the chain is broken or its hash is another, and the mark says nothing.

Who can write here could also forge a mark; `omni verify --all` believes none, and tells.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec

import omni
from omni.domain.errors import EventLogError
from omni.eventlog.reader import open_reader
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.store import EventReader
from omni.eventlog.upcasters import log_codec
from omni.replay.checkpoints import beside
from omni.replay.divergence import Redecided
from omni.replay.verify import IN_TWO_FROM, Part, Report

NAME = "vouched"
ROOMS = ("domain", "eventlog", "replay")  # whose code decides, reads and compares


class _Mark(msgspec.Struct, frozen=True):
    redecided: Redecided
    state_hash: str


def vouched(database: Path) -> Part | None:
    """What an earlier check says of the decisions up to its end; None when nothing can be believed."""
    with suppress(EventLogError), closing(open_reader(database, log_codec())) as reader:
        for each in Snapshots(beside(database)).find(NAME, _fingerprint(reader)):
            if reader.hash_at(each.position) == each.hash and _ends_a_message(reader, each.position):
                return _part(each.position, each.payload)
    return None


def vouch(database: Path, report: Report) -> None:
    """Leave word of a check that found nothing, for the next one; a short log is not worth it."""
    if not report.ok or report.decided_to < IN_TWO_FROM:
        return
    payload = msgspec.msgpack.encode(_Mark(report.redecided, report.state_hash))
    # A disk that is full, or not ours, costs the next check some seconds.
    with suppress(EventLogError, OSError), closing(open_reader(database, log_codec())) as reader:
        hashed = reader.hash_at(report.decided_to) or b""
        Snapshots(beside(database)).save(NAME, report.decided_to, hashed, _fingerprint(reader), payload)


def _part(position: int, payload: bytes) -> Part | None:
    try:
        mark = msgspec.msgpack.decode(payload, type=_Mark)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return Part(until=position, redecided=mark.redecided, hash=mark.state_hash)


def _ends_a_message(reader: EventReader, position: int) -> bool:
    """Whether the event after a position, if there is one, belongs to another message."""
    of = [(row.boot, row.cause, row.actor) for row in reader.read(position - 1, until=position + 1)]
    return len(set(of)) == len(of)


def _fingerprint(reader: EventReader) -> str:
    """Of the code that decides, and of what was erased."""
    found = hashlib.sha256(f"{omni.__version__} {platform.python_version()} {msgspec.__version__}".encode())
    for source in _sources():
        found.update(hashlib.sha256(source.read_bytes()).digest())
    found.update(b"".join(reader.erased()))
    return found.hexdigest()


def _sources() -> Iterator[Path]:
    here = Path(omni.__file__).parent
    for room in ROOMS:
        yield from sorted((here / room).rglob("*.py"))

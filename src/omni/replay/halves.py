"""A long log is verified by two processes: one thread of Python cannot look at a million events in the time there is.

    this process     decides again what stands up to a boundary, event by event
    the second one   checks every row, judges every event, folds all up to the boundary at once, decides again the rest

So the state at the boundary is made in two ways, and both must be the same. `python -m omni.replay.halves DATABASE
BOUNDARY` is the second process; what it found goes to its stdout as MessagePack.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from omni.domain.errors import EventLogError
from omni.eventlog.reader import open_reader
from omni.eventlog.upcasters import log_codec
from omni.replay.rules import Finding
from omni.replay.verify import Count, Part, Report, first_part, last_part, told

SHARE_PERCENT = 74  # of the log that this process decides again; the other one has all rows to check besides


def worth_it(database: Path, events: int) -> bool:
    """Whether the log is long enough, and there is a second processor."""
    if (os.cpu_count() or 1) < 2:
        return False
    try:
        with closing(open_reader(database, log_codec())) as reader:
            return reader.head.position >= events
    except EventLogError:
        return False  # whoever reads it next says what is wrong


def verify(database: Path, count: Count) -> Report | None:
    """Verify in two; None where that did not work out, and one process has to look at it all."""
    try:
        boundary, erased = _boundary(database), _erased(database)
    except EventLogError:
        return None
    with _begin(database, boundary) as second:
        try:
            first = _first(database, boundary, erased, count)
            said, _ = second.communicate()
        finally:
            second.kill()
    last = msgspec.msgpack.decode(said, type=Part) if second.returncode == 0 else None
    if last is None or last.rows is None:
        return None
    if not last.rows.ok:
        return told([last])
    return told([_compared(first, last, boundary), last]) if first else None


def _first(database: Path, boundary: int, erased: frozenset[str], count: Count) -> Part | None:
    try:
        return first_part(database, boundary, erased, count)
    except EventLogError:
        return None  # it is damaged, which the second one tells


def _compared(first: Part, last: Part, boundary: int) -> Part:
    if first.hash == last.begun:
        return first
    differs = Finding(boundary, "", "state.differs", "folded at once, the log means another state here")
    return msgspec.structs.replace(first, violations=first.violations + 1, findings=(*first.findings, differs))


def _begin(database: Path, boundary: int) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(each for each in sys.path if each)
    command = [sys.executable, "-m", "omni.replay.halves", str(database), str(boundary)]
    none = subprocess.DEVNULL  # where it fails, one process looks at it all, and says what is wrong
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module, and a path that was opened already
        command, stdin=none, stdout=subprocess.PIPE, stderr=none, env={**os.environ, "PYTHONPATH": path}
    )


def _boundary(database: Path) -> int:
    """The end of a message near the place where both processes have as much to do."""
    with closing(open_reader(database, log_codec())) as reader:
        position = reader.head.position * SHARE_PERCENT // 100
        of = None
        for row in reader.read(position - 1):
            if of and of != (row.boot, row.cause, row.actor):
                return row.position - 1
            of = row.boot, row.cause, row.actor
        return reader.head.position


def _erased(database: Path) -> frozenset[str]:
    with closing(open_reader(database, log_codec())) as reader:
        return frozenset(each.hex() for each in reader.erased())


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.msgpack.encode(last_part(Path(sys.argv[1]), int(sys.argv[2]))))

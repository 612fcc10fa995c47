"""A long log is verified by two or three processes: one thread of Python needs too long for a million events.

    this process    decides again what stands up to a first boundary, event by event
    the next one    folds all up to there at once, and decides again what stands up to a second one (with three only)
    the last one    checks every row, judges every event, folds all up to its boundary at once, decides again the rest

So the state at each boundary is made in two ways, and both must be the same. `python -m omni.replay.halves DATABASE
BEGIN [UNTIL]` is one of the others; what it found goes to its stdout as MessagePack.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path

import msgspec

from omni.domain.errors import EventLogError
from omni.eventlog.reader import open_reader
from omni.eventlog.store import Recorded
from omni.eventlog.upcasters import log_codec
from omni.replay.rules import Finding
from omni.replay.verify import Count, Part, Report, early_part, last_part, told

# Where all have as much to do, in percent of the log: the last one has all rows to check besides. A fourth process
# would gain nothing, for that alone takes as long.
BOUNDARIES = {2: (78,), 3: (56, 97)}


def worth_it(database: Path, events: int) -> bool:
    """Whether the log is long enough, and there is a second processor."""
    if (os.cpu_count() or 1) < min(BOUNDARIES):
        return False
    try:
        with closing(open_reader(database, log_codec())) as reader:
            return reader.head.position >= events
    except EventLogError:
        return False  # whoever reads it next says what is wrong


def verify(database: Path, count: Count, processes: int = 0) -> Report | None:
    """Verify in parts; None where that did not work out, and one process has to look at it all."""
    shares = BOUNDARIES[processes or min(max(BOUNDARIES), os.cpu_count() or 1)]
    try:
        ends, erased = _ends_of_messages(database, shares), _erased(database)
    except EventLogError:
        return None
    with ExitStack() as running:
        others = [_begin(running, database, *span) for span in [*pairwise(ends), ends[-1:]]]
        first = _first(database, ends[0], erased, count)
        said = [each.communicate()[0] for each in others]
    return _merged(first, [_decoded(each, raw) for each, raw in zip(others, said, strict=True)], ends)


def _merged(first: Part | None, others: list[Part | None], ends: list[int]) -> Report | None:
    last = others[-1]
    if last is None or last.rows is None:
        return None
    if not last.rows.ok:
        return told([last])
    parts = [each for each in (first, *others) if each is not None]
    return told([*_compared(parts, ends), last]) if len(parts) == 1 + len(others) else None


def _compared(parts: list[Part], ends: list[int]) -> Iterator[Part]:
    """All parts but the last; one that ends in another state than the next began with has a finding more."""
    for (part, following), end in zip(pairwise(parts), ends, strict=True):
        if part.hash == following.begun:
            yield part
            continue
        differs = Finding(end, "", "state.differs", "folded at once, the log means another state here")
        found = (*part.findings, differs)
        yield msgspec.structs.replace(part, violations=part.violations + 1, findings=found)


def _first(database: Path, until: int, erased: frozenset[str], count: Count) -> Part | None:
    collects = gc.isenabled()
    gc.disable()  # as in the other processes
    try:
        return early_part(database, 0, until, erased, count)
    except EventLogError:
        return None  # it is damaged, which the last one tells
    finally:
        if collects:
            gc.enable()


def _begin(running: ExitStack, database: Path, *span: int) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(each for each in sys.path if each)
    command = [sys.executable, "-m", "omni.replay.halves", str(database), *map(str, span)]
    none = subprocess.DEVNULL  # where it fails, one process looks at it all, and says what is wrong
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, and a path that was opened already
        command, stdin=none, stdout=subprocess.PIPE, stderr=none, env={**os.environ, "PYTHONPATH": path}
    )
    running.enter_context(process)
    running.callback(process.kill)  # whatever ends us, ends it first
    return process


def _decoded(process: subprocess.Popen[bytes], said: bytes) -> Part | None:
    return msgspec.msgpack.decode(said, type=Part) if process.returncode == 0 else None


def _ends_of_messages(database: Path, shares: tuple[int, ...]) -> list[int]:
    with closing(open_reader(database, log_codec())) as reader:
        head = reader.head.position
        return [_end_near(reader.read(head * share // 100 - 1), head) for share in shares]


def _end_near(rows: Iterator[Recorded], head: int) -> int:
    of = None
    for row in rows:
        if of and of != (row.boot, row.cause, row.actor):
            return row.position - 1
        of = row.boot, row.cause, row.actor
    return head


def _erased(database: Path) -> frozenset[str]:
    with closing(open_reader(database, log_codec())) as reader:
        return frozenset(each.hex() for each in reader.erased())


def _main(database: Path, begin: int, until: int = 0) -> Part:
    return early_part(database, begin, until, _erased(database)) if until else last_part(database, begin)


if __name__ == "__main__":
    gc.disable()  # nothing here makes cycles, and it would look at every task again and again
    sys.stdout.buffer.write(msgspec.msgpack.encode(_main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))

"""A long log is verified by two or three processes: one thread of Python needs too long for a million events.

    this process    decides again what stands up to a first boundary, event by event
    the next one    folds all up to there at once, and decides again what stands up to a second one (with three only)
    the last one    checks every row, judges every event, folds all up to its boundary at once, decides again the rest

So the state at each boundary is made in two ways, and both must be the same. Where an earlier check vouches for most
decisions, this process folds up to its mark and decides all that is left, and the last one has the rows alone.
`python -m omni.replay.halves PART DATABASE AT [UNTIL]` is one of the others; what it found goes to its stdout as
MessagePack.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import combinations_with_replacement, pairwise
from pathlib import Path

import msgspec

from omni.domain.errors import EventLogError
from omni.eventlog.reader import open_reader
from omni.eventlog.store import Recorded
from omni.eventlog.upcasters import log_codec
from omni.replay.redecide import UNAPPLIED
from omni.replay.verify import Count, Part, Report, early_part, last_part, rows_part, told

MOST = 3  # a fourth process would gain nothing, for the last one alone takes as long
# Microseconds for an event, as they were measured on a machine of two processors; only their ratios matter. A fold in
# the last process is cheaper, for it has read the rows already.
CHECKED, DECIDED, FOLDED, FOLDED_AS_WELL = 11, 22, 5, 2
STEPS = 50  # of the log, at one of which a boundary is put
_UNFIT = (EventLogError, *UNAPPLIED)


def worth_it(database: Path, events: int) -> bool:
    """Whether the log is long enough, and there is a second processor."""
    if (os.cpu_count() or 1) < 2:
        return False
    try:
        with closing(open_reader(database, log_codec())) as reader:
            return reader.head.position >= events
    except EventLogError:
        return False  # whoever reads it next says what is wrong


def verify(database: Path, count: Count, vouched: Part | None = None, processes: int = 0) -> Report | None:
    """Verify in parts; None where that did not work out, and one process has to look at it all."""
    begin = vouched.until if vouched else 0
    try:
        with closing(open_reader(database, log_codec())) as reader:
            ends = boundaries(begin, reader.head.position, processes or min(MOST, os.cpu_count() or 1))
            ends = [_end_near(reader.read(max(begin, end) - 1), reader.head.position) if end else 0 for end in ends]
            last = "rows" if ends[-1] == reader.head.position else "last"
    except EventLogError:
        return None
    with ExitStack() as running:
        others = [_begin(running, database, "early", *each) for each in pairwise(ends)]
        others.append(_begin(running, database, last, ends[-1]))
        first = _first(database, begin, ends[0], count)
        said = [each.communicate()[0] for each in others]
    parts = [vouched or Part(), first, *(_decoded(each, raw) for each, raw in zip(others, said, strict=True))]
    return _merged(parts, begin)


def boundaries(begin: int, head: int, processes: int) -> list[int]:
    """Where each process but the last is to end, so that the one with most to do has the least."""
    places = [begin + (head - begin) * step // STEPS for step in range(STEPS + 1)]
    found = min(combinations_with_replacement(places, processes - 1), key=lambda ends: _longest(begin, *ends, head))
    return list(found)


def _longest(begin: int, *ends: int) -> int:
    *early, (boundary, head) = pairwise([begin, *ends])
    rest = FOLDED_AS_WELL * boundary + DECIDED * (head - boundary) if boundary < head else 0
    return max(CHECKED * head + rest, *(FOLDED * a + DECIDED * (b - a) for a, b in early))


def _merged(parts: list[Part | None], vouched: int) -> Report | None:
    last = parts[-1]
    if last is None or last.rows is None:
        return None
    if not last.rows.ok:
        return told([last])
    found = [each for each in parts if each is not None]
    return told(found[0 if vouched else 1 :], vouched) if len(found) == len(parts) else None


def _first(database: Path, begin: int, until: int, count: Count) -> Part | None:
    collects = gc.isenabled()
    gc.disable()  # as in the other processes
    try:
        return early_part(database, begin, until, count)
    except _UNFIT:
        return None  # it is damaged, or fits no rule, which the last one tells
    finally:
        if collects:
            gc.enable()


def _begin(running: ExitStack, database: Path, part: str, *span: int) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(each for each in sys.path if each)
    command = [sys.executable, "-m", "omni.replay.halves", part, str(database), *map(str, span)]
    none = subprocess.DEVNULL  # where it fails, one process looks at it all, and says what is wrong
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, and a path that was opened already
        command, stdin=none, stdout=subprocess.PIPE, stderr=none, env={**os.environ, "PYTHONPATH": path}
    )
    running.enter_context(process)
    running.callback(process.kill)  # whatever ends us, ends it first
    return process


def _decoded(process: subprocess.Popen[bytes], said: bytes) -> Part | None:
    return msgspec.msgpack.decode(said, type=Part) if process.returncode == 0 else None


def _end_near(rows: Iterator[Recorded], head: int) -> int:
    of = None
    for row in rows:
        if of and of != (row.boot, row.cause, row.actor):
            return row.position - 1
        of = row.boot, row.cause, row.actor
    return head


_PARTS: dict[str, Callable[..., Part]] = {"early": early_part, "last": last_part, "rows": rows_part}

if __name__ == "__main__":
    gc.disable()  # nothing here makes cycles, and it would look at every task again and again
    _found = _PARTS[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:]))
    sys.stdout.buffer.write(msgspec.msgpack.encode(_found))

"""Checks a whole log: that nothing in it was changed, that every task lived by the rules, that the rules decide it.

    the log itself    rows, hashes, chain, payloads, head marker (`omni.eventlog.backup`): what is wrong is damage
    rules             what may follow what, written a second time (`omni.replay.rules`): what breaks one is a finding
    state             folded event by event and all at once, and the daemon's newest snapshot: all are to be the same
    decisions         every recorded command decided again (`omni.replay.redecide`): what differs is a divergence

A damaged log is not judged further. A long log is read by two processes (`omni.replay.halves`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from omni.domain.board import STREAMS, Board, BoardSnapshot
from omni.domain.errors import EventLogError
from omni.domain.folding import fold
from omni.eventlog.backup import Problem, RowCheck, VerifyReport
from omni.eventlog.chain import POSITION
from omni.eventlog.reader import open_reader
from omni.eventlog.snapshots import Snapshots, fingerprint
from omni.eventlog.store import EventReader, Head, Row
from omni.eventlog.upcasters import log_codec
from omni.replay.divergence import Redecided, joined
from omni.replay.redecide import UNAPPLIED, Redecide
from omni.replay.rules import Counted, Finding, RuleCheck
from omni.replay.state import board_hash

REPORT_EVERY = 10_000
IN_TWO_FROM = 50_000  # events: below, the start of a second process costs more than it saves

Count = Callable[[int], None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found; `head_hash` names the log as it was checked, `state_hash` the state that it means.

    `snapshot` is the position of a snapshot of the daemon that was compared with the log; 0: there was none.
    """

    events: int
    streams: int
    head: int
    head_hash: str
    damage: tuple[Problem, ...] = ()
    tasks: int = 0
    ended: int = 0
    open: int = 0
    by_type: dict[str, int] = {}
    violations: int = 0
    findings: tuple[Finding, ...] = ()
    state_hash: str = ""
    snapshot: int = 0
    redecided: Redecided = Redecided()

    @property
    def ok(self) -> bool:
        """Whether the log is whole, lived by the rules, and is what the rules decide."""
        return self.violations == 0 and not self.damage and self.redecided.divergences == 0


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass found, from a position to the end or from the beginning to a position."""

    redecided: Redecided
    violations: int
    findings: tuple[Finding, ...]
    hash: str  # of the state at the end of the part
    begun: str = ""  # and of the one it began with, folded all at once
    snapshot: int = 0
    rows: VerifyReport | None = None
    counted: Counted | None = None


def verify(database: Path, count: Count = lambda _: None) -> Report:
    """Check a log file, alive or at rest. Raises EventLogError when there is none, or none that can be opened."""
    from omni.replay import halves

    with_second = halves.verify(database, count) if halves.worth_it(database, IN_TWO_FROM) else None
    return with_second or told([last_part(database, 0, count)])


def judge(reader: EventReader, head: Head, count: Count = lambda _: None) -> Report:
    """Judge every event up to a position by the rules, and decide every command again; the rows are not checked."""
    rules = RuleCheck()
    again = Redecide(reader.recorded, rules.unapplied)
    for row in reader.rows(0, head.position):
        rules(row, reader.recorded(row).event)
        again(row)
        if row[POSITION] % REPORT_EVERY == 0:
            count(row[POSITION])
    redecided = again.finish()
    rules.end(head.position, again.state.board)
    _folded_at_once(reader, head.position, again.state.board, rules)
    rows = VerifyReport(rules.events, 0, head, [])
    return told([_part(again.state.board, rules, redecided, rows=rows, counted=rules.counted())])


def early_part(database: Path, begin: int, until: int, erased: frozenset[str], count: Count = lambda _: None) -> Part:
    """Decide again what stands between two ends of messages. Raises CorruptLog on a log that cannot be read."""
    rules = RuleCheck()
    with closing(open_reader(database, log_codec())) as reader:
        again, witness, begun = Redecide(reader.recorded, rules.unapplied, erased), Witness(database, begin), ""
        if begin:
            again.pass_over((row, reader.recorded(row).event) for row in reader.rows(0, begin))
            begun = board_hash(again.state.board.snapshot())
        for row in reader.rows(begin, until):
            again(row)
            if (position := row[POSITION]) == witness.due:
                witness(position - 1, again.state.board, rules)
            if position % REPORT_EVERY == 0:
                count(position)
        redecided = again.finish(ends=False)
    witness(until, again.state.board, rules)
    return _part(again.state.board, rules, redecided, begun=begun, snapshot=witness.seen)


def last_part(database: Path, begin: int, count: Count = lambda _: None) -> Part:
    """Check all rows and judge all events, and decide again what stands after a position, which ends a message."""
    check, rules, begun = RowCheck(database, log_codec()), RuleCheck(), ""
    rows = _judged(check, rules, count)
    first = list(itertools.islice(rows, 1))  # what was erased is known once the check has begun
    rows = itertools.chain(first, rows)
    with ExitStack() as opened:
        reader = cache(lambda: opened.enter_context(closing(open_reader(database, log_codec()))))
        again = Redecide(lambda row: reader().recorded(row), rules.unapplied, check.erased)
        witness = Witness(database, begin)
        if begin:
            again.pass_over(_until(rows, begin))
            begun = board_hash(again.state.board.snapshot())
        for row, _ in rows:
            again(row)
            if row[POSITION] == witness.due:
                witness(row[POSITION] - 1, again.state.board, rules)
        redecided, stored = again.finish(), check.report()
        witness(stored.head.position, again.state.board, rules)
        if stored.ok:
            rules.end(stored.head.position, again.state.board)
        if stored.ok and not begin:
            _folded_at_once(reader(), stored.head.position, again.state.board, rules)
    parts: dict[str, Any] = {"begun": begun, "snapshot": witness.seen, "rows": stored, "counted": rules.counted()}
    return _part(again.state.board, rules, redecided, **parts)


def told(parts: list[Part]) -> Report:
    """One report of all parts; the last one knows the rows."""
    last = parts[-1]
    assert last.rows is not None
    assert last.counted is not None
    head: dict[str, Any] = {"head": last.rows.head.position, "head_hash": last.rows.head.hash.hex()}
    if not last.rows.ok:
        return Report(events=last.rows.events, streams=last.rows.streams, damage=tuple(last.rows.problems), **head)
    return Report(
        **msgspec.structs.asdict(last.counted),
        **head,
        violations=sum(part.violations for part in parts),
        findings=tuple(sorted((each for part in parts for each in part.findings), key=lambda each: each.position)),
        state_hash=last.hash,
        snapshot=max(part.snapshot for part in parts),
        redecided=joined([part.redecided for part in parts]),
    )


class Witness:
    """The daemon's newest snapshot of this log after a position: what it remembers is to be what the log says."""

    def __init__(self, database: Path, after: int = 0) -> None:
        self.seen = 0
        self._position = 0
        self._payload = b""
        shape = fingerprint(BoardSnapshot)
        with closing(open_reader(database, log_codec())) as reader:
            for each in Snapshots(database.with_name("snapshots")).find("router", shape):
                if each.position > after and reader.hash_at(each.position) == each.hash:
                    self._position, self._payload = each.position, each.payload
                    break
        self.due = self._position + 1  # before this one

    def __call__(self, position: int, board: Board, rules: RuleCheck) -> None:
        """Compare, where this is the position of the snapshot."""
        if position != self._position or self.seen or not position:
            return
        self.seen = position
        if board_hash(board.snapshot()) != _hash_of(self._payload):
            rules.note(Finding(position, "", "snapshot.differs", "the daemon's snapshot holds another state"))


def _hash_of(payload: bytes) -> str:
    try:
        return board_hash(msgspec.msgpack.decode(payload, type=BoardSnapshot))
    except (msgspec.MsgspecError, ValueError):
        return "unreadable"


def _part(board: Board, rules: RuleCheck, redecided: Redecided, **more: Any) -> Part:
    found: dict[str, Any] = {"violations": rules.violations, "findings": tuple(rules.findings)}
    return Part(redecided=redecided, hash=board_hash(board.snapshot()), **found, **more)


def _judged(check: RowCheck, rules: RuleCheck, count: Count) -> Iterator[tuple[Row, Any]]:
    """The rows and their events, as long as nothing is wrong with them; all are checked."""
    for row, event in check.events(count):
        if check.sound:
            rules(row, event)
            yield row, event


def _until(rows: Iterator[tuple[Row, Any]], position: int) -> Iterator[tuple[Row, Any]]:
    for each in rows:
        yield each
        if each[0][POSITION] >= position:
            return


def _folded_at_once(reader: EventReader, until: int, board: Board, rules: RuleCheck) -> None:
    """Fold all again in the way of a start, and compare with the fold that went event by event."""
    other = Board()
    try:
        fold(other, reader.facts(0, STREAMS, until=until))
        same = board_hash(other.snapshot()) == board_hash(board.snapshot())
    except (*UNAPPLIED, EventLogError) as error:
        if not rules.violations:
            rules.note(Finding(until, "", "state.differs", f"the log cannot be folded at once: {error!r}"))
        return
    if not same:
        rules.note(Finding(until, "", "state.differs", "folded at once, the log means another state"))

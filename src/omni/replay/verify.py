"""Checks a whole log: that nothing in it was changed, that every task lived by the rules, that the rules decide it.

    the log itself    rows, hashes, chain, payloads, head marker (`omni.eventlog.backup`): what is wrong is damage
    rules             what may follow what, written a second time (`omni.replay.rules`): what breaks one is a finding
    state             folded event by event and all at once, and the daemon's newest snapshot: all are to be the same
    decisions         every recorded command decided again (`omni.replay.redecide`): what differs is a divergence

A damaged log is not judged further. A long log is read by two processes (`omni.replay.halves`). Decisions up to the
mark of an earlier check of the same history by the same code need not be made again (`omni.replay.vouched`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from itertools import pairwise
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
from omni.replay.rules import Counted, Finding, RuleCheck, Standing, differences, standing_of
from omni.replay.state import board_hash

REPORT_EVERY = 10_000
IN_TWO_FROM = 50_000  # events: below, the start of a second process costs more than it saves

Count = Callable[[int], None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found; `head_hash` names the log as it was checked, `state_hash` the state that it means.

    `snapshot` is the position of a snapshot of the daemon that was compared with the log; 0: there was none. Decisions
    up to `vouched` were made again by an earlier check, and count with the others; what came after `decided_to` was
    appended while the log was checked.
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
    vouched: int = 0
    decided_to: int = 0

    @property
    def ok(self) -> bool:
        """Whether the log is whole, lived by the rules, and is what the rules decide."""
        return self.violations == 0 and not self.damage and self.redecided.divergences == 0


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass found, up to a position or the end of the log; empty where it was not looked at."""

    until: int = 0
    redecided: Redecided = Redecided()
    violations: int = 0
    findings: tuple[Finding, ...] = ()
    hash: str = ""  # of the state at the end of the part
    begun: str = ""  # and of the one it began with, folded all at once
    standing: Standing | None = None  # what is open at the end of the part
    snapshot: int = 0
    rows: VerifyReport | None = None
    counted: Counted | None = None


def verify(database: Path, count: Count = lambda _: None, vouched: Part | None = None) -> Report:
    """Check a log file, alive or at rest; `vouched` is what an earlier check said of its decisions.

    Raises EventLogError when there is none, or none that can be opened.
    """
    from omni.replay import halves

    with_others = halves.verify(database, count, vouched) if halves.worth_it(database, IN_TWO_FROM) else None
    return with_others or told([last_part(database, 0, count)])


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
    rules.end(head.position)
    rules.compare(head.position, again.state.board)
    _folded_at_once(reader, head.position, again.state.board, rules)
    rows = VerifyReport(rules.events, 0, head, [])
    whole = {"until": head.position, "rows": rows, "counted": rules.counted()}
    return told([_part(again.state.board, rules, redecided, **whole)])


def early_part(database: Path, begin: int, until: int, count: Count = lambda _: None) -> Part:
    """Decide again what stands between two ends of messages. Raises CorruptLog on a log that cannot be read."""
    rules = RuleCheck()
    with closing(open_reader(database, log_codec())) as reader:
        erased, whole = frozenset(each.hex() for each in reader.erased()), until >= reader.head.position
        again, witness, begun = Redecide(reader.recorded, rules.unapplied, erased), Witness(database, begin), ""
        if begin:
            passed = _counted(reader.rows(0, begin), count)
            again.pass_over((row, reader.recorded(row).event) for row in passed)
            begun = board_hash(again.state.board.snapshot())
            witness(begin, again.state.board, rules)
        for row in _counted(reader.rows(begin, until), count):
            again(row)
            if row[POSITION] == witness.due:
                witness(row[POSITION] - 1, again.state.board, rules)
        redecided = again.finish(ends=whole)
    witness(until, again.state.board, rules)
    return _part(again.state.board, rules, redecided, until=until, begun=begun, snapshot=witness.seen)


def rows_part(database: Path, at: int, count: Count = lambda _: None) -> Part:
    """Check all rows and judge all events; what they mean up to a position is for others to fold."""
    check, rules, standing = RowCheck(database, log_codec()), RuleCheck(), None
    for row, _ in _judged(check, rules, count):
        if row[POSITION] == at:
            standing = rules.standing()
    stored = check.report()
    if stored.ok:
        rules.end(stored.head.position)
    found: dict[str, Any] = {"violations": rules.violations, "findings": tuple(rules.findings)}
    return Part(until=stored.head.position, standing=standing, rows=stored, counted=rules.counted(), **found)


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
            witness(begin, again.state.board, rules)
        for row, _ in rows:
            again(row)
            if row[POSITION] == witness.due:
                witness(row[POSITION] - 1, again.state.board, rules)
        redecided, stored = again.finish(), check.report()
        witness(stored.head.position, again.state.board, rules)
        if stored.ok:
            rules.end(stored.head.position)
            rules.compare(stored.head.position, again.state.board)
        if stored.ok and not begin:
            _folded_at_once(reader(), stored.head.position, again.state.board, rules)
    parts: dict[str, Any] = {"until": stored.head.position, "begun": begun, "snapshot": witness.seen}
    return _part(again.state.board, rules, redecided, **parts, rows=stored, counted=rules.counted())


def told(parts: list[Part], vouched: int = 0) -> Report:
    """One report of all parts, in order of the log; the last one knows the rows."""
    last = parts[-1]
    assert last.rows is not None
    assert last.counted is not None
    head: dict[str, Any] = {"head": last.rows.head.position, "head_hash": last.rows.head.hash.hex()}
    if not last.rows.ok:
        return Report(events=last.rows.events, streams=last.rows.streams, damage=tuple(last.rows.problems), **head)
    parts = list(_compared(parts))
    meant = next((part for part in reversed(parts) if part.hash), last)
    return Report(
        **msgspec.structs.asdict(last.counted),
        **head,
        violations=sum(part.violations for part in parts),
        findings=tuple(sorted((each for part in parts for each in part.findings), key=lambda each: each.position)),
        state_hash=meant.hash,
        snapshot=max(part.snapshot for part in parts),
        redecided=joined([part.redecided for part in parts]),
        vouched=vouched,
        decided_to=meant.until,
    )


def _compared(parts: list[Part]) -> Iterator[Part]:
    """All parts; one that ends in another state than the next began with has a finding more."""
    for part, following in pairwise(parts):
        findings = tuple(_unlike(part, following))
        violations = part.violations + len(findings)
        yield msgspec.structs.replace(part, violations=violations, findings=(*part.findings, *findings))
    yield parts[-1]


def _unlike(part: Part, following: Part) -> Iterator[Finding]:
    if following.begun and part.hash != following.begun:
        yield Finding(part.until, "", "state.differs", "folded at once, the log means another state here")
    if not following.begun and part.standing and following.standing and not following.violations:
        yield from differences(part.until, following.standing, part.standing)


class Witness:
    """The daemon's newest snapshot of this log, not from before a position: it is to hold what the log says."""

    def __init__(self, database: Path, after: int = 0) -> None:
        self.seen = 0
        self._position = 0
        self._payload = b""
        shape = fingerprint(BoardSnapshot)
        with closing(open_reader(database, log_codec())) as reader:
            for each in Snapshots(database.with_name("snapshots")).find("router", shape):
                if each.position >= max(1, after) and reader.hash_at(each.position) == each.hash:
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
    state: dict[str, Any] = {"hash": board_hash(board.snapshot()), "standing": standing_of(board)}
    return Part(redecided=redecided, **state, **found, **more)


def _judged(check: RowCheck, rules: RuleCheck, count: Count) -> Iterator[tuple[Row, Any]]:
    """The rows and their events, as long as nothing is wrong with them; all are checked."""
    for row, event in check.events(count):
        if check.sound:
            rules(row, event)
            yield row, event


def _counted(rows: Iterator[Row], count: Count) -> Iterator[Row]:
    for row in rows:
        if row[POSITION] % REPORT_EVERY == 0:
            count(row[POSITION])
        yield row


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

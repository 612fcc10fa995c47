"""What `omni verify` says: what was looked at, what came of it, and the first divergence with both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from omni.replay.divergence import Divergence, Redecided
    from omni.replay.verify import Report

WIDTH = 160  # characters of one side that are shown; --json has it all
FIELDS = 12

Style = Callable[[str, str], str]


def lines(style: Style, report: Report) -> list[str]:
    """The verdict for people."""
    if report.damage:
        head = f"{style('DAMAGED', 'bad')}: {report.events:,} events could be looked at"
        return [head, *(f"  position {each.position}: {each.what}" for each in report.damage)]
    verdict = style("ok", "good") if report.ok else style("MISMATCH", "bad")
    once = ", none of them twice" if report.ok else ""
    return [
        f"{verdict}: {report.events:,} events in {report.streams:,} streams up to position {report.head:,}",
        f"  {report.tasks:,} tasks, {report.ended:,} ended{once}; {report.open:,} still open",
        f"  checked: every row, its hash and payloads, the chain, the head marker; the rules; {_state(report)}",
        *_decisions(report.redecided),
        *_vouched(report),
        f"  state hash {report.state_hash}",
        f"  head hash {report.head_hash}",
        *_findings(report),
        *(_first(report.redecided) if report.redecided.first else ()),
    ]


def next_step(report: Report) -> str:
    """What to do about it; empty when all is well."""
    if report.damage:
        return "keep these files as they are, and restore the last good backup"
    if report.violations:
        return "omni task tail ID for a task named above, and keep a copy: omni backup FILE"
    if report.redecided.divergences and report.redecided.first:
        before = report.redecided.first.position - 1
        return f"omni replay at {before}, which is the state it was decided from, and keep a copy: omni backup FILE"
    return ""


def _state(report: Report) -> str:
    witness = f" and as the daemon's snapshot at {report.snapshot:,} holds it" if report.snapshot else ""
    return f"the state, folded in two ways{witness}"


def _decisions(found: Redecided) -> Iterator[str]:
    turns = "turn that follows" if found.settled == 1 else "turns that follow"
    steps = f" and {found.settled:,} {turns} from the state alone" if found.settled else ""
    yield f"  decided again: {found.commands:,} commands{steps}, as recorded"
    for why, count in found.undecided.items():
        yield f"  not decided again: {count:,}, because {why}"


def _vouched(report: Report) -> Iterator[str]:
    if report.vouched:
        yield f"  of these, what stands up to position {report.vouched:,} by an earlier check of the same history;"
        yield "  all of them once more: omni verify --all"
    if report.decided_to < report.head:
        yield f"  not decided again: what came after position {report.decided_to:,}, while this was checked"


def _findings(report: Report) -> Iterator[str]:
    if report.violations:
        yield f"  {report.violations:,} violations, the first {len(report.findings)}:"
        yield from (f"  position {each.position} {each.stream}: {each.rule}: {each.detail}" for each in report.findings)


def _first(found: Redecided) -> Iterator[str]:
    if found.divergences:
        yield f"  {found.divergences:,} divergences; the first:"
    else:
        yield f"  {found.other_rules:,} would be decided otherwise by the rules of this version. Another one wrote"
        yield "  them, and only that one can tell whether they were changed afterwards; the first:"
    assert found.first is not None
    yield from (f"    {line}" for line in divergence(found.first))


def divergence(first: Divergence) -> Iterator[str]:
    """One event that the rules do not give, readable."""
    yield f"position {first.position:,}, {first.stream}, written by {first.actor} ({first.cause} of boot {first.boot})"
    if first.command:
        yield f"command   {_short(first.command)} from {first.sender}"
    else:
        yield "command   none: it is to follow from the state alone"
    yield f"recorded  {_side(first.recorded)}"
    yield f"decided   {_side(first.decided)}"
    for each in first.fields[:FIELDS]:
        yield f"  {each.field}: recorded {_short(each.recorded)}, decided {_short(each.decided)}"
    yield f"recorded by omni {first.recorded_by or '(not known)'}, decided by omni {first.decided_by}"


def _side(side: Any) -> str:
    return f"{side['stream']}: {_short(side['event'])}" if side else "nothing"


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"

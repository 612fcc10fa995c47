"""What came of deciding a log again: how much, and the first divergence with both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from omni import __version__
from omni.domain.commands import Envelope
from omni.domain.values import Millis
from omni.eventlog.store import Recorded


class Difference(msgspec.Struct, frozen=True):
    """One field that is not the same."""

    field: str
    recorded: Any
    decided: Any


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """One event that the rules do not give; null stands for none. `command` is null where only the state decided."""

    position: int
    stream: str
    at_ms: Millis
    boot: str
    cause: str
    actor: str
    command: Any = None
    sender: str = ""
    recorded: Any = None
    decided: Any = None
    fields: tuple[Difference, ...] = ()
    recorded_by: str = ""
    decided_by: str = __version__


class Redecided(msgspec.Struct, frozen=True, kw_only=True):
    """What came of deciding again. `commands` by what they asked, `settled` followed from the state alone."""

    commands: int = 0
    settled: int = 0
    undecided: dict[str, int] = {}
    divergences: int = 0
    other_rules: int = 0
    first: Divergence | None = None


def joined(parts: Sequence[Redecided]) -> Redecided:
    """What came of all parts of a log."""
    undecided: Counter[str] = Counter()
    for part in parts:
        undecided.update(part.undecided)
    firsts = [part.first for part in parts if part.first is not None]
    grave = [each for part in parts if part.divergences and (each := part.first) is not None]
    return Redecided(
        commands=sum(part.commands for part in parts),
        settled=sum(part.settled for part in parts),
        undecided=dict(undecided.most_common()),
        divergences=sum(part.divergences for part in parts),
        other_rules=sum(part.other_rules for part in parts),
        first=next(iter([*grave, *firsts]), None),
    )


def divergence(rows: list[Recorded], done: int, other: tuple[str, Any] | None, envelope: Envelope | None) -> Divergence:
    """The first row of a message that the rules do not give, and what they give in its place, each null for nothing."""
    row = rows[min(done, len(rows) - 1)]
    recorded = (row.stream, row.event) if done < len(rows) else None
    stands, would = _plain(recorded), _plain(other)
    return Divergence(
        position=row.position,
        stream=row.stream if recorded or other is None else other[0],
        at_ms=row.at_ms,
        boot=row.boot,
        cause=row.cause,
        actor=row.actor,
        command=msgspec.to_builtins(envelope.message) if envelope else None,
        sender=envelope.sender if envelope else "",
        recorded=stands,
        decided=would,
        fields=(*_differences("", stands, would), *_times(row, rows[0])) if stands and would else (),
    )


def _times(row: Recorded, first: Recorded) -> Iterator[Difference]:
    for name in ("at_ms", "mono_ms"):
        yield from _differences(name, getattr(row, name), getattr(first, name))


def _plain(side: tuple[str, Any] | None) -> Any:
    return {"stream": side[0], "event": msgspec.to_builtins(side[1])} if side else None


def _differences(path: str, recorded: Any, decided: Any) -> Iterator[Difference]:
    """Field by field, as deep as both sides have the same shape."""
    if recorded == decided:
        return
    if isinstance(recorded, dict) and isinstance(decided, dict):
        for name in [*recorded, *(each for each in decided if each not in recorded)]:
            yield from _differences(f"{path}.{name}" if path else str(name), recorded.get(name), decided.get(name))
    elif isinstance(recorded, list | tuple) and isinstance(decided, list | tuple) and len(recorded) == len(decided):
        for at, (one, two) in enumerate(zip(recorded, decided, strict=True)):
            yield from _differences(f"{path}[{at}]", one, two)
    else:
        yield Difference(path, recorded, decided)

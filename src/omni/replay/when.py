"""Points in a log as people name them: a position, or a time that stands for the state after all that came before it.

    1500                                    a position
    90s  30m  12h  7d  2w                   so long ago
    19:31  19:31:05                         the last time that the clock on the wall showed this
    2026-01-31  2026-01-31T08:00            a date (its first moment) or a date and time, local
    2026-01-31T08:00:00.250Z  …+02:00       the same with its own offset (RFC 3339)

Digits alone are always a position. A time finds its position by about twenty single look-ups, however long the log is.

Where the clock was set back, the log passes one time twice. Then the answer is one of the places where the log went
from "not later" to "later": the event there is not later than the time, and the next one is. Which of them depends on
fixed positions alone (powers of two), not on where the log ends: what the log gains later does not move the answer.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from omni.domain.errors import NotFound, Refused
from omni.domain.values import Millis
from omni.eventlog.store import EventReader

FORMS = "1500, 90s, 30m, 12h, 7d, 19:31, 2026-01-31 or 2026-01-31T08:00"
_SPAN = re.compile(r"([0-9]{1,6})\s*([smhdw])")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION = re.compile(r"[0-9]{1,15}")


class NoSuchMoment(Refused):
    """The text names no point in time and no position."""

    kind = "usage"


def position_of(reader: EventReader, text: str, now_ms: Millis) -> int:
    """The position that `text` stands for: of a time, the last one up to it, and 0 before the first event.

    Raises NoSuchMoment for what cannot be read, NotFound for a position that the log does not have yet.
    """
    if _POSITION.fullmatch(text.strip()):
        return _known(reader, int(text))
    return position_at(reader, moment(text, now_ms))


def position_before(reader: EventReader, text: str, now_ms: Millis) -> int:
    """The position after which `text` begins: the event at it, or exactly at its time, is the next one.

    Raises NoSuchMoment, NotFound, as `position_of`.
    """
    if _POSITION.fullmatch(text.strip()):
        return max(0, _known(reader, int(text)) - 1)
    return position_at(reader, moment(text, now_ms) - 1)


def position_at(reader: EventReader, at: Millis) -> int:
    """The last position up to a time; where the clock was set back, see above."""
    head = reader.head.position
    position = 0
    for bit in range(head.bit_length() - 1, -1, -1):
        ahead = position + (1 << bit)
        found = reader.at_ms(ahead) if ahead <= head else None
        if found is not None and found <= at:
            position = ahead
    return position


def moment(text: str, now_ms: Millis) -> Millis:
    """A point in time in milliseconds since the epoch. Raises NoSuchMoment."""
    if span := _SPAN.fullmatch(text.strip()):
        return now_ms - int(span[1]) * _UNIT_MS[span[2]]
    if shown := _CLOCK.fullmatch(text.strip()):
        return _last_shown(*(int(part or 0) for part in shown.groups()), now_ms=now_ms)
    try:
        return _since_epoch(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError, OSError):
        raise NoSuchMoment(
            f"{text!r} is no position and no point in time: {FORMS}", hint="omni replay --help"
        ) from None


def _last_shown(hour: int, minute: int, second: int, *, now_ms: Millis) -> Millis:
    """When the clock showed this: today, or yesterday where today's is still to come."""
    now = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone().replace(tzinfo=None)
    today = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    return _since_epoch(today if today <= now else today - timedelta(days=1))


def _since_epoch(at: datetime) -> Millis:
    return (at.astimezone() - _EPOCH) // timedelta(milliseconds=1)


def _known(reader: EventReader, position: int) -> int:
    head = reader.head.position
    if position > head:
        raise NotFound(f"there is no position {position} in this log: it ends at {head}", hint=f"omni replay at {head}")
    return position

"""Until when an account's limit lasts, as Claude Code says it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

UNSTATED_S = 900.0  # where no time is stated: long enough to burn nothing, short enough to notice that it is over
SLACK_S = 5.0  # clocks differ, and who comes a moment early is refused for the whole time again
LONGEST_S = 8 * 86_400.0  # the longest window is a week
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_REACHED = re.compile(
    r"\b(?:hit|reached) your\b.{0,30}\blimit\b|\busage limit reached\b|\bout of (?:extra )?usage\b", re.IGNORECASE
)
_RESETS = re.compile(
    r"\bresets?\s+(?:at\s+)?(?:(?P<month>[a-z]{3})[a-z]*\s+(?P<day>\d{1,2})(?:\s+at|,)?\s+)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s*(?P<half>am|pm)?(?:\s*\((?P<zone>[^)]+)\))?",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"\|(\d{10})\b")


class Limit(NamedTuple):
    """An account takes nothing for so long. `stated`: whether the time was said, or is a guess."""

    for_s: float
    stated: bool


def is_limit(text: str) -> bool:
    """Whether a text speaks of an account's limit."""
    return bool(_REACHED.search(text))


def limit_of(text: str, resets_at_s: float | None, now: datetime) -> Limit:
    """How long a limit lasts, by the time that came with it, else by its wording. `now` carries a time zone."""
    if resets_at_s is None and (epoch := _EPOCH.search(text)):
        resets_at_s = float(epoch[1])
    if resets_at_s is not None:
        return _until(resets_at_s - now.timestamp())
    moment = _moment(text, now)
    return _until((moment - now).total_seconds()) if moment else Limit(UNSTATED_S, stated=False)


def _until(left_s: float) -> Limit:
    """A time that has passed already is no help: somebody's clock is wrong."""
    if left_s <= 0:
        return Limit(UNSTATED_S, stated=False)
    return Limit(min(left_s + SLACK_S, LONGEST_S), stated=True)


def _moment(text: str, now: datetime) -> datetime | None:
    """The next moment that the words can mean; None when they name none."""
    said = _RESETS.search(text)
    zone = _zone(said["zone"] if said else None, now)
    if said is None or zone is None:
        return None
    try:
        return _next(said, now.astimezone(zone))
    except ValueError:  # February 30, 25 o'clock
        return None


def _next(said: re.Match[str], here: datetime) -> datetime:
    at = here.replace(hour=_hour(said), minute=int(said["minute"] or 0), second=0, microsecond=0)
    if said["month"] is None:
        return at if at > here else at + timedelta(days=1)
    at = at.replace(month=_month(said["month"]), day=int(said["day"]))
    return at if at > here - timedelta(days=180) else at.replace(year=at.year + 1)


def _hour(said: re.Match[str]) -> int:
    hour = int(said["hour"])
    if said["half"] is None:
        return hour
    return hour % 12 + (12 if said["half"].lower() == "pm" else 0)


def _month(name: str) -> int:
    return _MONTHS.index(name.lower()) + 1


def _zone(name: str | None, now: datetime) -> tzinfo | None:
    if name is None:
        return now.tzinfo
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # also a system without that zone's data
        return None

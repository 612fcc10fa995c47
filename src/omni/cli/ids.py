"""Task ids as people type them: any unique beginning of six or more characters."""

from __future__ import annotations

import re

from omni.cli.context import Context
from omni.cli.exits import BadUsage

FULL = 36
_ID = re.compile(r"[0-9a-f-]{6,36}")


def full_id(context: Context, typed: str) -> str:
    """The id that a beginning stands for; a whole id is taken as it is, the log tells the others.

    Raises BadUsage for what is no id or stands for several tasks, NotFound when it stands for none.
    """
    prefix = checked(typed)
    if len(prefix) == FULL:
        return prefix
    with context.history() as history:
        return history.resolve(prefix)


def checked(typed: str) -> str:
    """The beginning of an id in its normal spelling. Raises BadUsage."""
    prefix = typed.strip().lower()
    if _ID.fullmatch(prefix):
        return prefix
    if len(prefix) < 6 and _ID.fullmatch(prefix.ljust(6, "0")):
        raise BadUsage(f"{typed!r} is too short for an id: six characters at least", hint="omni tasks")
    raise BadUsage(f"{typed[:60]!r} is not a task id (letters a–f, digits and dashes)", hint="omni tasks")

"""How this version of Omni reads its log: every past shape of an event and the way from it to the next one.

An entry `("task.created", 1): lift` takes a body of schema 1 and returns one of schema 2; see `codec.py`. Entries are
never removed: old logs are read for ever. A golden log of the old shape comes with each one.
"""

from __future__ import annotations

from typing import Final

from omni.domain.events import AnyEvent
from omni.eventlog.codec import Codec, Upcasters

UPCASTERS: Final[Upcasters] = {}


def log_codec() -> Codec:
    """Translate the events of this version, and of all before it."""
    return Codec(AnyEvent, UPCASTERS)

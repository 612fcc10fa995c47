"""Every past shape of an event and the way from it to the next one.

An entry `("task.created", 1): lift` takes a body of schema 1 and returns one of schema 2; see `codec.py`. Entries are
never removed: old logs are read for ever. A golden log of the old shape comes with each one.
"""

from __future__ import annotations

from typing import Final

from omni.eventlog.codec import Upcasters

UPCASTERS: Final[Upcasters] = {}

"""What a behaviour answers with: facts to append, and messages to send once they are durable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Send(msgspec.Struct, frozen=True):
    """Post `message` to the actor or adapter called `to`; carried out after the commit, in order."""

    to: str
    message: Any


class Outcome(msgspec.Struct, frozen=True):
    """What follows from one message: `events` as (stream, event), then `sends`."""

    events: Sequence[tuple[str, Any]] = ()
    sends: Sequence[Send] = ()


NOTHING = Outcome()

"""Where a model call may go: one hop is one channel, one model and one key."""

from __future__ import annotations

import msgspec

from omni.domain.values import KeyRole


class Hop(msgspec.Struct, frozen=True, gc=False):
    """One way for a model call. `channel`: `PROXY`, `LOCAL_MODEL`, or the name of a provider.

    `model` is what is asked for there; empty: what the caller named. `key`: which of the cloud's keys, None where the
    channel has one of its own.
    """

    channel: str
    model: str = ""
    key: KeyRole | None = None
    tier: str = ""
    paid: bool = False

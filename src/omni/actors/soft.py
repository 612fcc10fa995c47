"""What all behaviours share: the answers of one that has nothing to say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from omni.domain.board import Fact
from omni.domain.commands import Envelope, Refusal
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.values import Millis


class Quiet:
    """Base of behaviours: no stream, no snapshot, nothing owed. Each overrides what it means."""

    prefixes: tuple[str, ...] = ()
    shape: type[msgspec.Struct] | None = None

    def settle(self, state: Any, envelope: Envelope) -> Outcome:
        return NOTHING

    def evolve(self, state: Any, stream: str, event: Any, at: Millis, position: int) -> None:
        raise AssertionError(f"{type(self).__name__} owns no stream, and was given {stream}")

    def fold(self, state: Any, facts: Iterable[Fact]) -> None:
        for position, stream, at, event in facts:
            self.evolve(state, stream, event, at, position)

    def version(self, state: Any, stream: str) -> int:
        return 0

    def announce(self, state: Any, touched: Sequence[str]) -> Sequence[Send]:
        return ()

    def owed(self, state: Any, boot: str) -> Sequence[Send]:
        return ()

    def refuse(self, message: Any, refusal: Refusal) -> Sequence[Send]:
        return ()

    def dump(self, state: Any) -> Any:
        raise AssertionError(f"{type(self).__name__} keeps no snapshot")

    def load(self, snapshot: Any) -> Any:
        raise AssertionError(f"{type(self).__name__} keeps no snapshot")

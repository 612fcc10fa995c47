"""The address book: who is called what, and how a message gets there from any thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Receive: TypeAlias = Callable[[str, Sequence[Any]], None]


class Post:
    """Deliver messages by name. A name outlives the actor behind it: a restarted one keeps its name."""

    def __init__(self) -> None:
        self._receivers: dict[str, Receive] = {}

    def register(self, name: str, receive: Receive) -> None:
        """Let `receive(sender, messages)` take what is sent to `name`; it must return at once, on any thread."""
        self._receivers[name] = receive

    def send(self, to: str, sender: str, messages: Sequence[Any]) -> None:
        """Hand over `messages` in order. An unknown name is a bug in the wiring, and raises."""
        self._receivers[to](sender, messages)

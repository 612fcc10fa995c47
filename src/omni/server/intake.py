"""Clients behind whose calls a model sits: they repeat themselves, and have conversations that wait for answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from omni.config import Config, IntakeConfig
from omni.server.names import unlabelled
from omni.server.refusals import BadArgument

REPLY_TO: Final = r"^[a-z0-9_-]{1,32}:.{1,200}$"  # "channel:target"


class Intake:
    """What the section `intake` of the configuration means for one call; `owner` is the address of notices."""

    def __init__(
        self,
        words: Iterable[str] = (),
        window_ms: int = 0,
        reply: Literal["ask", "always", "never"] = "ask",
        owner: str = "",
    ) -> None:
        self._words = tuple(word.casefold() for word in words)
        self._window_ms = window_ms
        self._reply = reply
        self._owner = owner

    @classmethod
    def of(cls, config: Config) -> Intake:
        """The rules that a configuration asks for."""
        intake: IntakeConfig = config.intake
        notify = config.notify
        owner = f"{notify.channel}:{notify.target}" if notify.channel and notify.target else ""
        return cls(intake.clients, round(intake.repeat_window_s * 1000), intake.reply, owner)

    def window_ms(self, client: str) -> int:
        """How long a call of this client that is made again is the same call; 0 for clients that know what they do."""
        return self._window_ms if self._is_model(client) else 0

    def reply_to(self, asked: str | None, client: str) -> str | None:
        """The conversation that hears how a task ends. Raises BadArgument."""
        if asked is None:
            return self._owner or None if self._reply == "always" and self._is_model(client) else None
        if self._reply == "never":
            hint = "leave it out and use wait_task, or set intake.reply in config.yaml to ask"
            raise BadArgument("reply_to is switched off here", argument="reply_to", hint=hint)
        if not asked.isprintable():
            raise BadArgument("reply_to may hold no control characters", argument="reply_to")
        return asked

    def _is_model(self, client: str) -> bool:
        name = unlabelled(client).casefold()
        return any(word in name for word in self._words)

"""What the door says when it turns a request down: one shape for every dialect."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from omni.domain.commands import Refusal
from omni.domain.errors import NotAuthorised, NotFound, OmniError, Refused


class TurnedDown(Refused):
    """A refusal with its stable kind; `hint` names the next command."""

    def __init__(self, kind: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


class BadArgument(TurnedDown):
    """An argument is missing, unknown or out of range; the message names it."""

    def __init__(self, message: str, *, argument: str = "", missing: bool = False, hint: str = "") -> None:
        super().__init__("invalid", message, hint=hint)
        self.argument = argument
        self.missing = missing


def as_error(refusal: Refusal) -> OmniError:
    """The exception for a refusal that came by post."""
    if refusal.kind == "not_found":
        return NotFound(refusal.message, hint=refusal.hint)
    return TurnedDown(refusal.kind, refusal.message, hint=refusal.hint)


def kind_of(error: OmniError) -> str:
    """The stable kind of an error that a client sees."""
    if isinstance(error, TurnedDown):
        return error.kind
    if isinstance(error, NotFound):
        return "not_found"
    return "unauthorised" if isinstance(error, NotAuthorised) else "internal"


def error_view(error: OmniError) -> dict[str, Any]:
    """`{kind, message, hint}` in plain JSON values."""
    return {"kind": kind_of(error), "message": error.message, "hint": error.hint}


def sentence_of(error: OmniError) -> str:
    """What is wrong and what to do next, in one line for people and models."""
    stop = "" if error.message.endswith(("?", "!", ".")) else "."
    return f"{error.message}{stop} Next: {error.hint}" if error.hint else error.message


def not_found(task_id: str) -> NotFound:
    """No task has that id, in memory or in the log."""
    return NotFound(f"no task has the id {task_id}", hint="omni tasks")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` – did you mean …?` when a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" – did you mean {close[0]!r}?" if close else ""

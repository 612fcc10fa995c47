"""What stands beside the first event of a decision: the message, and who sent it.

Each writer takes a closed set of messages. What cannot be read as one of them cannot be decided again, for a reason
that is said.
"""

from __future__ import annotations

import operator
import re
from functools import reduce
from typing import Any

import msgspec

ERASED = "its payload was erased"
MISSING = "no input was kept"
_ERASED_TEXT = re.compile(rb"\[erased: \d+ bytes, sha256 ([0-9a-f]{64})\]")


class Unreadable(Exception):
    """The input cannot be understood; the argument says why."""


class Inputs:
    """Reads the inputs of one writer. `erased` names the payloads that are gone, by their hashes in hexadecimal."""

    def __init__(self, takes: tuple[type[Any], ...], erased: frozenset[str] = frozenset()) -> None:
        self._erased = erased
        self._known = {cls.__struct_config__.tag for cls in takes}
        shape = msgspec.defstruct("Input", [("sender", str, msgspec.field(name="from")), ("message", _union(takes))])
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape)

    def read(self, raw: bytes | str) -> tuple[str, Any]:
        """The sender and the message. Raises Unreadable."""
        if self._erased and self._lost(raw):
            raise Unreadable(ERASED)
        try:
            found = self._decoder.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Unreadable(self._why(raw)) from None
        return found.sender, found.message

    def _lost(self, raw: bytes | str) -> bool:
        return _names_one(raw.encode() if isinstance(raw, str) else raw, self._erased)

    def _why(self, raw: bytes | str) -> str:
        try:
            name = str(msgspec.json.decode(raw)["message"]["type"])
        except (msgspec.MsgspecError, ValueError, RecursionError, LookupError, TypeError):
            return "its input cannot be read"
        if name in self._known:
            return f"its input is of another shape than this version's {name}"
        return f"this version knows no such command: {name[:40]}"


def _union(classes: tuple[type[Any], ...]) -> Any:
    return reduce(operator.or_, classes)


def is_erased(event: Any, erased: frozenset[str]) -> bool:
    """Whether something of this event was erased."""
    return _names_one(msgspec.json.encode(event), erased)


def _names_one(raw: bytes, erased: frozenset[str]) -> bool:
    return any(found.decode() in erased for found in _ERASED_TEXT.findall(raw))

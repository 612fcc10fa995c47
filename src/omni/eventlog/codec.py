"""Events to JSON and back, over all versions of their shapes.

    write   event ──encode──> (type, schema, body)            refused unless it reads back
    read    (type, schema) known now ──> one typed decoder     the fast path
            older ──> dict ──upcaster──> dict ──…──> decoder   each step lifts the schema by one, and may rename

The set of event types and the upcasters are given from outside: the log itself knows no event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec

from omni.domain.errors import CorruptLog
from omni.eventlog.payloads import Blobs, Fetch, is_stub, is_too_deep, put_back, take_out
from omni.eventlog.store import BadEvent

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
Upcasters = Mapping[tuple[str, int], Upcast]
_NONE: Final[Upcasters] = MappingProxyType({})
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, KeyError, TypeError, IndexError)


class Codec:
    """Translates one closed union of tagged structs; pure, and safe to share between threads.

    An upcaster under `(type, schema)` takes a body of that schema and returns one of `schema + 1`, whose type is
    whatever the result's tag field says. It must be pure.
    """

    def __init__(self, event_union: Any, upcasters: Upcasters = _NONE) -> None:
        classes: tuple[type[msgspec.Struct], ...] = get_args(event_union) or (event_union,)
        self._names = {cls: _name(cls) for cls in classes}
        self._decoders = {name: msgspec.json.Decoder(cls) for cls, name in self._names.items()}
        self._newest = dict(self._decoders.keys())
        self._upcasters = dict(upcasters)
        self._tag_field = classes[0].__struct_config__.tag_field or "type"
        self._encode = msgspec.json.Encoder().encode
        self._parse = msgspec.json.Decoder().decode

    def encode(self, event: msgspec.Struct) -> tuple[str, int, str]:
        """Return (type, schema, body); raises BadEvent for what could not be read back.

        msgspec does not check a struct that is built in memory: a wrong type, a NaN or invalid raw JSON would only
        show at the next start, when it is too late. So every body is decoded once before it is written.
        """
        name = self._names.get(type(event))
        if name is None:
            raise BadEvent(f"{type(event).__name__} is not an event of this log")
        try:
            body = self._encode(event).decode()
            self._decoders[name].decode(body)
        except _UNREADABLE as error:
            raise BadEvent(f"{name[0]} could not be read back: {error}") from error
        if is_too_deep(body):
            raise BadEvent(f"{name[0]} nests too deeply to be read back safely")
        return name[0], name[1], body

    def decode(self, type_name: str, schema: int, body: str) -> msgspec.Struct:
        """Return the event in its present shape; raises CorruptLog when there is no way to it."""
        try:
            decoder = self._decoders.get((type_name, schema))
            return decoder.decode(body) if decoder else self._lift(type_name, schema, body)
        except _UNREADABLE as error:
            raise CorruptLog(f"{type_name} schema {schema} cannot be read: {error}", hint="omni verify") from error

    def holds(self, type_name: str, schema: int, body: str, event: Any) -> bool:
        """Whether a row's text is this event's to the letter; where it is not, the row may still mean the same."""
        known = self._names.get(type(event))
        return known == (type_name, schema) and bool(self._encode(event).decode() == body)

    def stored_as(self, types: Iterable[str]) -> tuple[str, ...]:
        """All names under which events of these types may stand in a log: an upcaster may have given them new ones.

        It can name too many: whoever asks looks at what the decoder makes of each.
        """
        wanted = dict.fromkeys(types)
        return (*wanted, *dict.fromkeys(name for name, _ in self._upcasters if name not in wanted)) if wanted else ()

    def _lift(self, type_name: str, schema: int, body: str) -> msgspec.Struct:
        if (type_name, schema) not in self._upcasters:
            raise self._unknown(type_name, schema)
        content = self._parse(body)
        while (upcast := self._upcasters.get((type_name, schema))) is not None:
            content = upcast(content)
            type_name, schema = content[self._tag_field], schema + 1
        decoder = self._decoders.get((type_name, schema))
        if decoder is None:
            raise self._unknown(type_name, schema)
        return decoder.decode(self._encode(content))

    def _unknown(self, type_name: str, schema: int) -> CorruptLog:
        newest = self._newest.get(type_name)
        if newest is not None and schema < newest:
            return CorruptLog(f"{type_name} schema {schema} has no upcaster to {newest}", hint="omni version")
        known = f"up to schema {newest}" if newest else "no such type"
        return CorruptLog(
            f"a newer omni wrote {type_name} schema {schema}; this one knows {known}",
            hint="omni version, then install the version that wrote this log",
        )


def shrink_event(body: str, blobs: Blobs) -> str:
    """Return what the row holds for a body."""
    return take_out(body, blobs)


def shrink_input(raw: bytes | None, blobs: Blobs) -> str | None:
    """Return what the row holds for an input; raises BadEvent unless it is JSON that reads back."""
    if raw is None:
        return None
    try:
        text = raw.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
        if is_too_deep(text):
            raise BadEvent("the input of a decision nests too deeply to be read back safely")
        return take_out(text, blobs)
    except _UNREADABLE as error:
        raise BadEvent(f"the input of a decision is not JSON: {error}") from error


def grow(text: str, fetch: Fetch) -> str:
    """Return the whole JSON of a row's body or input."""
    try:
        return put_back(text, fetch) if is_stub(text) else text
    except _UNREADABLE as error:
        raise CorruptLog(f"the stub of a large payload cannot be read: {error}", hint="omni verify") from error


def _name(cls: type[msgspec.Struct]) -> tuple[str, int]:
    tag = cls.__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError(f"{cls.__name__} needs a string tag to be an event")
    return tag, getattr(cls, "schema", 1)

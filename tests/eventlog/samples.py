"""Events of our own, so that the log is tested without any knowledge of the domain."""

from pathlib import Path
from typing import Any, ClassVar

import apsw
import msgspec

from omni.eventlog.codec import Codec
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry


class Said(msgspec.Struct, frozen=True, tag="sample.said"):
    text: str
    nested: dict[str, Any] = {}


class Counted(msgspec.Struct, frozen=True, tag="sample.counted"):
    schema: ClassVar[int] = 2
    number: float
    unit: str


class Rawly(msgspec.Struct, frozen=True, tag="sample.rawly"):
    content: msgspec.Raw


def add_unit(body: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 was named sample.tallied and counted in pieces."""
    return {"type": "sample.counted", "number": body["count"], "unit": "pieces"}


CODEC = Codec(Said | Counted | Rawly, {("sample.tallied", 1): add_unit})


def said(stream: str, version: int, text: str = "hello", raw: bytes | None = None) -> Entry:
    return Entry(stream, version, Said(text), 1_000 + version, 5, "router", f"m-{version}", raw)


def fill(store: SqliteEventStore, stream: str, events: int, text: str = "hello") -> None:
    """Append one event after the other, each in its own transaction."""
    for version in range(1, events + 1):
        store.append([said(stream, version, f"{text} {version}", b'{"asked":1}' if version == 1 else None)])


def texts(store: Any, **how: Any) -> list[str]:
    return [recorded.event.text for recorded in store.read(**how)]


def tinker(path: Path, *statements: str) -> None:
    """Change a closed log behind its back, with a program that knows nothing of us."""
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()

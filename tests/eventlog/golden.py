"""Writes golden/schema-1.jsonl once: a log as the first release would have written it. Never run again over the file.

Every later version must read it, hash for hash. Usage: python -m tests.eventlog.golden
"""

import tempfile
from pathlib import Path
from typing import ClassVar

import msgspec

from omni.eventlog.chain import COLUMNS
from omni.eventlog.codec import Codec
from omni.eventlog.connection import SCHEMA, connect_writer
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry

GOLDEN = Path(__file__).parent / "golden" / "schema-1.jsonl"


class Tallied(msgspec.Struct, frozen=True, tag="sample.tallied"):
    schema: ClassVar[int] = 1
    count: int


class Said(msgspec.Struct, frozen=True, tag="sample.said"):
    text: str


def restore(path: Path) -> None:
    """Make a database of the golden log, column by column and without our writer."""
    assert "STRICT" in SCHEMA["events"]
    connection = connect_writer(path, None, "FULL")
    for line in GOLDEN.read_bytes().splitlines():
        table, *row = msgspec.json.decode(line)
        row = [bytes.fromhex(value[4:]) if str(value).startswith("hex:") else value for value in row]
        places = ",".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} VALUES({places})", row)
    connection.close()


def _write(path: Path) -> list[bytes]:
    with SqliteEventStore.open(path, Codec(Tallied | Said)) as store:
        store.append(
            [Entry("task-1", 1, Tallied(3), 1_700_000_000_000, 17, "router", "m-1", b'{"id":"m-1","count":3}')]
        )
        store.append([
            Entry("task-1", 2, Said("three, said Zoë"), 1_700_000_000_100, 18, "router", "m-2"),
            Entry("task-2", 1, Tallied(0), 1_700_000_000_100, 18, "router", "m-2", b'{"id":"m-2","count":0}'),
        ])  # fmt: skip
        store.append([Entry("task-2", 2, Said("long " * 4_000), 1_700_000_000_200, 19, "router", "m-3")])
        return [
            *_lines("events", store._rows(f"SELECT {', '.join(COLUMNS)} FROM events ORDER BY position")),  # noqa: S608
            *_lines("blobs", store._rows("SELECT hash, bytes, data FROM blobs")),
        ]


def _lines(table: str, rows: list[tuple[object, ...]]) -> list[bytes]:
    plain = [[f"hex:{value.hex()}" if isinstance(value, bytes) else value for value in row] for row in rows]
    return [msgspec.json.encode([table, *row]) for row in plain]


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, GOLDEN.open("xb") as file:
        file.write(b"\n".join(_write(Path(home) / "omni.db")) + b"\n")

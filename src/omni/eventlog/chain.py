"""The hash chain: each row's hash covers all of its columns and the hash before it.

    hash(n) = sha256(msgpack([position, stream, version, type, schema, at_ms, mono_ms, boot, actor, cause,
                              body, input, hash(n-1)]))        hash(0) = GENESIS

MessagePack in its shortest form is canonical here: every value carries its type and its length, so no two rows share
an encoding. The chain makes tampering evident to whoever kept an older hash; it does not prevent it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

COLUMNS: Final = (
    "position", "stream", "version", "type", "schema", "at_ms", "mono_ms", "boot", "actor", "cause", "body", "input",
    "prev_hash", "hash",
)  # fmt: skip
# Where in a row they stand.
POSITION, STREAM, VERSION, TYPE, SCHEMA, AT_MS, MONO_MS, BOOT, ACTOR, CAUSE, BODY, INPUT = range(len(COLUMNS) - 2)
GENESIS: Final = hashlib.sha256(b"omni event log, format 1").digest()

_encode = msgspec.msgpack.Encoder().encode
_sha256 = hashlib.sha256


def seal(columns: Sequence[object]) -> bytes:
    """Return the hash of a row, given every column but `hash` in table order."""
    return _sha256(_encode(columns)).digest()


def is_sealed(row: tuple[object, ...]) -> bool:
    """Tell whether a whole row still has the hash it was written with."""
    return _sha256(_encode(row[:-1])).digest() == row[-1]

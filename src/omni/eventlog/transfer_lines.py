"""The lines of an exported log: their shapes, and the check that each one carries.

    {"line":"header", …, "whole":true, "head":{"position":…,"hash":…}, "check":…}
    {"line":"epoch", …}*  {"line":"blob", "hash":…, "bytes":…, "data":"base64, or null where it was erased"}*
    {"line":"event", every column}*
    {"line":"end", "events":…, "sha256":"of all lines before", …}

`check` ends each line with the beginning of the sha256 of what stands before it, so that damage is found in the line
where it happened. It proves no more than that: what the chain proves, the chain proves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, TypeAlias

import msgspec

from omni.domain.errors import CorruptLog

LINE_BYTES: Final = 256 * 1024 * 1024  # far beyond any payload that a door lets in
_AGAIN: Final = "omni replay --jsonl FILE, where the log is, exports it again"
_MARK: Final = b',"check":"'
_CHECK_BYTES: Final = 16
_TAIL_BYTES: Final = len(_MARK) + _CHECK_BYTES + len(b'"}\n')


class _Root(msgspec.Struct, frozen=True, tag_field="line", forbid_unknown_fields=True):
    pass


class There(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The head of a log."""

    position: int
    hash: str


class HeaderLine(_Root, frozen=True, tag="header"):
    """What follows: a whole log, or the events after one position up to another; `head` is that of the log."""

    format: int
    omni: str
    whole: bool
    after: int
    until: int
    head: There


class EpochLine(_Root, frozen=True, tag="epoch"):
    """One daemon that owned the log."""

    epoch: int
    boot: str
    pid: int
    position: int
    accepted_loss: int


class BlobLine(_Root, frozen=True, tag="blob"):
    """A large payload in base64; null where it was erased."""

    hash: str
    bytes: int
    data: str | None


class EventLine(_Root, frozen=True, tag="event"):
    """The columns of a row, in their order; hashes in hexadecimal."""

    position: int
    stream: str
    version: int
    type: str
    schema: int
    at_ms: int
    mono_ms: int
    boot: str
    actor: str
    cause: str
    body: str
    input: str | None
    prev_hash: str
    hash: str

    @property
    def row(self) -> tuple[Any, ...]:
        """As the table holds it."""
        *columns, previous, own = msgspec.structs.astuple(self)
        return (*columns, bytes.fromhex(previous), bytes.fromhex(own))


class EndLine(_Root, frozen=True, tag="end"):
    """The last line: how many events there were, and the sha256 of all lines before."""

    events: int
    sha256: str


Line: TypeAlias = HeaderLine | EpochLine | BlobLine | EventLine | EndLine
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def event_line(row: tuple[Any, ...]) -> EventLine:
    """A row of the table as a line."""
    *columns, previous, own = row
    fields = (*columns, previous.hex(), own.hex())
    return EventLine(**dict(zip(EventLine.__struct_fields__, fields, strict=True)))


class LineWriter:
    """Writes lines and sums them up."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._sum = hashlib.sha256()

    def write(self, line: Line) -> None:
        """Write one line."""
        raw = _checked(_encode(line))
        self._sum.update(raw)
        self._out.write(raw)

    def end(self, events: int) -> None:
        """Write the last one."""
        self.write(EndLine(events, self._sum.hexdigest()))


class LineReader:
    """Reads lines and checks each for itself; `number` is that of the last one, `before` the sum of those before it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._sum = hashlib.sha256()
        self.number = 0
        self.before = ""

    def __iter__(self) -> Iterator[Line]:
        while raw := self._source.readline(LINE_BYTES + 1):
            self.number += 1
            line = self._parsed(raw)
            self.before = self._sum.hexdigest() if isinstance(line, EndLine) else ""
            self._sum.update(raw)
            yield line

    def more(self) -> bool:
        """Whether anything follows the last line."""
        return bool(self._source.read(1))

    def refused(self, why: str) -> CorruptLog:
        """The error that names the last line."""
        return CorruptLog(f"line {max(self.number, 1)}: {why}; nothing was imported", hint=_AGAIN)

    def _parsed(self, raw: bytes) -> Line:
        if len(raw) > LINE_BYTES:
            raise self.refused(f"it is longer than {LINE_BYTES} bytes")
        content = raw[:-_TAIL_BYTES] + b"}"
        if raw != _checked(content):
            raise self.refused("it was changed or cut, or is no line of an export")
        try:
            line: Line = _decode(content)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self.refused(f"it cannot be read: {error}") from error
        return line


def _checked(raw: bytes) -> bytes:
    """A line with its check, as it is written."""
    check = hashlib.sha256(raw).hexdigest()[:_CHECK_BYTES].encode("ascii")
    return raw[:-1] + _MARK + check + b'"}\n'

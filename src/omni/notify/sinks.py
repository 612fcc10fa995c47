"""Where notices end up, and what every way there has in common. The ways to people: `messenger` and `webhook`."""

from __future__ import annotations

import contextlib
import sys
from typing import Protocol, TextIO

import msgspec
import structlog

from omni.domain.values import Millis, NoticeSink

log = structlog.get_logger()


class Told(msgspec.Struct, frozen=True):
    """One notice, ready to be told; the same `key` is the same notice, whoever delivers it and however often.

    `to` is the one address that it is meant for, if it is not for the owner.
    """

    key: str
    kind: str
    text: str
    at: Millis
    facts: dict[str, str] = {}
    to: str = ""


class NotTold(Exception):
    """The sink cannot say that it was told; it is asked again later, with the same key."""


class Gone(NotTold):
    """The sink takes this notice neither now nor later."""


class Sink(Protocol):
    """One way to the user. `spec` is what Brainstem knows of it."""

    @property
    def spec(self) -> NoticeSink: ...

    async def deliver(self, notice: Told) -> None:
        """Tell it for good, or raise; one that takes long is given up, and asked again later with the same key."""


class LogSink:
    """The daemon's own log."""

    spec = NoticeSink("log")

    async def deliver(self, notice: Told) -> None:
        """Write the notice as one line, a warning: no `log_level` for daily use hides it."""
        log.warning("notice.told", key=notice.key, kind=notice.kind, text=notice.text)


class ConsoleSink:
    """The terminal that the daemon was started in, if a person sits there."""

    spec = NoticeSink("console")

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    async def deliver(self, notice: Told) -> None:
        """Write the notice as one line that cannot control the terminal; one that has closed is nobody to tell."""
        stream = self._stream or sys.stderr
        line = "".join(c if c.isprintable() else " " for c in f"omni: {notice.text}")
        with contextlib.suppress(OSError, ValueError):
            if stream.isatty():
                stream.write(line + "\n")
                stream.flush()

"""What a command prints: one JSON document or text on stdout, everything else on stderr.

Task texts and results come from outside. Control characters in them are shown, never sent to the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn, TextIO

import msgspec

from omni.cli.exits import PIPE_CLOSED, code_of, error_document, hint_of
from omni.domain.errors import OmniError
from omni.domain.visible import JSON_CONTROLS, clean, one_line

__all__ = ["Output", "clean", "clip", "columns", "local_time", "one_line", "table"]

_STYLES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}
_STATE_STYLES = {
    "completed": "good", "ready": "good", "NORMAL": "good", "failed": "bad", "cancelled": "dim", "held": "warn",
    "BRAINSTEM": "bad", "DEGRADED": "warn", "paused": "warn", "interrupted": "warn",
}  # fmt: skip


class Output:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    @property
    def live(self) -> bool:
        """Whether a line on stderr may be drawn over: a person is watching."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def document(self, name: str, body: dict[str, Any]) -> None:
        """Print the one JSON document of a command."""
        raw = msgspec.json.encode({"schema": f"omni.{name}/1", **body})
        if sys.stdout.isatty():
            raw = msgspec.json.format(raw, indent=2)
        self.text(raw.decode().translate(JSON_CONTROLS))

    def show(self, name: str, body: dict[str, Any], lines: Sequence[str]) -> None:
        """Print `body` for programs or `lines` for people."""
        if self.as_json:
            self.document(name, body)
        else:
            self.text("\n".join(lines))

    def text(self, text: str) -> None:
        """Print to stdout."""
        _write(sys.stdout, text + "\n")

    def note(self, text: str) -> None:
        """Say something beside the result, on stderr."""
        _write(sys.stderr, text + "\n")

    def redraw(self, text: str) -> None:
        """Draw over the line at the bottom of a live terminal; empty clears it."""
        if self.live:
            _write(sys.stderr, f"\r\x1b[2K{clip(text, columns() - 1)}")

    def error(self, error: OmniError) -> int:
        """Say what went wrong and what to do next; gives the exit code."""
        if self.as_json:
            self.document("error", {"error": error_document(error)})
        else:
            self.note(f"{self.style('omni:', 'bad', sys.stderr)} {clean(error.message)}\n  next: {hint_of(error)}")
        return code_of(error)

    def style(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """Colour a word where colour is wanted."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not (stream or sys.stdout).isatty():
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    def state(self, state: str, width: int = 0) -> str:
        """A state in its colour, padded to `width`."""
        style = _STATE_STYLES.get(state)
        padded = f"{state:{width}}"
        return self.style(padded, style) if style else padded


def clip(text: str, width: int) -> str:
    """Text cut to `width` columns; a wide character takes two."""
    if len(text) <= width and text.isascii():
        return text
    from unicodedata import east_asian_width

    used = 0
    for at, char in enumerate(text):
        used += 2 if east_asian_width(char) in "WF" else 1
        if used > width or (used == width and at + 1 < len(text)):
            return text[:at] + "…"
    return text


def columns() -> int:
    """How wide the terminal is; wide enough for anything when there is none."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        return 10_000
    try:
        return os.get_terminal_size(1 if sys.stdout.isatty() else 2).columns or 80
    except OSError:
        return 80


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under headings; the last one is cut to what the terminal leaves."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head) - 1)]
    left = max(20, columns() - sum(widths) - 2 * len(widths))
    return [_row(row, widths, left) for row in (head, *rows)]


def counted(n: int, what: str) -> str:
    """So many of something, in words for people: `1 task`, `1,200 tasks`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def local_time(stamp: str | None, *, exact: bool = False) -> str:
    """A time of the log as the clock on the wall showed it; `exact` to the millisecond."""
    if not stamp:
        return "-"
    at = datetime.fromisoformat(stamp).astimezone().replace(tzinfo=None)
    return at.isoformat(" ", "milliseconds" if exact else "seconds")


def _row(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
    return "  ".join([*cells, clip(row[-1], left)]).rstrip()


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _leave_quietly(stream)


def _leave_quietly(stream: TextIO) -> NoReturn:
    # Python flushes once more on the way out and would complain; let it flush into nothing.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise SystemExit(PIPE_CLOSED) from None

"""What an answer says about itself, read while it passes: tokens, cost, model, an error, a proper end.

Theory of operation. A `Scanner` is fed the bytes of one event stream and keeps no more than one unfinished line. Most
lines carry a few words of text and are skipped after a search for the few marks that matter; a mark cannot stand inside
a JSON string, because its quotes would be escaped there. What an event means stands in one function for each dialect.

    dialect     usage in                           ends with                               error in
    chat        "usage" of the last chunk          data: [DONE]                            {"error": …}
    messages    message_start, message_delta       message_stop                            {"type": "error", …}
    responses   response.completed, .incomplete    the same                                error, response.failed

Counts are made alike: Anthropic's `input_tokens` leaves out what a cache gave and took, the others count it in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from omni.domain.values import MOST_USD, Usage
from omni.llm.answer import Dialect, Meter

MAX_LINE_BYTES = 8 * 1024 * 1024  # `response.completed` repeats the whole answer; nothing longer is worth its memory
MOST_TOKENS = 10**9  # beyond any model there is; a sum of such counts still fits wherever numbers go
_DONE = b"[DONE]"
_MARKS: dict[Dialect, tuple[bytes, ...]] = {
    "chat": (b'"usage"', b'"error"', _DONE),
    "messages": (b'"message_', b'"error"'),
    "responses": (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"error"'),
}


class Scanner:
    """Reads one stream of events into `meter`.

    `started`: the answer has begun, with some of its content or with its end; `sound`: there was content, or usage of
    it; `error`: the first that upstream reported. An envelope alone is no beginning: LiteLLM makes one, and an orderly
    end too, out of a success that holds nothing.
    """

    def __init__(self, dialect: Dialect, meter: Meter) -> None:
        self._meter = meter
        self._marks = _MARKS[dialect]
        self._note = _EVENTS[dialect]
        self._line = bytearray()
        self._counts: dict[str, Any] = {}
        self.started = False
        self.sound = False
        self.error: Any = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        first, *others = data.split(b"\n")
        if len(self._line) + len(first) <= MAX_LINE_BYTES:
            self._line += first
        if not others:
            return
        self._read(bytes(self._line))
        *whole, rest = others
        for line in whole:
            self._read(line)
        self._line = bytearray(rest)

    def end(self) -> None:
        """No more bytes come: a last line without its newline counts too."""
        self._read(bytes(self._line))
        self._line.clear()

    def _read(self, line: bytes) -> None:
        if line[:5] != b"data:" or (self.started and not any(mark in line for mark in self._marks)):
            return
        content = line[5:].strip()
        if content == _DONE:
            self.started = self._meter.finished = True
            return
        try:
            event = msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError):
            event = None
        if isinstance(event, dict):
            self._heed(event)
        else:
            self.started = True

    def _heed(self, event: dict[str, Any]) -> None:
        said = self._note(event)
        self.sound = self.sound or said.content or bool(said.error)
        self.started = self.started or self.sound or said.last
        self._meter.model = _text(said.model) or self._meter.model
        self._meter.finished = self._meter.finished or said.last
        self.error = self.error or said.error
        if isinstance(said.usage, dict):
            self._counts = _later(self._counts, said.usage)
            note_usage(self._counts, self._meter)


class Said(msgspec.Struct, frozen=True):
    """What one event says to a meter."""

    usage: Any = None
    model: Any = ""
    error: Any = None
    last: bool = False
    content: bool = True


def _chat(event: dict[str, Any]) -> Said:
    choices = event.get("choices")
    content = bool(event.get("usage")) or (isinstance(choices, list) and any(map(_has_content, choices)))
    return Said(event.get("usage"), event.get("model"), event.get("error"), content=content)


def _has_content(choice: Any) -> bool:
    """Whether a piece of a chat says anything; one that stops for a reason of its own says that."""
    if not isinstance(choice, dict):
        return False
    delta = choice.get("delta")
    told = isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role")
    return told or choice.get("finish_reason") not in (None, "stop")


def _messages(event: dict[str, Any]) -> Said:
    message = event.get("message")
    inner = message if isinstance(message, dict) else event
    kind = event.get("type")
    error = (event.get("error") or event) if kind == "error" else event.get("error")
    content = kind not in ("message_start", "ping")
    return Said(inner.get("usage"), inner.get("model"), error, kind == "message_stop", content)


def _responses(event: dict[str, Any]) -> Said:
    response = event.get("response")
    inner = response if isinstance(response, dict) else event
    kind = event.get("type")
    error = inner.get("error") or (event if kind in ("error", "response.failed") else None)
    last = kind in ("response.completed", "response.incomplete")
    content = kind not in ("response.created", "response.queued", "response.in_progress")
    return Said(inner.get("usage"), inner.get("model"), error, last, content)


_EVENTS: dict[Dialect, Callable[[dict[str, Any]], Said]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
}


def note_answer(body: dict[str, Any], meter: Meter) -> None:
    """Read an answer in one piece, of whatever dialect."""
    meter.model = _text(body.get("model"))
    meter.finished = True
    if isinstance(usage := body.get("usage"), dict):
        note_usage(usage, meter)


def note_usage(counts: dict[str, Any], meter: Meter) -> None:
    """Put the counts of one `usage` object, and its cost where it names one, on the meter."""
    meter.usage = usage_of(counts)
    cost = counts.get("cost")
    if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost <= MOST_USD:
        meter.cost_usd = float(cost)


def usage_of(counts: dict[str, Any]) -> Usage:
    """Count tokens alike for all dialects: input includes what was read from and written to a cache."""
    if "prompt_tokens" in counts:
        read, written = _cached(counts, "prompt_tokens_details")
        return Usage(_count(counts, "prompt_tokens"), _count(counts, "completion_tokens"), read, written)
    fresh, out = _count(counts, "input_tokens"), _count(counts, "output_tokens")
    if "input_tokens_details" in counts:
        return Usage(fresh, out, *_cached(counts, "input_tokens_details"))
    read, written = _count(counts, "cache_read_input_tokens"), _count(counts, "cache_creation_input_tokens")
    return Usage(fresh + read + written, out, read, written)


def _cached(counts: dict[str, Any], where: str) -> tuple[int, int]:
    details = counts.get(where)
    details = details if isinstance(details, dict) else {}
    read = _count(details, "cached_tokens") or _count(counts, "cache_read_input_tokens")
    written = _count(details, "cache_write_tokens") or _count(counts, "cache_creation_input_tokens")
    return read, written


def _count(counts: dict[str, Any], name: str) -> int:
    value = counts.get(name)
    return min(max(0, value), MOST_TOKENS) if isinstance(value, int) and not isinstance(value, bool) else 0


def _later(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Counts only grow within one stream; an event that leaves one out, or says zero, takes nothing back."""
    kept = {name: value for name, value in before.items() if not now.get(name)}
    return {**now, **kept}


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) and value.isprintable() else ""

"""One chat completion as it streams in: lines of server-sent events go in, a text with its end comes out. No IO here.

data: {chunk}  ──▶ text grows, usage and model are noted, finish_reason ends it
data: {error}  ──▶ NoAnswer: it broke off
data: [DONE]   ──▶ the end
anything else  ──▶ a sign of life
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from omni.domain.errors import ExecutorError

MAX_ANSWER_CHARS = 2 * 1024 * 1024
MAX_MESSAGE_CHARS = 2_000
LENGTH = "length"
BROKEN_OFF = "interrupted"  # a completion changes nothing in the world: `on_crash` has it made again

# What the port says first, then what its status says; anything else is a failure of its own. Where no model answered at
# all the task is tried again: nothing was handed on, and a completion begun somewhere has no effect but its cost.
REFUSAL = "x-omni-refusal"
_KIND_OF_REFUSAL = {"over_budget": "over_budget", "stale_key": "bad_request"}
_KIND_OF_STATUS = {
    400: "bad_request", 401: "bad_request", 402: "unavailable", 403: "bad_request", 404: "bad_request",
    413: "bad_request", 422: "bad_request", 429: "rate_limited", 502: "unavailable", 503: "unavailable",
    504: "unavailable", 529: "unavailable",
}  # fmt: skip


class NoAnswer(ExecutorError):
    """A completion that gave nothing to hand on; `kind` is one of the result contract."""

    def __init__(self, kind: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s


class Completion:
    """Folds one answer. `feed` takes its lines, `finish` says that there are no more."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._refusal = ""
        self._done = False
        self.chars = 0
        self.end = ""
        self.model = ""
        self.usage: dict[str, int] | None = None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def complete(self) -> bool:
        """Whether nothing more needs to be read: the stream said so, or the answer is beyond all bounds."""
        return self._done or self.chars > MAX_ANSWER_CHARS

    def feed(self, line: str) -> None:
        """Take one line of the stream. Raises NoAnswer for an error inside it."""
        if not line.startswith("data:"):
            return
        data = line[5:].strip()
        if data == "[DONE]":
            self._done = True
        elif data:
            self._chunk(_json(data))

    def whole(self, body: bytes) -> None:
        """Take an answer that came in one piece."""
        self._chunk(_json(body))
        self._done = True

    def finish(self) -> None:
        """Judge what came. Raises NoAnswer when it broke off, was refused, or says nothing."""
        if self.chars > MAX_ANSWER_CHARS:
            self.end = LENGTH
        elif not (self._done or self.end):
            raise NoAnswer(BROKEN_OFF, f"the model's answer broke off after {self.chars} characters")
        if self._refusal or self.end == "content_filter":
            why = self._refusal or "its provider filtered the answer"
            raise NoAnswer("failed", f"the model refused to answer: {why[:MAX_MESSAGE_CHARS]}")
        if not self.text.strip():
            raise NoAnswer("failed", f"the model gave an empty answer (it ended with {self.end or 'no reason'!r})")

    def _chunk(self, chunk: Any) -> None:
        if not isinstance(chunk, Mapping):
            raise NoAnswer("failed", "the model port sent what is no chat completion")
        if chunk.get("error"):
            raise NoAnswer(BROKEN_OFF, f"the model's answer broke off: {message_of(chunk)}")
        self.model = _text(chunk.get("model")) or self.model
        self.usage = _usage(chunk.get("usage")) or self.usage
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
            self._choice(choices[0])

    def _choice(self, choice: Mapping[str, Any]) -> None:
        said = choice.get("delta") or choice.get("message")
        if isinstance(said, Mapping):
            piece = _text(said.get("content"))
            self._refusal += _text(said.get("refusal"))
            self._pieces.append(piece)
            self.chars += len(piece)
        self.end = _text(choice.get("finish_reason")) or self.end


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> NoAnswer:
    """What an answer that is no success means. A 402 without the port's word is a provider's: it may be paid again."""
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        said = None
    kind = _KIND_OF_REFUSAL.get(headers.get(REFUSAL, "")) or _KIND_OF_STATUS.get(status, "failed")
    message = message_of(said) or f"the model port answered HTTP {status} and gave no reason"
    wait_s = _seconds(headers.get("retry-after", "")) if kind in {"rate_limited", "unavailable"} else None
    return NoAnswer(kind, message, wait_s)


def message_of(body: Any) -> str:
    """The words of an error as any dialect writes it; empty when there are none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    text = error.get("message") if isinstance(error, Mapping) else error
    return _text(text)[:MAX_MESSAGE_CHARS]


def _json(data: str | bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        raise NoAnswer("failed", "the model port sent what is no JSON") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _usage(value: Any) -> dict[str, int] | None:
    if not isinstance(value, Mapping):
        return None
    counted = {"input": value.get("prompt_tokens"), "output": value.get("completion_tokens")}
    return {name: each for name, each in counted.items() if type(each) is int and each >= 0} or None


def _seconds(text: str) -> float | None:
    """Retry-After as seconds; a date, or nonsense, says nothing that is worth trusting."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None  # nan compares with nothing

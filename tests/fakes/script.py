"""What a model is to do, written into the prompt: one mark for each of its turns.

The newest text of the user that holds marks is the script; its n-th mark is what the model does in the n-th turn after
it, and when the marks have run out the last of them once more. A prompt without marks is answered in a few words.

| mark | what the model does |
|---|---|
| `[[text:…]]` | says that |
| `[[tool:NAME:{…}]]` | calls a tool with that input; as the last mark, says what the tool gave back after that |
| `[[twice:NAME:{…}]]` | calls it two times in one breath, and goes on like `tool` |
| `[[loop:NAME:{…}]]` | calls that tool for ever |
| `[[slow:S]]` | says dots for S seconds, then "slow done" |
| `[[hang]]` | begins to answer and falls silent |
| `[[status:CODE]]`, `[[status:CODE:N]]` | the API answers with that status, always or the first N times |
| `[[limit:CLAIM:S]]` | 429 as an account gets it whose limit (`five_hour`, `seven_day`) resets in S seconds |
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

Json = dict[str, Any]
MARK = re.compile(r"\[\[(?:(tool|twice|loop):([\w-]+):(?=\{)|(text|slow|hang|status|limit)(?::(.*?))?\]\])", re.DOTALL)
PLAIN = "Hello from the other side of the loopback."
CALLS = {"tool": 1, "twice": 2, "loop": 1}
DOT_S = 0.2
FOREVER_S = 3600.0
KEPT = 4000  # characters of a text that a ledger keeps
_NUMBERS = itertools.count(time.monotonic_ns() % 10**9)  # no id comes twice, not even in a later life of a fake


class Mark(NamedTuple):
    """One turn of the model; `given` is the input of the tool that it calls."""

    kind: str
    what: str = ""
    given: Json | None = None

    @property
    def calls(self) -> int:
        return CALLS.get(self.kind, 0)

    @property
    def words(self) -> str:
        """What it says beside."""
        said = {"slow": "slow done", "hang": "", "status": "recovered", "loop": "Once more."}
        return said.get(self.kind, "Using a tool." if self.calls else self.what)

    async def spoken(self) -> AsyncIterator[str]:
        """The words as they come."""
        if self.kind == "hang":
            await asyncio.sleep(FOREVER_S)  # starlette ends this when the client goes away
        for _ in range(round(float(self.what) / DOT_S) if self.kind == "slow" else 0):
            yield ". "
            await asyncio.sleep(DOT_S)
        yield self.words


class Spoken(NamedTuple):
    """One message of a conversation."""

    role: str
    texts: list[str]


class Asked(msgspec.Struct):
    """One request as a fake saw it; `at_s` on the machine's monotonic clock."""

    n: int
    at_s: float
    method: str
    path: str
    key: str = ""
    session: str = ""
    model: str = ""
    mark: str = ""
    prompt: str = ""
    result: str = ""  # of a tool, when the request brings one
    system: str = ""
    tools: list[str] = []
    messages: int = 0
    ended: str = ""  # how: a status, or "left" when the client went away


def marks_of(text: str) -> Iterator[Mark]:
    """The marks of a text, in order; what stands in the input of a tool is no mark."""
    at = 0
    while found := MARK.search(text, at):
        calls, tool, kind, what = found.groups()
        at = found.end()
        if calls:
            given, at = json.JSONDecoder().raw_decode(text, at)
            yield Mark(calls, tool, given)
        else:
            yield Mark(kind, what or "")


def turn(said: Sequence[Spoken], result: str, instead: str = "") -> Mark:
    """What the model does now; `result` is what its last tool gave back."""
    if instead:
        return next(marks_of(f"[[{instead}]]"))
    marks, at = _script(said)
    if at < len(marks):
        return marks[at]
    return Mark("text", f"TOOL SAID: {result}") if marks[-1].kind in {"tool", "twice"} else marks[-1]


def _script(said: Sequence[Spoken]) -> tuple[list[Mark], int]:
    """The marks of the newest text that has any, and how often the model has spoken since."""
    for n in range(len(said) - 1, -1, -1):
        marks = [mark for text in said[n].texts for mark in marks_of(text)]
        if marks and said[n].role == "user":
            return marks, sum(each.role == "assistant" for each in said[n:])
    return [Mark("text", PLAIN)], 0


def text_of(content: Any) -> str:
    """The text of a content that is a string or a list of parts."""
    return content if isinstance(content, str) else "\n".join(parts_of(content))


def parts_of(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [each["text"] for each in content or [] if each.get("type") == "text"]


def prompt_of(said: Iterable[Spoken]) -> str:
    """The end of all that the user said."""
    return "\n".join(text for each in said if each.role == "user" for text in each.texts)[-KEPT:]


def new_id(kind: str) -> str:
    return f"{kind}_{next(_NUMBERS):016d}"

"""One task as a Mermaid sequence diagram: who told whom what, with the mode and the waiting in between.

    client ──► Omni ──► executor ──► model port        a person decides, stops, or is asked
    solid arrow: something is asked; dashed: an answer; a note: something that concerns nobody else

A diagram is read by eye, so a long one is cut: MESSAGES_SHOWN from its beginning and its end, with a note of how many
are left out between them. Text in it cannot break it: what Mermaid takes for syntax is written as a character code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from omni.domain.visible import one_line
from omni.replay.history import Count, History, nothing
from omni.replay.timeline import Row, Wanted, timeline
from omni.replay.words import since

MESSAGES_SHOWN = 150
LABEL_CHARS = 90
CLIENT, PERSON, OMNI, PORT = "client", "person", "omni", "port"
_NAMES = {
    CLIENT: ("client", "客户端"),
    PERSON: ("person", "用户"),
    OMNI: ("Omni", "Omni"),
    PORT: ("model port", "模型端口"),
}
_LEFT_OUT = ("{n} messages are left out here", "此处省略 {n} 条消息")
_MODE = ("mode", "模式")
_EXECUTOR = "executor"  # stands in the table below for whoever has the attempt


class Arrow(NamedTuple):
    """From whom to whom, as participants; dashed for an answer."""

    sender: str
    receiver: str
    dashed: bool = False


ARROWS: dict[str, Arrow | None] = {
    "task.created": Arrow(CLIENT, OMNI),
    "task.routed": None,
    "task.held": None,
    "task.resolved": Arrow(PERSON, OMNI),
    "task.cancel_requested": Arrow(PERSON, OMNI),
    "task.completed": Arrow(OMNI, CLIENT, dashed=True),
    "task.failed": Arrow(OMNI, CLIENT, dashed=True),
    "task.cancelled": Arrow(OMNI, CLIENT, dashed=True),
    "task.suspended": None,
    "task.restored": None,
    "attempt.planned": Arrow(OMNI, _EXECUTOR),
    "attempt.started": Arrow(_EXECUTOR, OMNI, dashed=True),
    "attempt.succeeded": Arrow(_EXECUTOR, OMNI, dashed=True),
    "attempt.failed": Arrow(_EXECUTOR, OMNI, dashed=True),
    "attempt.interrupted": None,
    "attempt.cancelled": Arrow(_EXECUTOR, OMNI, dashed=True),
    "attempt.late_outcome": Arrow(_EXECUTOR, OMNI, dashed=True),
    "call.reserved": Arrow(_EXECUTOR, PORT),
    "call.settled": Arrow(PORT, _EXECUTOR, dashed=True),
    "call.refused": Arrow(PORT, _EXECUTOR, dashed=True),
}


def sequence(
    history: History, task_id: str, until: int | None = None, language: str = "en", count: Count = nothing
) -> str:
    """The diagram of one task up to a position. Raises Ambiguous, NotFound."""
    rows = list(timeline(history, Wanted(task=task_id, until=until), count, language))
    return "\n".join(["sequenceDiagram", *_participants(rows, language), *_messages(rows, language), ""])


def _participants(rows: list[Row], language: str) -> Iterator[str]:
    """Whoever is told something or tells it, in the order from the client to the models."""
    met = {who for row in rows for who in _ends(row)} | {OMNI}
    for who in (CLIENT, PERSON, OMNI):
        if who in met:
            yield _participant("actor" if who == PERSON else "participant", who, _name(who, language))
    for executor in dict.fromkeys(row.executor for row in rows if row.executor and row.attempt):
        yield _participant("participant", _alias(executor, rows), executor)
    if PORT in met:
        yield _participant("participant", PORT, _name(PORT, language))


def _participant(kind: str, alias: str, name: str) -> str:
    return f"    {kind} {alias} as {escaped(one_line(name))}"


def _messages(rows: list[Row], language: str) -> Iterator[str]:
    left_out = len(rows) - 2 * MESSAGES_SHOWN
    mode = ""
    for at, row in enumerate(rows):
        if left_out > 0 and MESSAGES_SHOWN <= at < MESSAGES_SHOWN + left_out:
            if at == MESSAGES_SHOWN:
                yield _note(_in(_LEFT_OUT, language).format(n=left_out))
            continue
        if row.mode != mode:
            yield _note(f"{_in(_MODE, language)} {row.mode}")
            mode = row.mode
        yield _message(row, rows)


def _message(row: Row, rows: list[Row]) -> str:
    arrow = ARROWS[row.type]
    said = f"{since(row.since_ms)} {row.text}"
    if arrow is None:
        return _note(said)
    sender, receiver = (_alias(row.executor, rows) if who == _EXECUTOR else who for who in arrow[:2])
    return f"    {sender}{'-->>' if arrow.dashed else '->>'}{receiver}: {escaped(said)}"


def _note(said: str) -> str:
    return f"    Note over {OMNI}: {escaped(said)}"


def _ends(row: Row) -> tuple[str, ...]:
    arrow = ARROWS[row.type]
    return () if arrow is None else arrow[:2]


def _alias(executor: str, rows: list[Row]) -> str:
    """A name that is none of Mermaid's words, whatever the executor is called."""
    order = list(dict.fromkeys(row.executor for row in rows if row.executor and row.attempt))
    return f"executor{order.index(executor) + 1}" if executor in order else OMNI


def _name(who: str, language: str) -> str:
    return _in(_NAMES[who], language)


def _in(words: tuple[str, str], language: str) -> str:
    return words[1 if language == "zh" else 0]


def escaped(text: str) -> str:
    """Text that is only text to Mermaid: no end of a line, of a statement, no markup, and not too long."""
    short = text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1] + "…"
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in short)


_PLAIN = frozenset(" .,:()+-_/=“”…–'?!，。、：；？！（）")

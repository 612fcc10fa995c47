import json
from typing import Any

import pytest
from tests.llm.upstream import chat_events, event, message_events, response_events

from omni.domain.values import Usage
from omni.llm.answer import Dialect, Meter
from omni.llm.usage import MAX_LINE_BYTES, Scanner, note_answer, usage_of

CHAT_USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}, "cost": 0.25}
MESSAGE_USAGE = {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2}
RESPONSE_USAGE = {"input_tokens": 11, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}}
STREAMS: list[tuple[Dialect, list[bytes], Usage]] = [
    ("chat", chat_events(["a", "b"], CHAT_USAGE), Usage(11, 3, 4)),
    ("messages", message_events(["a", "b"], MESSAGE_USAGE), Usage(13, 3, 4, 2)),
    ("responses", response_events(["a", "b"], RESPONSE_USAGE), Usage(11, 3, 4)),
]


def scan(dialect: Dialect, *pieces: bytes) -> tuple[Scanner, Meter]:
    meter = Meter()
    scanner = Scanner(dialect, meter)
    for piece in pieces:
        scanner.feed(piece)
    scanner.end()
    return scanner, meter


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
@pytest.mark.parametrize(("dialect", "events", "usage"), STREAMS)
def test_usage_model_and_end_are_read_however_the_stream_is_cut(
    dialect: Dialect, events: list[bytes], usage: Usage, size: int
) -> None:
    whole = b"".join(events)
    scanner, meter = scan(dialect, *(whole[at : at + size] for at in range(0, len(whole), size)))
    assert (meter.usage, meter.finished, scanner.error) == (usage, True, None)
    assert meter.model in {"m-1", "claude-1", "gpt-1"}


@pytest.mark.parametrize(
    ("dialect", "events"),
    [
        ("chat", chat_events(["a"], done=False)),
        ("messages", message_events(["a"], stop=False)),
        ("responses", response_events(["a"], done=False)),
    ],
)
def test_a_stream_without_its_last_event_is_not_finished(dialect: Dialect, events: list[bytes]) -> None:
    scanner, meter = scan(dialect, *events)
    assert (scanner.started, meter.finished) == (True, False)


@pytest.mark.parametrize(
    ("dialect", "error"),
    [
        ("chat", b'data: {"error": {"code": 502, "message": "gone"}}\n\n'),
        ("messages", event({"type": "error", "error": {"type": "overloaded_error", "message": "gone"}})),
        ("responses", event({"type": "error", "code": "server_error", "message": "gone"})),
        ("responses", event({"type": "response.failed", "response": {"error": {"code": "server_error"}}})),
    ],
)
def test_an_error_event_is_seen_first_or_in_the_middle(dialect: Dialect, error: bytes) -> None:
    events = {name: stream[:2] for name, stream, _ in STREAMS}[dialect]
    assert scan(dialect, error)[0].error
    assert scan(dialect, *events, error)[0].error
    assert not scan(dialect, *events)[0].error


def test_words_of_the_model_are_never_taken_for_an_event() -> None:
    trap = json.dumps({"error": {"code": 1}, "usage": {"prompt_tokens": 9}}) + ' data: [DONE] "error" "usage"'
    scanner, meter = scan("chat", *chat_events([trap, trap], done=False))
    assert (scanner.error, meter.usage, meter.finished) == (None, None, False)


def test_comments_are_no_events() -> None:
    scanner, _ = scan("chat", b": OPENROUTER PROCESSING\n\n" * 3)
    assert not scanner.started
    assert not scan("chat", b"data: [DONE]\n\n")[0].sound


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    scanner, _ = scan("chat")
    for _ in range(5):
        scanner.feed(b"x" * (MAX_LINE_BYTES // 2))
    assert len(scanner._line) <= MAX_LINE_BYTES
    scanner.feed(b"\n" + b"".join(chat_events(["a"], CHAT_USAGE)))
    assert scanner._meter.usage == Usage(11, 3, 4)


def test_counts_of_a_stream_only_grow() -> None:
    later = event({"type": "message_delta", "delta": {}, "usage": {"input_tokens": 0, "output_tokens": 9}})
    _, meter = scan("messages", *message_events(["a"], MESSAGE_USAGE, stop=False), later)
    assert meter.usage == Usage(13, 9, 4, 2)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(5, 2)),
        ({"prompt_tokens": "5", "completion_tokens": None, "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": -5, "completion_tokens": True}, Usage()),
        ({}, Usage()),
    ],
)
def test_counts_that_make_no_sense_count_as_nothing(counts: dict[str, Any], usage: Usage) -> None:
    assert usage_of(counts) == usage


@pytest.mark.parametrize(
    ("cost", "known"), [(0.5, 0.5), (0, 0.0), (-1, None), (True, None), ("0.5", None), (None, None)]
)
def test_the_cost_is_what_the_provider_says_or_unknown(cost: Any, known: float | None) -> None:
    meter = Meter()
    note_answer({"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}}, meter)
    assert meter.cost_usd == known

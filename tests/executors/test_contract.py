"""What an executor's answer amounts to."""

from typing import Any

import msgspec
import pytest

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.eventlog.codec import shrink_input
from omni.eventlog.upcasters import log_codec
from omni.executors.contract import MAX_DEPTH, MAX_TEXT_BYTES, VERSION, Answer, pause_of, read_lookup, report


def adapter(structured: Any, *texts: str, is_error: bool = False) -> Any:
    blocks = tuple({"type": "text", "text": text} for text in texts)
    return report("t", 1, Answer(blocks, structured, is_error), adapter=True)


def test_text_blocks_stand_one_below_the_other() -> None:
    assert adapter(None, "a", "b").result.content == "a\nb"


@pytest.mark.parametrize(
    ("kind", "becomes"),
    [
        ("rate_limited", "rate_limited"),
        ("unavailable", "unavailable"),
        ("bad_request", "bad_request"),
        ("timeout", "timeout"),
        ("a kind that we do not know", "failed"),
    ],
)
def test_an_adapters_error_keeps_its_kind_where_the_kind_is_known(kind: str, becomes: str) -> None:
    found = adapter({"error": {"kind": kind, "message": "why"}})
    assert isinstance(found, cmd.ReportFailed)
    assert (found.error.kind, found.error.message) == (becomes, "why")


def test_an_adapter_may_say_that_it_was_interrupted_and_can_go_on() -> None:
    found = adapter({"error": {"kind": "interrupted", "message": "lost my child"}, "resumable": True})
    assert found == cmd.ReportInterrupted("t", 1, "lost my child", resumable=True)


def test_an_adapter_may_say_that_it_was_cancelled() -> None:
    assert adapter({"error": {"kind": "cancelled"}}) == cmd.ReportCancelled("t", 1, confirmed=True)


def test_a_stranger_cannot_say_by_chance_that_nothing_was_begun() -> None:
    structured = {"error": {"kind": "unavailable", "message": "x"}}
    found = report("t", 1, Answer((), structured, is_error=True))
    assert isinstance(found, cmd.ReportFailed)
    assert found.error.kind == "failed"


def test_a_server_that_names_the_contract_is_taken_at_its_word() -> None:
    found = report("t", 1, Answer((), {"contract": VERSION, "error": {"kind": "rate_limited", "message": "later"}}))
    assert isinstance(found, cmd.ReportFailed)
    assert found.error.kind == "rate_limited"


def test_an_answer_that_breaks_the_contract_fails_and_says_where() -> None:
    found = adapter({"cost_usd": "a lot"}, "the text")
    assert found.error.kind == "failed"
    assert "$.cost_usd" in found.error.message
    assert "the text" in found.error.message


def test_an_error_without_words_still_says_something() -> None:
    assert "no reason" in report("t", 1, Answer(is_error=True)).error.message  # type: ignore[union-attr]


def test_text_is_cut_between_characters_and_says_so() -> None:
    found = adapter(None, "漢" * MAX_TEXT_BYTES)
    head, _, note = found.result.content.rpartition("\n")
    assert set(head) == {"漢"}
    assert MAX_TEXT_BYTES - 3 < len(head.encode()) <= MAX_TEXT_BYTES
    assert f"{3 * MAX_TEXT_BYTES} bytes" in note


def test_structured_content_beyond_the_bound_is_left_out_and_said() -> None:
    found = report("t", 1, Answer((), {"data": "x" * (MAX_TEXT_BYTES + 1)}))
    assert isinstance(found, cmd.ReportSucceeded)
    assert found.result.structured is None
    assert "left out" in found.result.content


def test_lone_surrogates_do_not_get_into_a_report() -> None:
    assert adapter(None, "a\ud800b").result.content == "a?b"
    assert adapter({"error": {"kind": "failed", "message": "a\ud800b"}}).error.message == "a?b"


@pytest.mark.parametrize("structured", [None, [], "finished", {"state": 3}, {"other": 1}])
def test_an_unclear_lookup_means_unknown(structured: Any) -> None:
    assert read_lookup(Answer(structured=structured)).state == "unknown"


@pytest.mark.parametrize(
    ("block", "line"),
    [
        ({"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}, "inside"),
        ({"type": "resource", "resource": {"uri": "file:///a", "blob": "aGk="}}, "[resource file:///a]"),
        ({"type": "resource_link", "name": "a", "uri": "file:///a"}, "[link a: file:///a]"),
        ({"type": "audio", "mimeType": "audio/wav", "data": "aGVsbG8="}, "[audio, audio/wav, 6 bytes]"),
    ],
)
def test_what_is_no_text_takes_one_line(block: dict[str, Any], line: str) -> None:
    found = report("t", 1, Answer((block,)))
    assert isinstance(found, cmd.ReportSucceeded)
    assert found.result.content == line


def nested(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = {"in": found}
    return found


def recorded(found: Any) -> None:
    """Put the report through all that stands between it and the disk."""
    done = ev.AttemptSucceeded(found.n, found.result, found.session, found.usage, found.cost_usd)
    codec = log_codec()
    name, schema, body = codec.encode(done)
    assert codec.decode(name, schema, body) == done
    shrink_input(msgspec.json.encode({"from": "hands", "message": found}), {})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([{"t": {"task": found}}]))


def test_a_result_as_deep_as_allowed_goes_through_the_log() -> None:
    found = report("t", 1, Answer((), nested(MAX_DEPTH)))
    assert found.result.structured == nested(MAX_DEPTH)  # type: ignore[union-attr]
    recorded(found)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 129, 500, 5000])
def test_a_result_that_nests_too_deeply_is_left_out_and_the_task_ends_all_the_same(levels: int) -> None:
    found: Any = report("t", 1, Answer(({"type": "text", "text": "done"},), nested(levels)))
    assert found.result.structured is None
    assert found.result.content.startswith("done\n[left out: structured content that")
    recorded(found)


def test_brackets_side_by_side_are_not_depth() -> None:
    wide = {"rows": [[number] for number in range(500)]}
    assert report("t", 1, Answer((), wide)).result.structured == wide  # type: ignore[union-attr]


def test_a_number_that_no_snapshot_can_hold_is_left_out() -> None:
    found: Any = report("t", 1, Answer((), {"n": 2**70}))
    assert found.result.structured is None
    assert "[left out:" in found.result.content
    recorded(found)


def test_what_is_no_json_number_is_remembered_as_the_log_will_give_it_back() -> None:
    found: Any = report("t", 1, Answer((), {"n": float("nan"), "i": float("inf")}))
    assert found.result.structured == {"n": None, "i": None}
    recorded(found)


@pytest.mark.parametrize(
    "said",
    [
        {"cost_usd": -1.0},
        {"cost_usd": float("nan")},
        {"cost_usd": float("inf")},
        {"usage": {"input_tokens": -5}},
        {"usage": {"output_tokens": 10**30}},
        {"session": "s" * 5_000},
    ],
)
def test_costs_usage_and_sessions_beyond_reason_break_the_contract(said: Any) -> None:
    found = adapter(said)
    assert isinstance(found, cmd.ReportFailed)
    assert "breaks the result contract" in found.error.message


def test_an_executor_that_stopped_in_order_says_when_it_can_go_on() -> None:
    error = {"kind": "interrupted", "message": "the limit is reached", "retry_after_s": 90}
    found = adapter({"error": error, "resumable": True})
    assert found == cmd.ReportInterrupted("t", 1, "the limit is reached", True, orderly=True, retry_after_ms=90_000)
    assert adapter({"error": {**error, "retry_after_s": 0}, "resumable": True}).orderly
    assert not adapter({"error": {"kind": "interrupted", "message": "cut off"}, "resumable": True}).orderly


@pytest.mark.parametrize(
    ("said", "adapter_said", "paused"),
    [
        ({"pause": {"for_s": 90, "reason": "limit"}}, True, cmd.ExecutorPaused("claude", 90_000, "limit")),
        ({"pause": {"for_s": 90, "reason": "limit"}}, False, None),
        (
            {"contract": VERSION, "pause": {"for_s": 0.5, "reason": "r"}},
            False,
            cmd.ExecutorPaused("claude", 500, "r"),
        ),
        ({"pause": {"for_s": 0, "reason": "no time"}}, True, None),
        ({"pause": {"for_s": -1, "reason": "nonsense"}}, True, None),
        ({"pause": "soon"}, True, None),
        ({"text": "done"}, True, None),
        (None, True, None),
    ],
)
def test_a_whole_executor_may_rest(said: Any, adapter_said: bool, paused: cmd.ExecutorPaused | None) -> None:
    assert pause_of("claude", Answer((), said), adapter=adapter_said) == paused

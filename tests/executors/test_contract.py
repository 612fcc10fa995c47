"""What an executor's answer amounts to."""

from typing import Any

import pytest

from omni.domain import commands as cmd
from omni.executors.contract import MAX_TEXT_BYTES, VERSION, Answer, read_lookup, report


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

"""Events in words, in both languages."""

from typing import get_args

import pytest

from omni.domain.events import AnyEvent
from omni.web.pages.sentences import SENTENCES, UNSAID, sentence


def test_every_event_of_the_log_has_a_sentence_and_no_other_has() -> None:
    known = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}
    assert set(SENTENCES) == known


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_no_sentence_names_a_fact_that_its_event_does_not_have(name: str) -> None:
    kind = next(each for each in get_args(AnyEvent) if each.__struct_config__.tag == name)
    fields = set(kind.__struct_fields__)
    said = SENTENCES[name]
    texts = [said.en, said.zh, *(each.en + each.zh + "{" + each.fact + "}" for each in said.more)]
    named = {part.split("}")[0].split(".")[0] for text in texts for part in text.split("{")[1:]}
    assert named <= fields


def test_a_sentence_says_the_facts_and_the_remarks_that_hold() -> None:
    body = {"n": 2, "error": {"kind": "timeout", "message": "no answer\nin time"}, "retry_at": 5}
    assert sentence("attempt.failed", body, "en") == "attempt 2 failed: no answer in time; another try follows"
    assert sentence("attempt.failed", {**body, "retry_at": None}, "en") == "attempt 2 failed: no answer in time"
    assert sentence("attempt.failed", body, "zh") == "第 2 次尝试失败:no answer in time;稍后重试"


def test_money_is_written_without_dust_and_moments_by_the_callers_clock() -> None:
    body = {"verdict": "ok", "billed_usd": 0.0120000001}
    assert sentence("call.settled", body, "en") == "model call ended: ok, 0.012 USD billed"
    drill = {"fault": "proxy-down", "until_ms": 7}
    assert sentence("system.drill_begun", drill, "en", lambda ms: f"T{ms}") == "a drill: proxy-down, until T7"


def test_a_missing_fact_reads_as_unsaid_and_a_fact_is_never_a_template() -> None:
    assert sentence("task.failed", {}, "en") == f"given up: {UNSAID}"
    assert sentence("task.held", {"held": {"reason": "{by} {held}"}}, "en") == "waits for you: {by} {held}"
    assert sentence("no.such_event", {"a": 1}, "en") == ""

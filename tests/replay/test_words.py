"""Events in words, in both languages."""

from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace
from tests.replay.logs import AT_MS, planned, routed

from omni.domain import events as ev
from omni.domain.events import AnyEvent
from omni.domain.values import Held
from omni.replay.words import FACT_CHARS, SENTENCES, UNSAID, sentence, since


def test_every_event_of_the_log_has_a_sentence_and_no_other_has() -> None:
    known = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}
    assert set(SENTENCES) == known


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_no_sentence_names_a_fact_that_its_event_does_not_have(name: str) -> None:
    kind = next(each for each in get_args(AnyEvent) if each.__struct_config__.tag == name)
    fields = set(kind.__struct_fields__)
    said = SENTENCES[name]
    told = [(each.en, each.zh, each.fact) for each in said.more] + [(c.en, c.zh, c.fact) for c in said.cases]
    texts = [said.en, said.zh, *(en + zh + "{" + fact + "}" for en, zh, fact in told)]
    named = {part.split("}")[0].split(".")[0] for text in texts for part in text.split("{")[1:]}
    assert named <= fields


def test_a_sentence_says_the_facts_and_the_remarks_that_hold() -> None:
    body = {"n": 2, "error": {"kind": "timeout", "message": "no answer\nin time"}, "retry_at": 5}
    assert sentence("attempt.failed", body, "en") == "attempt 2 failed: no answer in time; another try follows"
    assert sentence("attempt.failed", {**body, "retry_at": None}, "en") == "attempt 2 failed: no answer in time"
    assert sentence("attempt.failed", body, "zh") == "第 2 次尝试失败：no answer in time；稍后重试"


def test_money_is_written_without_dust_and_moments_by_the_callers_clock() -> None:
    body = {"verdict": "ok", "billed_usd": 0.0120000001}
    assert sentence("call.settled", body, "en") == "model call ended: ok, 0.012 USD billed"
    drill = {"fault": "proxy-down", "until_ms": 7}
    assert sentence("system.drill_begun", drill, "en", lambda ms: f"T{ms}") == "a drill: proxy-down, until T7"


def test_a_missing_fact_reads_as_unsaid_and_a_fact_is_never_a_template() -> None:
    assert sentence("task.failed", {}, "en") == f"given up: {UNSAID}"
    assert sentence("task.held", {"held": {"reason": "{by} {held}"}}, "en") == "waits for you: {by} {held}"
    assert sentence("no.such_event", {"a": 1}, "en") == ""


def words(event: Any, language: str = "en") -> str:
    body = msgspec.to_builtins(event)
    return sentence(body.pop("type"), body, language)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (planned(1), "attempt 1 by echo"),
        (replace(planned(1), resume=True), "attempt 1 by echo, goes on where it was"),
        (ev.AttemptStarted(2, 77, notes=3), "attempt 2 began, process 77, with 3 from memory"),
        (ev.AttemptCancelled(1), "attempt 1 was stopped"),
        (
            ev.AttemptCancelled(1, confirmed=False),
            "attempt 1 was told to stop and never confirmed it; its work may go on",
        ),
        (ev.AttemptInterrupted(1, "no word", 5), "attempt 1 was cut off: no word; another try follows"),
        (ev.AttemptInterrupted(1, "limit", orderly=True), "attempt 1 was paused by its executor: limit"),
        (ev.TaskHeld(Held("no_executor", "nobody is up")), "waits for an executor: nobody is up"),
        (ev.TaskHeld(Held("budget", "the day is spent")), "stopped by a budget: the day is spent"),
        (ev.TaskHeld(Held("ask", "did it run?")), "waits for you: did it run?"),
        (ev.TaskRouted("gpu", 1, None, "no executor can take it", ()), "no executor can take it"),
        (routed(), "goes to echo: takes general work (small)"),
        (ev.CallReserved("c", "proxy", "small", "NORMAL"), "model call: small at proxy, free"),
        (
            ev.CallReserved("c", "openrouter", "large", "NORMAL", paid=True, client="openclaw"),
            "model call: large at openrouter, nobody can say for how much, for openclaw",
        ),
        (
            ev.CallReserved("c", "openrouter", "large", "NORMAL", paid=True, estimate_usd=0.5),
            "model call: large at openrouter, for 0.5 USD at most",
        ),
        (ev.ModeForced(True, "cli"), "BRAINSTEM was set by hand by cli"),
        (ev.ModeForced(False, "cli"), "the decision about the mode was given back to health by cli"),
        (ev.RampMoved(0), "all waiting tasks are back"),
        (ev.RampMoved(2, AT_MS), "2 restored tasks at once, after 2026-09-21T14:13:20.000Z"),
    ],
)
def test_what_differs_in_an_event_is_said(event: Any, said: str) -> None:
    assert words(event) == said
    assert words(event, "zh") not in {"", said} or "{" in said or said == event.reason


def test_a_long_fact_is_cut_and_hides_nothing() -> None:
    told = words(ev.TaskSuspended("a\x1b[31m\u202eb\n" + "x" * 10_000))
    assert told.startswith("waits for the cloud: a\\x1b[31m\\u202eb xxx")
    assert told.endswith("x…")
    assert len(told) == len("waits for the cloud: ") + FACT_CHARS


@pytest.mark.parametrize(("ms", "said"), [
    (0, "+0.000s"), (59_999, "+59.999s"), (60_000, "+1m00.0s"), (3_599_999, "+59m59.9s"), (3_600_000, "+1h00m00s"),
    (86_399_999, "+23h59m59s"), (90_061_000, "+1d01h01m"), (-1_500, "-1.500s"), (864_000_000_000, "+10000d00h00m"),
])  # fmt: skip
def test_spans_are_short(ms: int, said: str) -> None:
    assert since(ms) == said

"""What the recorded runs amount to, and what the circumstances change."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from omni.adapters.claude_code.attempt import Notes, life_sign, next_turn, turns_of
from omni.adapters.claude_code.command import Turn
from omni.adapters.claude_code.run import Ended
from omni.adapters.claude_code.stream import Story, event_of, hear
from omni.adapters.claude_code.verdict import Circumstances, verdict
from omni.adapters.service import Work

RECORDINGS = Path(__file__).parents[2] / "data" / "claude_code"
NOW = datetime.fromtimestamp(1795276000, UTC)  # shortly before the recorded limit resets
OWN = Circumstances("s", port=False, now=NOW)
PORT = Circumstances("s", port=True, now=NOW)
EXITED = Ended("result", 0)


def told(name: str) -> tuple[Story, list[str]]:
    """The story of a recorded run, with its lines for people."""
    story, lines = Story(), []
    for line in (RECORDINGS / f"{name}.jsonl").read_bytes().splitlines():
        event = event_of(line)
        assert event is not None
        story, words = hear(story, event)
        lines += [words] if words else []
    return story, lines


def ended_with(story: Story, **result: Any) -> Story:
    """The same run with another result."""
    whole = {"type": "result", "subtype": "success", "is_error": True, "terminal_reason": "api_error", **result}
    return hear(story, whole)[0]


@pytest.mark.parametrize("ended", [Ended("exited", -9), Ended("exited", None)])
def test_a_run_that_was_killed_before_its_first_word_is_tried_again(ended: Ended) -> None:
    found = verdict(Story(), ended, OWN)
    assert (found["error"]["kind"], found["resumable"]) == ("interrupted", True)


def test_a_run_that_ended_by_itself_before_its_first_word_has_failed_unless_its_session_had_begun() -> None:
    assert verdict(Story(), Ended("exited", 1, "no such option"), OWN)["error"]["kind"] == "failed"
    resumed = Circumstances("s", port=False, now=NOW, resumed=True)
    assert verdict(Story(), Ended("exited", 1), resumed)["error"]["kind"] == "interrupted"


def test_the_story_of_a_run_is_told_line_by_line() -> None:
    story, lines = told("answer")
    assert lines == ["begun", "Using a tool.", "Bash echo hello", "All done."]
    assert story.begun
    assert story.acted
    assert story.open == {}


def test_a_synthetic_message_is_no_act_of_a_model() -> None:
    assert not told("limit")[0].acted
    assert told("limit_later")[0].acted


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b'{"type": "result"'])
def test_what_is_no_event_is_none(line: bytes) -> None:
    assert event_of(line) is None


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 3},
        {"type": "assistant"},
        {"type": "assistant", "message": {"content": "text"}},
        {"type": "user", "message": {"content": [None, 3, {"type": "tool_result"}]}},
        {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed_warning", "resetsAt": 1}},
        {"type": "system", "subtype": "init", "mcp_servers": "none"},
    ],
)
def test_events_of_another_shape_do_no_harm(event: dict[str, Any]) -> None:
    story, _ = hear(Story(), event)
    assert story.resets_at_s is None
    assert verdict(story, Ended("exited", 1, "words"), OWN)["error"]["kind"] in {"failed", "interrupted"}


def test_through_the_port_a_limit_is_an_ordinary_429_without_a_pause() -> None:
    story = ended_with(told("answer")[0], api_error_status=429, result="API Error: Request rejected (429)")
    found = verdict(story, EXITED, PORT)
    assert (found["error"]["kind"], found["error"]["retry_after_s"], found["resumable"]) == ("interrupted", 60, True)
    assert "pause" not in found
    assert verdict(ended_with(Story(), api_error_status=429), EXITED, PORT)["error"]["kind"] == "rate_limited"


def test_a_limit_that_states_no_time_says_that_its_end_is_a_guess() -> None:
    story = ended_with(Story(), api_error_status=429, result="You're out of usage credits")
    assert verdict(story, EXITED, OWN)["pause"] == {
        "for_s": 900,
        "reason": "You're out of usage credits; it did not say until when",
    }


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"api_error_status": 401}, "failed"),
        ({"api_error_status": 403}, "failed"),
        ({"api_error_status": 402}, "over_budget"),
        ({"subtype": "error_max_budget_usd", "errors": ["Reached maximum budget ($1)"]}, "over_budget"),
        ({"api_error_status": 400, "terminal_reason": "prompt_too_long"}, "failed"),
        ({"api_error_status": 500}, "unavailable"),
        ({"api_error_status": None, "api_error": "connection_failed"}, "unavailable"),
    ],
)
def test_errors_that_come_as_success(result: dict[str, Any], kind: str) -> None:
    assert verdict(ended_with(Story(), **result), EXITED, PORT)["error"]["kind"] == kind


@pytest.mark.parametrize(
    "result", [{"api_error_status": 401}, {"api_error_status": None, "result": "Not logged in · Please run /login"}]
)
def test_who_is_not_logged_in_is_told_what_to_do(result: dict[str, Any]) -> None:
    said = verdict(ended_with(Story(), **result), EXITED, OWN)["error"]["message"]
    assert said.startswith("Claude Code is not logged in")
    assert "start `claude` and type /login" in said
    assert "omni task retry" in said


def test_an_outage_after_work_had_begun_is_interrupted_and_not_in_order() -> None:
    found = verdict(ended_with(told("answer")[0], api_error_status=529), EXITED, PORT)
    assert found["error"]["kind"] == "interrupted"
    assert found["resumable"]
    assert "retry_after_s" not in found["error"]


def test_a_session_that_was_begun_is_never_given_up_for_a_new_one() -> None:
    where = Circumstances("s", port=True, now=NOW, resumed=True)
    found = verdict(ended_with(Story(), api_error_status=429), EXITED, where)
    assert (found["error"]["kind"], found["error"]["retry_after_s"], found["resumable"]) == ("interrupted", 60, True)


def test_what_really_finished_wins_over_the_wish_to_stop() -> None:
    where = Circumstances("s", port=True, now=NOW, reason="cancelled")
    assert verdict(told("answer")[0], Ended("stopped", 0), where)["text"] == "All done."
    assert verdict(told("interrupted")[0], Ended("stopped", 0), where)["error"]["kind"] == "cancelled"


@pytest.mark.parametrize(("reason", "wait"), [("paused", 0), ("ending", None)])
def test_an_orderly_stop_can_go_on(reason: Any, wait: float | None) -> None:
    found = verdict(told("interrupted")[0], Ended("stopped", 0), Circumstances("s", port=True, now=NOW, reason=reason))
    assert (found["error"]["kind"], found["resumable"]) == ("interrupted", True)
    assert found["error"].get("retry_after_s") == wait


def test_a_cost_at_an_invented_price_is_no_cost() -> None:
    story = told("answer")[0]
    assert verdict(story, EXITED, OWN)["cost_usd"] == 0.0016
    assert story.result is not None
    invented = json.loads(json.dumps(story.result).replace('"list"', '"unknown"'))
    assert "cost_usd" not in verdict(hear(story, invented)[0], EXITED, OWN)
    assert "cost_usd" not in verdict(story, EXITED, Circumstances("s", port=False, now=NOW, base_usd=None))


def test_conversations_are_tried_in_order_and_each_once() -> None:
    earlier = "1d3b0a52-0000-4000-8000-00000000000e"
    work = Work("d", "h", "k", earlier=earlier, resume=True)
    turns = turns_of(work, Notes(session="s"))
    assert turns == [Turn("s", again=True), Turn("s", earlier=earlier), Turn("s")]
    unknown, exited = told("unknown_session")[0], Ended("exited", 1)
    assert next_turn(turns, turns[:1], unknown, exited) == turns[1]
    assert next_turn(turns, turns[:2], unknown, exited) == turns[2]
    assert next_turn(turns, turns, unknown, exited) is None
    in_use = Ended("exited", 1, "Error: Session ID s is already in use.")
    assert next_turn([Turn("s")], [Turn("s")], Story(), in_use) == Turn("s", again=True)
    assert next_turn(turns, turns, Story(), in_use) is None
    assert next_turn(turns, turns[:1], told("answer")[0], EXITED) is None


def test_a_sign_of_life_names_what_runs_and_since_when() -> None:
    assert life_sign(Story(open={"1": "Bash npm test"}), 180) == "still running: Bash npm test (3 min)"
    assert life_sign(Story(), 40) == "waiting for the model (40 s)"

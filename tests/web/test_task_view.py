"""What *Task* shows of one task."""

from typing import Any

import pytest

from omni.web.pages import actions
from omni.web.pages import task as page

AT = "2026-01-01T00:00:00.000Z"


def event(kind: str, at: str = AT, **body: Any) -> dict[str, Any]:
    return {"position": 1, "at": at, "type": kind, "actor": "router", "body": body}


def task(**more: Any) -> dict[str, Any]:
    return {"state": "executing", "held": None, "cancel_requested": False, **more}


@pytest.mark.parametrize(
    ("seen", "possible"),
    [
        (task(), ["cancel"]),
        (task(cancel_requested=True), []),
        (task(state="completed"), ["retry"]),
        (task(state="held", held={"options": ["retry", "fail"]}), ["resolve retry", "resolve fail", "cancel"]),
    ],
)
def test_what_can_be_done_follows_from_the_state(seen: dict[str, Any], possible: list[str]) -> None:
    assert [" ".join(filter(None, each.values())) for each in actions.actions(seen)] == possible


def test_calls_are_told_with_what_they_cost_and_an_open_one_as_open() -> None:
    events = [
        event("call.reserved", call="a", n=1, model="m", channel="proxy", mode="NORMAL", paid=True, estimate_usd=0.5),
        event("call.settled", call="a", verdict="ok", billed_usd=0.25, usage={"input_tokens": 7}, duration_ms=90),
        event("call.reserved", call="b", n=1, model="m", channel="proxy", mode="NORMAL"),
        event("call.refused", call="c", n=1, cap="day", reason="no money"),
    ]
    first, second, third = page.calls(events)
    assert (first["verdict"], first["billed_usd"], first["tokens"], first["duration_ms"]) == (
        "ok",
        0.25,
        {"in": 7, "out": 0},
        90,
    )
    assert (second["verdict"], second["billed_usd"]) == ("open", None)
    assert (third["verdict"], third["detail"]) == ("refused", "no money")


def test_the_model_that_answered_outweighs_the_one_that_was_asked() -> None:
    events = [
        event("call.reserved", call="a", model="asked"),
        event("call.settled", call="a", verdict="ok", model="answered"),
    ]
    assert page.calls(events)[0]["model"] == "answered"


def test_a_result_is_shown_as_it_was_written_and_what_is_for_programs_as_json() -> None:
    assert page.result(None) is None
    assert page.result({"content": "<b>x", "structured": None}) == {"content": "<b>x", "structured": ""}
    assert page.result({"content": None, "structured": {"a": [1]}}) == {
        "content": "",
        "structured": '{\n  "a": [\n    1\n  ]\n}',
    }


def test_times_between_are_in_seconds_and_unknown_where_one_is_missing() -> None:
    assert page.seconds_between(AT, "2026-01-01T00:00:01.500Z") == 1.5
    assert page.seconds_between(AT, None) is None
    assert page.relative([event("task.created", "2026-01-01T00:00:02.000Z")], AT, "en")[0]["after_s"] == 2.0


def test_the_moment_before_a_decision_is_told_with_its_money_and_configuration() -> None:
    caps: dict[str, Any] = {"daily_usd": 8.0, "task_usd": None, "channel_usd": {}, "at_cap": "hold"}
    moment = {
        "position": 7,
        "mode": {"mode": "NORMAL", "reason": ""},
        "budget": {"billed_usd": 1.5, "kept_usd": 0.5, "caps": caps},
        "configuration": {"digest": "abc", "position": 2},
        "complexity_threshold": 50,
    }
    told = page.then(moment)
    assert told is not None
    assert (told["spent_usd"], told["cap_usd"], told["configuration"], told["threshold"]) == (2.0, 8.0, "abc", 50)
    assert page.then({**moment, "configuration": None}) == {**told, "configuration": ""}
    assert page.then(None) is None
    assert page.then({**moment, "position": 0}) is None

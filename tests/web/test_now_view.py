"""What *Now* shows, from what the API says."""

from typing import Any

import pytest

from omni.web.pages import now


def component(kind: str, name: str, state: str, **more: Any) -> dict[str, Any]:
    evidence = [{"at": "2026-01-01T00:00:00.000Z", "source": "probe", "verdict": "refused", "detail": None}]
    return {
        "kind": kind,
        "name": name,
        "state": state,
        "since": None,
        "until": None,
        "reason": None,
        "evidence": evidence,
        **more,
    }


def executor(name: str, state: str = "ready", reason: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "types": ["general"],
        "health": {"state": state, "reason": reason, "until": None},
        "since": None,
        "running": 1,
        "queued": 2,
        "max_concurrency": 4,
    }


def spend(billed: float = 0.0, cap: float | None = 10.0, **more: Any) -> dict[str, Any]:
    caps: dict[str, Any] = {"daily_usd": cap, "task_usd": None, "channel_usd": {}, "at_cap": "hold"}
    money = {"billed_usd": billed, "imputed_usd": 0.0, "reserved_usd": 0.0, "kept_usd": 0.0, "unknown_calls": 0}
    return {"day_ends": None, **money, "caps": caps, **more}


def status(**more: Any) -> dict[str, Any]:
    named: dict[str, Any] = {"mode": "NORMAL", "cause": None, "reason": None, "since": None, "position": 9}
    return {**named, "components": [], "executors": [], "tasks": {}, "spend": None, **more}


def task(**more: Any) -> dict[str, Any]:
    return {
        "id": "01a",
        "description": "do\n it",
        "state": "executing",
        "executor": "echo",
        "created_at": "2026-01-01T00:00:00.000Z",
        "ended_at": None,
        "cost_usd": None,
        "error": None,
        "held": None,
        "attempts": [],
        "attempt": 0,
        "model": None,
        "cancel_requested": False,
        **more,
    }


def test_with_nothing_there_nothing_needs_anybody() -> None:
    shown = now.view(now.Seen(status=status()))
    assert shown["needs_count"] == 0
    assert shown["total"] == 0
    assert shown["spend"] is None
    assert shown["mode"]["evidence"] == []


def test_what_needs_a_person_is_counted_thing_by_thing() -> None:
    waits = {"kind": "interrupted", "reason": "nobody knows", "options": ["retry", "accept", "fail"]}
    seen = now.Seen(
        status=status(executors=[executor("a", "failed", "pair it"), executor("b")], spend=spend(10.0)),
        held=[task(state="held", held=waits)],
        failed=[
            task(id="new", state="failed", ended_at="2026-01-02T00:00:00.000Z", error={"message": "bad", "hint": "x"}),
            task(id="old", state="failed", ended_at="2025-01-02T00:00:00.000Z", error={"message": "bad", "hint": "x"}),
        ],
        notices=[{"key": "k", "kind": "degraded"}],
        since="2026-01-01T00:00:00.000Z",
    )
    shown = now.view(seen)
    assert shown["needs_count"] == 5
    assert [each["name"] for each in shown["needs"]["executors"]] == ["a"]
    assert [each["id"] for each in shown["needs"]["failed"]] == ["new"]
    assert shown["needs"]["held"][0] | {} == {
        **now.task(seen.held[0]),
        "kind": "interrupted",
        "reason": "nobody knows",
        "choices": ["retry", "accept", "fail"],
        "alone": False,
        "actions": [
            *({"do": "resolve", "decision": each} for each in waits["options"]),
            {"do": "cancel", "decision": ""},
        ],
    }


def test_an_executor_that_was_switched_off_needs_no_hand() -> None:
    off = now.executor(executor("a", "failed", "disabled in the configuration"))
    assert (off["state"], off["needs_hand"], off["reason"]) == ("off", False, "")
    assert now.executor(executor("a", "failed", "gone"))["needs_hand"]
    assert not now.executor(executor("a", "paused", "limit"))["needs_hand"]


def test_the_mode_carries_what_was_seen_of_whatever_is_unwell() -> None:
    parts = [
        component("proxy", "proxy", "down"),
        component("cloud", "anthropic", "up"),
        component("drill", "proxy-down", "active"),
    ]
    shown = now.mode(status(mode="DEGRADED", components=parts))
    assert [each["component"] for each in shown["evidence"]] == ["proxy proxy"]
    assert shown["evidence"][0]["verdict"] == "refused"
    assert shown["drill"]["name"] == "proxy-down"


def test_components_that_are_not_there_are_left_out_and_bad_ones_marked() -> None:
    parts = [
        component("proxy", "proxy", "absent"),
        component("breaker", "c/m", "open"),
        component("key", "a/primary", "ok"),
    ]
    assert [(each["name"], each["bad"]) for each in now.components(parts)] == [("c/m", True), ("a/primary", False)]


@pytest.mark.parametrize(
    ("billed", "kept", "reserved", "percent", "reached"),
    [(2.5, 0.0, 0.0, 25, False), (2.5, 2.5, 0.0, 50, False), (9.0, 0.0, 1.0, 90, True), (12.0, 0.0, 0.0, 100, True)],
)
def test_billed_and_kept_count_against_the_cap_and_reserved_may_reach_it(
    billed: float, kept: float, reserved: float, percent: int, reached: bool
) -> None:
    shown = now.spend(spend(billed, kept_usd=kept, reserved_usd=reserved))
    assert shown is not None
    assert (shown["percent"], shown["reached"]) == (percent, reached)


def test_without_a_cap_there_is_no_share_of_it() -> None:
    shown = now.spend(spend(3.0, cap=None))
    assert shown is not None
    assert (shown["percent"], shown["reached"], shown["nothing"]) == (None, False, False)


def test_progress_is_a_share_only_where_the_executor_says_of_how_much() -> None:
    assert now.running(task(), None)["progress"] is None
    half = now.running(task(), {"progress": 5, "total": 10, "message": "half\nway"})["progress"]
    assert half == {"percent": 50, "message": "half way", "done": 5}
    assert now.running(task(), {"progress": 3, "total": None, "message": ""})["progress"]["percent"] is None
    assert now.running(task(), {"progress": 30, "total": 10, "message": ""})["progress"]["percent"] == 100


def test_of_many_held_tasks_the_newest_are_shown_and_all_are_counted() -> None:
    waits = {"kind": "interrupted", "reason": "nobody knows", "options": ["retry"]}
    many = [task(id=f"{n:03}", state="held", held=waits) for n in range(50)]
    shown = now.view(now.Seen(status=status(tasks={"held": 73}), held=many))
    assert len(shown["needs"]["held"]) == now.HELD_SHOWN
    assert (shown["held_more"], shown["needs_count"]) == (73 - now.HELD_SHOWN, 73)


def test_of_a_long_text_only_what_a_list_can_show_is_looked_at() -> None:
    long = task(description="d" * 100_000, error={"message": "e" * 100_000, "hint": ""}, state="failed")
    shown = now.task(long)
    assert (len(shown["title"]), len(shown["error"])) == (now.TEXT_CHARS, now.TEXT_CHARS)


def test_a_crash_loop_needs_a_person() -> None:
    until = "2026-01-01T00:10:00.000Z"
    paused = {"state": "paused", "reason": "started 6 times", "since": None, "until": until}
    shown = now.view(now.Seen(status=status(dispatch=paused)))
    assert (shown["needs"]["paused"], shown["needs_count"]) == (True, 1)
    assert shown["dispatch"]["until"] == until
    assert now.view(now.Seen(status=status(dispatch={**paused, "state": "open"})))["needs_count"] == 0

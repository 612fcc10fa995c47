"""The bill, straight from the log."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cli.conftest import Daemon, Omni
from tests.replay.logs import (
    AT_MS,
    beginning,
    completed_life,
    created,
    life,
    planned,
    routed,
    succeeded,
    task_id,
    write,
)

from omni.cli import costs
from omni.cli.exits import BadUsage
from omni.cli.output import local_time
from omni.domain import events as ev
from omni.domain.ledger import DAY_MS
from omni.domain.values import Budget, Result, RoutingSettings, Usage
from omni.domain.view import timestamp
from omni.replay.costs import Bill

DAY = "2026-09-21"  # of AT_MS, in UTC


def reserved(call: str, usd: float | None = 0.5, **more: Any) -> ev.CallReserved:
    given = {"channel": "openrouter", "model": "large", "n": 1, "paid": True, "tier": "P2", **more}
    return ev.CallReserved(call, mode="NORMAL", estimate_usd=usd, **given)


def settled(call: str, usd: float | None = 0.25, **more: Any) -> ev.CallSettled:
    return ev.CallSettled(call, more.pop("verdict", "ok"), usd, **more)


def metered_life(n: int) -> list[tuple[str, Any]]:
    """A task with a paid call, a free one, one that nobody knows the bill of, and one that is under way."""
    return life(
        n,
        created(),
        routed(),
        planned(n),
        reserved("paid"),
        settled("paid", 0.25, usage=Usage(1000, 200)),
        reserved("free", None, channel="proxy", model="small", tier="P1", paid=False),
        settled("free", None, imputed_usd=0.125),
        reserved("unknown", 0.5),
        settled("unknown", None, verdict="broken_stream", kept_usd=0.5),
        reserved("open", 0.75),
        ev.AttemptSucceeded(1, Result("hello"), cost_usd=9.0),
        ev.TaskCompleted(1),
    )


def client_call() -> list[tuple[str, Any]]:
    return [(ev.CALLS_STREAM, reserved("own", n=0, client="openclaw")), (ev.CALLS_STREAM, settled("own", 1.0))]


@pytest.fixture
def told(omni: Omni) -> Omni:
    """A home whose log holds one metered task, one call of a client, and a task that was not metered."""
    unmetered = [
        *life(2, created(), routed(), planned(2)),
        *life(2, ev.AttemptSucceeded(1, Result("x"), usage=Usage(5, 6), cost_usd=0.0625), ev.TaskCompleted(1)),
    ]
    write(omni.data_dir, *beginning(), *metered_life(1), *client_call(), *unmetered)
    return omni


def rows(omni: Omni, *words: str) -> dict[str, dict[str, Any]]:
    document = omni.json("costs", *words)
    assert document["schema"] == "omni.costs/1"
    return {row["key"]: row for row in document["rows"]}


def test_the_bill_keeps_billed_imputed_unknown_and_open_apart(told: Omni) -> None:
    document = told.json("costs", "--by", "model")
    assert [row["key"] for row in document["rows"]] == ["large", "small"]
    large, small = document["rows"]
    assert (large["calls"], large["billed_usd"], large["unknown"], large["kept_usd"]) == (3, 1.25, 1, 0.5)
    assert (large["open"], large["reserved_usd"], large["imputed_usd"]) == (1, 0.75, None)
    assert (small["calls"], small["billed_usd"], small["imputed_usd"], small["unknown"]) == (1, None, 0.125, 0)
    assert (small["reported_usd"], small["input_tokens"], large["input_tokens"]) == (0.0625, 5, 1000)
    total = document["total"]
    assert (total["calls"], total["billed_usd"], total["imputed_usd"], total["unknown"]) == (4, 1.25, 0.125, 1)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("tier", {"P1", "P2"}),
        ("channel", {"openrouter", "proxy", "(not metered)"}),
        ("executor", {"echo", "(client openclaw)"}),
        ("task", {task_id(1), task_id(2), "(no task)"}),
        ("day", {DAY}),
    ],
)
def test_the_bill_is_added_up_by_whatever_is_asked_for(told: Omni, by: str, keys: set[str]) -> None:
    found = rows(told, "--by", by)
    assert set(found) == keys
    assert sum(row["calls"] for row in found.values()) == 4


def test_people_get_a_table_with_a_total_and_what_it_leaves_out(told: Omni) -> None:
    done = told("costs", "--by", "tier")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["TIER", "CALLS", "BILLED", "IMPUTED", "REPORTED", "UNKNOWN", "TOKENS", "IN/OUT"]
    assert lines[1].split() == ["P2", "3+1", "$1.25", "-", "-", "1", "1,000/200"]
    assert lines[2].split() == ["P1", "1", "-", "$0.12", "$0.0625", "5/6"]
    assert lines[3].split()[:3] == ["total", "4+1", "$1.25"]
    assert "1 may have been billed, nobody knows how much: in no sum above; $0.50 of estimates" in done.stdout


def test_what_an_executor_says_of_a_metered_attempt_is_not_added(told: Omni) -> None:
    assert rows(told, "--by", "task")[task_id(1)]["reported_usd"] is None


def test_only_calls_since_a_moment_are_billed(told: Omni) -> None:
    later = timestamp(AT_MS + 10)
    assert later is not None
    found = rows(told, "--by", "channel", "--since", later)
    assert "proxy" not in found
    assert found["openrouter"]["calls"] == 2


def test_a_log_without_calls_says_that_nothing_was_spent(omni: Omni) -> None:
    write(omni.data_dir, *beginning(), *completed_life(1))
    done = omni("costs")
    assert (done.returncode, done.stdout) == (0, "nothing was spent yet: no model call is in the log\n")
    assert omni.json("costs")["rows"] == []


def test_without_a_log_the_next_command_is_named(omni: Omni) -> None:
    done = omni("costs")
    assert done.returncode == 4
    assert "omni serve" in done.stderr


def test_a_word_that_is_no_time_is_refused_with_examples(omni: Omni) -> None:
    done = omni("costs", "--since", "lately")
    assert done.returncode == 2
    assert "'lately' is no point in time: 7d, 12h, 19:31, 2026-01-31" in done.stderr


def test_the_bill_is_read_while_the_daemon_runs(own_daemon: Daemon) -> None:
    done = own_daemon.omni("costs")
    assert (done.returncode, done.stdout) == (0, "nothing was spent yet: no model call is in the log\n")


def test_the_status_of_a_stopped_daemon_tells_nothing_of_days_that_are_over(told: Omni) -> None:
    document = told.json("status", code=3)
    assert document["spend"]["billed_usd"] == 0.0
    assert "spent" not in told("status").stdout


def test_a_task_tells_what_its_calls_cost(told: Omni) -> None:
    shown = told("task", "tail", task_id(1)).stdout
    assert "call.reserved         model call: large at openrouter, for 0.5 USD at most" in shown
    assert "call.reserved         model call: small at proxy, free" in shown
    assert "call.settled          model call ended: ok, 0.25 USD billed" in shown
    assert "call.settled          model call ended: broken_stream, bill not known, 0.5 USD kept for it" in shown
    assert told.json("task", "show", task_id(1))["task"]["cost_usd"] == 0.25


@pytest.mark.parametrize(("text", "ago"), [("7d", 7 * DAY_MS), ("12h", DAY_MS // 2), ("30m", 1_800_000)])
def test_a_span_counts_back_from_now(text: str, ago: int) -> None:
    assert costs.moment(text, AT_MS) == AT_MS - ago


def test_a_date_and_time_without_a_zone_is_local() -> None:
    assert costs.moment(local_time(timestamp(AT_MS)), 0) == AT_MS // 1000 * 1000
    with pytest.raises(BadUsage):
        costs.moment("99d99", 0)


def test_days_are_the_owners() -> None:
    read = Bill("day")
    read.add("router", ev.RoutingConfigured(RoutingSettings(budget=Budget(utc_offset_ms=2 * 3_600_000))), 0)
    for at, call in ((22 * 3_600_000 - 1, "before"), (22 * 3_600_000, "after")):
        read.add("calls", reserved(call), at)
        read.add("calls", settled(call), DAY_MS * 9)
    assert sorted(read.lines) == ["1970-01-01", "1970-01-02"]


def test_a_success_that_reports_no_cost_is_no_line() -> None:
    read = Bill("executor")
    for stream, event in [*life(1, created(), routed(), planned(1), succeeded(), ev.TaskCompleted(1))]:
        read.add(stream, event, AT_MS)
    assert read.lines == {}


def test_the_model_that_answered_is_billed_not_the_one_that_was_asked_for() -> None:
    read = Bill("model")
    read.add("calls", reserved("c1", model="auto"), AT_MS)
    read.add("calls", settled("c1", model="large"), AT_MS)
    assert list(read.lines) == ["large"]

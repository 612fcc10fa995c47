"""The judge of a soak: what it makes of ledgers, with a loss and a double planted in them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.ops.test_record import Log

from omni.domain import events as ev
from omni.domain.values import Held, TaskSpec
from omni.ops.record import Change, Journey
from omni.ops.soak.clients import HAND, Try, Wish
from omni.ops.soak.faults import KINDS, drawn, possible
from omni.ops.soak.judge import Evidence, judged
from omni.ops.soak.ledger import Ledger, Line, state_of
from omni.ops.soak.reckoning import Share, by_time, gaps_of, in_mode, times
from omni.ops.soak.report import SoakReport
from omni.ops.soak.storm import Blow

AT = 1_000_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "omni.db")
    yield made
    made.record.close()
    made.store.close()


def wish(number: int, task_id: str, *, took_s: float = 0.1) -> Wish:
    mark = f"drill-task-{number}"
    return Wish(mark, HAND, "ws", 1.0, AT, "takes 50 ms", 1.0 + took_s, task_id)


def task(log: Log, name: str, number: int, *, ended_ms: int | None = AT + 500, executor: str = HAND) -> None:
    """A task in the log, done at its time or still open."""
    spec = TaskSpec(f"drill-task-{number}: takes 50 ms", executor=executor)
    log.write(ev.TASK_PREFIX + name, AT, ev.TaskCreated(spec, client="soak", digest="d"))
    if ended_ms is not None:
        log.write(ev.TASK_PREFIX + name, ended_ms, ev.TaskCompleted(1))


def line(name: str, word: Any = "done", attempt: int = 1) -> Line:
    return Line(word, name, attempt, f"handle-{name}", f"{name}:{attempt}", AT + 400)


def verdict(log: Log, **found: Any) -> SoakReport:
    """The report on two tasks that were done once each, and whatever else is found."""
    usual: dict[str, Any] = {
        "began_s": 0.0,
        "began_ms": AT,
        "lasted_s": 60.0,
        "wishes": [wish(0, "t-0"), wish(1, "t-1")],
        "tries": [Try(1.0, 1.1, "ws")],
        "calls": {"answered": 1},
        "called": [],
        "histories": log.record.tasks(),
        "changes": [],
        "journeys": [Journey(AT, 300, ok=True, hops=2)],
        "asked": [],
        "lines": [line("t-0"), line("t-1")],
        "blows": [Blow("proxy-down", 5.0, AT + 5_000, 9.0, AT + 9_000, moved=True, failover_s=0.3)],
        "ends": [],
        "findings": 0,
    }
    return judged(Evidence(**{**usual, **found}), 1, {}, stopped=False)


def missed(report: SoakReport) -> set[str]:
    return {figure.name for figure in report.figures if not figure.ok}


def two_done(log: Log) -> None:
    task(log, "t-0", 0)
    task(log, "t-1", 1)


def test_a_soak_in_which_all_went_well_holds(log: Log) -> None:
    two_done(log)
    report = verdict(log)
    assert missed(report) == set()
    assert report.ok
    assert report.view()["tasks"]["completed"] == 2


def test_a_task_that_was_acknowledged_and_is_not_in_the_log_is_lost(log: Log) -> None:
    two_done(log)
    report = verdict(log, wishes=[wish(0, "t-0"), wish(1, "t-1"), wish(2, "t-2")])
    assert missed(report) == {"tasks lost"}
    assert report.tasks.lost == 1


def test_an_effect_that_is_there_twice_is_a_double_though_the_log_says_nothing_of_it(log: Log) -> None:
    two_done(log)
    report = verdict(log, lines=[line("t-0"), line("t-1"), line("t-1", attempt=2)])
    assert missed(report) == {"tasks done twice"}
    assert report.tasks.twice == 1


def test_one_key_that_made_two_tasks_is_a_double(log: Log) -> None:
    two_done(log)
    task(log, "t-2", 1)
    assert missed(verdict(log, lines=[line("t-0"), line("t-1"), line("t-2")])) == {"tasks done twice"}


def test_a_completed_task_without_an_effect_is_found(log: Log) -> None:
    two_done(log)
    assert missed(verdict(log, lines=[line("t-0"), line("t-1", "begun")])) == {"tasks called completed that nobody did"}


def test_a_task_without_an_end_is_neither_lost_nor_completed_and_one_that_is_held_is_told_apart(log: Log) -> None:
    task(log, "t-0", 0, ended_ms=None)
    task(log, "t-1", 1, ended_ms=None)
    log.write(ev.TASK_PREFIX + "t-1", AT + 1, ev.TaskHeld(Held("ask", "nobody knows")))
    report = verdict(log, lines=[])
    assert missed(report) == {"tasks without an end", "completion, by rule"}
    assert (report.tasks.open, report.held, report.tasks.lost) == (1, 1, 0)


def test_a_client_that_had_to_come_again_counts_as_served_within_its_ten_seconds_only(log: Log) -> None:
    two_done(log)
    assert missed(verdict(log, wishes=[wish(0, "t-0"), wish(1, "t-1", took_s=9.9)])) == set()
    assert missed(verdict(log, wishes=[wish(0, "t-0"), wish(1, "", took_s=10.0)])) == {"submission, by client"}


def test_waiting_without_the_cloud_is_the_rule_for_the_worker_and_no_excuse_for_the_hand(log: Log) -> None:
    gone = [Change(AT + 1_000, "BRAINSTEM", "x"), Change(AT + 31_000, "NORMAL", "x")]
    task(log, "t-0", 0, ended_ms=AT + 59_000, executor="worker")
    assert share(verdict(log, changes=gone), "completion, by rule").percent == 100
    assert share(verdict(log, changes=gone), "completion, raw").percent == 0
    task(log, "t-1", 1, ended_ms=AT + 59_000)
    assert share(verdict(log, changes=gone), "completion, by rule").percent == 50


def share(report: SoakReport, name: str) -> Share:
    return next(each for each in report.shares if each.name == name)


def test_a_failover_that_never_came_misses_and_so_does_a_slow_one(log: Log) -> None:
    two_done(log)
    slow = Blow("proxy-hang", 5.0, AT + 5_000, 9.0, AT + 9_000, moved=True, failover_s=5.1)
    name = "failover: first new call after a fault, p99"
    assert missed(verdict(log, blows=[slow])) == {name}
    assert missed(verdict(log, blows=[msgspec.structs.replace(slow, failover_s=None)])) == {name}


def test_an_end_of_the_daemon_that_nobody_had_asked_for_is_no_small_thing(log: Log) -> None:
    two_done(log)
    assert missed(verdict(log, ends=[1])) == {"ends of the daemon that nobody had asked for"}


def test_a_gap_reaches_from_a_failed_try_to_the_first_good_one_that_began_after_it() -> None:
    tries = [
        Try(1.0, 1.1, "ws"),
        Try(2.0, 2.5, "ws", "closed"),
        Try(1.9, 2.6, "http"),  # began before the gap, so it does not end it
        Try(2.7, 2.8, "ws", "refused"),
        Try(3.0, 3.2, "ws"),
        Try(9.0, 9.1, "ws", "refused"),
    ]
    gaps = gaps_of(tries, 10.0)
    assert gaps == [(2.0, 3.2), (9.0, 10.0)]
    assert by_time(gaps, (0.0, 10.0)) == Share("submission, by time", 7.8, 10.0, "s")
    assert by_time(gaps, (3.0, 5.0)).part == 1.8
    apart = by_time(gaps, (0.0, 10.0), [(2.2, 3.2)])
    assert (apart.part, apart.whole) == (7.8, 9.0)


def test_a_stay_in_a_mode_ends_with_the_next_change_or_with_the_soak() -> None:
    changes = [
        Change(1, "DEGRADED", ""),
        Change(2, "BRAINSTEM", ""),
        Change(5, "NORMAL", ""),
        Change(8, "BRAINSTEM", ""),
    ]
    assert in_mode(changes, "BRAINSTEM", 9) == [(2, 5), (8, 9)]


def test_times_name_the_middle_the_99th_the_longest_and_what_never_came() -> None:
    found = times("x", [*(n / 100 for n in range(1, 201)), None])
    assert (found.p50_s, found.p99_s, found.max_s, found.count, found.missing) == (1.0, 1.98, 2.0, 200, 1)
    assert times("x", [None]).p99_s is None


def test_the_same_seed_draws_the_same_faults_and_each_round_has_them_all() -> None:
    one, other = (list(islice(drawn(random.Random(5), (6, 14)), 40)) for _ in range(2))
    assert one == other
    assert one != list(islice(drawn(random.Random(6), (6, 14)), 40))
    round_of = len(possible())
    assert (
        {each.kind for each in one[:round_of]}
        == {each.kind for each in one[round_of : 2 * round_of]}
        == set(possible())
    )
    assert all(KINDS[each.kind].shortest_s <= each.lasts_s <= KINDS[each.kind].longest_s for each in one)
    assert any(each.second for each in one)


def test_the_ledger_says_finished_only_of_what_was_done(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.lines() == []
    ledger.note("begun", "t", 1, "h", "k")
    assert state_of(ledger.lines(), "h", "k") == {"state": "unknown", "resumable": True}
    ledger.note("done", "t", 1, "h", "k")
    assert state_of(ledger.lines(), "h", "k")["state"] == "finished"
    assert state_of(ledger.lines(), "h", "other") == {"state": "unknown", "resumable": True}
    with (tmp_path / "ledger").open("ab") as file:
        file.write(b'{"word":"do')  # a power cut within a line
    assert [each.word for each in ledger.lines()] == ["begun", "done"]

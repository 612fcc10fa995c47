"""The judge itself: it says nothing about a sound history and finds every kind of crime in a forged one."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.torture.judge import Judge
from tests.torture.load import Ack, Book

from omni.domain import events as ev
from omni.domain.values import Held, OnCrash, Result, Route, TaskError, TaskSpec
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry
from omni.eventlog.upcasters import log_codec

ROUTE = Route("worker")
CREATED = ev.TaskCreated(TaskSpec("do it", idempotency_key="k"), "me", "")
ROUTED = ev.TaskRouted("general", 10, ROUTE, "it fits", ())
HELD = ev.TaskHeld(Held("interrupted", "who knows"))
DONE = ev.TaskCompleted(1)
FAILED = ev.TaskFailed(TaskError("failed", "no"))
STARTED = ev.AttemptStarted(1)
SUCCEEDED = ev.AttemptSucceeded(1, Result("done"))
INTERRUPTED = ev.AttemptInterrupted(1, "crash")


def planned(n: int = 1, policy: OnCrash = "ask", key: str = "") -> ev.AttemptPlanned:
    return ev.AttemptPlanned(n, ROUTE, key or f"t1:{n}", "handle", policy, 1000, 1000)


SOUND = [CREATED, ROUTED, planned(), STARTED, SUCCEEDED, DONE]
LATE_WIN = [CREATED, ROUTED, planned(), INTERRUPTED, HELD, SUCCEEDED, DONE]
FORGED: dict[str, tuple[list[Any], str]] = {
    "two ends": ([*SOUND, FAILED], "task.failed after the end"),
    "no routing": ([CREATED, planned()], "attempt.planned after task.created"),
    "an end from nowhere": ([CREATED, ROUTED, DONE], "task.completed after task.routed"),
    "a skipped attempt": ([CREATED, ROUTED, planned(2)], "attempt 2 planned after attempt 0"),
    "an attempt beside another": ([CREATED, ROUTED, planned(), planned(2)], "attempt.planned after attempt.planned"),
    "an outcome of the wrong attempt": (
        [CREATED, ROUTED, planned(), ev.AttemptSucceeded(2, Result("done"))],
        "attempt 2 succeeded while attempt 1 is planned",
    ),
    "half a transaction": (SOUND[:-1], "stops at attempt.succeeded"),
    "a late outcome of nothing": ([CREATED, ROUTED, ev.LateOutcomeArrived(1, "failed")], "without an attempt"),
}


@pytest.mark.parametrize("history", [SOUND, LATE_WIN])
def test_a_sound_history_is_not_faulted(tmp_path: Path, history: list[Any]) -> None:
    book = Book(0)
    book.acks.append(Ack("t1", "completed", len(history), "k"))
    assert _findings(tmp_path, {"t1": history}, book) == []


@pytest.mark.parametrize("crime", FORGED)
def test_a_forged_history_is_found_out(tmp_path: Path, crime: str) -> None:
    history, finding = FORGED[crime]
    assert finding in "\n".join(_findings(tmp_path, {"t1": history}, Book(0)))


def test_a_lost_task_and_a_lost_end_and_another_end_are_found_out(tmp_path: Path) -> None:
    book = Book(0)
    book.acks += [Ack("gone", "idle", 1, ""), Ack("t1", "failed", 6, ""), Ack("t1", "completed", 7, "")]
    told = "\n".join(_findings(tmp_path, {"t1": SOUND}, book))
    assert "gone was acknowledged as idle and is lost" in told
    assert "t1 was told to be failed; the log says completed" in told
    assert "told at position 7; the log ends at 6" in told


def test_two_tasks_of_one_key_are_found_out(tmp_path: Path) -> None:
    book = Book(0)
    book.acks += [Ack("t1", "completed", 1, "k"), Ack("t2", "completed", 1, "k")]
    told = "\n".join(_findings(tmp_path, {"t1": SOUND, "t2": SOUND}, book))
    assert "key k made 2 tasks" in told
    assert "key k was answered with" in told


@pytest.mark.parametrize(
    ("begun", "finding"),
    [
        ([("t1", 1, "t1:1"), ("t1", 1, "t1:1")], "attempt 1 began 2 times"),
        ([("t1", 1, "stolen")], "the log planned ('t1:1', 'ask')"),
        ([("t9", 1, "t9:1")], "the log planned None"),
        ([("t1", 1, "t1:1"), ("t1", 2, "t1:2")], "under ask began 2 attempts after 0 decisions"),
    ],
)
def test_work_that_began_twice_or_unplanned_is_found_out(
    tmp_path: Path, begun: list[tuple[str, int, str]], finding: str
) -> None:
    ledger = tmp_path / "worker.ledger"
    lines = [json.dumps({"begin": task, "attempt": n, "key": key}) for task, n, key in begun]
    ledger.write_text("\n".join(lines), "ascii")
    history = [CREATED, ROUTED, planned(), INTERRUPTED, planned(2), ev.AttemptSucceeded(2, Result("done")), DONE]
    assert finding in "\n".join(_findings(tmp_path, {"t1": history}, Book(0), ledger))


def _findings(home: Path, histories: dict[str, list[Any]], book: Book, *ledgers: Path) -> list[str]:
    with closing(SqliteEventStore.open(home / "omni.db", log_codec())) as store:
        for task_id, history in histories.items():
            store.append([_entry(task_id, version, event) for version, event in enumerate(history, 1)])
    judge = Judge(home)
    judge.read()
    return judge.compare(book, ledgers)


def _entry(task_id: str, version: int, event: msgspec.Struct) -> Entry:
    return Entry(ev.TASK_PREFIX + task_id, version, event, 1000, 1000, "forger", "m1")

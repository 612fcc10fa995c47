"""Every rule of a task's life, broken once through the real store, has to be found."""

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.replay.logs import (
    beginning,
    completed_life,
    created,
    failed_life,
    held_life,
    life,
    planned,
    routed,
    succeeded,
    write,
)

from omni.config import log_path
from omni.domain import events as ev
from omni.domain.values import TaskError
from omni.replay.verify import Report, verify

SAID_NO = TaskError("failed", "no")
RESERVED = ev.CallReserved("c1", "cloud", "large", "NORMAL", 1)
STARTED = (created(), routed(), planned(1), ev.AttemptStarted(1))


def judged(data_dir: Path, *streams: tuple[str, Any]) -> Report:
    return verify(log_path(write(data_dir, *streams)))


def test_a_lawful_log_passes_and_is_counted(tmp_path: Path) -> None:
    report = judged(tmp_path, *beginning(), *completed_life(1), *failed_life(2), *held_life(3))
    assert report.ok
    assert report.findings == ()
    assert (report.tasks, report.ended, report.open, report.head) == (3, 2, 1, 17)
    assert report.by_type["task.created"] == 3
    assert len(report.head_hash) == 64


LAWFUL = {
    "a retry after an attempt that was never sent": (
        *STARTED,
        ev.AttemptFailed(1, SAID_NO, retry_at=5),
        planned(1, 2),
        ev.AttemptStarted(2),
        succeeded(2),
        ev.TaskCompleted(2),
    ),
    "a success that comes after its attempt was given up": (
        *STARTED,
        ev.AttemptInterrupted(1, "lost"),
        succeeded(),
        ev.TaskCompleted(1),
    ),
    "an attempt that ends before anybody said it had started": (
        created(),
        routed(),
        planned(1),
        succeeded(),
        ev.TaskCompleted(1),
    ),
    "a late outcome after the end": (
        *STARTED,
        ev.AttemptInterrupted(1, "lost"),
        ev.TaskFailed(SAID_NO),
        ev.LateOutcomeArrived(1, "succeeded"),
    ),
    "a bill that comes after the end": (
        *STARTED,
        RESERVED,
        succeeded(),
        ev.TaskCompleted(1),
        ev.CallSettled("c1", "ok"),
    ),
    "a call that is still under way": (*STARTED, RESERVED),
    "a task that is cancelled before it began": (created(), ev.TaskCancelled("me")),
    "a task that is accepted by hand": (created(), ev.TaskResolved("accept", "me"), ev.TaskCompleted(0, "me")),
}


@pytest.mark.parametrize("name", LAWFUL)
def test_what_may_happen_is_not_a_finding(tmp_path: Path, name: str) -> None:
    assert judged(tmp_path, *life(1, *LAWFUL[name])).findings == ()


BROKEN: dict[str, tuple[Any, ...]] = {
    "task.unborn": (routed(), created()),
    "task.created_twice": (created(), created()),
    "task.second_end": (*STARTED, succeeded(), ev.TaskCompleted(1), ev.TaskFailed(SAID_NO)),
    "task.after_end": (created(), ev.TaskCancelled("me"), routed()),
    "task.ended_with_open_attempt": (*STARTED, ev.TaskCompleted(1)),
    "attempt.two_open": (*STARTED, planned(1, 2)),
    "attempt.number": (*STARTED, succeeded(2), ev.TaskCompleted(2)),
    "attempt.order": (*STARTED, ev.AttemptFailed(1, SAID_NO), ev.AttemptFailed(1, SAID_NO)),
    "call.reserved_twice": (*STARTED, RESERVED, RESERVED),
    "call.without_attempt": (created(), RESERVED),
    "call.unknown": (*STARTED, RESERVED, ev.CallSettled("c1", "ok"), ev.CallSettled("c1", "ok")),
    "attempt.unknown": (created(), ev.LateOutcomeArrived(1, "succeeded")),
}


def test_a_client_of_its_own_makes_calls_for_no_task(tmp_path: Path) -> None:
    alone = [ev.CallReserved("c1", "cloud", "large", "NORMAL", client="openclaw"), ev.CallSettled("c1", "ok")]
    assert judged(tmp_path, *((ev.CALLS_STREAM, event) for event in alone)).findings == ()
    assert judged(tmp_path, (ev.CALLS_STREAM, alone[1])).findings[0].rule == "call.unknown"


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_found_and_named(tmp_path: Path, rule: str) -> None:
    report = judged(tmp_path, *completed_life(2), *life(1, *BROKEN[rule]))
    assert not report.ok
    assert rule in {each.rule for each in report.findings}
    assert all(each.stream.startswith("task-") for each in report.findings)


def test_every_finding_is_counted_and_the_first_ones_are_kept(tmp_path: Path) -> None:
    ends = [ev.TaskCancelled("me")] * 151
    report = judged(tmp_path, *life(1, created(), *ends))
    assert report.violations == 150
    assert len(report.findings) == 100


def test_changed_content_is_damage(tmp_path: Path) -> None:
    write(tmp_path, *completed_life(1))
    with closing(apsw.Connection(str(log_path(tmp_path)))) as raw:
        raw.execute("DROP TRIGGER IF EXISTS events_are_never_changed")
        for name in [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]:
            raw.execute(f'DROP TRIGGER "{name}"')
        raw.execute("UPDATE events SET body = replace(body, 'hello', 'hallo') WHERE type = 'attempt.succeeded'")
    report = verify(log_path(tmp_path))
    assert not report.ok
    assert any("was changed" in each.what for each in report.damage)


def test_progress_is_reported_on_a_long_log(tmp_path: Path) -> None:
    told: list[int] = []
    for block in range(10):
        write(tmp_path, *(each for n in range(block * 200, block * 200 + 200) for each in completed_life(n)))
    report = verify(log_path(tmp_path), told.append)
    assert told[-1] == 12_000
    assert len(told) > 2
    assert (report.events, report.ok) == (12_000, True)

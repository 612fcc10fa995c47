"""The reckoning itself: it says nothing about a sound history and finds every kind of crime in a forged one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fakes.upstream import Entry
from tests.torture.crowd import Crowd, ModelCall, Submission
from tests.torture.daemon_process import DaemonProcess
from tests.torture.reckoning import Reckoning
from tests.torture.weather import Fault, Faults

from omni.domain import events as ev
from omni.domain.values import Held, Mode, NoticeSink, Result, Route, TaskError, TaskSpec, Telling
from omni.eventlog.store import Recorded

TASK, OTHER = ev.TASK_PREFIX + "t1", ev.TASK_PREFIX + "t2"
CREATED = ev.TaskCreated(TaskSpec("mark:model-1 please", executor="model"), "me", "")
PLANNED = ev.AttemptPlanned(1, Route("model"), "t1:1", "handle", "retry", 1000, 1000)
SUCCEEDED, DONE = ev.AttemptSucceeded(1, Result("done")), ev.TaskCompleted(1)
FAILED = [ev.AttemptFailed(1, TaskError("failed", "no")), ev.TaskFailed(TaskError("failed", "no"))]
History = list[tuple[str, Any]]


def reserved(call: str = "c/1", channel: str = "proxy", mode: Mode = "NORMAL") -> ev.CallReserved:
    return ev.CallReserved(call, channel, "fast", mode, 1)


def settled(call: str = "c/1", verdict: str = "ok") -> ev.CallSettled:
    return ev.CallSettled(call, verdict)


def of_task(*events: Any) -> History:
    return [(TASK, each) for each in (CREATED, PLANNED, *events)]


def of_system(*events: Any) -> History:
    return [*SOUND, *((ev.SYSTEM_STREAM, each) for each in events)]


def asked(fake: str = "proxy", key: str = "sk-master", ended: str = "200", mark: str = "model-1") -> tuple[str, Entry]:
    return fake, Entry(1, 1.0, "/v1/chat/completions", key, "fast", mark, True, "ok", ended)


SOUND = of_task(reserved(), settled(), SUCCEEDED, DONE)
ONCE = [asked()]
DIRECT = of_task(reserved(), settled("c/1", "refused"), reserved("c/2", "openrouter"), settled("c/2"), SUCCEEDED, DONE)
SOUTH = asked("south", "sk-or-south-backup")
NOTES = [ev.NoticeQueued("a", "degraded"), ev.NoticeQueued("b", "recovered")]
TWO_SINKS = ev.DaemonStarted("0", 1, "boot", telling=Telling((NoticeSink("log"), NoticeSink("chat"))))
REPAIR = [ev.ModeFollowed("DEGRADED"), ev.RepairStarted(1, "r1")]

FORGED: dict[str, tuple[History, list[tuple[str, Entry]], str]] = {
    "lost": ([], [], "is lost"),
    "two ends": ([*SOUND, (TASK, FAILED[1])], ONCE, "ended as"),
    "unfinished": (of_task(), [], "stops at"),
    "waiting": (of_task(ev.TaskSuspended("the cloud is offline")), [], "stops at suspended"),
    "made twice": ([*SOUND, *((OTHER, each) for each in (CREATED, FAILED[1]))], ONCE, "made 2 tasks"),
    "held without a reason": (of_task(ev.TaskHeld(Held("interrupted", ""))), [], "without a question"),
    "failed by the weather": (of_task(reserved(), settled("c/1", "closed"), *FAILED), ONCE, "failed by the weather"),
    "answered twice": (SOUND, [asked(), asked()], "answered 2 times"),
    "never answered": (SOUND, [], "answered 0 times"),
    "asked beside the books": (SOUND, [asked(), asked(ended="left")], "asked 2 times"),
    "asked by nobody": (SOUND, [asked(), asked("south", "sk-or-south-backup", mark="call-1")], "before a reservation"),
    "never settled": (of_task(reserved(), SUCCEEDED, DONE), ONCE, "never settled"),
    "settled twice": (of_task(reserved(), settled(), settled(), SUCCEEDED, DONE), ONCE, "settled twice"),
    "the wrong key": (DIRECT, [asked(ended="cut"), asked("south", "sk-or-south-primary")], "called with"),
    "a cloud for no reason": (
        of_task(reserved(channel="openrouter"), settled(), SUCCEEDED, DONE),
        [SOUTH],
        "had not failed inside it",
    ),
    "the wrong mode": (of_task(reserved(mode="DEGRADED"), settled(), SUCCEEDED, DONE), ONCE, "reserved in DEGRADED"),
    "notices out of order": (
        of_system(*NOTES, ev.NoticeDelivered("b"), ev.NoticeDelivered("a")),
        ONCE,
        "out of order",
    ),
    "a notice twice": (of_system(NOTES[0], *[ev.NoticeDelivered("a")] * 2), ONCE, "delivered twice at"),
    "a notice kept from one sink": (
        of_system(TWO_SINKS, NOTES[0], ev.NoticeDelivered("a", "log")),
        ONCE,
        "never delivered at 'chat'",
    ),
    "a notice kept back": (of_system(*NOTES, ev.NoticeDelivered("a")), ONCE, "never delivered"),
    "two repairs": (of_system(*REPAIR, ev.RepairStarted(2, "r2")), ONCE, "while r1 was open"),
    "a repair in good weather": (of_system(REPAIR[1]), ONCE, "began in NORMAL"),
}


@pytest.mark.parametrize(
    ("history", "calls"),
    [
        (SOUND, ONCE),
        (DIRECT, [asked(ended="cut"), SOUTH]),
        (of_task(ev.TaskHeld(Held("interrupted", "who knows", ("retry",)))), []),
        (of_system(*NOTES, ev.NoticeDelivered("a"), ev.NoticeDelivered("b"), *REPAIR), ONCE),
    ],
)
def test_a_sound_history_is_not_faulted(tmp_path: Path, history: History, calls: list[tuple[str, Entry]]) -> None:
    assert _findings(tmp_path, history, calls) == []


@pytest.mark.parametrize("crime", FORGED)
def test_every_crime_is_found(tmp_path: Path, crime: str) -> None:
    history, calls, expected = FORGED[crime]
    found = _findings(tmp_path, history, calls)
    assert any(expected in each for each in found), found


def test_what_an_executor_began_twice_is_found(tmp_path: Path) -> None:
    line = json.dumps({"begin": "t1", "attempt": 1, "key": "t1:1", "pid": 1})
    (tmp_path / "work.ledger").write_text(f"{line}\n{line}\n", "ascii")
    assert _findings(tmp_path, SOUND, ONCE) == ["t1 attempt 1 began 2 times"]


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([Fault("proxy", "killed", 99.0, 105.0)], 1),
        ([Fault("proxy", "killed", 99.0, 105.0), Fault("north", "frozen", 90.0, 95.0)], 1),
        ([Fault("proxy", "killed", 99.0, 105.0), *(Fault(c, "killed", 95.0, 99.0) for c in ("north", "south"))], 0),
        ([Fault("proxy", "killed", 99.0, 105.0), Fault("daemon", "stopped", 100.0, 101.0)], 0),
        ([Fault("proxy", "answers: 500", 99.0, 105.0)], 0),
        ([], 0),
    ],
)
def test_a_call_that_a_dead_proxy_cost_is_found(tmp_path: Path, faults: list[Fault], expected: int) -> None:
    crowd = Crowd(DaemonProcess(tmp_path, {}), "", 0)
    crowd.calls.append(ModelCall("call-1", "chat", 100.0, 0.0, 101.0, "HTTP 503"))
    found = Reckoning([], crowd, Faults(faults), tmp_path).findings()
    assert [each for each in found if "while a cloud was well" in each] == found
    assert len(found) == expected


def _findings(home: Path, history: History, calls: list[tuple[str, Entry]]) -> list[str]:
    crowd = Crowd(DaemonProcess(home, {}), "", 0)
    crowd.submissions.append(Submission("model-1", "model", 0.0, 1.0, "idle", "t1"))
    for number, (fake, entry) in enumerate(calls):
        line = {"life": number, **msgspec.to_builtins(entry)}
        with (home / f"{fake}.journal").open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line) + "\n")
    rows = [
        Recorded(n, stream, n, event, 0, 500, "boot", "router", "", None) for n, (stream, event) in enumerate(history)
    ]
    return Reckoning(rows, crowd, Faults(), home).findings()

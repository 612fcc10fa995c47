"""A trace: exact on a small history, and sound on any: tracks that nest, spans that end, arrows that meet slices."""

import io
import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
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
    write_at,
)
from tests.replay.test_bands import started

from omni.domain import events as ev
from omni.replay.history import History
from omni.replay.perfetto import CALLS, EXECUTORS, INSTANTS, MODE, OMNI, OUTAGES, write_trace

ONE, TWO = task_id(1), task_id(2)
REASON = "the proxy is down"


def us(position: int) -> int:
    return (AT_MS + position - 1) * 1_000


def reserved(call: str, **more: Any) -> ev.CallReserved:
    return ev.CallReserved(call, "proxy", "small", "NORMAL", **more)


def trace(data_dir: Path, **stretch: Any) -> list[dict[str, Any]]:
    out = io.BytesIO()
    with History.open(data_dir) as history:
        written = write_trace(history, out, **stretch)
    document = json.loads(out.getvalue())
    assert document["displayTimeUnit"] == "ms"
    assert document["otherData"]["attempts_left_out"] == 0
    assert len(document["traceEvents"]) == written
    events: list[dict[str, Any]] = document["traceEvents"]
    return events


@pytest.fixture
def story(tmp_path: Path) -> Path:
    data_dir = write(
        tmp_path / "data",
        *beginning(),  # 1 to 3
        *life(1, created(), routed(), planned(1), reserved("a", n=1)),  # 4 to 7
        *life(2, created(), routed(), planned(2), ev.AttemptStarted(1)),  # 8 to 11
        (ev.CALLS_STREAM, reserved("own", client="openclaw")),  # 12
        (ev.HEALTH_STREAM, ev.ModeChanged("NORMAL", "DEGRADED", "proxy", REASON)),  # 13
        *life(2, succeeded(), ev.TaskCompleted(1)),  # 14, 15
        *life(1, ev.CallSettled("a", "ok", 0.25)),  # 16
    )
    return write(
        data_dir,
        started("boot-2"),  # 17
        *life(1, ev.AttemptInterrupted(1, "the daemon ended", 9), planned(1, 2)),  # 18, 19
    )


def test_the_trace_of_a_crash_is_exact(story: Path) -> None:
    x = {"ph": "X", "pid": EXECUTORS}
    task = {"name": "task", "cat": "task", "id": 1, "pid": EXECUTORS}
    call = {"cat": "call", "id": "a", "name": "small at proxy", "pid": CALLS, "tid": 1}
    own = {**call, "id": "own"}
    mode = {"ph": "X", "pid": OMNI, "tid": MODE}
    done = [each for each in trace(story) if each["ph"] not in "Mi"]
    assert done == [
        {**mode, "name": "NORMAL", "ts": us(1), "dur": 12_000, "args": {"cause": "", "reason": "", "position": 0}},
        {**mode, "name": "DEGRADED", "ts": us(13), "dur": 6_000,
         "args": {"cause": "proxy", "reason": REASON, "position": 13}},
        {"ph": "X", "pid": OMNI, "tid": OUTAGES, "name": "crashed", "ts": us(16), "dur": 1_000,
         "args": {"position": 16, "over": True}},
        {**x, "tid": 1, "name": f"{ONE} #1", "ts": us(6), "dur": 10_000,
         "args": {"state": "interrupted", "reason": "the daemon ended", "position": 6}},
        {**x, "tid": 2, "name": f"{TWO} #1", "ts": us(10), "dur": 4_000,
         "args": {"state": "succeeded", "position": 10}},
        {**x, "tid": 1, "name": f"{ONE} #2", "ts": us(19), "dur": 1, "args": {"state": "planned, not ended",
                                                                             "position": 19}},
        {"ph": "s", **task, "tid": 1, "ts": us(16) - 1},
        {"ph": "f", "bp": "e", **task, "tid": 1, "ts": us(19)},
        {"ph": "b", **call, "ts": us(7), "args": {"task": ONE, "attempt": 1, "client": "", "position": 7}},
        {"ph": "b", **own, "ts": us(12), "args": {"task": "", "attempt": 0, "client": "openclaw", "position": 12}},
        {"ph": "e", **call, "ts": us(16), "args": {"verdict": "ok", "billed_usd": 0.25, "imputed_usd": None}},
        {"ph": "e", **own, "ts": us(19), "args": {"open": True}},
    ]  # fmt: skip


def test_processes_and_tracks_have_names(story: Path) -> None:
    names = {(e["name"], e["pid"], e["tid"]): e["args"].get("name") for e in trace(story) if e["ph"] == "M"}
    assert {key: name for key, name in names.items() if name} == {
        ("process_name", OMNI, 0): "Omni",
        ("process_name", EXECUTORS, 0): "executors",
        ("process_name", CALLS, 0): "model calls",
        ("thread_name", OMNI, MODE): "mode",
        ("thread_name", OMNI, OUTAGES): "no daemon",
        ("thread_name", OMNI, INSTANTS): "events",
        ("thread_name", EXECUTORS, 1): "echo",
        ("thread_name", EXECUTORS, 2): "echo (2)",
    }


def test_what_explains_the_rest_is_an_instant(story: Path) -> None:
    instants = [each for each in trace(story) if each["ph"] == "i"]
    assert [(e["name"], e["s"], e["ts"]) for e in instants] == [
        ("system.started", "t", us(1)),
        ("health.mode_changed", "g", us(13)),
        ("system.started", "t", us(17)),
        ("attempt.interrupted", "t", us(18)),
    ]
    assert instants[1]["args"] == {
        "text": f"NORMAL → DEGRADED: {REASON}", "position": 13, "task": "", "mode": "DEGRADED"
    }  # fmt: skip


@pytest.mark.parametrize("after", range(19))
def test_any_stretch_makes_a_sound_trace(story: Path, after: int) -> None:
    for until in range(after, 20):
        _require_sound(trace(story, after=after, until=until))


def test_many_tasks_at_a_time_make_a_sound_trace(tmp_path: Path) -> None:
    lives = [completed_life(n) for n in range(1, 30)]
    woven = [each for step in zip(*lives, strict=True) for each in step]
    events = trace(write(tmp_path / "data", *beginning(), *woven))
    _require_sound(events)
    assert len({e["tid"] for e in events if e["ph"] == "X" and e["pid"] == EXECUTORS}) == 29


def test_attempts_that_took_no_time_do_not_lie_over_each_other(tmp_path: Path) -> None:
    steps = [each for n in (1, 2, 3) for each in life(n, created(), routed(), planned(n), succeeded())]
    events = trace(write_at(tmp_path / "data", *[(AT_MS, *each) for each in steps]))
    _require_sound(events)
    assert len([each for each in events if each["ph"] == "X" and each["pid"] == EXECUTORS]) == 3


def _require_sound(events: list[dict[str, Any]]) -> None:
    tracks = defaultdict(list)
    spans: Counter[str] = Counter()
    for each in events:
        assert each["ph"] in "MXsfbei"
        assert each["ph"] == "M" or each["ts"] >= 0
        assert each["ph"] != "X" or each["dur"] >= 1
        if each["ph"] == "X":
            tracks[each["pid"], each["tid"]].append((each["ts"], each["ts"] + each["dur"]))
        spans[str(each.get("id"))] += {"b": 1, "e": -1}.get(each["ph"], 0)
    assert not any(spans.values())
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    for track, slices in tracks.items():
        assert track in named
        slices.sort()
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(slices)), slices
    for each in events:
        if each["ph"] in "sf":
            assert any(begin <= each["ts"] <= end for begin, end in tracks[each["pid"], each["tid"]]), each

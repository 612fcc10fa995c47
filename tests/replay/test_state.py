"""The whole state at a position, of a log written by hand."""

from pathlib import Path
from typing import Any

import pytest
from tests.replay.logs import (
    AT_MS,
    SETTINGS,
    beginning,
    completed_life,
    created,
    held_life,
    life,
    planned,
    routed,
    task_id,
    write,
)

from omni.domain import events as ev
from omni.domain.errors import CorruptLog
from omni.domain.values import Budget, Evidence, ExecutorHealth, HealthSettings, NoticeSink, RoutingSettings, Telling
from omni.replay.history import History
from omni.replay.state import state_at

CLOUDS = ("east", "west")
SEEN = Evidence(AT_MS, "probe", "refused", "connection refused")
DOWN = ev.ProxyChanged("down", (SEEN,))
TURNED = ev.ModeChanged("NORMAL", "DEGRADED", "proxy", "the proxy is gone", (SEEN,))
WITH_CAP = RoutingSettings(SETTINGS.executors, budget=Budget(daily_usd=2.0))
READY = ExecutorHealth("ready")
LONG = [
    (ev.SYSTEM_STREAM, ev.DaemonStarted("0.1.0", 7, "boot-1", telling=Telling((NoticeSink("log"),)))),
    (ev.SYSTEM_STREAM, ev.ConfigLoaded("digest-1", {})),
    (ev.ROUTER_STREAM, ev.RouterStarted("boot-1")),
    (ev.ROUTER_STREAM, ev.RoutingConfigured(WITH_CAP)),
    (ev.HEALTH_STREAM, ev.HealthStarted("boot-1")),
    (ev.HEALTH_STREAM, ev.HealthConfigured(HealthSettings(proxy=True, clouds=CLOUDS, backup_keys=CLOUDS))),
    (ev.HEALTH_STREAM, ev.ExecutorHealthChanged("echo", READY, ("connected",))),
    (ev.ROUTER_STREAM, ev.ExecutorNoted("echo", READY)),
    *completed_life(1),  # 9 to 14
    *life(2, created("go on"), routed(), planned(2), ev.AttemptStarted(1)),  # 15 to 18
    *life(2, ev.CallReserved("c1", "proxy", "small", "NORMAL", 1, paid=True, estimate_usd=0.5, tier="P2")),
    (ev.HEALTH_STREAM, DOWN),  # 20
    (ev.HEALTH_STREAM, TURNED),
    (ev.ROUTER_STREAM, ev.ModeNoted("DEGRADED", cleared=True)),
    *life(2, ev.CallSettled("c1", "ok", billed_usd=0.25)),
    (ev.SYSTEM_STREAM, ev.NoticeQueued("n1", "mode", {"mode": "DEGRADED"})),
    (ev.SYSTEM_STREAM, ev.DrillBegun("proxy_down", AT_MS + 60_000)),
    (ev.SYSTEM_STREAM, ev.ConfigLoaded("digest-2", {})),
    *held_life(3),  # 27, 28
]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return write(tmp_path, *LONG)


def at(data_dir: Path, position: int) -> dict[str, Any]:
    with History.open(data_dir) as history:
        return state_at(history, position).view()


def test_a_running_task_stands_there_in_full(data_dir: Path) -> None:
    view = at(data_dir, 18)
    assert view["position"] == 18
    assert view["at"] == "2026-09-21T14:13:20.017Z"
    assert view["tasks"]["counts"] == {"executing": 1, "completed": 1}
    (task,) = view["tasks"]["open"]
    assert (task["id"], task["description"], task["state"], task["position"]) == (task_id(2), "go on", "executing", 18)
    assert [each["id"] for each in view["tasks"]["ended"]] == [task_id(1)]
    assert (view["tasks"]["open_left_out"], view["tasks"]["ended_left_out"]) == (0, 0)


def test_a_pause_of_dispatch_and_a_stop_are_part_of_the_moment(tmp_path: Path) -> None:
    pause, starts = ev.DispatchPaused(2, AT_MS, AT_MS + 600_000), (AT_MS - 9, AT_MS)
    events = [ev.RouterStarted("boot-1", starts), pause, ev.DispatchResumed("owner"), ev.RouterStopped()]
    home = write(tmp_path, *[(ev.ROUTER_STREAM, event) for event in events])
    seen = [at(home, position)["router"]["dispatch"] for position in (1, 2, 3, 4)]
    assert [each["state"] for each in seen] == ["open", "paused", "open", "stopping"]
    assert (seen[1]["since"], seen[1]["until"]) == ("2026-09-21T14:13:20.000Z", "2026-09-21T14:23:20.000Z")


def test_each_actor_knows_what_it_had_heard_by_then(data_dir: Path) -> None:
    before, during = at(data_dir, 19), at(data_dir, 21)
    assert before["health"]["mode"]["mode"] == before["router"]["mode"] == "NORMAL"
    assert before["health"]["mode"]["position"] is None
    assert before["health"]["proxy"]["state"] == "up"
    assert during["router"]["mode"] == "NORMAL", "nobody had told the Router yet"
    assert at(data_dir, 22)["router"]["mode"] == "DEGRADED"
    assert during["health"]["mode"] == {
        "mode": "DEGRADED",
        "cause": "proxy",
        "reason": "the proxy is gone",
        "since": "2026-09-21T14:13:20.020Z",
        "forced_by": None,
        "position": 21,
        "evidence": [
            {
                "at": "2026-09-21T14:13:20.000Z",
                "source": "probe",
                "verdict": "refused",
                "detail": "connection refused",
            }
        ],
    }
    assert during["health"]["proxy"]["reason"] == "refused: connection refused"
    assert [(c["name"], c["state"]) for c in during["health"]["clouds"]] == [("east", "up"), ("west", "up")]
    assert {k["name"]: k["state"] for k in during["health"]["keys"]} == {
        "east/primary": "absent", "east/backup": "ok", "west/primary": "absent", "west/backup": "ok",
    }  # fmt: skip


def test_executors_are_shown_as_the_router_and_the_watch_knew_them(data_dir: Path) -> None:
    echo, absent = at(data_dir, 18)["router"]["executors"]
    assert (echo["name"], echo["noted"]["state"], echo["health"]["state"]) == ("echo", "ready", "ready")
    assert (echo["running"], echo["queued"]) == (1, 0)
    assert absent["unavailable"] == "disabled"
    early = at(data_dir, 7)["router"]["executors"][0]
    assert (early["noted"]["state"], early["health"]["state"]) == ("unknown", "ready")


def test_spending_is_that_of_the_day_with_its_caps(data_dir: Path) -> None:
    reserved, settled = at(data_dir, 19)["spend"], at(data_dir, 23)["spend"]
    assert (reserved["reserved_usd"], reserved["billed_usd"]) == (0.5, 0.0)
    assert (settled["reserved_usd"], settled["billed_usd"]) == (0.0, 0.25)
    assert settled["caps"]["daily_usd"] == 2.0
    assert at(data_dir, 3)["spend"]["caps"]["daily_usd"] is None


def test_the_system_shows_daemon_configuration_outbox_and_drill(data_dir: Path) -> None:
    early, late = at(data_dir, 23)["system"], at(data_dir, 28)["system"]
    assert early["daemon"] == {
        "version": "0.1.0", "pid": 7, "started_at": "2026-09-21T14:13:20.000Z", "position": 1,
    }  # fmt: skip
    assert early["configuration"]["digest"] == "digest-1"
    assert (early["outbox"], early["drill"], early["running"]) == ([], None, True)
    assert (late["configuration"]["digest"], late["configuration"]["position"]) == ("digest-2", 26)
    assert [(n["key"], n["owed"]) for n in late["outbox"]] == [("n1", [{"name": "log", "failed": 0}])]
    assert late["drill"] == {
        "fault": "proxy_down",
        "begun_at": "2026-09-21T14:13:20.024Z",
        "until": "2026-09-21T14:14:20.000Z",
        "position": 25,
    }


def test_before_the_first_event_there_is_nothing_and_after_the_last_nothing_more(data_dir: Path) -> None:
    empty = at(data_dir, 0)
    assert (empty["at"], empty["tasks"]["counts"], empty["router"]["executors"]) == (None, {}, [])
    assert at(data_dir, -5) == empty
    assert at(data_dir, 10_000) == at(data_dir, 28)
    assert at(data_dir, 28)["tasks"]["counts"] == {"executing": 1, "completed": 1, "held": 1}


def test_a_page_shows_the_tasks_of_then_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write(tmp_path, *beginning(), *(each for n in range(1, 8) for each in completed_life(n)))
    with History.open(tmp_path) as history:
        state = state_at(history, 3 + 6 * 4 + 2)  # four are done, the fifth is routed
        assert (state.tasks(limit=2)["tasks"][0]["id"], state.tasks(limit=2)["next"]) == (task_id(5), task_id(4))
        found = [each["id"] for page in (None, task_id(4)) for each in state.tasks(limit=2, before=page)["tasks"]]
        done = state.tasks("completed")
    assert found == [task_id(n) for n in (5, 4, 3, 2)]
    assert [each["id"] for each in done["tasks"]] == [task_id(n) for n in (4, 3, 2, 1)]
    assert done["next"] is None


def test_a_page_reads_what_has_left_memory_from_its_own_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni.domain.board.KEEP_ENDED", 2)
    write(tmp_path, *beginning(), *(each for n in range(1, 6) for each in completed_life(n)))
    with History.open(tmp_path) as history:
        state = state_at(history, 33)
        assert len(state.board.tasks) == 2
        assert [each["id"] for each in state.tasks()["tasks"]] == [task_id(n) for n in (5, 4, 3, 2, 1)]
        assert state.counts == {"completed": 5}
        assert state.view()["tasks"]["ended_left_out"] == 3


def test_limits_leave_out_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, *beginning(), *(each for n in range(1, 6) for each in held_life(n)))
    with History.open(tmp_path) as history:
        tasks = state_at(history, 99).view(2)["tasks"]
        assert [each["id"] for each in tasks["open"]] == [task_id(5), task_id(4)]
        assert tasks["open_left_out"] == 3
        assert len(state_at(history, 99).view(None, None)["tasks"]["open"]) == 5


def test_the_hash_is_the_same_for_the_same_state_and_no_other(data_dir: Path) -> None:
    assert at(data_dir, 18)["hash"] == at(data_dir, 18)["hash"]
    assert at(data_dir, 18)["hash"] != at(data_dir, 19)["hash"]
    assert at(data_dir, 20)["hash"] == at(data_dir, 21)["hash"], "the Router had heard of neither"


def test_an_answer_with_a_number_beyond_64_bits_has_a_hash_too(tmp_path: Path) -> None:
    from omni.domain.values import Result

    answer = ev.AttemptSucceeded(1, Result("", {"n": 10**30}))
    write(tmp_path, *life(1, created(), routed(), planned(1), answer, ev.TaskCompleted(1)))
    assert len(at(tmp_path, 5)["hash"]) == 64


def test_a_log_that_does_not_fold_says_where(tmp_path: Path) -> None:
    write(tmp_path, *beginning(), *life(1, created(), ev.AttemptStarted(1)))
    with pytest.raises(CorruptLog, match="position 5 does not follow"):
        at(tmp_path, 5)

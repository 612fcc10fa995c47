"""Modes and suspensions in a log: what follows from health passes, everything else is found."""

from pathlib import Path
from typing import Any

import pytest
from tests.replay.logs import created, life, planned, routed, succeeded, write

from omni.config import log_path
from omni.domain import events as ev
from omni.domain.values import Cause, ExecutorSpec, HealthSettings, Mode, RoutingSettings
from omni.replay.verify import verify

CLOUDS = ("east", "west")
WATCHED = ev.HealthConfigured(HealthSettings(proxy=True, clouds=CLOUDS, backup_keys=CLOUDS))
LOCAL = RoutingSettings((ExecutorSpec("echo", needs_cloud=False),))
DOWN = [ev.CloudChanged(cloud, "down") for cloud in CLOUDS]
PROXY_DOWN = ev.ProxyChanged("down")


def turned(before: Mode, after: Mode, cause: Cause = "proxy") -> ev.ModeChanged:
    return ev.ModeChanged(before, after, cause, "as observed")


def health(*events: Any) -> list[tuple[str, Any]]:
    return [(ev.HEALTH_STREAM, event) for event in events]


def router(*events: Any) -> list[tuple[str, Any]]:
    return [(ev.ROUTER_STREAM, event) for event in events]


OFFLINE = [
    *health(WATCHED, *DOWN, turned("NORMAL", "BRAINSTEM", "cloud")),
    *router(ev.ModeNoted("BRAINSTEM", cleared=True)),
]
BACK = [
    *health(ev.CloudChanged("east", "up"), turned("BRAINSTEM", "NORMAL", "")),
    *router(ev.ModeNoted("NORMAL", cleared=True), ev.RampMoved(1)),
]
WAITING = life(1, created(), routed(), ev.TaskSuspended("the cloud is offline"))
DONE = life(1, planned(1), succeeded(), ev.TaskCompleted(1))


def found(data_dir: Path, streams: list[tuple[str, Any]]) -> set[str]:
    report = verify(log_path(write(data_dir, *streams)))
    return {finding.rule for finding in report.findings}


def test_an_outage_with_a_ramp_is_lawful(tmp_path: Path) -> None:
    restored = life(1, ev.TaskRestored())
    assert found(tmp_path, [*OFFLINE, *WAITING, *BACK, *restored, *DONE, *router(ev.RampMoved(0))]) == set()


def test_a_proxy_that_dies_and_comes_back_is_lawful(tmp_path: Path) -> None:
    there = health(WATCHED, PROXY_DOWN, turned("NORMAL", "DEGRADED"))
    assert found(tmp_path, [*there, *health(ev.ProxyChanged("up"), turned("DEGRADED", "NORMAL", ""))]) == set()


def test_a_key_that_may_be_out_of_its_cooldown_allows_both(tmp_path: Path) -> None:
    empty = [ev.KeyChanged(cloud, "backup", "cooldown", 5) for cloud in CLOUDS]
    gone = turned("NORMAL", "BRAINSTEM", "no_path")
    assert found(tmp_path, health(WATCHED, PROXY_DOWN, *empty, gone, turned("BRAINSTEM", "DEGRADED"))) == set()


def test_the_router_may_hear_of_modes_late_but_in_their_order(tmp_path: Path) -> None:
    to_and_fro: list[tuple[Mode, Mode]] = [("NORMAL", "BRAINSTEM"), ("BRAINSTEM", "NORMAL"), ("NORMAL", "BRAINSTEM")]
    named = [
        event
        for before, after in to_and_fro
        for event in (ev.ModeForced(after == "BRAINSTEM", "owner"), turned(before, after, "operator"))
    ]
    notes = [ev.ModeNoted(after, cleared=True) for _, after in to_and_fro]
    assert found(tmp_path, [*health(WATCHED, *named), *router(*notes)]) == set()
    again = router(ev.ModeNoted("NORMAL", cleared=True))
    assert "mode.unfounded" in found(tmp_path / "more", [*health(WATCHED, *named), *router(*notes), *again])


def test_a_person_may_force_brainstem(tmp_path: Path) -> None:
    forced = turned("NORMAL", "BRAINSTEM", "operator")
    assert found(tmp_path, health(WATCHED, ev.ModeForced(brainstem=True, by="owner"), forced)) == set()


UNLAWFUL: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "one cloud of two is gone": (
        "mode.differs",
        health(WATCHED, DOWN[0], turned("NORMAL", "BRAINSTEM", "cloud")),
    ),
    "degraded with a proxy that lives": ("mode.differs", health(WATCHED, turned("NORMAL", "DEGRADED"))),
    "degraded without a key": (
        "mode.differs",
        health(
            WATCHED,
            *(ev.KeyChanged(cloud, "backup", "invalid") for cloud in CLOUDS),
            PROXY_DOWN,
            turned("NORMAL", "DEGRADED"),
        ),
    ),
    "a change from a mode that it was not in": (
        "mode.order",
        health(WATCHED, PROXY_DOWN, turned("BRAINSTEM", "DEGRADED")),
    ),
    "the Router believes something else": (
        "mode.unfounded",
        [*health(WATCHED), *router(ev.ModeNoted("BRAINSTEM", cleared=True))],
    ),
    "suspended while all is well": ("task.suspended_for_nothing", WAITING),
    "suspended twice": ("task.suspended_twice", [*OFFLINE, *WAITING, *life(1, ev.TaskSuspended("again"))]),
    "restored without a cloud": ("task.restored_too_early", [*OFFLINE, *WAITING, *life(1, ev.TaskRestored())]),
    "planned while suspended": ("attempt.while_suspended", [*OFFLINE, *WAITING, *BACK, *life(1, planned(1))]),
    "planned without a cloud": ("attempt.without_cloud", [*OFFLINE, *life(1, created(), routed(), planned(1))]),
}


@pytest.mark.parametrize("case", UNLAWFUL)
def test_what_does_not_follow_is_found(case: str, tmp_path: Path) -> None:
    rule, streams = UNLAWFUL[case]
    assert rule in found(tmp_path, streams)


def test_an_executor_that_needs_no_cloud_may_go_on(tmp_path: Path) -> None:
    alone = life(1, created(), routed(), *(event for _, event in DONE))
    assert found(tmp_path, [*router(ev.RoutingConfigured(LOCAL)), *OFFLINE, *alone]) == set()


PAUSED = ev.DispatchPaused(6, 1, 600_001)


@pytest.mark.parametrize("before", [PAUSED, ev.RouterStopped()])
def test_an_attempt_in_a_crash_loop_or_a_stop_is_found(tmp_path: Path, before: Any) -> None:
    begun = life(1, created(), routed(), planned(1))
    assert found(tmp_path, [*router(before), *begun]) == {"attempt.while_paused"}


@pytest.mark.parametrize("after", [ev.DispatchResumed("owner"), ev.RouterStarted("next")])
def test_an_attempt_after_a_pause_is_lawful(tmp_path: Path, after: Any) -> None:
    begun = life(1, created(), routed(), planned(1))
    assert found(tmp_path, [*router(PAUSED, after), *begun]) == set()

"""Service levels of the golden logs, against figures computed by hand from what happened in them."""

from __future__ import annotations

import pytest
from tests.histories.conftest import OpenGolden
from tests.histories.play import at

from omni.replay.level_figures import Drill, Levels, ModeTime, Outage, Share, Spread
from omni.replay.levels import levels, rolling

HOUR, MINUTE, SECOND = 3_600_000, 60_000, 1_000


def figures(spread: Spread) -> tuple[int, int, int | None, int]:
    return spread.count, spread.over, spread.longest_ms, spread.total_ms


def test_a_quiet_day_has_a_planned_stop_and_two_tasks_that_waited(golden: OpenGolden) -> None:
    found = levels(golden("quiet-day"))
    assert (found.since_ms, found.until_ms) == (at("2026-10-05 08:00:00"), at("2026-10-06 07:00:09.950"))
    assert (found.up_ms, found.stopped_ms, found.unclear_ms, found.crashes) == (82_805_750, 4_200, 0, 0)
    assert found.submission == found.path == Share(82_805_750 / 82_809_950, 82_805_750 / 82_809_950)
    assert figures(found.overhead) == (13, 0, 900, 5 * 350 + 5 * 700 + 2 * 40 + 900)
    # one for a slot, from 8:46:10 to 8:48:00.7; one for an executor that rests, from 15:12 to 15:55
    assert figures(found.waited) == (2, 0, 43 * MINUTE, 110_700 + 43 * MINUTE)
    assert (found.created, found.completed, found.failed, found.cancelled, found.open) == (13, 11, 1, 1, 0)
    assert found.completion == Share(11 / 12, 11 / 12)
    assert found.failed_by_kind == {"failed": 1}
    assert found.outages == []
    assert found.detection.ok is None
    assert (found.lost, found.doubled, found.requests_refused) == (0, 0, None)


def test_a_dead_proxy_is_an_outage_and_the_drill_after_it_is_not(golden: OpenGolden) -> None:
    found = levels(golden("litellm-killed"))
    began, back = at("2026-10-07 10:12:08.002"), at("2026-10-07 10:12:52.008")
    drilled, normal = at("2026-10-07 14:00:00.504"), at("2026-10-07 14:00:42.510")
    assert found.outages == [
        Outage("DEGRADED", "proxy", "outage", 58, began, began, 0, back),  # two calls met it in the same millisecond
        Outage("DEGRADED", "proxy", "drill", 124, drilled, at("2026-10-07 14:00:00.002"), 502, normal),
    ]
    assert found.modes["outage"]["DEGRADED"] == ModeTime(1, 44_006, 44_006)
    assert found.modes["drill"]["DEGRADED"] == ModeTime(1, 42_006, 42_006)
    assert found.drills_held == 1
    fault = ("proxy-down", 122, at("2026-10-07 14:00:00"), at("2026-10-07 14:00:40"))
    assert found.drills == [Drill(*fault, "DEGRADED", 504, 2_510, 0, ok=True)]
    assert figures(found.detection) == (1, 0, 0, 0)
    # reserved at 10:12:08.000, refused after 2 ms, reserved again after 1 more; first bytes after 2.25 s and 1 s
    assert figures(found.calls_moved) == (2, 0, 2_253, 2_253 + 1_003)
    assert found.calls_unanswered == 0
    assert found.path == found.submission == Share(1.0, 1.0)
    assert (found.completed, found.cancelled, found.lost) == (9, 1, 0)  # the repair was called off


def test_without_a_cloud_there_is_no_path_although_tasks_are_taken(golden: OpenGolden) -> None:
    found = levels(golden("cloud-lost"))
    began, back = at("2026-10-08 15:00:05.006"), at("2026-10-08 15:09:45.195")
    assert found.outages == [
        Outage("BRAINSTEM", "network", "outage", 64, began, at("2026-10-08 15:00:00.003"), 5_003, back)
    ]
    whole, gone = HOUR + 20 * MINUTE + 900, 9 * MINUTE + 40_189
    assert found.modes["outage"]["BRAINSTEM"] == ModeTime(1, gone, gone)
    assert found.submission == Share(1.0, 1.0)
    assert found.path == Share((whole - gone) / whole, (whole - gone) / whole)
    assert found.path.ok is False
    assert figures(found.overhead) == (9, 0, 900, 4 * 350 + 900 + 3 * 700 + 40)
    assert figures(found.waited) == (3, 0, 765_895, 765_895 + 525_195 + 345_195)
    assert (found.created, found.completed, found.completion) == (9, 9, Share(1.0, 1.0))
    assert found.detection.count == 0  # 5 s are promised of a proxy, not of a cloud


def test_nobody_knows_when_a_killed_daemon_died(golden: OpenGolden) -> None:
    found = levels(golden("daemon-killed"))
    # the last events before the two starts: 9:59:59.950 and 10:00:02.300
    assert (found.crashes, found.unclear_ms, found.stopped_ms) == (2, 2_050 + 2_200, 0)
    whole = HOUR + 20 * MINUTE + 20_600
    assert found.submission == Share((whole - 4_250) / whole, 1.0)
    assert (found.created, found.completed, found.failed, found.open, found.lost, found.doubled) == (7, 5, 1, 1, 0, 0)
    assert found.failed_by_kind == {"given_up": 1}


def test_a_budget_is_no_outage(golden: OpenGolden) -> None:
    found = levels(golden("budget-hit"))
    assert (found.created, found.completed, found.open) == (6, 6, 0)
    assert figures(found.overhead) == (6, 0, 700, 4 * 350 + 2 * 700)
    assert found.waited.count == 0
    assert found.outages == []


def test_a_log_from_before_there_were_modes_says_what_it_can(golden: OpenGolden) -> None:
    found = levels(golden("old-version"))
    assert (found.crashes, found.unclear_ms) == (1, 62 * SECOND)
    assert (found.created, found.completed, found.failed, found.cancelled, found.open) == (9, 5, 1, 1, 2)
    assert (found.detection.ok, found.calls_moved.ok, found.lost) == (None, None, 0)


def test_a_window_begins_in_the_middle_of_an_outage(golden: OpenGolden) -> None:
    found = levels(golden("cloud-lost"), at("2026-10-08 15:05:00"))
    assert found.modes["outage"]["BRAINSTEM"] == ModeTime(1, 4 * MINUTE + 45_195, 4 * MINUTE + 45_195)
    # what came in at 15:05 or later, what started then, and what ended then
    assert (found.created, found.completed, found.open) == (1, 6, 0)
    assert found.overhead.count == 3
    assert found.since_ms == at("2026-10-08 15:05:00")


def test_an_outage_that_lasts_has_no_end(golden: OpenGolden) -> None:
    found = levels(golden("cloud-lost"), until=97)
    assert found.until_ms == at("2026-10-08 15:07:01.838")
    assert [(each.mode, each.ended_ms) for each in found.outages] == [("BRAINSTEM", None)]
    assert found.modes["outage"]["BRAINSTEM"].total_ms == 6 * MINUTE + 56_832
    assert (found.created, found.completed, found.open, found.lost) == (9, 3, 6, 0)


def test_a_drill_that_is_not_over_has_no_verdict(golden: OpenGolden) -> None:
    drill = levels(golden("litellm-killed"), until=130).drills[0]
    assert (drill.mode, drill.detected_ms, drill.back_ms, drill.ok) == ("DEGRADED", 504, None, None)


@pytest.mark.parametrize(("now", "outages"), [("2026-10-09 00:00:00", 2), ("2026-11-06 13:00:00", 1)])
def test_a_rolling_window_forgets_what_is_older(golden: OpenGolden, now: str, outages: int) -> None:
    found: Levels = rolling(golden("litellm-killed"), 30, at(now))
    assert len(found.outages) == outages


def test_a_view_is_plain(golden: OpenGolden) -> None:
    view = levels(golden("litellm-killed")).view()
    assert view["availability"]["submission"] == {"least": 1.0, "most": 1.0, "wanted": 0.99, "ok": True}
    assert view["failover"]["calls"]["mean_ms"] == 1_628
    assert view["outages"][0]["began"] == "2026-10-07T02:12:08.002Z"
    assert view["overhead"]["wanted_ms"] == 2_000
    assert view["requests_refused"] is None

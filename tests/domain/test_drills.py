"""What Brainstem makes of a drill: it is written down, and nobody is sent to repair what is well."""

from __future__ import annotations

from tests.domain.given import names
from tests.domain.stem import HOUR, Stem, replayed

from omni.domain import commands as cmd
from omni.domain import events as ev

DRILL_MS = 20_000
MINUTE = 60_000


def drilled() -> Stem:
    stem = Stem()
    stem.put(cmd.DrillNoted("proxy-down", stem.at + DRILL_MS))
    return stem


def test_a_drill_stands_in_the_log() -> None:
    stem = drilled()
    assert stem.events == [ev.DrillBegun("proxy-down", stem.at + DRILL_MS)]


def test_while_a_drill_is_held_nobody_repairs_the_proxy_and_a_minute_after_it_somebody_does() -> None:
    stem = drilled()
    assert names(stem.turn("DEGRADED")) == ["system.mode_followed", "system.notice_queued"]
    assert stem.to("timers") == [cmd.WakeIn("brainstem", DRILL_MS + MINUTE, "repair")]
    stem.at += DRILL_MS + MINUTE - 1
    assert stem.put(cmd.TimerFired("repair")) == []
    stem.at += 1
    assert names(stem.put(cmd.TimerFired("repair"))) == ["system.repair_started"]


def test_a_restart_forgets_no_drill() -> None:
    stem = drilled()
    stem.state = replayed(stem.log)
    assert "system.repair_started" not in names(stem.turn("DEGRADED"))


def test_a_drill_that_ends_too_far_away_was_noted_before_the_clock_was_set_and_forbids_nothing() -> None:
    stem = drilled()
    stem.at -= 24 * HOUR
    assert "system.repair_started" in names(stem.turn("DEGRADED"))

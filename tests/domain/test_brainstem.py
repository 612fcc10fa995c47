"""Given what the system stream says, when a message comes, then these events and these messages follow."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.domain.given import names
from tests.domain.stem import HOUR, REPAIR, Stem, replayed

from omni.domain import brainstem as rules
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import outbox
from omni.domain.values import Mode, RepairSettings

# --- modes


@pytest.mark.parametrize(
    ("before", "after", "events", "notices", "local"),
    [
        ("NORMAL", "DEGRADED", ["system.mode_followed"], ["degraded"], []),
        ("NORMAL", "BRAINSTEM", ["system.mode_followed", "system.suspended"], ["cloud_offline"], [cmd.WakeLocal()]),
        ("DEGRADED", "NORMAL", ["system.mode_followed"], ["recovered"], []),
        ("DEGRADED", "BRAINSTEM", ["system.mode_followed", "system.suspended"], ["cloud_offline"], [cmd.WakeLocal()]),
        ("BRAINSTEM", "NORMAL", ["system.mode_followed", "system.restored"], ["cloud_restored"], [cmd.SleepLocal()]),
        ("BRAINSTEM", "DEGRADED", ["system.mode_followed", "system.restored"], ["cloud_restored", "degraded"],
         [cmd.SleepLocal()]),
    ],
)  # fmt: skip
def test_each_edge_is_written_down_and_told(
    before: Mode, after: Mode, events: list[str], notices: list[str], local: list[Any]
) -> None:
    stem = Stem(RepairSettings(attempts=0))
    if before != "NORMAL":
        stem.turn(before)
        stem.told()
    seen = stem.turn(after, "the line is dead")
    assert [n for n in names(seen) if n in {"system.mode_followed", "system.suspended", "system.restored"}] == events
    assert stem.to("local") == local
    assert all(e.facts["reason"] == "the line is dead" for e in seen if isinstance(e, ev.NoticeQueued))
    assert stem.told() == notices


@pytest.mark.parametrize("mode", ["NORMAL", "DEGRADED", "BRAINSTEM"])
def test_the_same_mode_again_is_no_news(mode: Mode) -> None:
    stem = Stem()
    stem.turn(mode)
    assert stem.turn(mode, "in other words") == []


def test_a_mode_that_the_first_probes_have_not_confirmed_changes_nothing() -> None:
    stem = Stem()
    assert stem.put(cmd.NoteMode("BRAINSTEM", reason="as before the restart")) == []
    assert stem.sends == []


@pytest.mark.parametrize("mode", ["DEGRADED", "BRAINSTEM"])
def test_after_a_restart_in_the_same_mode_nobody_is_told_again(mode: Mode) -> None:
    stem = Stem(RepairSettings(attempts=0))
    stem.turn(mode)
    stem.told()
    stem.put(cmd.DaemonDown("SIGTERM"))
    stem.start(RepairSettings(attempts=0))
    assert stem.turn(mode) == []
    assert not stem.state.outbox


# --- starts


def test_a_start_after_a_stop_in_good_order_tells_nobody() -> None:
    stem = Stem()
    stem.put(cmd.DaemonDown("SIGTERM"))
    assert names(stem.start()) == ["system.started"]


def test_a_start_after_a_crash_is_told_once() -> None:
    stem = Stem()
    stem.start()
    assert stem.told() == ["restarted_after_crash"]
    again = cmd.DaemonUp("0.1", 7, "boot-2", "digest", {})
    assert stem.put(again) == []


def test_a_start_writes_down_the_configuration_once_and_every_accepted_loss() -> None:
    stem = Stem()
    assert names([e for e, _ in stem.log]) == ["system.started", "system.config_loaded"]
    stem.put(cmd.DaemonDown("SIGTERM"))
    stem.put(cmd.DaemonUp("0.1", 7, "boot-2", "other digest", {"a": 1}, accepted_loss=3))
    assert names(stem.events) == ["system.started", "system.loss_accepted", "system.config_loaded"]


# --- notices


def test_notices_are_told_in_order_one_at_a_time() -> None:
    stem = Stem(RepairSettings(attempts=0))
    stem.turn("BRAINSTEM")
    (offline,) = stem.to("notifier")
    stem.turn("NORMAL")
    assert stem.to("notifier") == []
    stem.put(cmd.Delivered(offline.key, ok=True))
    (restored,) = stem.to("notifier")
    assert (offline.kind, restored.kind) == ("cloud_offline", "cloud_restored")
    stem.put(cmd.Delivered(restored.key, ok=True))
    assert stem.sends == []


def test_a_notice_that_nobody_takes_is_tried_again_with_growing_pauses() -> None:
    stem = Stem()
    stem.put(cmd.Tell("task_held", {"task": "t"}))
    (first,) = stem.to("notifier")
    pauses = []
    for _ in range(7):
        stem.put(cmd.Delivered(first.key, ok=False, detail="no route"))
        (wake,) = stem.to("timers")
        pauses.append(wake.delay_ms)
        stem.at += wake.delay_ms
        stem.put(cmd.TimerFired(wake.key))
        assert stem.to("notifier") == [first]
    bases = [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000]
    assert all(0.75 * base <= pause <= 1.25 * base for pause, base in zip(pauses, bases, strict=True))
    assert len(set(pauses)) == len(pauses)  # spread by a hash


def test_a_notice_that_nobody_took_for_a_day_is_dropped_and_the_next_one_goes() -> None:
    stem = Stem()
    stem.put(cmd.Tell("task_held", {"task": "a"}))
    (first,) = stem.to("notifier")
    stem.at += 23 * HOUR
    stem.put(cmd.Tell("task_held", {"task": "b"}))
    assert names(stem.put(cmd.Delivered(first.key, ok=False))) == ["system.notice_delayed"]
    stem.at += HOUR
    assert names(stem.put(cmd.Delivered(first.key, ok=False, detail="still none"))) == ["system.notice_dropped"]
    assert [m.facts for m in stem.to("notifier")] == [{"task": "b"}]


def test_an_undelivered_notice_goes_out_again_after_a_restart_under_its_key() -> None:
    stem = Stem()
    stem.put(cmd.Tell("task_held", {"task": "a"}))
    (before,) = stem.to("notifier")
    stem.put(cmd.DaemonDown("SIGTERM"))
    stem.start()
    assert stem.to("notifier") == [before]
    assert [s.message for s in rules.owed(replayed(stem.log))] == [before]


def test_an_answer_that_comes_twice_or_late_changes_nothing() -> None:
    stem = Stem()
    stem.put(cmd.Tell("task_held", {"task": "a"}))
    (notice,) = stem.to("notifier")
    stem.put(cmd.Delivered(notice.key, ok=True))
    assert stem.put(cmd.Delivered(notice.key, ok=True)) == []
    assert stem.put(cmd.Delivered(notice.key, ok=False)) == []
    assert stem.put(cmd.Delivered("unheard of", ok=True)) == []
    assert stem.sends == []


def test_only_the_notice_on_its_way_can_be_delayed() -> None:
    stem = Stem()
    stem.put(cmd.Tell("task_held", {"task": "a"}))
    stem.put(cmd.Tell("task_held", {"task": "b"}))
    behind = list(stem.state.outbox)[1]
    assert stem.put(cmd.Delivered(behind, ok=False)) == []
    assert names(stem.put(cmd.Delivered(behind, ok=True))) == ["system.notice_delivered"]
    assert [m.facts for m in stem.to("notifier")] == [{"task": "a"}]  # said twice, told once


def test_the_same_wish_is_told_once_and_different_ones_each() -> None:
    stem = Stem()
    for dedup in ("daily-cap", "daily-cap", "", "", "other"):
        stem.put(cmd.Tell("budget_reached", {}, dedup))
    stem.start()
    stem.put(cmd.Tell("budget_reached", {}, "daily-cap"))
    assert sum(n.kind == "budget_reached" for n in stem.state.outbox.values()) == 4


def test_no_two_notices_ever_share_a_key() -> None:
    stem = Stem()
    for _ in range(3):
        stem.turn("BRAINSTEM")
        stem.turn("DEGRADED")
        stem.start()
    keys = [e.key for e, _ in stem.log if isinstance(e, ev.NoticeQueued)]
    assert len(keys) == 12
    assert len(set(keys)) == len(keys)


def test_an_outbox_that_is_full_drops_what_waits_longest_behind_the_one_on_its_way() -> None:
    stem = Stem()
    for n in range(outbox.OUTBOX_LIMIT + 2):
        stem.put(cmd.Tell("task_held", {"task": str(n)}))
    waiting = [notice.facts["task"] for notice in stem.state.outbox.values()]
    assert len(waiting) == outbox.OUTBOX_LIMIT
    assert waiting[:3] == ["0", "3", "4"]


# --- repairs


def test_a_proxy_that_is_down_is_repaired_by_one_task() -> None:
    stem = Stem()
    stem.turn("DEGRADED", "connection refused")
    (create,) = stem.to("router")
    assert isinstance(create, cmd.CreateTask)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", create.task_id)
    assert int(create.task_id.replace("-", "")[:12], 16) == stem.at
    spec = create.spec
    assert (create.request, create.client) == ("", "brainstem")
    assert (spec.executor, spec.type, spec.labels, spec.budget_usd) == ("fixer", "coding", ("repair",), 1.5)
    assert "connection refused" in spec.description
    assert REPAIR.where in spec.description
    assert stem.state.repair == create.task_id


def test_the_next_repair_follows_after_a_growing_pause_and_hears_how_the_last_one_ended() -> None:
    stem = Stem()
    stem.turn("DEGRADED")
    tasks, pauses = [stem.state.repair], []
    for n in range(4):
        stem.put(cmd.RepairReported(stem.state.repair, "failed", f"reason {n}"))
        (wake,) = stem.to("timers")
        pauses.append(wake.delay_ms)
        stem.at += wake.delay_ms - 1
        assert stem.put(cmd.TimerFired(wake.key)) == []
        assert [w.delay_ms for w in stem.to("timers")] == [1]
        stem.at += 1
        assert names(stem.put(cmd.TimerFired(wake.key))) == ["system.repair_started"]
        assert f"failed: reason {n}" in stem.to("router")[0].spec.description
        tasks.append(stem.state.repair)
    assert pauses == [60_000, 120_000, 240_000, 480_000]
    assert len(set(tasks)) == 5


def test_after_the_last_attempt_a_person_is_told_and_it_stays_so() -> None:
    stem = Stem(RepairSettings("fixer", attempts=2))
    stem.turn("DEGRADED")
    stem.put(cmd.RepairReported(stem.state.repair, "completed"))
    stem.at += 60_000
    stem.put(cmd.TimerFired("repair"))
    stem.put(cmd.RepairReported(stem.state.repair, "failed"))
    assert names(stem.events) == ["system.repair_ended", "system.repair_given_up", "system.notice_queued"]
    assert stem.events[0].next_at is None
    stem.at += HOUR
    assert stem.put(cmd.TimerFired("repair")) == []
    assert stem.turn("DEGRADED") == []
    assert stem.state.mode == "DEGRADED"
    assert stem.told() == ["degraded", "repair_given_up"]


def test_a_new_outage_begins_with_new_attempts_and_ends_with_a_word_of_its_own() -> None:
    stem = Stem(RepairSettings("fixer", attempts=1))
    for outage in ("first", "second"):
        stem.turn("DEGRADED")
        (create,) = stem.to("router")
        assert "before this one" not in create.spec.description
        stem.put(cmd.RepairReported(stem.state.repair, "failed", f"the {outage} time"))
        assert "system.repair_given_up" in names(stem.events)
        stem.turn("NORMAL")
    assert stem.told().count("repair_given_up") == 2


def test_the_word_of_a_repair_is_no_health() -> None:
    stem = Stem()
    stem.turn("DEGRADED")
    stem.put(cmd.RepairReported(stem.state.repair, "completed", "it works again"))
    assert stem.state.mode == "DEGRADED"


@pytest.mark.parametrize("mode", ["NORMAL", "BRAINSTEM"])
def test_a_repair_is_called_off_when_the_mode_changes(mode: Mode) -> None:
    stem = Stem()
    stem.turn("DEGRADED")
    task = stem.state.repair
    stem.turn(mode)
    assert cmd.CancelTask("", task, "brainstem") in stem.to("router")
    (ended,) = [e for e in stem.events if isinstance(e, ev.RepairEnded)]
    assert (ended.task_id, ended.outcome) == (task, "not wanted any more")
    assert [s.message for s in rules.owed(stem.state) if s.to == "router"] == [cmd.CancelTask("", task, "brainstem")]
    assert stem.put(cmd.RepairReported(task, "cancelled")) == [ev.RepairEnded(task, "cancelled")]
    assert stem.put(cmd.RepairReported(task, "cancelled")) == []
    assert [s for s in rules.owed(stem.state) if s.to == "router"] == []


def test_a_repair_that_was_called_off_is_not_begun_anew_at_once() -> None:
    stem = Stem()
    for mode in ("DEGRADED", "BRAINSTEM", "DEGRADED"):
        stem.turn(mode)
    assert not stem.state.repair
    assert [w.delay_ms for w in stem.to("timers")] == [60_000]


def test_no_repair_begins_when_its_time_comes_too_late() -> None:
    stem = Stem()
    stem.turn("DEGRADED")
    stem.put(cmd.RepairReported(stem.state.repair, "failed"))
    stem.turn("NORMAL")
    stem.at += HOUR
    assert stem.put(cmd.TimerFired("repair")) == []
    assert stem.sends == []


def test_the_repair_is_told_what_began_the_outage() -> None:
    stem = Stem()
    stem.turn("DEGRADED", "connection refused")
    stem.put(cmd.RepairReported(stem.state.repair, "failed"))
    stem.at += HOUR
    stem.turn("DEGRADED", "half the calls fail")
    (create,) = stem.to("router")
    stem.start()
    assert stem.to("router") == [create]


def test_attempts_count_until_the_proxy_is_back() -> None:
    stem = Stem(RepairSettings("fixer", attempts=2))
    for mode in ("DEGRADED", "BRAINSTEM", "DEGRADED"):
        stem.at += HOUR
        stem.turn(mode)
    assert stem.state.repairs == 2
    stem.turn("BRAINSTEM")
    stem.at += HOUR
    assert "system.repair_given_up" in names(stem.turn("DEGRADED"))
    stem.turn("NORMAL")
    assert names(stem.turn("DEGRADED"))[-1] == "system.repair_started"
    assert stem.state.repairs == 1


def test_where_nobody_can_repair_it_is_said_once_for_each_outage() -> None:
    stem = Stem(RepairSettings())
    for mode in ("DEGRADED", "DEGRADED", "BRAINSTEM", "DEGRADED"):
        stem.turn(mode)
    assert stem.told().count("no_repair") == 1
    stem.turn("NORMAL")
    stem.turn("DEGRADED")
    assert stem.told().count("no_repair") == 1
    assert not stem.state.repair


def test_repairs_that_are_switched_off_need_no_word() -> None:
    stem = Stem(RepairSettings("fixer", attempts=0))
    stem.turn("DEGRADED")
    assert stem.told() == ["degraded"]
    assert not stem.state.repair


def test_an_open_repair_is_asked_for_again_after_a_restart_as_the_same_task() -> None:
    stem = Stem()
    stem.turn("DEGRADED")
    before = stem.to("router")
    stem.start()
    assert stem.to("router") == before
    stem.turn("DEGRADED")
    assert stem.to("router") == []


def test_after_a_restart_between_two_repairs_the_next_waits_for_the_first_probes_and_its_pause() -> None:
    stem = Stem()
    stem.turn("DEGRADED")
    stem.put(cmd.RepairReported(stem.state.repair, "failed"))
    stem.start()
    assert [w.key for w in stem.to("timers")] == ["repair"]
    assert stem.to("router") == []
    stem.at += 15_000
    assert stem.turn("DEGRADED") == []
    assert [w.delay_ms for w in stem.to("timers")] == [45_000]
    stem.at += 45_000
    assert names(stem.turn("DEGRADED")) == ["system.repair_started"]


def test_a_clock_that_was_set_back_keeps_no_repair_waiting_for_ever() -> None:
    stem = Stem()
    stem.turn("DEGRADED")
    stem.put(cmd.RepairReported(stem.state.repair, "failed"))
    stem.at -= 1_000 * HOUR
    assert names(stem.put(cmd.TimerFired("repair"))) == ["system.repair_started"]


# --- the local model


def test_a_local_model_that_does_not_wake_is_asked_again_while_the_cloud_is_gone() -> None:
    stem = Stem()
    stem.turn("BRAINSTEM")
    assert names(stem.put(cmd.LocalObserved("failed", "not installed"))) == ["system.local_model_changed"]
    assert stem.to("timers") == [cmd.WakeIn("brainstem", 60_000, "local")]
    stem.put(cmd.TimerFired("local"))
    assert stem.to("local") == [cmd.WakeLocal()]
    assert stem.put(cmd.LocalObserved("failed", "not installed")) == []  # once is enough for the log
    assert stem.to("timers") == [cmd.WakeIn("brainstem", 60_000, "local")]
    assert names(stem.put(cmd.LocalObserved("checked", "loaded in 2 s"))) == ["system.local_model_changed"]
    stem.put(cmd.TimerFired("local"))
    assert stem.sends == []


def test_the_local_model_is_asked_to_sleep_until_it_is_seen_to_be_gone() -> None:
    stem = Stem()
    stem.turn("BRAINSTEM")
    stem.put(cmd.LocalObserved("checked"))
    stem.turn("NORMAL")
    for _ in range(3):
        stem.put(cmd.LocalObserved("failed", "still there"))
        assert stem.to("timers") == [cmd.WakeIn("brainstem", 30_000, "local")]
        stem.put(cmd.TimerFired("local"))
        assert stem.to("local") == [cmd.SleepLocal()]
    stem.put(cmd.LocalObserved("unloaded"))
    assert stem.state.local == "unloaded"
    stem.put(cmd.TimerFired("local"))
    assert stem.sends == []


def test_a_local_model_that_never_sleeps_is_left_to_a_person() -> None:
    stem = Stem()
    stem.turn("BRAINSTEM")
    stem.turn("NORMAL")
    stem.told()
    for _ in range(rules.SLEEP_TRIES):
        stem.put(cmd.LocalObserved("failed", "still there"))
    assert stem.to("timers") == []
    assert stem.told() == ["local_model_stays"]
    assert stem.put(cmd.LocalObserved("failed", "still there")) == []
    stem.put(cmd.DaemonDown("SIGTERM"))
    stem.start()
    assert stem.to("local") == []


@pytest.mark.parametrize(
    ("mode", "observed"), [("BRAINSTEM", "unloaded"), ("NORMAL", "checked")], ids=["of a sleep", "of a wake"]
)
def test_a_late_word_on_the_local_model_counts_for_nothing(mode: Mode, observed: str) -> None:
    stem = Stem()
    stem.turn("BRAINSTEM")
    if mode == "NORMAL":
        stem.turn("NORMAL")
    assert stem.put(cmd.LocalObserved(observed)) == []


@pytest.mark.parametrize(
    ("modes", "owed"),
    [(["BRAINSTEM"], [cmd.WakeLocal()]), (["BRAINSTEM", "NORMAL"], [cmd.SleepLocal()]), (["DEGRADED"], [])],
)
def test_what_is_still_wanted_of_the_local_model_is_asked_again_after_a_restart(
    modes: list[Mode], owed: list[Any]
) -> None:
    stem = Stem()
    for mode in modes:
        stem.turn(mode)
    stem.start()
    assert stem.to("local") == owed

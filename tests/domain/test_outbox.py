"""Whom notices are owed to, in which order, and when: lanes, quiet hours, answers, changed sinks, old logs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.domain.given import names
from tests.domain.stem import HOUR, Stem, replayed

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import outbox
from omni.domain.system import evolve, initial
from omni.domain.values import ExecutorHealth, NoticeSink, QuietHours, RepairSettings, Telling

LOG, CHAT, HOOK = NoticeSink("log"), NoticeSink("chat", people=True, addressed=True), NoticeSink("hook", people=True)
NIGHT = QuietHours(22 * 60, 7 * 60, ("cloud_offline", "cloud_restored"))
MIDNIGHT = 1_700_006_400_000  # UTC
NOBODY = RepairSettings(attempts=0)


def stem(*sinks: NoticeSink, quiet: QuietHours | None = None, at: int = MIDNIGHT + 12 * HOUR) -> Stem:
    made = Stem(NOBODY, Telling(sinks, quiet))
    made.at = at
    return made


def held(one: Stem, task: str = "t", **other: Any) -> str:
    """Queue a notice; its key."""
    (queued,) = [e for e in one.put(cmd.Tell("task_held", {"task": task}, **other)) if isinstance(e, ev.NoticeQueued)]
    return queued.key


def out(one: Stem) -> list[tuple[str, str]]:
    """What the last message sent to the notifier: sink and key."""
    return [(each.sink, each.key) for each in one.to("notifier")]


def waiting(one: Stem, sink: str, to: str = "") -> list[str]:
    return list(one.state.lanes.get((sink, to), ()))


# --- lanes


def test_a_notice_goes_to_every_sink_and_is_done_when_each_has_taken_it() -> None:
    one = stem(LOG, CHAT)
    key = held(one)
    assert out(one) == [("log", key), ("chat", key)]
    assert one.put(cmd.Delivered(key, ok=True, sink="log")) == [ev.NoticeDelivered(key, "log")]
    assert list(one.state.outbox) == [key]
    assert one.put(cmd.Delivered(key, ok=True, sink="chat")) == [ev.NoticeDelivered(key, "chat")]
    assert not one.state.outbox
    assert not one.state.lanes


def test_a_sink_that_is_dead_holds_up_no_other() -> None:
    one = stem(LOG, CHAT)
    first = held(one)
    one.put(cmd.Delivered(first, ok=False, sink="chat"))
    assert [wake.key for wake in one.to("timers")] == ["outbox:chat:"]
    one.put(cmd.Delivered(first, ok=True, sink="log"))
    second = held(one)
    assert out(one) == [("log", second)]
    assert waiting(one, "chat") == [first, second]
    one.put(cmd.TimerFired("outbox:chat:"))
    assert out(one) == [("chat", first)]


@pytest.mark.parametrize(
    ("executor", "state", "again"), [("claw", "ready", True), ("claw", "failed", False), ("x", "ready", False)]
)
def test_what_its_executor_could_not_carry_goes_out_as_soon_as_that_is_back(
    executor: str, state: Any, again: bool
) -> None:
    one = stem(LOG, NoticeSink("chat", people=True, executor="claw"))
    first = held(one)
    one.put(cmd.Delivered(first, ok=False, sink="chat"))
    held(one)
    one.put(cmd.NoteExecutor(executor, ExecutorHealth(state)))
    assert out(one) == ([("chat", first)] if again else [])


def test_what_is_on_its_way_for_the_first_time_is_not_sent_again_because_its_executor_is_back() -> None:
    one = stem(NoticeSink("chat", people=True, executor="claw"))
    held(one)
    one.put(cmd.NoteExecutor("claw", ExecutorHealth("ready")))
    assert out(one) == []


def test_an_answer_of_a_sink_that_is_owed_nothing_changes_nothing() -> None:
    one = stem(LOG, CHAT)
    key = held(one)
    one.put(cmd.Delivered(key, ok=True, sink="log"))
    for sink in ("log", "hook", ""):
        assert one.put(cmd.Delivered(key, ok=True, sink=sink)) == []
        assert one.put(cmd.Delivered(key, ok=False, sink=sink)) == []
        assert one.sends == []


def test_a_sink_that_never_wants_it_is_asked_no_more() -> None:
    one = stem(LOG, HOOK)
    first, second = held(one), held(one)
    one.put(cmd.Delivered(first, ok=False, detail="410", sink="hook", gone=True))
    assert one.events == [ev.NoticeDropped(first, "410", "hook")]
    assert out(one) == [("hook", second)]
    assert waiting(one, "log") == [first, second]


def test_one_sink_gives_a_notice_up_after_a_day_and_the_others_keep_it() -> None:
    one = stem(LOG, CHAT)
    key = held(one)
    one.at += 24 * HOUR
    assert names(one.put(cmd.Delivered(key, ok=False, sink="chat"))) == ["system.notice_dropped"]
    assert (waiting(one, "log"), waiting(one, "chat")) == ([key], [])


def test_a_full_lane_loses_what_waits_longest_and_an_empty_one_nothing() -> None:
    one = stem(LOG, CHAT)
    keys = []
    for n in range(outbox.OUTBOX_LIMIT + 2):
        keys.append(held(one, str(n)))
        one.put(cmd.Delivered(keys[-1], ok=True, sink="log"))
    assert waiting(one, "chat") == [keys[0], *keys[3:]]
    assert list(one.state.outbox) == waiting(one, "chat")
    assert not waiting(one, "log")


def test_each_lane_is_sent_its_first_again_after_a_restart() -> None:
    one = stem(LOG, CHAT)
    first, second = held(one), held(one)
    one.put(cmd.Delivered(first, ok=True, sink="log"))
    one.put(cmd.DaemonDown("SIGTERM"))
    one.start(NOBODY)
    assert sorted(out(one)) == [("chat", first), ("log", second)]


# --- sinks that come and go


def test_what_is_owed_to_a_sink_that_is_configured_no_more_is_settled_with_the_reason() -> None:
    one = stem(LOG, CHAT)
    first, second = held(one), held(one)
    one.put(cmd.DaemonDown("SIGTERM"))
    one.start(NOBODY, Telling((LOG,)))
    dropped = [event for event in one.events if isinstance(event, ev.NoticeDropped)]
    assert [(d.key, d.sink) for d in dropped] == [(first, "chat"), (second, "chat")]
    assert "not configured any more" in dropped[0].detail
    assert out(one) == [("log", first)]
    assert one.put(cmd.Delivered(first, ok=True, sink="chat")) == []


def test_a_messenger_that_lost_the_owners_address_is_sent_nothing_for_the_owner() -> None:
    one = stem(LOG, CHAT)
    notice, answer = held(one), held(one, to="telegram:1")
    one.put(cmd.DaemonDown("SIGTERM"))
    one.start(NOBODY, Telling((LOG, NoticeSink("chat", people=True, owner=False, addressed=True))))
    assert [(e.key, e.sink) for e in one.events if isinstance(e, ev.NoticeDropped)] == [(notice, "chat")]
    assert sorted(out(one)) == [("chat", answer), ("log", notice)]
    assert waiting(one, "chat") == []


def test_a_new_sink_hears_of_what_is_new() -> None:
    one = stem(LOG)
    old = held(one)
    one.put(cmd.DaemonDown("SIGTERM"))
    one.start(NOBODY, Telling((LOG, CHAT)))
    assert out(one) == [("log", old)]
    new = held(one)
    assert out(one) == [("chat", new)]


def test_a_crash_is_told_to_the_sinks_of_the_new_start_and_no_two_keys_are_alike() -> None:
    one = stem(LOG)
    for sinks in ((LOG, CHAT), (CHAT,), (LOG,), (CHAT, HOOK)):
        one.start(NOBODY, Telling(sinks))
        crashed = [e.key for e in one.events if isinstance(e, ev.NoticeQueued)][-1]
        assert all(waiting(one, sink.name)[-1] == crashed for sink in sinks)
    keys = [event.key for event, _ in one.log if isinstance(event, ev.NoticeQueued)]
    assert len(keys) == len(set(keys)) == 4


# --- old logs


def old_log(*more: Any) -> list[tuple[Any, int]]:
    """A log from before sinks had names: two notices, told of or not."""
    events = [
        ev.DaemonStarted("0.1", 7, "old-boot"),
        ev.NoticeQueued("a", "degraded"),
        ev.NoticeQueued("b", "recovered"),
        *more,
    ]
    return [(event, MIDNIGHT) for event in events]


def test_a_delivery_without_a_sink_is_a_delivery_to_all() -> None:
    state = replayed(old_log(ev.NoticeDelayed("a", "no route", MIDNIGHT + 30_000), ev.NoticeDelivered("a")))
    assert list(state.outbox) == ["b"]
    assert {lane: list(keys) for lane, keys in state.lanes.items()} == {("", ""): ["b"]}
    evolve(state, ev.NoticeDropped("b", "old news"), MIDNIGHT)
    assert not state.outbox
    assert not state.lanes


def test_what_an_old_log_still_owes_is_owed_to_each_sink_that_there_is_now() -> None:
    one = stem(LOG)
    one.log = old_log(ev.NoticeDelivered("a"))
    one.start(NOBODY, Telling((LOG, CHAT)))
    assert waiting(one, "log")[0] == waiting(one, "chat")[0] == "b"
    assert ("log", "b") in out(one)
    assert ("chat", "b") in out(one)
    assert vars(one.state) == vars(replayed(one.log))


def test_where_there_is_no_sink_at_all_nothing_waits() -> None:
    one = stem()
    assert names(one.put(cmd.Tell("task_held"))) == ["system.notice_queued", "system.notice_dropped"]
    assert not one.state.outbox
    one.log = old_log()
    one.start(NOBODY, Telling(()))
    assert not one.state.outbox


# --- quiet hours


@pytest.mark.parametrize(
    ("quiet", "minute", "left_min"),
    [
        (NIGHT, 12 * 60, 0),
        (NIGHT, 22 * 60 - 1, 0),
        (NIGHT, 22 * 60, 9 * 60),
        (NIGHT, 0, 7 * 60),
        (NIGHT, 7 * 60 - 1, 1),
        (NIGHT, 7 * 60, 0),
        (QuietHours(60, 120), 90, 30),
        (QuietHours(60, 120), 120, 0),
        (QuietHours(60, 120, utc_offset_ms=8 * HOUR), 17 * 60 + 30, 30),
        (QuietHours(60, 120, utc_offset_ms=-5 * HOUR), 6 * 60 + 30, 30),
        (QuietHours(60, 60), 60, 0),
    ],
)
def test_how_long_the_quiet_hours_go_on(quiet: QuietHours, minute: int, left_min: int) -> None:
    assert outbox.quiet_ms(quiet, MIDNIGHT + minute * 60_000) == left_min * 60_000


def test_at_night_people_hear_of_the_exceptions_only_and_of_the_rest_in_order_when_it_ends() -> None:
    one = stem(LOG, CHAT, quiet=NIGHT, at=MIDNIGHT + 23 * HOUR)
    first = held(one)
    assert out(one) == [("log", first)]
    assert [(wake.key, wake.delay_ms) for wake in one.to("timers")] == [("outbox:chat:", outbox.LOOK_MS)]
    second = held(one)
    one.turn("BRAINSTEM")
    ((_, offline),) = [each for each in out(one) if each[0] == "chat"]
    assert offline.startswith("cloud_offline")
    one.put(cmd.Delivered(offline, ok=True, sink="chat"))
    assert out(one) == []
    assert [wake.key for wake in one.to("timers")] == ["outbox:chat:"]
    one.at = MIDNIGHT + 31 * HOUR - 1
    one.put(cmd.TimerFired("outbox:chat:"))
    assert (out(one), [wake.delay_ms for wake in one.to("timers")]) == ([], [1])
    one.at += 1
    one.put(cmd.TimerFired("outbox:chat:"))
    assert out(one) == [("chat", first)]
    one.put(cmd.Delivered(first, ok=True, sink="chat"))
    assert out(one) == [("chat", second)]


def test_what_was_on_its_way_when_the_night_began_counts_and_a_failure_waits_for_the_morning() -> None:
    one = stem(CHAT, quiet=NIGHT, at=MIDNIGHT + 22 * HOUR - 1)
    first, second = held(one), held(one)
    one.at += 1
    one.put(cmd.Delivered(first, ok=True, sink="chat"))
    assert one.events == [ev.NoticeDelivered(first, "chat")]
    assert out(one) == []
    assert one.put(cmd.Delivered(second, ok=False, sink="chat")) == []
    assert [wake.key for wake in one.to("timers")] == ["outbox:chat:"]
    one.turn("BRAINSTEM")
    assert [sink for sink, _ in out(one)] == ["chat"]


def test_an_exception_that_fails_at_the_end_of_the_night_leaves_the_way_to_what_came_before_it() -> None:
    one = stem(CHAT, quiet=NIGHT, at=MIDNIGHT + 7 * HOUR - 1)
    first = held(one)
    one.turn("BRAINSTEM")
    ((_, offline),) = out(one)
    one.at += 1
    assert one.put(cmd.Delivered(offline, ok=False, sink="chat")) == []
    assert out(one) == [("chat", first)]


def test_after_a_restart_at_night_a_timer_asks_what_time_it_is() -> None:
    one = stem(LOG, CHAT, quiet=NIGHT, at=MIDNIGHT + 23 * HOUR)
    key = held(one)
    one.put(cmd.DaemonDown("SIGTERM"))
    one.start(NOBODY)
    assert out(one) == [("log", key)]
    (wake,) = one.to("timers")
    one.put(cmd.TimerFired(wake.key))
    assert out(one) == []
    one.at = MIDNIGHT + 36 * HOUR
    one.put(cmd.TimerFired(wake.key))
    assert out(one) == [("chat", key)]


# --- answers for whoever asked


def test_an_answer_goes_to_its_address_alone_at_any_hour_past_everything_that_waits() -> None:
    one = stem(LOG, CHAT, quiet=NIGHT, at=MIDNIGHT + 23 * HOUR)
    held(one)
    one.put(cmd.Tell("task_answer", {"text": "42"}, to="telegram:4:2"))
    (deliver,) = one.to("notifier")
    assert (deliver.sink, deliver.to, deliver.facts) == ("chat", "telegram:4:2", {"text": "42"})
    one.put(cmd.Delivered(deliver.key, ok=False, sink="chat"))
    (wake,) = one.to("timers")
    one.put(cmd.TimerFired(wake.key))
    assert one.to("notifier") == [deliver]
    one.put(cmd.DaemonDown("SIGTERM"))
    one.start(NOBODY)
    assert deliver in one.to("notifier")


def test_one_address_that_is_dead_holds_up_no_other() -> None:
    one = stem(CHAT)
    dead = held(one, to="telegram:1")
    one.put(cmd.Delivered(dead, ok=False, sink="chat"))
    assert out(one) == []
    well = held(one, to="telegram:2")
    assert out(one) == [("chat", well)]


def test_an_answer_that_no_sink_can_deliver_is_dropped_with_a_word() -> None:
    one = stem(LOG, HOOK)
    one.put(cmd.Tell("task_answer", {"text": "42"}, "answer:t", "telegram:42"))
    queued, dropped = one.events
    assert (dropped.key, dropped.sink) == (queued.key, "")
    assert "telegram:42" in dropped.detail
    assert one.sends == []
    assert not one.state.outbox
    assert one.put(cmd.Tell("task_answer", {"text": "42"}, "answer:t", "telegram:42")) == []


def test_a_messenger_without_an_owner_serves_answers_only() -> None:
    one = stem(LOG, NoticeSink("chat", people=True, owner=False, addressed=True))
    key = held(one)
    assert out(one) == [("log", key)]
    held(one, to="telegram:1")
    assert [sink for sink, _ in out(one)] == ["chat"]


def test_who_asks_from_many_addresses_fills_no_memory() -> None:
    one = stem(CHAT)
    for n in range(outbox.OUTBOX_LIMIT):
        held(one, to=f"telegram:{n}")
    assert names(one.put(cmd.Tell("task_answer", to="telegram:new"))) == [
        "system.notice_queued",
        "system.notice_dropped",
    ]
    assert len(one.state.outbox) == outbox.OUTBOX_LIMIT


def test_an_answer_may_be_long_and_everything_else_is_short() -> None:
    one = stem(CHAT)
    long = {"text": "x" * 9_000, "task": "y" * 9_000}
    (answer,) = one.put(cmd.Tell("task_answer", long, to="telegram:1"))
    assert {name: len(value) for name, value in answer.facts.items()} == {"text": 3_500, "task": 500}
    (other,) = one.put(cmd.Tell("task_held", long))
    assert {len(value) for value in other.facts.values()} == {500}


def test_the_state_before_any_start_owes_to_whatever_there_is() -> None:
    state = initial()
    evolve(state, ev.NoticeQueued("a", "degraded"), MIDNIGHT)
    assert list(state.lanes) == [("", "")]

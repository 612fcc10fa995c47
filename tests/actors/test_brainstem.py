"""Brainstem behind a kernel on a real log: what it owes after a restart, and what a replay says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omni.actors.brainstem import Brainstem
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import RepairSettings
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.upcasters import log_codec
from omni.runtime.kernel import Kernel
from omni.runtime.ports import SystemClock

DEGRADED = cmd.NoteMode("DEGRADED", "proxy", "connection refused", cleared=True)


def start(store: SqliteEventStore) -> tuple[Kernel[Any], list[Any]]:
    """A kernel that has read the log and heard of its daemon; what the daemon's start led to."""
    kernel: Kernel[Any] = Kernel(Brainstem(), store, SystemClock())
    kernel.refold()
    up = cmd.DaemonUp("0.1", 1, store.boot, "digest", {}, repair=RepairSettings("fixer"))
    return kernel, kernel.turn([("daemon", up)])


def to(receiver: str, sends: list[Any]) -> list[Any]:
    return [send.message for send in sends if send.to == receiver]


def test_everything_that_was_on_its_way_is_sent_again_by_the_next_daemon(tmp_path: Path) -> None:
    with SqliteEventStore.open(tmp_path / "omni.db", log_codec()) as store:
        kernel, _ = start(store)
        before = kernel.turn([("health", DEGRADED)])
        assert to("router", kernel.owed()) == to("router", before)
    with SqliteEventStore.open(tmp_path / "omni.db", log_codec()) as store:
        _, after = start(store)
    assert to("router", after) == to("router", before)
    assert to("notifier", after) == to("notifier", before)


def test_a_daemon_that_ended_without_a_word_is_told_of_by_the_next(tmp_path: Path) -> None:
    told = []
    for stops in (False, True, True):
        with SqliteEventStore.open(tmp_path / "omni.db", log_codec()) as store:
            kernel, sends = start(store)
            for deliver in to("notifier", sends):
                told.append(deliver.kind)
                kernel.turn([("notifier", cmd.Delivered(deliver.key, ok=True))])
            if stops:
                kernel.turn([("daemon", cmd.DaemonDown("SIGTERM"))])
    assert told == ["restarted_after_crash"]


def test_the_state_in_memory_is_what_the_log_says(tmp_path: Path) -> None:
    messages = [
        DEGRADED,
        cmd.Tell("budget_reached", {"cap": "day"}, "day-1"),
        cmd.NoteMode("BRAINSTEM", "network", "no route", cleared=True),
        cmd.LocalObserved("checked", "loaded in 2.0 s"),
        cmd.NoteMode("NORMAL", cleared=True),
        cmd.LocalObserved("failed", "still there"),
        cmd.LocalObserved("unloaded"),
    ]
    with SqliteEventStore.open(tmp_path / "omni.db", log_codec()) as store:
        kernel, _ = start(store)
        for message in messages:
            kernel.turn([("test", message)])
        lived = vars(kernel.state)
        kernel.refold()
        assert vars(kernel.state) == lived
        versions = [row.version for row in store.stream(ev.SYSTEM_STREAM)]
        assert versions == list(range(1, len(versions) + 1))
        assert len(versions) == kernel.state.version


def test_messages_that_others_broadcast_are_nothing_to_it(tmp_path: Path) -> None:
    with SqliteEventStore.open(tmp_path / "omni.db", log_codec()) as store:
        kernel, _ = start(store)
        for message in (cmd.ActorRestarted("router"), cmd.TimerFired("storage"), cmd.TimerFired("outbox")):
            assert kernel.turn([("supervisor", message)]) == []

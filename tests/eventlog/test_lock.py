"""Real processes: one daemon per log, whatever happens to the lock file."""

import os
from pathlib import Path

import pytest
from tests.eventlog.process import LogProcess
from tests.eventlog.samples import CODEC, fill, said

from omni.domain.errors import LogLocked
from omni.eventlog.backup import verify
from omni.eventlog.lock import DaemonLock
from omni.eventlog.sqlite import SqliteEventStore

pytestmark = pytest.mark.slow


def test_a_second_daemon_is_turned_away_and_told_who_holds_the_log(path: Path, store: SqliteEventStore) -> None:
    with LogProcess(path) as second:
        assert second.first_line.startswith(f"LogLocked another daemon, pid {os.getpid()}, holds the event log")
    assert store.append([said("task-1", 1)]) == 1


def test_a_second_opening_in_the_same_process_is_turned_away_too(path: Path, store: SqliteEventStore) -> None:
    with pytest.raises(LogLocked) as refused:
        SqliteEventStore.open(path, CODEC)
    assert (refused.value.hint or "").startswith("omni status shows that daemon")
    assert store.append([said("task-1", 1)]) == 1


def test_a_killed_daemon_leaves_the_log_free_and_whole(path: Path) -> None:
    with LogProcess(path) as first:
        assert first.ask("append 5") == "ok 5"
        first.kill()
    with SqliteEventStore.open(path, CODEC) as store:
        assert store.append([said("task-1", 1)]) == 6
    assert verify(path, CODEC).ok


def test_a_stopped_daemon_still_holds_the_log(path: Path) -> None:
    with LogProcess(path) as first:
        first.stop()
        with pytest.raises(LogLocked, match=str(first.pid)):
            SqliteEventStore.open(path, CODEC)
        first.go_on()
        assert first.ask("append 1") == "ok 1"


def test_a_daemon_that_wakes_after_a_take_over_never_interleaves(path: Path) -> None:
    with LogProcess(path) as first:
        assert first.ask("append 3") == "ok 3"
        first.stop()
        path.with_name("omni.db.lock").unlink()
        with SqliteEventStore.open(path, CODEC) as store:
            fill(store, "task-new", 2)
            first.go_on()
            answer = first.ask("append 1")
            assert answer.startswith(f"LogLocked the daemon with pid {os.getpid()} (boot {store.boot}) has taken")
            assert first.ask("append 1").startswith("LogLocked")
            boots = [recorded.boot for recorded in store.read(check=True)]
            assert boots == sorted(boots)
            assert len(boots) == 5
    assert verify(path, CODEC).ok


def test_a_take_over_counts_even_before_the_new_daemon_has_written(path: Path) -> None:
    with LogProcess(path) as first:
        path.with_name("omni.db.lock").unlink()
        with SqliteEventStore.open(path, CODEC) as store:
            assert first.ask("append 1").startswith("LogLocked")
            assert store.head.position == 0


def test_the_lock_is_free_again_once_released(tmp_path: Path) -> None:
    for _ in range(3):
        DaemonLock(tmp_path / "omni.db").release()

"""Full and failing disks: an acknowledged event is there, a refused one is not, and work goes on when it can."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.eventlog.faults import FaultyDisk, faulty_disk
from tests.eventlog.samples import CODEC, fill, said, texts

from omni.domain.errors import LogUnavailable
from omni.eventlog.backup import verify
from omni.eventlog.ballast import BALLAST_BYTES, Ballast
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import OutcomeUnknown

EXAMPLES = 100 * int(os.environ.get("OMNI_TORTURE", "1"))


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    with faulty_disk() as disk:
        yield disk


def test_a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_space(path: Path, disk: FaultyDisk) -> None:
    with SqliteEventStore.open(path, CODEC, vfs=disk.vfs_name) as store:
        fill(store, "task-1", 3)
        disk.full = True
        for _ in range(2):
            with pytest.raises(LogUnavailable, match="is full; nothing was written") as raised:
                store.append([said("task-1", 4)])
            assert "df -h" in raised.value.hint
        disk.full = False
        assert store.append([said("task-1", 4)]) == 4
    assert verify(path, CODEC).ok


def test_the_ballast_is_given_up_on_a_full_disk_and_taken_again_after(path: Path, disk: FaultyDisk) -> None:
    ballast = path.with_name("ballast")
    with SqliteEventStore.open(path, CODEC, vfs=disk.vfs_name) as store:
        assert ballast.stat().st_size == BALLAST_BYTES
        disk.full = True
        with pytest.raises(LogUnavailable):
            store.append([said("task-1", 1)])
        assert not ballast.exists()
        disk.full = False
        assert store.append([said("task-1", 1, "the disk is full")], from_reserve=True) == 1
        assert not ballast.exists()
        assert store.append([said("task-1", 2)]) == 2
        assert ballast.stat().st_size == BALLAST_BYTES


def test_the_reserve_is_not_eaten_by_ordinary_appends(path: Path, disk: FaultyDisk) -> None:
    with SqliteEventStore.open(path, CODEC, vfs=disk.vfs_name) as store:
        disk.full = True
        with pytest.raises(LogUnavailable):
            store.append([said("task-1", 1)])
        disk.full = False  # room enough for an event, but not for the ballast
        path.with_name("ballast").mkdir()
        with pytest.raises(LogUnavailable):
            store.append([said("task-1", 1)])
        assert store.append([said("task-1", 1)], from_reserve=True) == 1
        path.with_name("ballast").rmdir()
        assert store.append([said("task-1", 2)]) == 2


def test_a_daemon_can_start_on_a_full_disk_and_say_so(path: Path, disk: FaultyDisk) -> None:
    with SqliteEventStore.open(path, CODEC, vfs=disk.vfs_name) as store:
        fill(store, "task-1", 3)
    assert path.with_name("ballast").exists()
    disk.faults["write"] = (0, apsw.FullError)
    with SqliteEventStore.open(path, CODEC, vfs=disk.vfs_name) as store:
        assert store.append([said("task-1", 4)], from_reserve=True) == 4


def test_a_ballast_that_does_not_fit_is_no_ballast(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "omni.db")
    assert ballast.take()
    assert ballast.take()
    ballast.release()
    ballast.release()
    assert not ballast.held
    (tmp_path / "ballast").mkdir()
    assert not ballast.take()


def test_a_failing_write_is_refused_with_nothing_written(path: Path, disk: FaultyDisk) -> None:
    with SqliteEventStore.open(path, CODEC, vfs=disk.vfs_name) as store:
        fill(store, "task-1", 3)
        disk.faults["sync"] = (0, apsw.IOError)
        with pytest.raises(OutcomeUnknown, match="may survive or not"):
            store.append([said("task-1", 4, "lost")])
        assert store.head.position == 3
        assert store.append([said("task-1", 4, "kept")]) == 4
        assert texts(store, check=True)[-1] == "kept"
    assert verify(path, CODEC).ok


def test_an_unknown_outcome_can_be_seen_after_a_crash_and_the_log_is_sound_either_way(
    path: Path, disk: FaultyDisk, tmp_path: Path
) -> None:
    with SqliteEventStore.open(path, CODEC, vfs=disk.vfs_name) as store:
        fill(store, "task-1", 3)
        disk.faults["sync"] = (0, apsw.IOError)
        with pytest.raises(OutcomeUnknown):
            store.append([said("task-1", 4, "who knows")])
        copy = _crash(path, tmp_path)
    with SqliteEventStore.open(copy, CODEC) as again:
        assert again.head.position in (3, 4)
    assert verify(copy, CODEC).ok


_faults = st.tuples(st.just("write"), st.integers(0, 12), st.sampled_from([apsw.FullError, apsw.IOError])) | st.tuples(
    st.just("sync"), st.integers(0, 3), st.just(apsw.IOError)
)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(faults=st.lists(st.none() | _faults, min_size=1, max_size=12), sizes=st.lists(st.integers(1, 40), min_size=12))
def test_whatever_fails_when_every_acknowledged_event_is_there(
    tmp_path_factory: Any, faults: list[tuple[str, int, type[apsw.Error]] | None], sizes: list[int]
) -> None:
    home = tmp_path_factory.mktemp("faults")
    path = home / "omni.db"
    with faulty_disk() as disk, SqliteEventStore.open(path, CODEC, vfs=disk.vfs_name) as store:
        store._connection.wal_autocheckpoint(20)
        kept: list[str] = []
        in_the_dark: list[list[str]] = []
        for turn, fault in enumerate(faults):
            disk.faults = {} if fault is None else {fault[0]: fault[1:]}
            offered = [f"{turn} {each}" for each in range(sizes[turn])]
            entries = [said("task-1", len(kept) + 1 + at, text) for at, text in enumerate(offered)]
            try:
                store.append(entries)
                kept, in_the_dark = kept + offered, []  # what was in the dark is overwritten now
            except LogUnavailable as error:
                event(f"refused: {type(error.__cause__).__name__}")
            except OutcomeUnknown:
                event("unknown")
                disk.faults = {}
                survived = store.head.position > len(kept)
                kept += offered if survived else []
                in_the_dark = [] if survived else [*in_the_dark, offered]
            disk.faults = {}
            assert store.head.position == len(kept)
        assert texts(store, check=True) == kept
        copy = _crash(path, home)
    with SqliteEventStore.open(copy, CODEC) as again:
        assert texts(again, check=True) in (kept, *(kept + lost for lost in in_the_dark))
    assert verify(copy, CODEC).ok
    shutil.rmtree(home)


def _crash(path: Path, home: Path) -> Path:
    """Copy the files as a crash would leave them; nobody else has this log open, so its locks do not matter."""
    copy = home / "after-crash.db"
    for suffix in ("", "-wal", ".head"):
        with suppress(FileNotFoundError):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return copy

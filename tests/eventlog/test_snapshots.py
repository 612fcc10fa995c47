import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.eventlog.snapshots import Snapshots

HASH = bytes(range(32))


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots")


def test_the_newest_snapshot_of_a_name_is_loaded(snapshots: Snapshots) -> None:
    for position in (5, 40, 300):
        snapshots.save("router", position, HASH, "v1", b"state %d" % position)
    snapshots.save("router_x", 999, HASH, "v1", b"other")
    found = snapshots.load("router", "v1")
    assert found is not None
    assert (found.position, found.hash, found.payload) == (300, HASH, b"state 300")


def test_two_snapshots_are_kept_for_the_owner_alone(snapshots: Snapshots, tmp_path: Path) -> None:
    for position in (5, 40, 300):
        snapshots.save("router", position, HASH, "v1", b"state")
    files = sorted((tmp_path / "snapshots").iterdir())
    assert [file.name[7:27].lstrip("0") for file in files] == ["40", "300"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_no_snapshot_is_no_error(snapshots: Snapshots) -> None:
    assert snapshots.load("router", "v1") is None


def test_a_snapshot_of_another_build_is_not_there(snapshots: Snapshots) -> None:
    snapshots.save("router", 5, HASH, "v1", b"state")
    assert snapshots.load("router", "v2") is None


def test_a_damaged_snapshot_gives_way_to_the_one_before(snapshots: Snapshots) -> None:
    snapshots.save("router", 5, HASH, "v1", b"old")
    newest = snapshots.save("router", 6, HASH, "v1", b"new")
    newest.write_bytes(newest.read_bytes()[:-1])
    found = snapshots.load("router", "v1")
    assert found is not None
    assert found.payload == b"old"


def test_a_snapshot_under_another_name_is_foreign(snapshots: Snapshots) -> None:
    saved = snapshots.save("router", 5, HASH, "v1", b"state")
    saved.rename(saved.with_name(saved.name.replace("router", "health")))
    assert snapshots.load("health", "v1") is None


@pytest.mark.parametrize("name", ["", "../router", "a-b", "Router", "a/b"])
def test_a_name_cannot_leave_the_directory(snapshots: Snapshots, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a snapshot"):
        snapshots.save(name, 5, HASH, "v1", b"state")


def test_a_write_that_fails_leaves_the_old_snapshot_and_no_scraps(snapshots: Snapshots, tmp_path: Path) -> None:
    saved = snapshots.save("router", 5, HASH, "v1", b"old")
    blocked = saved.with_name(saved.name.replace("5.", "6."))
    blocked.mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - the kind differs between systems
        snapshots.save("router", 6, HASH, "v1", b"new")
    assert sorted(os.listdir(saved.parent)) == sorted([saved.name, blocked.name])  # noqa: PTH208
    found = snapshots.load("router", "v1")
    assert found is not None
    assert found.payload == b"old"


@given(data=st.data())
def test_no_flipped_bit_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    snapshots = Snapshots(tmp_path_factory.mktemp("snapshots"))
    saved = snapshots.save("router", 5, HASH, "v1", b"some state")
    raw = bytearray(saved.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    saved.write_bytes(raw)
    assert snapshots.load("router", "v1") is None


def test_a_snapshot_from_beyond_a_lost_tail_does_not_outlive_the_new_ones(snapshots: Snapshots, tmp_path: Path) -> None:
    for position in (500, 600):
        snapshots.save("router", position, HASH, "v1", b"lost")
    for position in (40, 50):
        snapshots.save("router", position, HASH, "v1", b"now")
    assert len(list((tmp_path / "snapshots").iterdir())) == 2
    found = snapshots.load("router", "v1")
    assert found is not None
    assert (found.position, found.payload) == (50, b"now")


def test_what_a_killed_process_left_half_written_is_removed(snapshots: Snapshots, tmp_path: Path) -> None:
    snapshots.save("router", 5, HASH, "v1", b"state")
    old, new = (tmp_path / "snapshots" / f"router-{n:020}.snapshot.{n}.1.tmp" for n in (7, 8))
    for each in (old, new):
        each.write_bytes(b"half")
    os.utime(old, (0, 0))
    snapshots.save("router", 6, HASH, "v1", b"state")
    assert (old.exists(), new.exists()) == (False, True), "the other one may be under way"


def test_the_nearest_before_a_position_is_found(snapshots: Snapshots) -> None:
    for position in (5, 40):
        snapshots.save("router", position, HASH, "v1", b"state")
    assert [each.position for each in snapshots.find("router", "v1", 39)] == [5]
    assert [each.position for each in snapshots.find("router", "v1", 40)] == [40, 5]
    assert list(snapshots.find("router", "v1", 4)) == []

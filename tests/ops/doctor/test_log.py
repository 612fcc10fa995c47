"""Faults in the event log, what stands beside it, and the clock."""

import contextlib
import signal
import sqlite3
import struct
from pathlib import Path

import pytest
from tests.ops.doctor.conftest import Home
from tests.torture.daemon_process import until

from omni.ops.doctor import log
from omni.ops.doctor.finding import Finding
from omni.runtime.ports import SystemClock


def _no_log_was_touched(home: Home, before: bytes) -> None:
    home.omni("doctor", "--fix")
    assert home.log.read_bytes() == before


def test_a_damaged_log_is_found_and_never_mended(home: Home) -> None:
    home.lived()
    raw = bytearray(home.log.read_bytes())
    at = raw.index(b'"version"')  # within an event's body
    raw[at : at + 9] = b'"VERSION"'
    home.log.write_bytes(raw)
    found = home.finding("log.damaged")
    assert "omni verify" in found.mend
    assert not found.fixable
    assert home.omni("doctor").returncode == 8
    _no_log_was_touched(home, bytes(raw))


def test_damaged_pages_are_found(home: Home) -> None:
    home.lived()
    raw = bytearray(home.log.read_bytes())
    raw[4096 * 2 : 4096 * 3] = b"\xff" * 4096
    home.log.write_bytes(raw)
    assert "omni verify" in home.finding("log.damaged").mend


def test_a_database_of_somebody_else_is_found(home: Home) -> None:
    home.write()
    home.data.mkdir(mode=0o700)
    with sqlite3.connect(home.log) as database:
        database.execute("CREATE TABLE notes(text)")
    database.close()
    assert home.finding("log.other_format").mend


def test_a_log_that_cannot_be_opened_is_found(home: Home) -> None:
    home.write()
    home.log.mkdir(parents=True)
    home.data.chmod(0o700)
    found = home.finding("log.unreadable")
    assert found.mend.startswith("ls -l")
    assert home.omni("doctor").returncode == 8


def test_no_log_yet_is_told(home: Home) -> None:
    assert home.finding("log.none").mend == "omni serve, which makes it"


def test_a_log_too_large_for_the_quick_check_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As large as five seconds are long; here the time is short in place of it."""
    home.lived()
    monkeypatch.setattr(log, "QUICK_S", 0.0)
    monkeypatch.setattr(log, "STEPS", 1)
    found = home.finding("log.partly_checked")
    assert (found.level, found.mend) == ("note", "omni verify")


def test_a_lost_tail_is_found(home: Home) -> None:
    home.lived()
    earlier = home.log.read_bytes()
    home.live()
    home.log.write_bytes(earlier)
    found = home.finding("log.lost_tail")
    assert "restore a backup" in found.mend
    assert home.omni.json("doctor", code=8)["ok"] is False


def test_a_missing_head_marker_is_found(home: Home) -> None:
    home.lived()
    (home.data / "omni.db.head").unlink()
    assert "omni verify" in home.finding("log.no_witness").mend


def test_a_snapshot_that_is_damaged_is_found_and_removed(home: Home) -> None:
    home.lived()
    snapshot = home.data / "snapshots" / f"router-{7:020d}.snapshot"
    snapshot.parent.mkdir(exist_ok=True)
    snapshot.write_bytes(b"omnisnap" + b"\0" * 100)
    assert home.finding("snapshot.stale").mend == f"rm {snapshot}"
    home.omni.json("doctor", "--fix")
    assert not snapshot.exists()


def test_sound_snapshots_stay(home: Home) -> None:
    home.lived()
    kept = sorted((home.data / "snapshots").glob("*.snapshot"))
    assert kept
    home.omni.json("doctor", "--fix")
    assert sorted((home.data / "snapshots").glob("*.snapshot")) == kept


def test_the_lock_of_a_killed_daemon_is_told_as_harmless(home: Home) -> None:
    home.write()
    home.daemon.start()
    home.daemon.stop(signal.SIGKILL)
    found = home.finding("lock.stale")
    assert str(home.daemon.process.pid if home.daemon.process else "") in found.says
    assert found.level == "note"
    assert "omni serve" in found.mend


def test_a_deleted_lock_file_of_a_running_daemon_is_found(home: Home) -> None:
    home.write()
    home.daemon.start()
    assert home.daemon.process
    (home.data / "omni.db.lock").unlink()
    found = home.finding("lock.missing")
    assert found.mend == f"kill {home.daemon.process.pid}, then omni serve"


def test_a_clock_behind_the_log_is_found(home: Home) -> None:
    home.lived()
    yesterday = SystemClock().wall_ms() - 86_400_000
    found = home.finding("clock.behind_log", wall_ms=lambda: yesterday)
    assert "timedatectl" in found.mend or "sntp" in found.mend


def test_a_daemon_that_dies_again_and_again_is_found(home: Home) -> None:
    home.write()
    for n in range(1, 7):
        home.daemon.start()  # the port answers, and the actors may still be about to write that they began
        until(lambda: _begun(home) == (n, n), 20, "the start is written down")  # noqa: B023
        home.daemon.stop(signal.SIGKILL)
    assert "omni logs" in home.finding("daemon.crash_loop").mend
    later = SystemClock().wall_ms() + 3_600_000
    assert "daemon.crash_loop" not in _names(home.findings(wall_ms=lambda: later))
    home.daemon.start()
    assert "omni mode auto" in home.finding("daemon.dispatch_paused").mend
    home.daemon.stop()
    assert "daemon.crash_loop" not in _names(home.findings())


def test_where_starts_are_not_counted_none_is_too_many(home: Home) -> None:
    home.config["limits"] = {"crash_loop_starts": 0}
    home.write()
    home.daemon.start()
    assert "daemon.crash_loop" not in _names(home.findings())


def test_a_start_that_others_can_see_changes_nothing(home: Home) -> None:
    home.lived()
    marker, before = home.data / "omni.db.head", home.log.read_bytes()
    remembered = marker.read_bytes()
    home.findings()
    assert (home.log.read_bytes(), marker.read_bytes()) == (before, remembered)
    assert struct.unpack_from("<8s", remembered)[0] == b"omnihead"
    assert not Path(f"{home.log}-journal").exists()


def _begun(home: Home) -> tuple[int, int]:
    """How often a daemon, and its Router, said that they began."""
    with contextlib.closing(sqlite3.connect(f"file:{home.log}?mode=ro", uri=True)) as database:
        types = [kind for (kind,) in database.execute("SELECT type FROM events")]
    return types.count("system.started"), types.count("router.started")


def _names(found: list[Finding]) -> set[str]:
    return {each.name for each in found}

"""Disks that fill up, and logs that lose their end or their name."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from tests.torture.caller import Caller, calling
from tests.torture.daemon_process import DaemonProcess, until
from tests.torture.judge import Judge
from tests.torture.load import Book
from websockets.exceptions import WebSocketException

from omni.eventlog.upcasters import log_codec
from omni.domain import events as ev
from omni.eventlog.reader import open_reader

pytestmark = pytest.mark.slow
DRY = {"dry": {"url": "null:", "types": ["general"]}}
DAMAGED = 8
DISK_BYTES = 24 * 1024 * 1024
FILE_LIMIT_BYTES = 12 * 1024 * 1024
GOES_ON_WITHIN_S = 15
UNAVAILABLE = "storage_unavailable"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes; only root on Linux can make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here (that takes root on Linux)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    process = DaemonProcess(tmp_path, DRY)
    yield process
    process.end()


def test_a_full_disk_stops_acknowledgements_and_freed_space_lets_it_go_on_by_itself(
    tmp_path: Path, small_disk: Path
) -> None:
    daemon = DaemonProcess(tmp_path, DRY, data_dir=small_disk / "data")
    filler = small_disk / "filler"
    try:
        daemon.start().ready()
        _fills_up_and_goes_on(daemon, lambda: _fill(filler), filler.unlink)
    finally:
        daemon.end()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can lift the file size limit of another process")
def test_a_file_that_may_not_grow_stops_acknowledgements_and_room_lets_it_go_on_by_itself(
    daemon: DaemonProcess,
) -> None:
    limited = (FILE_LIMIT_BYTES, resource.RLIM_INFINITY)
    daemon.start(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limited)).ready()

    def lift() -> None:
        psutil.Process(daemon.pid).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))

    _fills_up_and_goes_on(daemon, lambda: None, lift)


def test_a_database_deleted_under_the_daemon_gets_no_acknowledgement_into_its_ghost(daemon: DaemonProcess) -> None:
    daemon.start().ready()
    with calling(daemon) as caller:
        assert caller.submit("before")["result"]["state"] == "completed"
        daemon.database.unlink()
        told = len(caller.book.acks)
        for number in range(5):
            if not _refused(caller, f"after {number}"):
                break
        assert len(caller.book.acks) == told, "an acknowledgement for a log that nobody will ever read"
    said = daemon.said + (daemon.data_dir / "logs" / "omni.log").read_text("utf-8")
    assert str(daemon.database) in said
    assert any(word in said for word in ("deleted", "replaced", "removed"))


def test_a_log_that_lost_its_end_is_refused_until_a_person_accepts_the_loss(daemon: DaemonProcess) -> None:
    daemon.start().ready()
    book = Book(2)
    with calling(daemon, book) as caller:
        for number in range(50):
            caller.submit(f"task {number}")
    daemon.kill()
    wal = daemon.database.with_name("omni.db-wal")
    os.truncate(wal, wal.stat().st_size // 2)

    refused = daemon.run("serve")
    assert refused.returncode == DAMAGED
    assert "acknowledged event" in refused.stderr
    assert "--accept-loss" in refused.stderr

    daemon.start("--accept-loss").ready()
    with calling(daemon, book) as caller:
        assert caller.submit("life goes on")["result"]["state"] == "completed"
    assert daemon.terminate() == 0
    with closing(open_reader(daemon.database, log_codec())) as log:
        accepted = [row.event for row in log.stream(ev.SYSTEM_STREAM) if isinstance(row.event, ev.LossAccepted)]
    assert len(accepted) == 1
    assert accepted[0].events > 0


def _fills_up_and_goes_on(daemon: DaemonProcess, fill: Callable[[], None], free: Callable[[], None]) -> None:
    chance, book, judge = random.Random(3), Book(3), Judge(daemon.data_dir)

    def fat() -> str:
        return chance.randbytes(40_000).hex()

    with calling(daemon, book) as caller:
        assert "result" in caller.submit("while there is room")
        fill()
        until(lambda: caller.submit(fat()).get("kind") == UNAVAILABLE, 60, "the disk is full")
        told = len(book.acks)
        for _ in range(3):
            answer = caller.submit(fat())
            assert answer.get("kind") == UNAVAILABLE, answer
            assert answer["hint"]
        assert len(book.acks) == told
        free()
        until(lambda: "result" in caller.submit("there is room again"), GOES_ON_WITHIN_S, "it goes on by itself")
    assert daemon.terminate() == 0, daemon.said
    judge.read()
    assert not judge.compare(book, ())
    assert not judge.restored()
    assert not judge.open_tasks()


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(os.urandom(256 * 1024))


def _refused(caller: Caller, text: str) -> bool:
    """Whether the daemon still talks, and refused; false once it has given up."""
    try:
        return "error" in caller.submit(text)
    except (WebSocketException, OSError):
        return False

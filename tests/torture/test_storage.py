"""Disks that fill up, and logs that lose their end or their name."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.torture.caller import Caller, calling
from tests.torture.daemon_process import DaemonProcess, until
from tests.torture.judge import Judge
from tests.torture.load import Book
from websockets.exceptions import WebSocketException

from omni.domain import events as ev
from omni.eventlog.reader import open_reader
from omni.eventlog.upcasters import log_codec
from omni.server.tokens import make_token, read_token

pytestmark = pytest.mark.slow
DRY = {"dry": {"url": "null:", "types": ["general"]}}
DAMAGED = 8
DISK_BYTES = 24 * 1024 * 1024
FILE_LIMIT_BYTES = 8_500_000  # no less than the ballast
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
        _fills_up_and_goes_on(daemon, filler)
    finally:
        daemon.end()


def test_a_commit_that_the_disk_fails_is_never_acknowledged_and_the_log_goes_on_from_what_was(
    daemon: DaemonProcess,
) -> None:
    """A file that may not grow is an I/O error inside COMMIT, which leaves the outcome open; a full disk does not."""
    book, limited = Book(4), (FILE_LIMIT_BYTES, resource.RLIM_INFINITY)
    daemon.start(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limited)).ready()
    with calling(daemon, book) as caller:
        until(lambda: not _acknowledged(caller, _fat(book.chance)), 60, "a commit fails")
    assert daemon.alive
    daemon.kill()
    assert "the disk failed while" in (daemon.data_dir / "logs" / "omni.log").read_text("utf-8")
    daemon.start().ready()
    with calling(daemon, book) as caller:
        assert _acknowledged(caller, "there is room again")
    _sound_at_the_end(daemon, book)


def test_a_first_token_that_cannot_be_written_leaves_no_half_of_one(tmp_path: Path) -> None:
    path = tmp_path / "token"
    line = (
        "import resource, sys, pathlib; from omni.server.tokens import make_token; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)); make_token(pathlib.Path(sys.argv[1]))"
    )
    cut_short = subprocess.run(
        [sys.executable, "-c", line, str(path)], env={"PYTHONPATH": "src"}, capture_output=True, check=False
    )
    assert b"File too large" in cut_short.stderr
    assert not path.exists()
    make_token(path)
    assert len(read_token(path)) >= 32


def test_a_database_deleted_under_the_daemon_gets_no_acknowledgement_into_its_ghost(daemon: DaemonProcess) -> None:
    daemon.start().ready()
    with calling(daemon) as caller:
        assert caller.submit("before")["result"]["state"] == "completed"
        daemon.database.unlink()
        assert not any(_acknowledged(caller, f"after {number}") for number in range(5))
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


def _fills_up_and_goes_on(daemon: DaemonProcess, filler: Path) -> None:
    book = Book(3)
    with calling(daemon, book) as caller:
        assert _acknowledged(caller, "while there is room")
        _fill(filler)
        until(lambda: not _acknowledged(caller, _fat(book.chance)), 60, "the disk is full")
        told = len(book.acks)
        for _ in range(3):
            answer = caller.submit(_fat(book.chance))
            assert answer.get("kind") == UNAVAILABLE, answer
            assert answer["hint"]
        assert len(book.acks) == told
        filler.unlink()
        until(lambda: _acknowledged(caller, "there is room again"), GOES_ON_WITHIN_S, "it goes on by itself")
    _sound_at_the_end(daemon, book)


def _sound_at_the_end(daemon: DaemonProcess, book: Book) -> None:
    assert daemon.terminate() == 0, daemon.said
    judge = Judge(daemon.data_dir)
    judge.read()
    assert not judge.compare(book, ())
    assert not judge.restored()
    assert not judge.open_tasks()


def _fat(chance: random.Random) -> str:
    return chance.randbytes(40_000).hex()


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(os.urandom(256 * 1024))


def _acknowledged(caller: Caller, text: str) -> bool:
    """Whether the daemon took the task; a refusal says why, and a daemon that has given up says nothing."""
    try:
        answer = caller.submit(text)
    except (WebSocketException, OSError):
        return False
    assert "result" in answer or answer["kind"] == UNAVAILABLE, answer
    return "result" in answer

"""Children get a clean environment, are known again, and leave nothing behind."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from tests.executors.bench import peer, workbench, written

from omni.executors.children import Book, Record, environment, read_book, spawn, sweep
from omni.executors.hands import owner_of
from omni.executors.logfile import MAX_BYTES, LogFile

DAEMON = str(Path(__file__).with_name("servers") / "daemon.py")
PARENT = str(Path(__file__).with_name("servers") / "parent.py")
CYCLES = int(os.environ.get("OMNI_TORTURE", "0")) or 10


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


async def test_a_child_gets_no_secret_that_was_not_configured_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret")
    monkeypatch.setenv("CLAUDECODE", "1")
    async with workbench(tmp_path, peer(tmp_path, env={"CONFIGURED": "yes"})) as bench:
        seen = json.loads((await bench.run("peer", "environment")).result.content)
    assert seen["CONFIGURED"] == "yes"
    assert seen["OMNI_OWNER"] == owner_of(tmp_path)
    assert {"PATH", "HOME"} <= seen.keys()
    assert not {"ANTHROPIC_API_KEY", "CLAUDECODE", "PYTHONPATH"} & seen.keys()


def test_the_environment_of_a_child_is_an_allow_list() -> None:
    base = {"PATH": "/bin", "LC_ALL": "C", "SECRET": "x", "SSL_CERT_FILE": "f", "OMNI_TOKEN": "t"}
    assert environment({"K": "v"}, "own", "c", base) == {
        "PATH": "/bin", "LC_ALL": "C", "SSL_CERT_FILE": "f", "K": "v", "OMNI_OWNER": "own", "OMNI_CHILD": "c",
    }  # fmt: skip


async def test_stop_ends_grandchildren_that_left_the_group(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        family = json.loads((await bench.run("peer", "family")).result.content)
        assert len(alive(family)) == 2
        assert [each.executor for each in read_book(tmp_path)] == ["peer"]
    assert alive(family) == []
    assert read_book(tmp_path) == []


async def test_a_server_that_dies_leaves_no_grandchildren(tmp_path: Path) -> None:
    async with workbench(tmp_path, peer(tmp_path)) as bench:
        family = json.loads((await bench.run("peer", "family")).result.content)
        await bench.run("peer", "die", "t2")
        await bench.connected("peer", times=2)
        assert alive(family) == []


@pytest.mark.slow
@pytest.mark.parametrize("cycle", range(CYCLES))
async def test_after_a_killed_daemon_the_sweep_leaves_no_descendant(tmp_path: Path, cycle: int) -> None:
    daemon = await asyncio.create_subprocess_exec(sys.executable, DAEMON, str(tmp_path))
    try:
        family = json.loads(await written(tmp_path / "family", wait_s=30))
        server = int(await written(tmp_path / "started"))
        assert len(alive(family)) == 2
    finally:
        daemon.kill()
        await daemon.wait()
    swept = await asyncio.to_thread(sweep, tmp_path, owner_of(tmp_path))
    assert alive([*family, server]) == []
    assert swept >= 2  # the server itself may have gone already: the kernel told it that its parent died
    assert await asyncio.to_thread(sweep, tmp_path, owner_of(tmp_path)) == 0


async def test_the_sweep_spares_a_stranger_that_got_a_recorded_pid(tmp_path: Path) -> None:
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    try:
        records = [Record(stranger.pid, psutil.Process(stranger.pid).create_time() - 60)]
        (tmp_path / "children.json").write_bytes(msgspec.json.encode(records))
        assert await asyncio.to_thread(sweep, tmp_path, "somebody else") == 0
        assert stranger.returncode is None
        assert alive([stranger.pid]) == [stranger.pid]
    finally:
        stranger.kill()
        await stranger.wait()


async def test_the_sweep_knows_a_recorded_child_without_the_marker(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    Book(tmp_path).add(Record(child.pid, psutil.Process(child.pid).create_time()))
    assert await asyncio.to_thread(sweep, tmp_path, "nobody") == 1
    assert await asyncio.wait_for(child.wait(), 5) != 0


def test_a_damaged_book_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "children.json").write_bytes(b'[{"pid": 1')
    assert read_book(tmp_path) == []
    assert sweep(tmp_path, "nobody") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word about a dead parent is Linux only")
async def test_a_child_is_ended_by_the_kernel_when_its_daemon_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, PARENT, str(tmp_path), "me", stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    try:
        child = psutil.Process(int(await parent.stdout.readline()))
        await written(tmp_path / "ready")
    finally:
        parent.kill()
        await parent.wait()
    await asyncio.to_thread(psutil.wait_procs, [child], 5)
    assert alive([child.pid]) == []


async def test_ending_a_child_twice_is_harmless(tmp_path: Path) -> None:
    book = Book(tmp_path)
    child = await spawn([sys.executable, "-c", "pass"], env={}, cwd="", owner="o", name="n", book=book)
    await child.end()
    await child.end()
    assert child.exit_code == 0


def test_the_log_of_a_child_is_bounded_and_keeps_one_older_file(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "a/b")
    for number in range(40):
        log.write(b"%d " % number + b"x" * 100_000 + b"\n")
    files = sorted(each.name for each in (tmp_path / "logs").iterdir())
    assert files == ["executor-a_b.log", "executor-a_b.log.1"]
    assert all(each.stat().st_size <= MAX_BYTES for each in (tmp_path / "logs").iterdir())
    assert log.last_words.endswith("x")


def test_a_log_that_cannot_be_written_ends_nothing_and_keeps_the_last_words(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "a")
    (tmp_path / "logs").rmdir()
    log.write(b"out of cheese\n")
    assert log.last_words == "out of cheese"


async def test_a_child_whose_record_cannot_be_written_is_still_ours_to_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    book = Book(tmp_path / "file")
    child = await spawn([sys.executable, "-c", "input()"], env={}, cwd="", owner="o", name="n", book=book)
    await child.end()
    assert child.exit_code is not None


def test_the_launcher_does_not_start_a_program_for_a_parent_that_is_gone() -> None:
    launcher = Path(sweep.__code__.co_filename).with_name("launch.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(launcher), "1", "/bin/echo", "started"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (143, b"")


def test_a_forged_book_ends_neither_our_own_ancestors_nor_the_sweep(tmp_path: Path) -> None:
    ancestors = [psutil.Process(), *psutil.Process().parents()]
    forged = [Record(each.pid, each.create_time(), "forged") for each in ancestors]
    nobody = [Record(pid, 0.0, "forged") for pid in (-1, 0, 2**40, 2**70)]
    (tmp_path / "children.json").write_bytes(msgspec.json.encode(nobody + forged))
    assert sweep(tmp_path, "an owner that nobody has") == 0
    assert not (tmp_path / "children.json").exists()

"""Stops in good order, and starts that must not succeed."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.torture.caller import calling
from tests.torture.daemon_process import DaemonProcess, is_alive, until
from tests.torture.house import House
from tests.torture.judge import Judge
from tests.torture.load import Book, Load

from omni.actors.router import Router
from omni.domain import events as ev
from omni.domain.board import Board
from omni.eventlog.reader import open_reader
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.upcasters import log_codec
from omni.runtime.kernel import Kernel
from omni.runtime.ports import SystemClock

pytestmark = pytest.mark.slow
LOCKED = 8
DRY = {"dry": {"url": "null:", "types": ["general"]}}


@pytest.fixture
def other(tmp_path: Path) -> Iterator[DaemonProcess]:
    home = tmp_path / "other"
    home.mkdir()
    daemon = DaemonProcess(home, DRY)
    yield daemon
    daemon.end()


def test_a_daemon_that_has_stopped_does_not_wait_for_what_libraries_do_at_the_end(other: DaemonProcess) -> None:
    """They take seconds to be taken apart on a busy machine; here one of them takes a minute."""
    slow = "import atexit, sys, time\nif 'serve' in sys.orig_argv:\n    atexit.register(time.sleep, 60)\n"
    (other.home / "sitecustomize.py").write_text(slow)
    other.environ["PYTHONPATH"] = f"src:{other.home}"
    other.start().ready()
    assert other.terminate(20) == 0


def test_sigterm_under_load_ends_in_good_order_and_the_next_start_begins_at_the_snapshot(house: House) -> None:
    book, judge = Book(1), Judge(house.daemon.data_dir)
    house.open_ws()

    async def stop_under_load() -> int:
        load = Load(house.daemon.url, house.daemon.headers, book)
        await asyncio.to_thread(until, lambda: len(book.acks) > 300, 30, "the load is on")
        exit_code = await asyncio.to_thread(house.daemon.terminate)
        await load.over()
        return exit_code

    house.daemon.start().ready()
    assert asyncio.run(stop_under_load()) == 0, house.daemon.said
    judge.read()
    assert not judge.compare(book, house.ledgers())
    assert not judge.restored()
    assert isinstance(_last_event(house.daemon), ev.DaemonStopped)
    position, head = _where_a_start_begins(house.daemon)
    assert position > 0
    assert head - position < 20
    house.daemon.start().ready()
    with calling(house.daemon, book) as caller:
        assert caller.submit("one more")["result"]["state"] == "completed"


@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.6, 1.0])
def test_sigterm_while_starting_ends_at_once_and_leaves_nothing(house: House, after_s: float) -> None:
    house.daemon.start()
    with suppress(subprocess.TimeoutExpired):
        house.daemon.wait(after_s)
    assert house.daemon.terminate(within_s=6) in {0, -signal.SIGTERM}
    assert "Traceback" not in house.daemon.said
    assert "mistake" not in house.daemon.said
    assert not house.daemon.marked()


def test_what_a_surviving_server_finished_is_fetched_after_a_kill_and_not_done_again(house: House) -> None:
    house.open_ws("--remember")
    house.daemon.start().ready()
    with calling(house.daemon) as caller:
        task_id = caller.submit("work 1500 ms", executor="strict", wait_s=0)["result"]["task_id"]
        until(lambda: "begin" in (house.home / "strict.ledger").read_text("ascii"), 10, "the work has begun")
    house.daemon.kill()
    house.daemon.start().ready()
    judge = Judge(house.daemon.data_dir)

    def ended() -> bool:
        judge.read()
        return not judge.open_tasks()

    until(ended, 20, "the task has ended")
    assert judge.lives[task_id].end == "completed"
    assert judge.lives[task_id].attempt == 1
    assert judge.compare(Book(0), house.ledgers()) == []


def test_a_stop_ends_children_that_ignore_every_wish(tmp_path: Path) -> None:
    house = House(tmp_path, deaf=True)
    try:
        house.daemon.start().ready()
        children = until(
            lambda: [each for each in house.daemon.marked() if each.pid != house.daemon.pid], 10, "children are up"
        )
        assert house.daemon.terminate() == 0, house.daemon.said
        assert not [each for each in children if is_alive(each)]
        assert not house.daemon.marked()
    finally:
        house.close()


def test_a_second_daemon_is_turned_away_from_a_log_that_is_held(house: House, other: DaemonProcess) -> None:
    house.daemon.start().ready()
    other.data_dir = house.daemon.data_dir
    refused = other.run("serve")
    assert refused.returncode == LOCKED
    assert f"pid {house.daemon.pid}, holds the event log" in refused.stderr
    assert "next: " in refused.stderr
    with calling(house.daemon) as caller:
        assert caller.submit("still here")["result"]["state"] == "completed"


def test_a_port_that_is_taken_is_named_and_the_start_leaves_nothing_behind(other: DaemonProcess) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", other.port))
        squatter.listen()
        refused = other.run("serve")
    assert refused.returncode not in {0, LOCKED}
    assert f"127.0.0.1:{other.port} is in use" in refused.stderr
    assert "next: " in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not other.marked()
    other.start().ready()


def _last_event(daemon: DaemonProcess) -> object:
    with closing(open_reader(daemon.database, log_codec())) as log:
        return log.stream(ev.SYSTEM_STREAM)[-1].event


def _where_a_start_begins(daemon: DaemonProcess) -> tuple[int, int]:
    """Position of the snapshot that the Router's start takes, and of the log's end."""
    with closing(open_reader(daemon.database, log_codec())) as log:
        kernel: Kernel[Board] = Kernel(Router(), log, SystemClock(), Snapshots(daemon.data_dir / "snapshots"))  # type: ignore[arg-type]
        kernel.refold()
        return kernel._saved_at, log.head.position

"""Faults around the port and the daemon: real daemons, real strangers."""

import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from tests.cli.conftest import SRC, Daemon, Omni, free_port
from tests.ops.doctor.conftest import Home, Upstream

from omni import __version__
from omni.eventlog.lock import DaemonLock
from omni.executors.children import Book, recorded
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.looking import look
from omni.ops.doctor.scene import Scene
from omni.ops.doctor.table import checks_of


@pytest.fixture
def served(home: Home) -> Home:
    home.write()
    home.daemon.start()
    return home


def pid_of(home: Home) -> int:
    assert home.daemon.process
    return home.daemon.process.pid


def test_a_daemon_that_runs_as_it_should_gives_no_trouble(served: Home) -> None:
    found = served.findings()
    assert [each for each in found if each.is_trouble] == []
    daemon = next(each for each in found if each.name == "daemon")
    assert str(pid_of(served)) in daemon.says
    assert served.omni("doctor").returncode == 0


def test_a_port_that_somebody_else_has_is_found_with_who_it_is(home: Home, taken: socket.socket) -> None:
    found = home.finding("port.taken")
    assert f"pid {psutil.Process().pid}" in found.says
    assert f"kill {psutil.Process().pid}" in found.mend
    assert "OMNI_PORT" in found.mend
    assert home.omni("doctor").returncode == 3


def test_an_address_of_another_machine_is_found(home: Home) -> None:
    home.config["host"] = "192.0.2.7"
    assert "127.0.0.1" in home.finding("port.no_address").mend


def test_a_stopped_daemon_is_found(served: Home) -> None:
    assert served.daemon.process
    served.daemon.process.send_signal(signal.SIGSTOP)
    try:
        assert served.finding("daemon.stopped").mend == f"kill -CONT {pid_of(served)}"
    finally:
        served.daemon.process.send_signal(signal.SIGCONT)


def test_a_daemon_on_another_port_is_found(served: Home) -> None:
    was = served.omni.port
    served.omni.environ["OMNI_PORT"] = str(free_port())
    found = served.finding("daemon.silent")
    assert f"listens on port {was}" in found.says
    assert f"omni --port {was} doctor" in found.mend


def test_a_second_daemon_with_another_directory_is_found(served: Home) -> None:
    served.omni.environ["OMNI_DATA_DIR"] = str(served.path / "other")
    found = served.finding("daemon.second")
    assert str(pid_of(served)) in found.says
    assert "--data-dir" in found.mend
    assert served.omni("doctor").returncode == 5


@pytest.fixture
def twin(served: Home) -> Iterator[Daemon]:
    """A second daemon, on a port of its own, whose data directory takes the first one's port for its own."""
    omni = Omni(served.path / "twin", free_port())
    omni.home.mkdir()
    daemon = Daemon(omni)
    daemon.start()
    yield daemon
    daemon.stop()


def test_two_daemons_of_which_one_has_the_port_are_found(served: Home, twin: Daemon) -> None:
    assert twin.process
    served.omni.environ["OMNI_DATA_DIR"] = str(twin.omni.data_dir)
    found = served.finding("daemon.second")
    assert str(pid_of(served)) in found.says
    assert f"kill {twin.process.pid}" in found.mend


def test_a_token_that_the_daemon_does_not_take_is_found(served: Home) -> None:
    scene = served.scene()
    assert scene.token
    served.omni("token", "rotate")
    found = next(each for each in _again(scene) if each.name == "daemon.refuses_token")
    assert found.mend.startswith("omni token rotate")
    assert scene.token not in found.says


def _again(scene: Scene) -> list[Finding]:
    """A scene keeps the token that it has read once."""

    return [each for one in look(checks_of(scene), scene) for each in one.findings]


def test_a_daemon_that_is_not_ready_is_found(home: Home, impostor: Upstream) -> None:
    """One that answers and holds the log, whose storage has failed."""
    home.lived()
    lock = DaemonLock(home.log)
    impostor.answers = {
        "/healthz": (200, {"status": "alive"}),
        "/readyz": (503, {"status": "not ready", "reason": "the disk is gone"}),
        "/api/status": (200, {}),
    }
    found = home.finding("daemon.not_ready")
    lock.release()
    assert "the disk is gone" in found.says
    assert found.mend == "omni logs --level warning"


def test_a_daemon_of_another_version_is_found(home: Home) -> None:
    other = home.path / "older"
    shutil.copytree(SRC, other)
    init = other / "omni" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{__version__}"', '"0.0.9"'))
    home.omni.environ["PYTHONPATH"] = str(other)
    home.write()
    home.daemon.start()
    found = home.finding("daemon.other_version")
    assert f"kill {pid_of(home)}" in found.mend
    assert "0.0.9" in found.says


def test_processes_that_outlived_their_daemon_are_found(home: Home) -> None:
    home.lived()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        Book(home.data).add(recorded(left.pid, "coder"))
        found = home.finding("daemon.orphans")
        assert f"{left.pid} (coder)" in found.says
        assert found.mend.startswith("omni serve")
    finally:
        left.kill()
        left.wait()


def test_a_port_that_hangs_holds_up_nothing(home: Home, taken: socket.socket) -> None:
    """The stranger takes connections and never answers."""
    began = time.monotonic()
    assert home.finding("port.taken").level == "error"
    assert time.monotonic() - began < 20


def test_a_log_that_somebody_writes_to_is_still_looked_at(served: Home) -> None:
    with sqlite3.connect(served.log) as other:
        other.execute("BEGIN IMMEDIATE")
        found = served.findings()
        other.rollback()
    other.close()
    assert "log" in {each.name for each in found if each.level == "ok"}

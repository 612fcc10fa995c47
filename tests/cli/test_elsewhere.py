"""The daemon runs, and the command asks at another port: nobody is sent to start a second one."""

import os
import signal

from tests.cli.conftest import Daemon, free_port


def test_every_command_names_the_port_that_the_daemon_listens_on(own_daemon: Daemon) -> None:
    omni = own_daemon.omni
    other = {"OMNI_PORT": str(free_port())}

    for words in (("submit", "hello"), ("status",), ("tasks",), ("mode",)):
        done = omni(*words, environ=other)
        assert f"listens on port {omni.port}" in done.stderr, (words, done.stderr)
        assert "omni serve" not in done.stderr
        assert "not running" not in done.stdout.splitlines()[0] if done.stdout else True
    refused = omni.json("submit", "hello", code=3, environ=other)
    assert refused["error"]["hint"] == f"export OMNI_PORT={omni.port}, then the same command again"


def test_where_no_daemon_holds_the_log_the_next_command_starts_one(own_daemon: Daemon) -> None:
    own_daemon.stop()

    assert "next: omni serve" in own_daemon.omni("submit", "hello").stderr
    assert own_daemon.omni("status").stdout.startswith("NO ANSWER")


def test_a_daemon_whose_port_cannot_be_told_is_a_matter_for_doctor(own_daemon: Daemon) -> None:
    lock = own_daemon.omni.data_dir / "omni.db.lock"
    lock.write_text(str(os.getppid()))  # held still, and the process that it names listens nowhere

    done = own_daemon.omni("submit", "hello", environ={"OMNI_PORT": str(free_port())})

    assert f"pid {os.getppid()} works on" in done.stderr
    assert "next: omni doctor" in done.stderr
    own_daemon.stop(signal.SIGKILL)

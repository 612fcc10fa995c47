"""The door of a real daemon: its own process, its own log on disk, killed and started again."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import apsw
import pytest
import websockets
from tests.server.house import ENVIRONMENT
from tests.server.test_bridge import MODERN, PROGRAM, Peer

from omni.config import log_path
from omni.domain.events import DaemonStopped
from omni.eventlog.opening import TAIL_ROWS
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry
from omni.eventlog.upcasters import log_codec

CONFIG = """
mcp_servers:
  dry:
    url: "null:"
    types: [general, coding]
"""
SERVE = """
import sys
from pathlib import Path
from omni.config import load
from omni.daemon import run
loaded = load(Path(sys.argv[1]), environ={"OMNI_PORT": sys.argv[3]})
sys.exit(run(loaded, Path(sys.argv[2]), on_ready=lambda daemon: print("ready", flush=True)))
"""


class Home:
    """A configuration, a data directory and a port."""

    def __init__(self, directory: Path) -> None:
        self.data_dir = directory / "data"
        self.config = directory / "config.yaml"
        self.config.write_text(CONFIG)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.data_dir / 'token').read_text().strip()}"}

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Process]:
        arguments = (str(self.config), str(self.data_dir), str(self.port))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVE, *arguments, stdout=PIPE, env=ENVIRONMENT
        )
        try:
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def plain(self, method: str, **params: Any) -> Any:
        async with websockets.connect(self.url, additional_headers=self.headers) as door:
            await door.send(json.dumps({"method": method, "params": params}))
            return json.loads(await door.recv())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_task_survives_the_kill_of_the_daemon_and_its_key_still_stands_for_it(home: Home) -> None:
    async def test() -> None:
        asked = {"description": "say hello", "idempotency_key": "once"}
        async with home.daemon() as daemon:
            first = (await home.plain("create_task", **asked))["result"]
            assert first["status"] == "completed"
            daemon.kill()
            await daemon.wait()
        async with home.daemon():
            again = (await home.plain("create_task", **asked))["result"]
            assert again == first
            looked = (await home.plain("get_task_status", task_id=first["id"]))["result"]
            assert looked["state"] == "completed"

    asyncio.run(test())


def test_the_daemon_ends_with_zero_on_sigterm_while_clients_are_connected(home: Home) -> None:
    async def test() -> None:
        async with home.daemon() as daemon, websockets.connect(home.url, additional_headers=home.headers) as door:
            await door.send('{"method":"ping"}')
            await door.recv()
            daemon.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(daemon.wait(), 15) == 0
            await asyncio.wait_for(door.wait_closed(), 5)
            assert door.close_code == 1012

    asyncio.run(test())


def test_a_bridge_lives_through_the_kill_of_a_real_daemon(home: Home) -> None:
    async def test() -> None:
        async with home.daemon() as daemon:
            arguments = (home.url, str(home.data_dir / "token"), "30")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, *arguments, stdin=PIPE, stdout=PIPE, env=ENVIRONMENT
            )
            peer = Peer(process)
            await peer.shake()
            created = await peer.answer(await peer.tool("create_task", {"description": "x", "wait_s": 5}, modern=False))
            task = created["result"]["structuredContent"]
            assert task["state"] == "completed"
            daemon.kill()
            await daemon.wait()
            waiting = await peer.tool("get_task_status", {"task_id": task["id"]}, modern=False)
        async with home.daemon():
            answer = await peer.answer(waiting)
            assert answer["result"]["structuredContent"] == task
            assert process.stdin is not None
            process.stdin.close()
            assert await asyncio.wait_for(process.wait(), 10) == 0

    asyncio.run(test())


def test_the_modern_client_of_the_command_line_is_understood(home: Home) -> None:
    async def test() -> None:
        async with home.daemon(), websockets.connect(home.url, additional_headers=home.headers) as door:
            call = {"name": "system_status", "arguments": {}, "_meta": MODERN}
            await door.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
            answer = json.loads(await door.recv())["result"]
            assert answer["structuredContent"]["mode"] == "NORMAL"
            assert [each["name"] for each in answer["structuredContent"]["executors"]] == ["dry"]

    asyncio.run(test())


def test_a_port_in_use_is_said_with_the_next_command(home: Home) -> None:
    async def test() -> None:
        async with home.daemon():
            arguments = (str(home.config), str(home.data_dir.with_name("other")), str(home.port))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SERVE, *arguments, stdout=PIPE, stderr=PIPE, env=ENVIRONMENT
            )
            _, errors = await asyncio.wait_for(process.communicate(), 20)
            assert process.returncode != 0
            assert f"127.0.0.1:{home.port} is in use" in errors.decode()
            assert "omni doctor, which says who has it" in errors.decode()

    asyncio.run(test())


def test_a_log_that_turns_out_damaged_during_the_start_is_said_with_the_next_command(home: Home) -> None:
    store = SqliteEventStore.open(log_path(home.data_dir), log_codec())
    store.append([Entry("system", n, DaemonStopped("test"), 1, 1, "test", "c") for n in range(1, TAIL_ROWS + 10)])
    store.close()
    with closing(apsw.Connection(str(log_path(home.data_dir)))) as damage:
        damage.execute("DROP TRIGGER events_no_update")
        damage.execute("UPDATE events SET body = '{' WHERE position = 3")

    async def test() -> None:
        arguments = (str(home.config), str(home.data_dir), str(home.port))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVE, *arguments, stdout=PIPE, stderr=PIPE, env=ENVIRONMENT
        )
        _, errors = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode != 0
        assert "CorruptLog" in errors.decode().splitlines()[-2]
        assert "omni verify" in errors.decode().splitlines()[-1]

    asyncio.run(test())

"""The stdio bridge as a process of its own, through restarts of the door."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.server.conftest import InHouse
from tests.server.house import ENVIRONMENT, House, until

from omni.server.tokens import rotate_token

PROGRAM = """
import sys
from pathlib import Path
from omni.server.bridge import run_bridge
run_bridge(sys.argv[1], Path(sys.argv[2]), sys.stdin.buffer, sys.stdout.buffer, away_s=float(sys.argv[3]))
heavy = {"mcp", "starlette", "uvicorn", "pydantic"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Peer:
    """The client's end of a bridge."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.ids = itertools.count(1)

    async def send(self, method: str, params: Any = None) -> int:
        ident = next(self.ids)
        await self.write({"jsonrpc": "2.0", "id": ident, "method": method, "params": params or {}})
        return ident

    async def tool(self, name: str, arguments: Any, *, modern: bool = True) -> int:
        return await self.send(
            "tools/call", {"name": name, "arguments": arguments, **({"_meta": MODERN} if modern else {})}
        )

    async def write(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        await self.process.stdin.drain()

    async def read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), 20))

    async def answer(self, ident: int) -> Any:
        message = await self.read()
        assert message["id"] == ident, message
        return message

    async def shake(self) -> None:
        answer = await self.answer(await self.send("initialize", HELLO))
        assert answer["result"]["protocolVersion"] == "2025-11-25"
        await self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})


@asynccontextmanager
async def bridge(house: House, *, away_s: float = 30) -> AsyncIterator[Peer]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        house.url(),
        str(house.data_dir / "token"),
        str(away_s),
        stdin=PIPE,
        stdout=PIPE,
        env=ENVIRONMENT,
    )
    try:
        yield Peer(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def test_calls_pass_through_and_the_end_of_stdin_ends_it_after_the_answers(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with bridge(house) as peer:
            ident = await peer.tool("create_task", {"description": "x", "executor": "slow", "wait_s": 20})
            start = await until(lambda: house.hands and house.hands[0])
            assert peer.process.stdin is not None
            peer.process.stdin.close()
            house.succeed(start.task_id)
            answer = await peer.answer(ident)
            assert answer["result"]["structuredContent"]["state"] == "completed"
            assert await asyncio.wait_for(peer.process.wait(), 10) == 0  # and nothing heavy was imported

    in_house(test)


def test_a_restart_of_the_daemon_repeats_the_handshake_and_makes_no_second_task(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with bridge(house) as peer:
            await peer.shake()
            asked = {"description": "x", "executor": "slow", "wait_s": 20}
            ident = await peer.tool("create_task", asked, modern=False)
            start = await until(lambda: house.hands and house.hands[0])
            await house.restart_door()
            await until(lambda: house.desk.open_questions)  # asked again, under the same key
            house.succeed(start.task_id)
            answer = await peer.answer(ident)
            assert answer["result"]["structuredContent"]["id"] == start.task_id
            assert house.created_tasks() == 1
            await peer.answer(await peer.send("ping"))

    in_house(test)


def test_what_must_not_run_twice_gets_an_error_instead(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with bridge(house) as peer:
            house.post.register("gateway", lambda *_: None)  # the question arrives, and its answer never comes
            ident = await peer.tool("retry_task", {"task_id": "some-task"})
            await until(lambda: house.desk.open_questions)
            await house.restart_door()
            assert "look with get_task_status" in (await peer.answer(ident))["error"]["message"]

    in_house(test)


def test_a_subscription_lives_through_a_restart(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with bridge(house) as peer:
            await peer.shake()
            created = await peer.answer(
                await peer.tool("create_task", {"description": "x", "executor": "slow"}, modern=False)
            )
            task_id = created["result"]["structuredContent"]["id"]
            uri = f"omni://tasks/{task_id}"
            await peer.answer(await peer.send("resources/subscribe", {"uri": uri}))
            await until(lambda: house.desk.followers == 1 and house.hands)
            await house.restart_door()
            await until(lambda: house.desk.followers == 1)
            house.succeed(task_id)
            assert (await peer.read())["params"]["uri"] == uri

    in_house(test)


def test_without_a_daemon_requests_get_an_error_that_names_the_next_command(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        await house.door.stop()
        async with bridge(house, away_s=0.5) as peer:
            first = await peer.send("initialize", HELLO)
            assert "omni serve" in (await peer.answer(first))["error"]["message"]
            second = await peer.send("tools/list")
            assert "omni serve" in (await peer.answer(second))["error"]["message"]
            await house.restart_door()
            async with asyncio.timeout(10):
                while "error" in await peer.answer(await peer.send("initialize", HELLO)):
                    pass

    in_house(test)


def test_a_changed_token_is_read_again(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with bridge(house) as peer:
            await peer.shake()
            rotate_token(house.data_dir / "token")
            # The daemon closes what the old token opened, some time within a second; no ping may be lost meanwhile.
            deadline = asyncio.get_running_loop().time() + 1.5
            while asyncio.get_running_loop().time() < deadline:
                await peer.answer(await peer.send("ping"))

    in_house(test)


def test_a_line_that_is_not_json_gets_an_error_and_an_oversize_one_does_not_wedge_it(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with bridge(house) as peer:
            await peer.write(b"nonsense")
            assert (await peer.read())["error"]["code"] == -32700
            await peer.write(b"[1]")
            assert (await peer.read())["error"]["code"] == -32600
            big = await peer.tool("create_task", {"description": "x" * 2_000_000})
            assert "frame_bytes" in (await peer.answer(big))["error"]["message"]
            ident = await peer.send("server/discover", {"_meta": MODERN})
            assert "result" in await peer.answer(ident)

    in_house(test)


def test_the_bridge_loads_quickly() -> None:
    program = "import omni.server.bridge, sys; sys.exit(bool({'mcp', 'starlette', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False, env=ENVIRONMENT).returncode == 0

"""What our connections ask of a gateway: only the one that sends may do what its owner may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from omni.adapters.openclaw.adapter import open_adapter
from omni.adapters.records import Records
from omni.adapters.service import Stop, Work
from omni.config.adapters import STATE_VARIABLE
from omni.executors.bundled import Options
from omni.runtime.ports import SystemClock

OWNER = "operator.admin"


async def test_no_task_comes_with_the_owners_powers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, set[bool]] = {}

    async def talk(socket: ServerConnection) -> None:
        await socket.send(
            json.dumps({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}})
        )
        connect = json.loads(await socket.recv())
        scopes = connect["params"]["scopes"]
        hello = {"protocol": 4, "server": {"bootId": "b"}, "auth": {"scopes": scopes}}
        await socket.send(json.dumps({"type": "res", "id": connect["id"], "ok": True, "payload": hello}))
        async for data in socket:
            said = json.loads(data)
            asked.setdefault(said["method"], set()).add(OWNER in scopes)
            error = {"code": "INVALID_REQUEST", "message": "no"}
            await socket.send(json.dumps({"type": "res", "id": said["id"], "ok": False, "error": error}))

    async def tell(done: float, total: float | None, text: str) -> None:
        return

    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    async with serve(talk, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        told = Options("claw", "openclaw", url=url, options={"token": "t"})
        async with open_adapter(told, Records(tmp_path / "attempts", SystemClock()), SystemClock()) as adapter:
            await adapter.run(Work("do", "h", "t:1", task_id="t", timeout_s=10), None, Stop(), tell)
            await adapter.sending.call({"channel": "telegram", "to": "42", "text": "hello", "key": "k"})
    assert asked["agent"] == {False}
    assert asked["conversations.list"] == {True}

"""A gateway that says what no gateway says: the connection is tried again, whatever it was."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from omni.adapters.openclaw.device import Device
from omni.adapters.openclaw.gateway import Gateway
from omni.adapters.openclaw.settings import Settings

WITHIN_S = 15.0


def _challenge(**payload: Any) -> str:
    return json.dumps({"type": "event", "event": "connect.challenge", "payload": payload})


NESTED = '{"type":"event","event":"connect.challenge","payload":' + "[" * 5000 + "]" * 5000 + "}"
SAID = [_challenge(nonce="n", ts="soon"), _challenge(nonce=[], ts=[1]), _challenge(ts=1e308), NESTED, "nonsense"]


@pytest.mark.parametrize("said", SAID, ids=["words", "list", "huge", "nested", "nonsense"])
async def test_a_gateway_that_cannot_be_understood_is_tried_again(tmp_path: Path, said: str) -> None:
    came: asyncio.Queue[None] = asyncio.Queue()

    async def talk(socket: ServerConnection) -> None:
        came.put_nowait(None)
        await socket.send(said)
        await socket.close()

    async with serve(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = Settings(url=f"ws://127.0.0.1:{port}", signs=True, connect_s=5.0)
        await _comes_three_times(Gateway(settings, Device(tmp_path)), came)


async def test_a_way_to_a_login_that_is_no_address_is_no_end() -> None:
    came: asyncio.Queue[None] = asyncio.Queue()

    def turn_away(socket: ServerConnection, request: Any) -> Response:
        came.put_nowait(None)
        return Response(HTTPStatus.FOUND, "Found", Headers({"Location": "https://[nowhere"}), b"")

    async with serve(_nothing, "127.0.0.1", 0, process_request=turn_away) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"127.0.0.1:{port}"
        settings = Settings(url=f"ws://{url}", connect_s=5.0, status_url=f"http://{url}/api/status")
        await _comes_three_times(Gateway(settings, None), came)


async def _nothing(socket: ServerConnection) -> None:
    await socket.close()


async def _comes_three_times(gateway: Gateway, came: asyncio.Queue[None]) -> None:
    keeping = asyncio.create_task(gateway.keep())
    try:
        async with asyncio.timeout(WITHIN_S):
            for _ in range(3):
                await came.get()
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

"""Answers on a connection that is kept leave at once: nothing holds their second packet back."""

from __future__ import annotations

import asyncio
import socket

from tests.server.conftest import InHouse
from tests.server.house import House, until


def test_no_packet_of_an_answer_waits_for_the_one_before(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.door.port)
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{house.door.port}\r\n\r\n".encode())
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        server = house.door._server
        assert server
        await until(lambda: bool(server.server_state.connections))
        for each in server.server_state.connections:
            accepted = each.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        await writer.wait_closed()

    in_house(test)

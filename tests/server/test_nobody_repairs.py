"""Only Brainstem has repairs made: at no door can a client get its name, whatever it calls itself."""

from __future__ import annotations

import mcp_types as types
from tests.server.clients import Transport, connect, values
from tests.server.conftest import InHouse
from tests.server.house import House, until
from tests.server.test_mcp import ways
from tests.server.test_plain import ask, plain

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.orders import BRAINSTEM

ASKED = {"description": "mend the proxy", "executor": "slow", "labels": ["repair"], "wait_s": 0}


async def told(house: House) -> tuple[str, bool]:
    """Who has created the one task, and whether its executor takes it for a repair."""

    def started() -> list[cmd.StartAttempt]:
        return [each for each in house.hands if isinstance(each, cmd.StartAttempt)]

    await until(started)
    [created] = [row.event for row in house.log if isinstance(row.event, ev.TaskCreated)]
    [order] = started()
    return created.client, order.repair


@ways
def test_an_mcp_client_that_calls_itself_brainstem_is_none(transport: Transport, mode: str, in_house: InHouse) -> None:
    async def test(house: House) -> None:
        named = types.Implementation(name=BRAINSTEM, version="1")
        async with connect(house, transport, mode, client_info=named) as client:
            assert values(await client.call_tool("create_task", ASKED))["id"]
            client_name, repair = await told(house)
            assert client_name.startswith("mcp:")
            assert not repair

    in_house(test)


def test_the_plain_dialect_takes_no_name_from_a_request(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        async with plain(house) as socket:
            for field in ("client", "creator", "repair"):
                answer = await ask(socket, {"method": "create_task", "params": {**ASKED, field: BRAINSTEM}})
                assert "error" in answer, answer
            answer = await ask(socket, {"method": "create_task", "params": ASKED, "client": BRAINSTEM})
            assert "result" in answer, answer
            client_name, repair = await told(house)
            assert client_name.startswith("plain@")
            assert not repair

    in_house(test)

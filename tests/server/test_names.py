"""Names beside our own, and the identity headers of `tailscale serve`: a label in the record, and never a way in."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import websockets
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests.config.conftest import Configure, configure  # noqa: F401 - a fixture
from tests.server.clients import values
from tests.server.conftest import InHouse
from tests.server.house import House
from tests.server.test_gate import bearer, get
from tests.server.test_rights import key
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from omni.domain import events as ev
from omni.domain.errors import ConfigError
from omni.server.intake import Intake
from omni.server.names import Names, labelled, unlabelled, visitor_of
from omni.server.rights import Rights

NAME = "mac-mini.tail1234.ts.net"
ALICE = "alice@example.com"
BY_SERVE = ("Tailscale-User-Login", ALICE)


def clients_of(house: House) -> list[str]:
    return [row.event.client for row in house.log if isinstance(row.event, ev.TaskCreated)]


async def submit(house: House, headers: list[tuple[str, str]], host: str = NAME) -> Any:
    """A task over the plain dialect, with headers and Host of our choice."""
    connecting = websockets.connect(f"ws://{host}/", additional_headers=headers, host="127.0.0.1", port=house.door.port)
    async with connecting as socket:
        await socket.send(json.dumps({"method": "create_task", "params": {"description": "x"}}))
        return json.loads(await socket.recv())


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (NAME, 200),
        (NAME.upper(), 200),
        (f"{NAME}:8443", 200),
        ("omni:18765", 200),
        ("omni", 403),
        ("omni:18766", 403),
        (f"evil.{NAME}", 403),
        (f"{NAME}.evil.com", 403),
        (f"{NAME}.", 403),
        (f"{NAME}@evil.com", 403),
        ("tail1234.ts.net", 403),
    ],
)
def test_a_name_of_the_configuration_is_taken_exactly(in_house: InHouse, host: str, status: int) -> None:
    async def test(house: House) -> None:
        assert (await get(house, "/api/status", [bearer(house)], host=host))[0] == status

    in_house(test, allowed_hosts=(NAME, "omni:18765"))


def test_a_name_that_nobody_allowed_is_refused_and_told_what_to_set(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        status, body = await get(house, "/api/status", [bearer(house)], host=NAME)
        assert status == 403
        assert "allowed_hosts" in json.loads(body)["error"]["hint"]

    in_house(test)


def test_an_allowed_name_still_needs_the_token(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        assert (await get(house, "/api/status", host=NAME))[0] == 401
        assert (await get(house, "/healthz", host=NAME))[0] == 200

    in_house(test, allowed_hosts=(NAME,))


@pytest.mark.parametrize(
    ("own", "page", "ours"),
    [
        (NAME, f"https://{NAME}", True),
        (NAME, f"http://{NAME}", True),
        (f"{NAME}:8443", f"https://{NAME}:8443", True),
        (f"{NAME}:8443", f"https://{NAME}", False),
        (NAME, f"https://{NAME}:9999", False),
        (NAME, "https://other.tail1234.ts.net", False),
        (NAME, "http://127.0.0.1:18765", False),  # the visitor's own machine, which is not ours
        ("127.0.0.1:18765", f"https://{NAME}", False),
        ("127.0.0.1:18765", "https://127.0.0.1:18765", False),
        (NAME, "null", False),
        (NAME, f"ftp://{NAME}", False),
    ],
)
def test_behind_a_proxy_only_the_page_of_the_same_name_is_ours(own: str, page: str, ours: bool) -> None:
    names = Names("127.0.0.1", (NAME,))
    names.listens_on(18765)

    assert names.knows_host(own)
    assert names.knows_origin(page, own) == ours


@pytest.mark.parametrize("name", ["*.ts.net", "https://x.ts.net", "x/y", "", "a b", "x:port", "user@host", "-x"])
def test_a_name_that_is_not_exact_is_no_name(configure: Configure, name: str) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="allowed_hosts"):
        configure(f"allowed_hosts: [{json.dumps(name)}]")


def test_allowed_names_and_no_token_do_not_go_together(configure: Configure) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="does not go with allowed_hosts"):
        configure(f"auth: none\nallowed_hosts: [{NAME}]")
    assert configure(f"allowed_hosts: [{NAME}, 'omni:18765']").config.allowed_hosts == (NAME, "omni:18765")


# --- labels ---------------------------------------------------------------------------------------------------------


def test_whom_serve_names_stands_in_the_log_beside_the_client(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        assert (await submit(house, [bearer(house), BY_SERVE]))["result"]["state"] == "completed"
        assert clients_of(house) == [f"plain@127.0.0.1 via tailscale:{ALICE}"]

    in_house(test, allowed_hosts=(NAME,))


def test_a_key_for_less_brings_the_label_along_and_the_label_no_rights(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        given = ("Authorization", f"Bearer {key(house, Rights.SUBMIT)}")
        assert (await submit(house, [given, BY_SERVE]))["result"]["state"] == "completed"
        assert clients_of(house) == [f"plain@127.0.0.1 via tailscale:{ALICE}"]
        reads = ("Authorization", f"Bearer {key(house, Rights.READ)}")
        assert "error" in await submit(house, [reads, BY_SERVE])
        assert len(clients_of(house)) == 1

    in_house(test, allowed_hosts=(NAME,))


def test_the_name_follows_an_mcp_call_over_http_and_over_a_socket(in_house: InHouse) -> None:
    async def over_http(house: House, headers: dict[str, str]) -> None:
        async with (
            httpx2.AsyncClient(headers={**house.headers, "Host": NAME, **headers}) as client,
            Client(streamable_http_client(house.url("/mcp", "http"), http_client=client)) as session,
        ):
            assert values(await session.call_tool("create_task", {"description": "x"}))["id"]

    async def over_socket(house: House) -> None:
        connecting = websockets.connect(
            f"ws://{NAME}/ws",
            host="127.0.0.1",
            port=house.door.port,
            subprotocols=[Subprotocol("mcp")],
            additional_headers=[bearer(house), BY_SERVE],
        )
        info = {"name": "probe", "version": "1"}
        async with connecting as socket:
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}))
            await socket.recv()
            await socket.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            call = {"name": "create_task", "arguments": {"description": "y"}}
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}))
            await socket.recv()

    async def test(house: House) -> None:
        await over_http(house, dict([BY_SERVE]))
        await over_http(house, {"Tailscale-User-Login": "bob@example.com"})
        await over_http(house, {})
        await over_socket(house)
        alice, bob, nobody, probe = clients_of(house)
        assert alice.endswith(f" via tailscale:{ALICE}")
        assert bob.endswith(" via tailscale:bob@example.com")
        assert "tailscale" not in nobody
        assert probe == f"mcp:probe via tailscale:{ALICE}"

    in_house(test, allowed_hosts=(NAME,))


def test_forged_headers_of_a_local_process_open_nothing(in_house: InHouse) -> None:
    """Whoever runs on this machine can send what `tailscale serve` sends; without the token it is worth nothing."""
    forged = [BY_SERVE, ("Tailscale-User-Name", "Alice"), ("Tailscale-Headers-Info", "x"), ("X-Forwarded-For", "::1")]

    async def test(house: House) -> None:
        for host in (NAME, f"127.0.0.1:{house.door.port}"):
            for path in ("/api/status", "/api/tasks", "/mcp", "/v1/models", "/"):
                assert (await get(house, path, forged, host=host))[0] in {401, 404}, path
            wrong = ("Authorization", "Bearer wrong")
            assert (await get(house, "/api/status", [*forged, wrong], host=host))[0] == 401
        assert "token" in (await submit(house, forged))["error"]
        assert clients_of(house) == []

    in_house(test, allowed_hosts=(NAME,))


def test_identity_headers_do_not_loosen_the_count_of_failed_logins(in_house: InHouse) -> None:
    async def test(house: House) -> None:
        for n in range(5):
            headers = [("Tailscale-User-Login", f"u{n}@example.com"), ("Authorization", "Bearer wrong")]
            assert (await get(house, "/api/status", headers, host=NAME))[0] == 401
        assert (await get(house, "/api/status", [("Authorization", "Bearer wrong")], host=NAME))[0] == 429

    in_house(test, allowed_hosts=(NAME,))


def test_under_our_own_name_nobody_is_named(in_house: InHouse) -> None:
    """What does not come under a name that the owner allowed does not come from `tailscale serve`."""

    async def test(house: House) -> None:
        await submit(house, [bearer(house), BY_SERVE], host=f"127.0.0.1:{house.door.port}")
        assert clients_of(house) == ["plain@127.0.0.1"]
        with pytest.raises(InvalidStatus):
            await submit(house, [bearer(house), BY_SERVE], host="other.ts.net")

    in_house(test, allowed_hosts=(NAME,))


@pytest.mark.parametrize(
    "given",
    [[], [ALICE, ALICE], ["alice"], ["a b@example.com"], ["alice@example.com via tailscale:root@x"], ["x\n@y"],
     ["é@example.com"], [f"{'a' * 65}@example.com"]],
)  # fmt: skip
def test_what_is_not_one_login_is_no_label(given: list[str]) -> None:
    assert visitor_of(given) == ""


def test_a_label_decides_nothing_and_cannot_be_given_to_oneself() -> None:
    intake = Intake(words=("openclaw",), window_ms=60_000)

    assert intake.window_ms(labelled("mcp:openclaw", ALICE)) == 60_000
    assert intake.window_ms(labelled("mcp:script", "openclaw@example.com")) == 0
    assert " via tailscale:" not in labelled("mcp:x via tailscale:root@example.com", "")
    for nested in ("mcp:x via via tailscale:tailscale:root@example.com", "mcp:x via tailscale:via tailscale:root@a.b"):
        assert " via tailscale:" not in labelled(nested, "")
    assert labelled("mcp:x via tailscale:root@example.com", ALICE).endswith(ALICE)
    assert unlabelled(labelled("mcp:x", ALICE)) == "mcp:x"

"""The client against peers that go away, refuse, or are no daemon at all."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from tests.cli.conftest import free_port
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from omni.cli.client import Client, ConnectionLost, request
from omni.cli.exits import DaemonRefused, code_of
from omni.domain.errors import DaemonUnreachable, NotAuthorised, NotFound

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


@contextmanager
def peer(answer: Answer, **options: Any) -> Iterator[tuple[Client, list[dict[str, Any]]]]:
    """A peer on a real socket; an answer of None is a connection that closes without one."""
    asked: list[dict[str, Any]] = []

    def converse(connection: ServerConnection) -> None:
        for raw in connection:
            asked.append(json.loads(raw))
            said = answer(asked[-1])
            if said is None:
                return
            for params in said.pop("before", ()):
                connection.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
            connection.send(json.dumps({"jsonrpc": "2.0", "id": asked[-1]["id"], **said}))

    with serve(converse, "127.0.0.1", 0, subprotocols=["mcp"], compression=None, **options) as server:  # type: ignore[list-item]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = Client("127.0.0.1", server.socket.getsockname()[1], "t0ken")
        try:
            yield client, asked
        finally:
            client.close()
            server.shutdown()
            thread.join(10)


def ok(view: dict[str, Any]) -> dict[str, Any]:
    return {"result": {"resultType": "complete", "content": [], "structuredContent": view}}


def refused(kind: str) -> dict[str, Any]:
    view = {"kind": kind, "message": f"because {kind}", "hint": "omni help"}
    return {"result": {"content": [{"type": "text", "text": "because"}], "structuredContent": view, "isError": True}}


def test_a_request_says_version_and_client_in_its_meta() -> None:
    meta = request("system_status", {"gone": None}, 1)["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "omni-cli"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {}


def test_the_meta_is_what_the_mcp_sdk_reads() -> None:
    import mcp_types as types

    assert set(request("x", {}, 1)["params"]["_meta"]) == {
        types.PROTOCOL_VERSION_META_KEY,
        types.CLIENT_INFO_META_KEY,
        types.CLIENT_CAPABILITIES_META_KEY,
    }


def test_progress_is_heard_by_whoever_wants_it() -> None:
    said = [{"progressToken": 1, "progress": 1, "message": "half way"}, {"progressToken": 1, "progress": 2}]
    heard: list[str] = []
    with peer(lambda _: {**ok({"x": 1}), "before": said}) as (client, asked):
        assert client.call("wait_task", {}, on_progress=heard.append) == {"x": 1}
        assert client.call("wait_task", {}) == {"x": 1}
    assert heard == ["half way", ""]
    tokens = [each["params"]["_meta"].get("progressToken") for each in asked]
    assert tokens == [1, None]


def test_arguments_that_say_nothing_are_left_out() -> None:
    assert request("x", {"a": None, "b": 0}, 1)["params"]["arguments"] == {"b": 0}


def test_the_token_goes_into_the_header_and_the_subprotocol_is_asked_for() -> None:
    seen: dict[str, Any] = {}

    def look(connection: ServerConnection, asked: Request) -> Response | None:
        seen.update(asked.headers.raw_items())
        return None

    with peer(lambda _: ok({"x": 1}), process_request=look) as (client, _):
        assert client.call("x", {}) == {"x": 1}
    assert seen["Authorization"] == "Bearer t0ken"
    assert seen["Sec-WebSocket-Protocol"] == "mcp"


def test_a_repeatable_call_survives_a_lost_connection_and_sends_the_same_again() -> None:
    answers = iter([None, None, ok({"task": {"id": "1"}})])
    lost: list[str] = []
    with peer(lambda _: next(answers)) as (client, asked):
        view = client.persist(
            "create_task", {"idempotency_key": "k"}, patience_s=10, on_lost=lambda e: lost.append(e.message)
        )
    assert view == {"task": {"id": "1"}}
    assert [each["params"]["arguments"] for each in asked] == [{"idempotency_key": "k"}] * 3
    assert len(lost) == 2


def test_patience_has_an_end() -> None:
    with peer(lambda _: None) as (client, asked), pytest.raises(ConnectionLost):
        client.persist("create_task", {}, patience_s=0.3)
    assert 2 <= len(asked) < 20


def test_a_single_call_is_never_sent_twice() -> None:
    with peer(lambda _: None) as (client, asked), pytest.raises(ConnectionLost):
        client.call("retry_task", {})
    assert len(asked) == 1


def test_a_daemon_that_never_answered_is_not_waited_for() -> None:
    client = Client("127.0.0.1", free_port(), "")
    with pytest.raises(DaemonUnreachable) as caught:
        client.persist("create_task", {}, patience_s=60)
    assert not isinstance(caught.value, ConnectionLost)
    assert caught.value.hint == "omni serve"


def test_an_answer_that_does_not_come_in_time_is_a_loss() -> None:
    release = threading.Event()

    def slow(_: dict[str, Any]) -> None:
        release.wait(10)

    with peer(slow) as (client, _):
        with pytest.raises(ConnectionLost, match=r"no answer within 0\.2 s"):
            client.call("x", {}, within_s=0.2)
        release.set()


@pytest.mark.parametrize(
    ("kind", "wanted", "code"),
    [
        ("not_found", NotFound, 4),
        ("unauthorised", NotAuthorised, 5),
        ("idempotency_conflict", DaemonRefused, 2),
        ("unknown_executor", DaemonRefused, 2),
        ("overloaded", DaemonRefused, 3),
        ("storage_unavailable", DaemonRefused, 8),
    ],
)
def test_each_refusal_has_its_exit_code(kind: str, wanted: type[Exception], code: int) -> None:
    with peer(lambda _: refused(kind)) as (client, _), pytest.raises(wanted) as caught:
        client.call("x", {})
    error = caught.value
    assert isinstance(error, NotFound | NotAuthorised | DaemonRefused)
    assert (error.message, error.hint, code_of(error)) == (f"because {kind}", "omni help", code)


@pytest.mark.parametrize(("status", "code"), [(401, 5), (403, 5), (429, 3), (503, 3), (404, 3)])
def test_each_refused_handshake_has_its_exit_code(status: int, code: int) -> None:
    def refuse(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(status, "no\n")

    with peer(lambda _: None, process_request=refuse) as (client, _), pytest.raises(Exception) as caught:  # noqa: PT011
        client.call("x", {})
    assert isinstance(caught.value, NotAuthorised | DaemonUnreachable)
    assert code_of(caught.value) == code


def test_something_else_on_the_port_is_named_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # whoever called may hang up first
                connection.sendall(b"220 mail.example ESMTP\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(DaemonUnreachable, match="something other than Omni"):
            Client("127.0.0.1", server.getsockname()[1], "").call("x", {})
        thread.join(10)

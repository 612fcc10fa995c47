"""What we use of the SDK that it does not promise: when one of these fails, a new version changed it."""

from __future__ import annotations

import inspect

from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.server.session import ServerSession
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared._context_streams import create_context_streams
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


def test_the_loop_for_both_eras_takes_what_we_give() -> None:
    wanted = {"server", "read_stream", "write_stream", "lifespan_state", "init_options"}
    assert wanted <= set(inspect.signature(serve_dual_era_loop).parameters)
    for stream in create_context_streams[int](0):
        stream.close()


def test_a_session_knows_its_connection_and_that_has_an_exit_stack() -> None:
    assert "_connection" in inspect.getsource(ServerSession.__init__)
    assert "exit_stack" in inspect.getsource(Connection.__init__)


def test_a_server_has_middleware_extensions_and_room_for_methods() -> None:
    server = Server[object]("x")
    assert isinstance(server.middleware, list)
    assert server.extensions == {}
    assert callable(server.add_request_handler)
    assert "max_request_body_size" in inspect.signature(StreamableHTTPSessionManager).parameters


def test_uvicorn_has_the_places_that_we_override() -> None:
    for name in ("connection_made", "data_received", "on_response_complete", "connection_lost"):
        assert hasattr(H11Protocol, name)
    source = inspect.getsource(WebSocketsSansIOProtocol)
    for name in (
        "read_paused",
        "send_receive_event_to_app",
        "handle_parser_exception",
        "keepalive_timeout",
        "handshake_complete",
        "close_timer",
        "schedule_ping",
    ):
        assert name in source

"""The one port: uvicorn on the loop that runs already, with signals left to the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from omni.config import Config, Limits, token_path
from omni.domain.errors import OmniError
from omni.server.api import Readiness
from omni.server.app import App, MakeSite, build_app
from omni.server.auth import MODEL_CALLS
from omni.server.desk import Desk
from omni.server.metrics import Metrics
from omni.server.model_port import Models
from omni.server.protocols import KEEP_ALIVE_S, Patience, http_protocol, ws_protocol
from omni.server.tokens import TokenFile

STOP_WITHIN_S = 3
BACKLOG = 512


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers; tells when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()


class Door:
    """Listens on host and port; port 0 takes a free one, `port` says which."""

    def __init__(self, app: App, host: str, port: int, limits: Limits) -> None:
        self._app = app
        self._host = host
        self.port = port
        self._limits = limits
        self._patience = Patience(limits.connections + MODEL_CALLS, limits.open_timeout_s)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and accept connections. Raises OmniError when the port cannot be had."""
        listening = self._bind()
        self.port = listening.getsockname()[1]
        self._app.listens_on(self.port)
        self._server = _Server(self._settings())
        self._serving = asyncio.create_task(self._server.serve([listening]))
        accepting = asyncio.create_task(self._server.accepting.wait())
        await asyncio.wait((self._serving, accepting), return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        if self._serving.done():
            await self._serving
            raise OmniError("the door did not open", hint="omni logs")

    def go_by(self, config: Config) -> None:
        """Another configuration from now on, as far as that goes without a restart (`omni.config.changes`)."""
        self._patience.most = config.limits.connections + MODEL_CALLS
        self._app.go_by(config)

    async def stop(self) -> None:
        """Take no more connections, close those that are open, return when all are gone."""
        if self._server and self._serving:
            self._app.closes()
            self._server.should_exit = True
            await self._serving

    def _bind(self) -> socket.socket:
        try:
            family, _, _, _, address = socket.getaddrinfo(self._host, self.port, type=socket.SOCK_STREAM)[0]
            # By its protocol asyncio knows that it may switch off Nagle's algorithm on what is accepted: with it, the
            # second packet of an answer on a connection that is kept waits 40 ms for the first one's acknowledgement.
            listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError as error:
            raise self._cannot_bind(error) from error
        listening.setblocking(False)  # noqa: FBT003 - the socket module's own way
        return listening

    def _cannot_bind(self, error: OSError) -> OmniError:
        where = f"{self._host}:{self.port}"
        if error.errno == errno.EADDRINUSE:
            return OmniError(
                f"{where} is in use", hint="omni doctor, which says who has it; or omni serve --port OTHER"
            )
        return OmniError(f"cannot listen on {where}: {error.strerror or error}", hint="omni doctor")

    def _settings(self) -> uvicorn.Config:
        limits = self._limits
        settings: dict[str, Any] = {
            "http": http_protocol(self._patience),
            "ws": ws_protocol(limits.frame_queue),
            "ws_max_size": limits.frame_bytes,
            "ws_per_message_deflate": False,
            "access_log": False,
            "log_config": None,
            "log_level": "warning",
            "server_header": False,
            "proxy_headers": False,
            "lifespan": "on",
            "timeout_keep_alive": KEEP_ALIVE_S,
            "timeout_graceful_shutdown": STOP_WITHIN_S,
            "backlog": BACKLOG,
        }
        return uvicorn.Config(self._app, **settings)


def make_door(
    config: Config,
    desk: Desk,
    data_dir: Path,
    readiness: Readiness = lambda: "",
    models: Models | None = None,
    make_site: MakeSite | None = None,
    metrics: Metrics | None = None,
) -> Door:
    """The door that a configuration asks for; makes the token at the first start. Raises ConfigError."""
    tokens = TokenFile(token_path(data_dir)) if config.auth == "token" else None
    app = build_app(desk, config, tokens, readiness, models, make_site, metrics)
    return Door(app, config.host, config.port, config.limits)

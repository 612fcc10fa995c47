"""What stands before a Moltworker's gateway, on loopback: Cloudflare Access and the Worker, in one server.

It lets WebSockets through to the gateway behind it, for whoever shows the service token's two headers, and adds what
proxies add. `/api/status` and `/sandbox-health` are open. It can be cold (the handshake waits, and the status says so),
and broken (5xx), and its way of turning people away can be chosen. `seen` is every request as it came in.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import http
import ipaddress
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.torture.daemon_process import free_port
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.http11 import Request, Response

CLIENT_ID = "1f9d0c.access"
CLIENT_SECRET = "canary-of-cf-access-7c1e52"
HEADERS = {"CF-Access-Client-Id": CLIENT_ID, "CF-Access-Client-Secret": CLIENT_SECRET}
LOGIN = "https://team.cloudflareaccess.com/cdn-cgi/access/login/claw?kid=1&meta=eyJhbGciOiJSUzI1NiJ9"
T = TypeVar("T")


class AccessRelay:
    """One address on the internet, so to speak."""

    def __init__(self, gateway_url: str, tls: ssl.SSLContext | None = None) -> None:
        self.gateway_url = gateway_url
        self.port = free_port()
        self.turns_away: Literal["redirect", "forbid", "page"] = "redirect"
        self.login = LOGIN
        self.status: dict[str, Any] | int = {"ok": True, "status": "running"}  # a number is the HTTP status
        self.closed_pages = False  # whether Access guards the open pages as well
        self.broken: int | None = None  # what a handshake is answered with
        self.warm = asyncio.Event()
        self.warm.set()
        self.seen: list[Request] = []
        self._tls = tls
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """As people would write it: the page's address."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def up(self) -> AccessRelay:
        self._server = await serve(
            self._bridge, "127.0.0.1", self.port, process_request=self._answer, compression=None, open_timeout=None,
            ping_interval=None, max_size=None, ssl=self._tls,
        )  # fmt: skip
        return self

    async def down(self) -> None:
        """Nobody listens any more, and what was open is cut."""
        if self._server is None:
            return
        for each in list(self._server.connections):
            each.transport.abort()
        self._server.close()
        self.warm.set()
        await self._server.wait_closed()
        self._server = None

    def sleep(self) -> None:
        """The container sleeps: the next handshake waits until `wake`."""
        self.warm.clear()
        self.status = {"ok": False, "status": "starting"}

    def wake(self) -> None:
        self.status = {"ok": True, "status": "running"}
        self.warm.set()

    def paths(self) -> list[str]:
        return [each.path for each in self.seen]

    # --- what it answers

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.seen.append(request)
        pages: dict[str, Callable[[], Response]] = {
            "/api/status": self._status,
            "/sandbox-health": lambda: _json(200, {"status": "ok", "service": "openclaw-sandbox"}),
        }
        open_ = request.path in pages and not self.closed_pages
        if not open_ and not all(request.headers.get(name) == value for name, value in HEADERS.items()):
            return self._turned_away()
        if request.path in pages:
            return pages[request.path]()
        return await self._let_in(connection, request)

    def _turned_away(self) -> Response:
        if self.turns_away == "redirect":
            return _response(302, "", Location=self.login)
        if self.turns_away == "page":
            return _response(200, "<html>Sign in</html>", Content_Type="text/html; charset=utf-8")
        return _response(403, "<html>Forbidden</html>", Content_Type="text/html")

    def _status(self) -> Response:
        return _json(200, self.status) if isinstance(self.status, dict) else _response(self.status, "no")

    async def _let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        await self.warm.wait()
        if self.broken:
            return _json(self.broken, {"error": "Gateway failed to start"})
        forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "CF-Connecting-IP": "203.0.113.7"}
        try:
            upstream = await connect(
                self.gateway_url, additional_headers=forwarded, compression=None, max_size=None, proxy=None,
                ping_interval=None,
            )  # fmt: skip
        except (OSError, WebSocketException) as error:
            return _json(502, {"error": str(error)})
        connection.upstream = upstream  # type: ignore[attr-defined]
        return None

    async def _bridge(self, socket: ServerConnection) -> None:
        upstream: ClientConnection = socket.upstream  # type: ignore[attr-defined]
        there = asyncio.create_task(_pass_on(socket, upstream))
        back = asyncio.create_task(_pass_on(upstream, socket))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        await socket.close(*_ending(upstream))
        await upstream.close()
        await asyncio.gather(there, back, return_exceptions=True)


async def _pass_on(source: ServerConnection | ClientConnection, target: ServerConnection | ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for data in source:
            await target.send(data)


def _ending(upstream: ClientConnection) -> tuple[int, str]:
    code = upstream.close_code
    return (code, upstream.close_reason or "") if code and code not in {1005, 1006, 1015} else (1000, "")


def _response(code: int, body: str, **headers: str) -> Response:
    data = body.encode()
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    whole = Headers({"Content-Length": str(len(data)), "Connection": "close", **said})
    return Response(code, http.HTTPStatus(code).phrase, whole, data)


def _json(code: int, body: dict[str, Any]) -> Response:
    return _response(code, json.dumps(body), Content_Type="application/json")


@contextlib.asynccontextmanager
async def access_relay(gateway_url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[AccessRelay]:
    """A relay that is up; nothing of it is left at the end."""
    relay = await AccessRelay(gateway_url, tls).up()
    try:
        yield relay
    finally:
        await relay.down()


def certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that nobody trusts yet: its file, and what a server needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2090, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = directory / "relay.crt", directory / "relay.key"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    return cert, context


class Aside:
    """A loop on a thread of its own, for servers beside a test that waits in the ordinary way."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T], within_s: float = 20) -> T:
        """Run it there, and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(within_s)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@contextlib.contextmanager
def aside() -> Iterator[Aside]:
    """A loop beside the test, ended with it."""
    made = Aside()
    try:
        yield made
    finally:
        made.end()

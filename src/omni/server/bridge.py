"""`omni mcp`: newline-delimited JSON-RPC on stdin and stdout, the daemon's WebSocket behind it, through restarts.

Theory of operation. Every request that has no answer yet is kept with its text. When the connection is lost, it is made
again with growing pauses; then the handshake of the older protocol is repeated in the client's name (the answer is
swallowed), and what waits is sent again where that is safe:

    never sent                                  send
    reads, cancel_task, create_task             send again; create_task always carries an idempotency key, or gets one
    retry_task, resolve_task, anything else     an error: nobody can say whether it was done

After AWAY_S without a daemon, requests get an error that names the next command. End of stdin: answers first, then the
exit. Imports neither the MCP SDK nor a web framework: it has to start quickly.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from omni.domain.errors import ConfigError
from omni.domain.values import BRIDGE_KEY
from omni.server.tokens import read_token

AWAY_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
CONNECT_WITHIN_S = 5.0
FLUSH_WITHIN_S = 60.0
MAX_SENDS = 5
MAX_FRAME = 64 * 1024 * 1024
LINES_AHEAD = 64
OURS = "omni-bridge-"  # ids of requests that the client knows nothing of

PARSE_ERROR, INVALID_REQUEST, AWAY, UNKNOWN_OUTCOME = -32700, -32600, -32000, -32002
TOO_BIG = 1009
LISTEN = "subscriptions/listen"
_REPEATABLE_TOOLS = frozenset(
    (
        "create_task",
        "get_task_status",
        "wait_task",
        "list_tasks",
        "cancel_task",
        "explain_task",
        "task_events",
        "system_status",
        "list_executors",
    )
)
_NOT_REPEATABLE = frozenset(("tools/call", "tasks/update"))

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Waiting:
    """A request without an answer."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.id = message["id"]
        self.method = str(message["method"])
        self.repeatable = _repeatable(message)
        self.text = _encode(message).decode()
        self.sends = 0


def _repeatable(message: dict[str, Any]) -> bool:
    if message["method"] not in _NOT_REPEATABLE:
        return True
    return _tool(message) in _REPEATABLE_TOOLS


def _tool(message: dict[str, Any]) -> str:
    params = message.get("params")
    return str(params.get("name")) if message.get("method") == "tools/call" and isinstance(params, dict) else ""


def _with_key(message: dict[str, Any]) -> dict[str, Any]:
    """The message, with an idempotency key when it creates a task and has none."""
    if _tool(message) != "create_task":
        return message
    arguments = message["params"].get("arguments")
    if not isinstance(arguments, dict) or arguments.get("idempotency_key"):
        return message
    keyed = {**arguments, "idempotency_key": f"{BRIDGE_KEY}{uuid.uuid4()}"}
    return {**message, "params": {**message["params"], "arguments": keyed}}


class Bridge:
    """One client on stdio, one daemon behind the WebSocket."""

    def __init__(self, url: str, token_path: Path, write: Callable[[bytes], None], away_s: float = AWAY_S) -> None:
        self._url = url
        self._token_path = token_path
        self._write = write
        self._away_s = away_s
        self._waiting: dict[tuple[type, Any], Waiting] = {}
        self._socket: ClientConnection | None = None
        self._handshake: dict[str, Any] | None = None
        self._shaken = False
        self._subscribed: dict[str, dict[str, Any]] = {}
        self._swallow: dict[str, asyncio.Future[None]] = {}
        self._ours = 0
        self._reason = "nobody answers"
        self._away: asyncio.TimerHandle | None = None
        self._given_up = False
        self._answered = asyncio.Event()

    async def run(self, lines: asyncio.Queue[bytes | None]) -> None:
        """Serve until `lines` ends and everything is answered."""
        link = asyncio.create_task(self._keep_linked())
        try:
            while (line := await lines.get()) is not None:
                await self._from_client(line)
            await self._flush()
        finally:
            link.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await link

    async def _flush(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_WITHIN_S):
                while any(each.method != LISTEN for each in self._waiting.values()):
                    self._answered.clear()
                    await self._answered.wait()

    # --- from the client ------------------------------------------------------------------------------------------

    async def _from_client(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            message = _decode(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            self._error(None, PARSE_ERROR, f"this line is not JSON: {str(error)[:200]}")
            return
        if not isinstance(message, dict):
            self._error(None, INVALID_REQUEST, "one message a line, and a message is an object")
        elif "method" in message and isinstance(message.get("id"), str | int):
            await self._request(_with_key(message))
        else:
            await self._notice(message)

    async def _request(self, message: dict[str, Any]) -> None:
        self._remember(message)
        waiting = self._waiting[type(message["id"]), message["id"]] = Waiting(message)
        if self._given_up:
            self._fail(waiting, AWAY, self._why_away())
        elif self._socket is not None:
            await self._send(waiting)

    async def _notice(self, message: dict[str, Any]) -> None:
        if message.get("method") == "notifications/cancelled":
            ident = (message.get("params") or {}).get("requestId")
            self._waiting.pop((type(ident), ident), None)
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(_encode(message).decode())

    def _remember(self, message: dict[str, Any]) -> None:
        method, params = message["method"], message.get("params")
        uri = str(params.get("uri")) if isinstance(params, dict) else ""
        if method == "initialize":
            self._handshake, self._shaken = message, False
        elif method == "resources/subscribe":
            self._subscribed[uri] = message
        elif method == "resources/unsubscribe":
            self._subscribed.pop(uri, None)

    async def _send(self, waiting: Waiting) -> None:
        waiting.sends += 1
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):  # the link sees it too, and comes back to this request
                await self._socket.send(waiting.text)

    # --- the link -------------------------------------------------------------------------------------------------

    async def _keep_linked(self) -> None:
        pause_s = FIRST_PAUSE_S
        self._start_clock()
        while True:
            try:
                async with await self._connected() as socket:
                    pause_s = FIRST_PAUSE_S
                    await self._serve(socket)
            except (OSError, InvalidHandshake, TimeoutError, ConfigError, ConnectionClosed) as error:
                self._lost(error)
            finally:
                self._socket = None
                self._start_clock()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _connected(self) -> ClientConnection:
        headers = {}
        if self._token_path.exists():
            headers["Authorization"] = f"Bearer {read_token(self._token_path)}"
        return await connect(
            self._url,
            subprotocols=[Subprotocol("mcp")],
            additional_headers=headers,
            compression=None,
            max_size=MAX_FRAME,
            open_timeout=CONNECT_WITHIN_S,
            proxy=None,
        )

    async def _serve(self, socket: ClientConnection) -> None:
        reading = asyncio.create_task(self._read(socket))
        try:
            await self._resume(socket, reading)
            await reading
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await reading

    async def _resume(self, socket: ClientConnection, reading: asyncio.Task[None]) -> None:
        if self._shaken and self._handshake:
            await self._ask(socket, self._handshake, reading)
            await socket.send('{"jsonrpc":"2.0","method":"notifications/initialized"}')
            for each in list(self._subscribed.values()):
                await self._ask(socket, each, reading)
        self._stop_clock()
        self._socket = socket
        for waiting in list(self._waiting.values()):
            if waiting.sends and not waiting.repeatable:
                self._fail(
                    waiting, UNKNOWN_OUTCOME, "the connection was lost; look with get_task_status before repeating"
                )
            elif waiting.sends >= MAX_SENDS:
                self._fail(waiting, UNKNOWN_OUTCOME, f"the connection was lost {MAX_SENDS} times over this request")
            else:
                await self._send(waiting)

    async def _ask(self, socket: ClientConnection, message: dict[str, Any], reading: asyncio.Task[None]) -> None:
        """Repeat a request in the client's name; its answer goes nowhere."""
        self._ours += 1
        ident = f"{OURS}{self._ours}"
        answered = self._swallow[ident] = asyncio.get_running_loop().create_future()
        await socket.send(_encode({**message, "id": ident}).decode())
        await asyncio.wait((answered, reading), return_when=asyncio.FIRST_COMPLETED)
        self._swallow.pop(ident, None)

    async def _read(self, socket: ClientConnection) -> None:
        async for frame in socket:
            data = frame.encode() if isinstance(frame, str) else frame
            message = _decode(data)
            if not isinstance(message, dict) or not self._swallowed(message):
                self._write(data.replace(b"\n", b" ") + b"\n")
                self._settle(message)
        raise ConnectionClosed(socket.protocol.close_rcvd, socket.protocol.close_sent)

    def _swallowed(self, message: dict[str, Any]) -> bool:
        answered = self._swallow.get(message["id"]) if isinstance(message.get("id"), str) else None
        if answered is None:
            return False
        if not answered.done():
            answered.set_result(None)
        return True

    def _settle(self, message: Any) -> None:
        if isinstance(message, dict) and "method" not in message:
            waiting = self._waiting.pop((type(message.get("id")), message.get("id")), None)
            self._answered.set()
            if waiting and waiting.method == "initialize" and "result" in message:
                self._shaken = True

    # --- when the daemon is away ----------------------------------------------------------------------------------

    def _lost(self, error: Exception) -> None:
        self._reason = str(error) or type(error).__name__
        if isinstance(error, InvalidStatus) and error.response.status_code == 401:
            self._reason = "the daemon does not take this token; run `omni token show` against its data directory"
            self._give_up()
        elif isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == TOO_BIG:
            largest = max(self._waiting.values(), key=lambda each: len(each.text), default=None)
            if largest:
                self._fail(largest, INVALID_REQUEST, "the request is larger than the daemon takes (limits.frame_bytes)")

    def _start_clock(self) -> None:
        if self._away is None and not self._given_up:
            self._away = asyncio.get_running_loop().call_later(self._away_s, self._give_up)

    def _stop_clock(self) -> None:
        self._given_up = False
        if self._away is not None:
            self._away.cancel()
            self._away = None

    def _give_up(self) -> None:
        self._stop_clock()
        self._given_up = True
        for waiting in list(self._waiting.values()):
            self._fail(waiting, AWAY, self._why_away())

    def _why_away(self) -> str:
        return f"the Omni daemon at {self._url} is not there ({self._reason}). Next: omni serve, or omni status"

    def _fail(self, waiting: Waiting, code: int, text: str) -> None:
        self._waiting.pop((type(waiting.id), waiting.id), None)
        self._answered.set()
        self._error(waiting.id, code, text)

    def _error(self, ident: str | int | None, code: int, text: str) -> None:
        self._write(_encode({"jsonrpc": "2.0", "id": ident, "error": {"code": code, "message": text}}) + b"\n")


def run_bridge(url: str, token_path: Path, stdin: BinaryIO, stdout: BinaryIO, *, away_s: float = AWAY_S) -> None:
    """Carry messages between stdio and the daemon until stdin ends."""

    def write(data: bytes) -> None:
        stdout.write(data)
        stdout.flush()

    with contextlib.suppress(BrokenPipeError):  # the client has gone, and that is the usual end
        asyncio.run(_run(Bridge(url, token_path, write, away_s), stdin))


async def _run(bridge: Bridge, stdin: BinaryIO) -> None:
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(LINES_AHEAD)
    loop = asyncio.get_running_loop()
    # A daemon thread: a read of stdin that never returns must not keep the process alive.
    threading.Thread(target=_read_lines, args=(stdin, lines, loop), daemon=True).start()
    await bridge.run(lines)


def _read_lines(stdin: BinaryIO, lines: asyncio.Queue[bytes | None], loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
        for line in stdin:
            asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
        asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

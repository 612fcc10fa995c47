"""The daemon, as a command sees it: tools called over the WebSocket door, one JSON-RPC message a frame.

The 2026-07-28 revision of MCP needs no handshake: each request says in `_meta` who asks and in which version. Nothing
of the MCP SDK is loaded here, for it takes longer to import than a command takes to run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from omni import __version__
from omni.cli.context import bracketed
from omni.cli.exits import ELSEWHERE, OTHER_PORT, DaemonRefused, Nobody
from omni.domain.errors import DaemonUnreachable, NotAuthorised, NotFound, OmniError, ProtocolError

PROTOCOL_VERSION = "2026-07-28"
ANSWER_S = 15.0
CONNECT_S = 5.0
CLOSE_S = 0.5
MAX_FRAME = 64 * 1024 * 1024
UNAUTHORISED_CODE, RATE_CODE = -32001, -32003  # how the door numbers its own refusals
_BACK_OFF_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
_META = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "omni-cli", "version": __version__},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class ConnectionLost(DaemonUnreachable):
    """The daemon had the request, and went away before it answered."""


# AssertionError is the library's own, when a stranger speaks before it is asked and hangs up.
NO_WEBSOCKET = (WebSocketException, EOFError, BrokenPipeError, ConnectionResetError, AssertionError)


class Client:
    """One connection, made when first needed and again after a loss. Not for several threads."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.where = f"{bracketed(host)}:{port}"
        self._token = token
        self._socket: ClientConnection | None = None
        self._open = ExitStack()
        self._next_id = 0

    def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        within_s: float = ANSWER_S,
        on_progress: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Call a tool once and give its structured answer; `on_progress` hears what is said on the way to it.

        Raises DaemonUnreachable, ConnectionLost, NotAuthorised, NotFound, DaemonRefused, ProtocolError.
        """
        socket = self._socket or self._connect()
        self._next_id += 1
        try:
            asked = request(tool, arguments, self._next_id, progress=on_progress is not None)
            socket.send(msgspec.json.encode(asked).decode())
            answer = self._answer(socket, self._next_id, within_s, on_progress)
        except (ConnectionClosed, OSError) as error:  # TimeoutError is an OSError
            self.close()
            raise self._lost(error, within_s) from None
        except KeyboardInterrupt:
            self.close()  # the answer to a question that nobody asks any more must not meet the next one
            raise
        return result_of(answer)

    def persist(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        patience_s: float,
        within_s: float = ANSWER_S,
        on_lost: Callable[[OmniError], None] = lambda _: None,
        on_progress: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Call a tool that may safely be called twice, again for `patience_s` after the daemon has gone away.

        A daemon that never answered at all is not waited for.
        """
        lost_at: float | None = None
        for turn in range(10_000):
            try:
                return self.call(tool, arguments, within_s=within_s, on_progress=on_progress)
            except DaemonUnreachable as error:
                if lost_at is None and not isinstance(error, ConnectionLost):
                    raise
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > patience_s:
                    raise
                on_lost(error)
                time.sleep(_BACK_OFF_S[min(turn, len(_BACK_OFF_S) - 1)])
        raise DaemonUnreachable(f"the daemon at {self.where} keeps dropping the connection", hint="omni doctor")

    def close(self) -> None:
        """Hang up; the next call connects anew."""
        self._socket = None
        self._open.close()

    def _connect(self) -> ClientConnection:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            self._socket = self._open.enter_context(
                connect(
                    f"ws://{self.where}/ws",
                    subprotocols=[Subprotocol("mcp")],
                    additional_headers=headers,
                    compression=None,
                    proxy=None,
                    open_timeout=CONNECT_S,
                    close_timeout=CLOSE_S,
                    max_size=MAX_FRAME,
                    ping_interval=None,
                )
            )
        except InvalidStatus as error:
            raise refused_login(error.response.status_code, self.where) from None
        except NO_WEBSOCKET as error:
            raise stranger(self.where, str(error)) from None
        except OSError as error:
            raise nobody(self.where, error) from None
        return self._socket

    def _answer(
        self, socket: ClientConnection, wanted: int, within_s: float, on_progress: Callable[[str], None] | None
    ) -> dict[str, Any]:
        until = time.monotonic() + within_s
        while True:
            raw = socket.recv(timeout=max(0.0, until - time.monotonic()))
            message = _decoded(raw, self.where)
            if message.get("id") == wanted:
                return message
            if on_progress and message.get("method") == "notifications/progress":
                on_progress(str((message.get("params") or {}).get("message") or ""))

    def _lost(self, error: Exception, within_s: float) -> DaemonUnreachable:
        if isinstance(error, TimeoutError):
            return ConnectionLost(
                f"the daemon at {self.where} gave no answer within {within_s:g} s", hint="omni status"
            )
        return ConnectionLost(f"the daemon at {self.where} closed the connection", hint="omni serve, or omni logs")


def request(tool: str, arguments: dict[str, Any], number: int, *, progress: bool = False) -> dict[str, Any]:
    """The JSON-RPC request that calls a tool, and wants to hear of progress or not."""
    given = {name: value for name, value in arguments.items() if value is not None}
    meta = {**_META, "progressToken": number} if progress else _META
    params = {"name": tool, "arguments": given, "_meta": meta}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def result_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The structured content of an answer. Raises what an error in it stands for."""
    if "error" in answer:
        raise _protocol_error(answer["error"])
    result = answer.get("result") or {}
    content = result.get("structuredContent")
    if result.get("isError"):
        raise _refusal(content or {}, _text_of(result))
    if not isinstance(content, dict):
        raise ProtocolError("the daemon's answer has no structured content", hint="omni version")
    return content


def task_in(answer: dict[str, Any]) -> dict[str, Any]:
    """The task that an answer is about, under its own key or bare."""
    task = answer.get("task", answer)
    if not isinstance(task, dict) or "state" not in task:
        raise ProtocolError("the daemon's answer holds no task", hint="omni version")
    return task


def nobody(where: str, error: OSError) -> Nobody:
    """Nobody listens there."""
    detail = "" if isinstance(error, ConnectionRefusedError) else f" ({error.strerror or str(error) or 'timed out'})"
    return Nobody(f"no daemon answers at {where}{detail}", hint="omni serve")


def stranger(where: str, detail: str) -> DaemonUnreachable:
    """Something listens there, and it is not Omni."""
    return DaemonUnreachable(
        f"something other than Omni answers at {where}: {detail[:200]}",
        hint=OTHER_PORT,
    )


def refused_login(status: int, where: str) -> OmniError:
    """What a refused handshake stands for."""
    if status == 401:
        return NotAuthorised(f"the daemon at {where} does not take this token", hint=ELSEWHERE)
    if status == 403:
        return NotAuthorised(
            f"the daemon at {where} does not serve this host name", hint="omni --host 127.0.0.1 status"
        )
    if status in (429, 503):
        return DaemonUnreachable(
            f"the daemon at {where} takes no more connections now", hint="omni status, in a minute"
        )
    return stranger(where, f"HTTP status {status}")


def _protocol_error(error: dict[str, Any]) -> OmniError:
    code, message = error.get("code"), str(error.get("message", error))
    if code == UNAUTHORISED_CODE:
        # The daemon's words are for any client; ours has sent what it has.
        return NotAuthorised("the daemon does not take this token", hint=ELSEWHERE)
    if code == RATE_CODE:
        return DaemonRefused("overloaded", message, hint="omni status, in a minute")
    return DaemonRefused("invalid", message, hint="omni --help")


def _refusal(content: dict[str, Any], text: str) -> OmniError:
    error = content.get("error", content)
    error = error if isinstance(error, dict) else {"message": str(error)}
    kind, message = str(error.get("kind", "invalid")), str(error.get("message") or text)
    hint = str(error.get("hint") or "")
    if kind == "not_found":
        return NotFound(message, hint=hint)
    if kind == "unauthorised":
        return NotAuthorised(message, hint=hint)
    return DaemonRefused(kind, message, hint=hint)


def _text_of(result: dict[str, Any]) -> str:
    return "\n".join(str(each.get("text", "")) for each in result.get("content") or ()) or "the daemon refused"


def _decoded(raw: str | bytes, where: str) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise stranger(where, "its answer is not JSON") from None
    return message if isinstance(message, dict) else {}

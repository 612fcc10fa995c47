"""An MCP server that keeps a ledger: what it was asked to begin is on disk before it begins.

Two doors, stdio and ws. Behind stdio stands the standard library alone, so that it starts in no time. It says only what
MCP asks of a server (revision 2025-11-25); its one tool `work` takes as long as its text says: "… 30 ms".

    peer.py LEDGER [--stay] [--deaf] [--spawn] [--remember] [--ws PORT]
    --stay: outlive stdin; --deaf: ignore INT and TERM; --spawn: have a child in a session of its own
    --remember: offer the tool `lookup_attempt`, and know what became of every call, over all connections
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

DURATION = re.compile(r"(\d+) ms")
TOOL = {
    "name": "work",
    "description": "Take note of the task and work on it for a while.",
    "inputSchema": {
        "type": "object",
        "properties": {name: {} for name in ("task", "attempt", "key", "text")},
        "required": ["task", "attempt", "key", "text"],
    },
}
LOOKUP = {"name": "lookup_attempt", "description": "Tell what became of a call.", "inputSchema": {"type": "object"}}
Send = Callable[[str], None]
remembered: dict[str, str] = {}  # key → "running", or the text that it ended with


class Ledger:
    """An append-only file; a line is on disk when `write` returns."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, **entry: Any) -> None:
        os.write(self._fd, (json.dumps(entry) + "\n").encode())
        os.fsync(self._fd)


class Session:
    """One connection: takes messages, answers through `send` from whatever thread has the answer."""

    def __init__(self, send: Send, ledger: Ledger) -> None:
        self._send = send
        self._ledger = ledger
        self._running: dict[Any, threading.Event] = {}

    def feed(self, text: str) -> None:
        message = json.loads(text)
        if message.get("method") == "notifications/cancelled":
            self._cancel(message["params"]["requestId"])
        elif "id" in message and "method" in message:
            self._request(message["id"], message["method"], message.get("params") or {})

    def _request(self, ident: Any, method: str, params: dict[str, Any]) -> None:
        if method == "tools/call" and params["name"] == LOOKUP["name"]:
            self._answer(ident, result={"content": [], "structuredContent": _look_up(params["arguments"]["key"])})
        elif method == "tools/call":
            self._running[ident] = threading.Event()
            threading.Thread(target=self._work, args=(ident, params), daemon=True).start()
        elif method in ANSWERS:
            self._answer(ident, result=ANSWERS[method](params))
        else:
            self._answer(ident, error={"code": -32601, "message": f"no method {method}"})

    def _work(self, ident: Any, params: dict[str, Any]) -> None:
        told = params["arguments"]
        remembered[told["key"]] = "running"  # first: whoever sees it begun in the ledger may ask
        self._ledger.write(begin=told["task"], attempt=int(told["attempt"]), key=told["key"], pid=os.getpid())
        found = DURATION.search(told["text"])
        cancelled = self._running[ident].wait(int(found[1]) / 1000 if found else 0)
        del self._running[ident]
        if not cancelled:
            text = remembered[told["key"]] = f"did {told['key']}"
            self._answer(ident, result={"content": [{"type": "text", "text": text}], "isError": False})

    def _cancel(self, ident: Any) -> None:
        if ident in self._running:
            self._running[ident].set()

    def _answer(self, ident: Any, **outcome: Any) -> None:
        self._send(json.dumps({"jsonrpc": "2.0", "id": ident, **outcome}))


def _initialize(params: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "ledger", "version": "1"},
    }


def _look_up(key: str) -> dict[str, Any]:
    found = remembered.get(key)
    if found is None or found == "running":
        return {"state": found or "unknown"}
    return {"state": "finished", "result": {"contract": "omni.result/1", "text": found}}


def _tools(_: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [TOOL, LOOKUP] if "--remember" in sys.argv else [TOOL]}


ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "initialize": _initialize,
    "ping": lambda _: {},
    "tools/list": _tools,
}


def serve_stdio(ledger: Ledger, *, stay: bool) -> None:
    lock = threading.Lock()

    def send(text: str) -> None:
        with lock:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    session = Session(send, ledger)
    for line in sys.stdin:
        session.feed(line)
    if stay:
        threading.Event().wait()


def serve_ws(ledger: Ledger, port: int) -> None:
    from contextlib import suppress

    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import ServerConnection, serve
    from websockets.typing import Subprotocol

    def handle(connection: ServerConnection) -> None:
        def send(text: str) -> None:
            with suppress(ConnectionClosed):
                connection.send(text)

        session = Session(send, ledger)
        with suppress(ConnectionClosed):  # a daemon that is killed says no goodbye
            for frame in connection:
                session.feed(str(frame))

    with serve(handle, "127.0.0.1", port, subprotocols=[Subprotocol("mcp")], compression=None) as server:
        print("listening", flush=True)  # noqa: T201 - the parent waits for this line
        server.serve_forever()


def main(path: str, *options: str) -> None:
    ledger = Ledger(path)
    ledger.write(up=os.getpid())
    if "--deaf" in options:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--spawn" in options:
        child = subprocess.Popen(["/bin/sleep", "900"], start_new_session=True)
        ledger.write(child=child.pid)
    if "--ws" in options:
        serve_ws(ledger, int(options[options.index("--ws") + 1]))
    else:
        serve_stdio(ledger, stay="--stay" in options)


if __name__ == "__main__":
    main(*sys.argv[1:])

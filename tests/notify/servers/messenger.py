"""A messenger that remembers: an MCP server over stdio with the tool `send_message`, `python -I -S messenger.py DIR`.

What it sent stands in DIR/sent, one JSON line each; a key that stands there is not sent again. Every call stands in
DIR/calls. A word in DIR/fate holds for one call: `before` and `between` kill it before it sends and before it answers,
`after` kills it once it has answered, `uncertain` sends and says that it does not know, `broken` is an error.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

HOME = Path(sys.argv[1])
TOOL = {
    "name": "send_message",
    "inputSchema": {"type": "object", "properties": {n: {"type": "string"} for n in ("channel", "to", "text", "key")}},
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def append(name: str, what: dict[str, Any]) -> None:
    with (HOME / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")
        file.flush()
        os.fsync(file.fileno())


def known(key: str) -> bool:
    path = HOME / "sent"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return any(json.loads(line)["key"] == key for line in lines)


def fate() -> str:
    path = HOME / "fate"
    word = path.read_text(encoding="utf-8") if path.exists() else ""
    path.unlink(missing_ok=True)
    return word


def send(arguments: dict[str, Any], word: str) -> dict[str, Any]:
    append("calls", arguments)
    if word == "before":
        die()
    if word == "broken":
        return {"content": [{"type": "text", "text": "the line is dead"}], "isError": True}
    if not known(arguments["key"]):
        append("sent", arguments)
    if word == "between":
        die()
    state = {"state": "uncertain" if word == "uncertain" else "sent"}
    return {"content": [{"type": "text", "text": json.dumps(state)}], "structuredContent": state}


def answer(method: str, params: dict[str, Any], word: str) -> dict[str, Any]:
    if method == "initialize":
        server = {"name": "messenger", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "tools/list":
        return {"tools": [TOOL]}
    return send(params["arguments"], word) if method == "tools/call" else {}


def main() -> None:
    (HOME / "pid").write_text(str(os.getpid()), encoding="utf-8")
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        word = fate() if message["method"] == "tools/call" else ""
        result = answer(message["method"], message.get("params") or {}, word)
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
        sys.stdout.flush()
        if word == "after":
            die()


main()

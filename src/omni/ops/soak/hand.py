"""The executor of a soak that leaves marks: an MCP server over stdio whose one effect is a line in a ledger.

It is naive on purpose: `work` does what it is asked, as often as it is asked, and remembers nothing. Only
`lookup_attempt` reads the ledger. So a line too many is the caller's doing, and the ledger proves it.
Started as `python -m omni.ops.soak.hand LEDGER`.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult

from omni.ops.soak.ledger import Ledger, state_of

TAKES = re.compile(r"takes (\d+) ms")


def make_server(ledger: Ledger) -> MCPServer[Any]:
    """The server; every call of its tool is one more piece of work."""
    app: MCPServer[Any] = MCPServer("soak-hand")

    @app.tool()
    async def work(description: str, task_id: str, attempt: int, handle: str, key: str) -> CallToolResult:
        who = (task_id, attempt, handle, key)
        try:
            ledger.note("begun", *who)
        except OSError as error:
            return _answer(error={"kind": "unavailable", "message": f"nothing was begun: {error}"})
        await asyncio.sleep(_takes_s(description))
        try:
            ledger.note("done", *who)
        except OSError as error:
            said = {"kind": "interrupted", "message": f"nothing was done: {error}", "retry_after_s": 0}
            return _answer(error=said, resumable=True)
        return _answer(text="done")

    @app.tool()
    async def lookup_attempt(handle: str, key: str) -> CallToolResult:
        return CallToolResult(content=[], structured_content=state_of(ledger.lines(), handle, key))

    return app


def _answer(**said: Any) -> CallToolResult:
    return CallToolResult(content=[], structured_content={"contract": "omni.result/1", **said})


def _takes_s(description: str) -> float:
    found = TAKES.search(description)
    return int(found[1]) / 1000 if found else 0.1


if __name__ == "__main__":
    make_server(Ledger(Path(sys.argv[1]))).run()

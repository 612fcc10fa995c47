"""An MCP server over stdio whose one tool answers with a mark once a file is there: `slow_server.py FILE MARK`.

It leaves the file `began-MARK` beside the other one as soon as it runs.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

GATE, MARK = Path(sys.argv[1]), sys.argv[2]
GATE.with_name(f"began-{MARK}").touch()  # before the slow imports

import mcp_types as types  # noqa: E402
from mcp.server.lowlevel import Server  # noqa: E402
from mcp.server.stdio import stdio_server  # noqa: E402

SCHEMA = {"type": "object", "properties": {"description": {"type": "string"}}}


async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[types.Tool(name="work", description="Work.", input_schema=SCHEMA)])


async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    while not await asyncio.to_thread(GATE.exists):  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.05)
    return types.CallToolResult(content=[types.TextContent(type="text", text=MARK)])


async def main() -> None:
    server: Server[Any] = Server("slow", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())

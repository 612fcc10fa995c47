"""A real MCP server over stdio whose tools are those of the file it is given: `python tools.py TOOLS.json`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server


async def main(tools: list[types.Tool]) -> None:
    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    server: Server[Any] = Server("tools", version="1", on_list_tools=list_tools)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    said = json.loads(Path(sys.argv[1]).read_text())
    asyncio.run(main([types.Tool(name=name, description=name, input_schema=schema) for name, schema in said.items()]))

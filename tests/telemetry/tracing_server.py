"""An MCP server over stdio whose one tool answers with the trace that it was called in."""

import asyncio
import json
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server


async def tools(ctx: Any, params: Any) -> types.ListToolsResult:
    schema: dict[str, Any] = {"type": "object", "properties": {"description": {"type": "string"}}}
    return types.ListToolsResult(tools=[types.Tool(name="trace", input_schema=schema)])


async def call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    said = json.dumps({"traceparent": (ctx.meta or {}).get("traceparent")})
    return types.CallToolResult(content=[types.TextContent(text=said)])


async def main() -> None:
    server: Server[Any] = Server("tracing", on_list_tools=tools, on_call_tool=call)
    server.middleware.clear()
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


asyncio.run(main())

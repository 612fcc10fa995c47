"""What an MCP server offers, asked over a connection of its own: its tools with their input schemas.

Imports the SDK, as `plug` does.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from mcp import Client
from mcp_types import Implementation

import omni
from omni.domain.errors import ExecutorUnavailable
from omni.executors.connection import MAX_TOOLS, TOOL_PAGES, diagnosis, explain
from omni.executors.wire import Tapped, Wire


class Tool(NamedTuple):
    """One tool: its name, and the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


async def offered(wire: AbstractAsyncContextManager[Wire], within_s: float) -> tuple[Tool, ...]:
    """Connect, list the tools, and hang up. Raises ExecutorUnavailable with why that could not be done."""
    try:
        async with asyncio.timeout(within_s):
            return await _tools(wire)
    except TimeoutError:
        raise ExecutorUnavailable(f"no answer to initialize and tools/list within {within_s:g} s") from None
    except Exception as error:  # whatever a server makes a library raise
        raise ExecutorUnavailable(explain(error)) from error


async def _tools(wire: AbstractAsyncContextManager[Wire]) -> tuple[Tool, ...]:
    async with wire as opened:
        try:
            info = Implementation(name="omni", version=omni.__version__)
            async with Client(Tapped(opened), client_info=info, cache=None) as client:
                return tuple(await _pages(client))
        except Exception as error:
            raise ExecutorUnavailable(await diagnosis(error, opened)) from error


async def _pages(client: Client) -> list[Tool]:
    tools: list[Tool] = []
    cursor: str | None = None
    for _ in range(TOOL_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += [Tool(each.name, dict(each.input_schema)) for each in page.tools]
        cursor = page.next_cursor
        if not cursor or len(tools) > MAX_TOOLS:
            break
    return tools

"""The five ways into the daemon, each with a client that a user would have: submit, wait for the end, ask why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
import httpx2
import mcp_types as types
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._context_streams import create_context_streams
from mcp.shared.message import SessionMessage
from tests.torture.daemon_process import DaemonProcess
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

WAIT_S = 40
Answer: TypeAlias = tuple[dict[str, Any], dict[str, Any]]  # the task, and why it went where it went
Door: TypeAlias = Callable[[DaemonProcess, str], Coroutine[Any, Any, Answer]]


@asynccontextmanager
async def over_http(daemon: DaemonProcess) -> AsyncIterator[Client]:
    """The SDK's client over Streamable HTTP."""
    async with httpx2.AsyncClient(headers=daemon.headers) as http:
        transport = streamable_http_client(f"http://127.0.0.1:{daemon.port}/mcp", http_client=http)
        async with Client(transport) as client:
            yield client


@asynccontextmanager
async def over_ws(daemon: DaemonProcess) -> AsyncIterator[Client]:
    """The SDK's client over WebSocket."""
    async with Client(_ws_transport(daemon)) as client:
        yield client


@asynccontextmanager
async def over_stdio(daemon: DaemonProcess) -> AsyncIterator[Client]:
    """The SDK's client over the stdio bridge."""
    program, *arguments = daemon.command("mcp")
    async with Client(StdioServerParameters(command=program, args=arguments, env=daemon.environment)) as client:
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool and give its structured answer; an error of the tool fails the test."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, types.CallToolResult), result
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def _through(client: Client, text: str) -> Answer:
    task = await call(client, "create_task", description=text)
    task = await call(client, "wait_task", task_id=task["id"], wait_s=WAIT_S)
    return task, (await call(client, "explain_task", task_id=task["id"]))["decision"]


async def mcp_http(daemon: DaemonProcess, text: str) -> Answer:
    async with over_http(daemon) as client:
        return await _through(client, text)


async def mcp_ws(daemon: DaemonProcess, text: str) -> Answer:
    async with over_ws(daemon) as client:
        return await _through(client, text)


async def mcp_stdio(daemon: DaemonProcess, text: str) -> Answer:
    async with over_stdio(daemon) as client:
        return await _through(client, text)


async def plain(daemon: DaemonProcess, text: str) -> Answer:
    """What the first users' scripts do; the dialect has no way to ask why, so the command line is asked."""
    async with connect(daemon.url, additional_headers=daemon.headers, proxy=None) as door:
        await door.send(json.dumps({"method": "create_task", "params": {"description": text}}, ensure_ascii=False))
        task = json.loads(await door.recv())["result"]
    return task, await _why(daemon, task["task_id"])


async def command_line(daemon: DaemonProcess, text: str) -> Answer:
    done = await asyncio.to_thread(daemon.run, "submit", "--wait", str(WAIT_S), "--json", text)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"].startswith("omni.")
    return document["task"], await _why(daemon, document["task"]["id"])


async def _why(daemon: DaemonProcess, task_id: str) -> dict[str, Any]:
    done = await asyncio.to_thread(daemon.run, "why", task_id, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["decision"])


DOORS: dict[str, Door] = {
    "mcp-http": mcp_http,
    "mcp-ws": mcp_ws,
    "mcp-stdio": mcp_stdio,
    "plain-ws": plain,
    "command-line": command_line,
}


@asynccontextmanager
async def _ws_transport(daemon: DaemonProcess) -> AsyncIterator[Any]:
    incoming, to_read = create_context_streams[SessionMessage | Exception](0)
    to_write, outgoing = create_context_streams[SessionMessage](0)
    door = connect(daemon.url, additional_headers=daemon.headers, subprotocols=[Subprotocol("mcp")], proxy=None)

    async def read(socket: Any) -> None:
        async for frame in socket:
            await incoming.send(SessionMessage(types.jsonrpc_message_adapter.validate_json(frame, by_name=False)))

    async def write(socket: Any) -> None:
        async for message in outgoing:
            await socket.send(message.message.model_dump_json(by_alias=True, exclude_unset=True))

    async with door as socket, incoming, outgoing, anyio.create_task_group() as group:
        group.start_soon(read, socket)
        group.start_soon(write, socket)
        yield to_read, to_write
        group.cancel_scope.cancel()

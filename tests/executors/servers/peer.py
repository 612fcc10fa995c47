"""A real MCP server with awkward habits, over stdio, WebSocket or HTTP: `python peer.py stdio|ws|http [PORT]`.

What it sees it writes into the directory PEER_NOTES, one file for each kind of event.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError
from mcp.server.lowlevel import Server

NOTES = Path(os.environ.get("PEER_NOTES", "."))


def note(kind: str, text: str = "") -> None:
    with (NOTES / kind).open("a") as file:
        file.write(text + "\n")


def told(text: str, structured: Any = None, *, bad: bool = False) -> types.CallToolResult:
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=structured, is_error=bad)


async def act(context: Any, asked: dict[str, Any]) -> types.CallToolResult:
    """Do what the first word of the description says; echo what says nothing."""
    what = str(asked.get("description", ""))
    verb, _, rest = what.partition(" ")
    note("called", what)
    habit = HABITS.get(verb)
    return await habit(context, rest) if habit else told(what)


async def sleep(context: Any, rest: str) -> types.CallToolResult:
    try:
        await anyio.sleep(float(rest))
    except anyio.get_cancelled_exc_class():
        note("cancelled", f"sleep {rest}")
        raise
    return told(f"slept {rest}")


async def tick(context: Any, rest: str) -> types.CallToolResult:
    for step in range(int(rest)):
        await context.session.report_progress(step + 1, float(rest), f"step {step + 1}")
        await anyio.sleep(0.2)
    return told("ticked")


async def die(context: Any, rest: str) -> types.CallToolResult:
    os.kill(os.getpid(), signal.SIGKILL)
    return told("unreachable")


async def stubborn(context: Any, rest: str) -> types.CallToolResult:
    """Block the loop: it can neither answer nor see a cancel."""
    note("stubborn", str(os.getpid()))
    while True:
        signal.pause()


async def fail(context: Any, rest: str) -> types.CallToolResult:
    return told(rest, bad=True)


async def huge(context: Any, rest: str) -> types.CallToolResult:
    return told("x" * int(rest))


async def garbage(context: Any, rest: str) -> types.CallToolResult:
    sys.stdout.write("this is not JSON\n{\n\xff\n[1,2]\n")
    sys.stdout.flush()
    return told("after garbage")


async def refuse(context: Any, rest: str) -> types.CallToolResult:
    raise MCPError(code=int(rest), message="no, thank you")


async def structured(context: Any, rest: str) -> types.CallToolResult:
    return told("text", json.loads(rest))


async def family(context: Any, rest: str) -> types.CallToolResult:
    return told(json.dumps(start_family()))


async def environment(context: Any, rest: str) -> types.CallToolResult:
    return told(json.dumps(dict(os.environ)))


async def mixed(context: Any, rest: str) -> types.CallToolResult:
    text, image = types.TextContent, types.ImageContent(type="image", data="aGVsbG8=", mime_type="image/png")
    return types.CallToolResult(content=[text(type="text", text="one"), image, text(type="text", text="two")])


HABITS = {
    each.__name__: each
    for each in (
        sleep, tick, die, stubborn, fail, huge, garbage, refuse, structured, family, environment, mixed,
    )
}  # fmt: skip


def start_family() -> list[int]:
    """A child in a session of its own, and its child in another: a process group does not hold them."""
    code = (
        "import subprocess,sys,time\n"
        "p=subprocess.Popen([sys.executable,'-c','import time;time.sleep(90)'],start_new_session=True)\n"
        "print(p.pid,flush=True)\ntime.sleep(90)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert child.stdout
    return [child.pid, int(child.stdout.readline())]


def look_up(handle: str) -> types.CallToolResult:
    """Attempts that this server remembers, from files that a test has written or that `remember` made."""
    path = NOTES / f"attempt-{handle}"
    state = json.loads(path.read_text()) if path.exists() else {"state": "unknown"}
    return told("", state)


def make_server() -> Server[Any]:
    def tool(name: str, *arguments: str) -> types.Tool:
        properties = {each: {"type": "string"} for each in arguments}
        return types.Tool(name=name, description=name, input_schema={"type": "object", "properties": properties})

    tools = [tool("act", "description"), tool("echo", "description")]
    if os.environ.get("PEER_LOOKUP"):
        tools.append(tool("lookup_attempt", "handle", "key"))
    if os.environ.get("PEER_PAUSE"):
        tools.append(tool("pause_attempt", "handle", "key"))

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        asked = params.arguments or {}
        if params.name == "lookup_attempt":
            return look_up(str(asked["handle"]))
        if params.name == "pause_attempt":
            note("paused", json.dumps(asked))
            return told("", bad=os.environ["PEER_PAUSE"] == "refuse")
        return told(json.dumps(asked)) if params.name == "echo" else await act(context, asked)

    return Server("peer", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


async def over_stdio() -> None:
    from mcp.server.stdio import stdio_server

    server = make_server()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def over_websocket(port: int) -> None:
    from mcp.server.runner import serve_dual_era_loop
    from mcp.shared._context_streams import create_context_streams
    from mcp.shared.message import SessionMessage
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    server = make_server()

    async def handle(socket: ServerConnection) -> None:
        token, sent = os.environ.get("PEER_TOKEN"), socket.request and socket.request.headers.get("Authorization")
        if token and sent != f"Bearer {token}":
            await socket.close(1008, "no token")
            return
        inbox, read = create_context_streams[SessionMessage | Exception](0)
        write, outbox = create_context_streams[SessionMessage](0)

        async def reader() -> None:
            with contextlib.suppress(ConnectionClosed, anyio.BrokenResourceError, anyio.ClosedResourceError):
                async with inbox:
                    async for frame in socket:
                        await inbox.send(
                            SessionMessage(types.jsonrpc_message_adapter.validate_json(frame, by_name=False))
                        )

        async def writer() -> None:
            with contextlib.suppress(ConnectionClosed):
                async for message in outbox:
                    await socket.send(message.message.model_dump_json(by_alias=True, exclude_unset=True))

        async with anyio.create_task_group() as group, server.lifespan(server) as state:
            group.start_soon(reader)
            group.start_soon(writer)
            await serve_dual_era_loop(
                server, read, write, lifespan_state=state, init_options=server.create_initialization_options()
            )
            group.cancel_scope.cancel()

    async with serve(handle, "127.0.0.1", port, subprotocols=["mcp"], compression=None) as listening:  # type: ignore[list-item]
        note("port", str(listening.sockets[0].getsockname()[1]))
        await asyncio.get_running_loop().create_future()


async def behind_gateway(app: Any, scope: Any, receive: Any, send: Any) -> None:
    """Answer some calls as a gateway in trouble would; pass on the rest."""
    from starlette.responses import PlainTextResponse

    first = await receive()
    said = first.get("body", b"")
    if b'"gateway"' in said:
        await PlainTextResponse("upstream timed out", 504)(scope, receive, send)
    elif b'"crowded"' in said:
        await PlainTextResponse("later", 429)(scope, receive, send)
    elif b'"cut"' in said:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": nothing more will come\n\n"})
    else:
        pending = [first]

        async def again() -> Any:
            return pending.pop() if pending else await receive()

        await app(scope, again, send)


async def over_http(port: int) -> None:
    import socket

    import uvicorn
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse

    app = make_server().streamable_http_app(json_response=False)

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        token = os.environ.get("PEER_TOKEN")
        if token and scope["type"] == "http" and Request(scope).headers.get("authorization") != f"Bearer {token}":
            await PlainTextResponse("who are you?", 401)(scope, receive, send)
        elif os.environ.get("PEER_GATEWAY") and scope["type"] == "http" and scope["method"] == "POST":
            await behind_gateway(app, scope, receive, send)
        else:
            await app(scope, receive, send)

    listening = socket.create_server(("127.0.0.1", port))
    note("port", str(listening.getsockname()[1]))
    await uvicorn.Server(uvicorn.Config(guarded, log_level="warning")).serve([listening])


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    note("started", str(os.getpid()))
    with contextlib.suppress(KeyboardInterrupt):
        if kind == "stdio":
            anyio.run(over_stdio)
        else:
            asyncio.run(over_websocket(port) if kind == "ws" else over_http(port))

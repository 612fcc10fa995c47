"""MCP through the SDK: both protocol eras, over WebSocket and Streamable HTTP. Imported late, it is heavy.

An abandoned call, a cancelled request and a closed connection only stop the waiting; the work they asked for goes on.
What stops work is cancel_task or tasks/cancel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
import msgspec
import structlog
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared._context_streams import ContextSendStream, create_context_streams
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from omni import __version__
from omni.domain.errors import OmniError
from omni.server.auth import Caller, Receive, Scope, Send
from omni.server.call_log import Answering, answering
from omni.server.desk import TRACEPARENT, Desk
from omni.server.frames import NOT_JSON, text_of, too_deep, why_not_json
from omni.server.limits import RequestRate
from omni.server.mcp_resources import Resources
from omni.server.mcp_tasks import TaskExtension
from omni.server.names import labelled, visitor
from omni.server.plain import UNAUTHORISED
from omni.server.refusals import did_you_mean, error_view, kind_of, sentence_of
from omni.server.requests import SpecMaker
from omni.server.rights import Rights, demand, rights
from omni.server.schemas import schema_of
from omni.server.tools import TOOLS, Call, Progress, Said, Tool

log = structlog.get_logger()
Context = ServerRequestContext[Any, Any]

UNAUTHORISED_CODE, RATE_CODE = -32001, -32003  # implementation-defined, as JSON-RPC leaves them
INSTRUCTIONS = (
    "Omni dispatches tasks to executors and keeps track of them. create_task answers with a task id at once; "
    "wait_task or get_task_status tell how it goes. Work goes on when you stop waiting. Send an idempotency_key with "
    "create_task, so that sending it again makes no second task. With reply_to (channel:target of the chat that "
    "asked) the answer goes to that chat by itself when the task ends."
)
_encode = msgspec.json.Encoder().encode


class McpServer:
    """The MCP side of the door."""

    def __init__(self, desk: Desk, make_spec: SpecMaker, nesting: int, frame_bytes: int) -> None:
        self._desk = desk
        self._make_spec = make_spec
        self._nesting = nesting
        self._tasks = TaskExtension(desk, self._call, _result)
        self._resources = Resources(desk)
        self.server: Server[Any] = Server(
            "omni",
            version=__version__,
            title="Omni",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._resources.list,
            on_list_resource_templates=self._resources.templates,
            on_read_resource=self._resources.read,
            on_subscribe_resource=self._resources.subscribe,
            on_unsubscribe_resource=self._resources.unsubscribe,
            on_subscriptions_listen=self._resources.listen,
        )
        self.server.middleware.clear()  # traces are not ours to make, and each message pays for them
        self._tasks.join(self.server)
        self._tools = {
            each: types.ListToolsResult(tools=[_described(tool) for tool in TOOLS.values() if tool.needs <= each])
            for each in Rights
        }
        self._http = StreamableHTTPSessionManager(self.server, max_request_body_size=frame_bytes)
        self._lifespan: Any = None

    async def run(self, ready: Callable[[], None], stop: Awaitable[Any]) -> None:
        """Be there for connections until `stop`."""
        async with self.server.lifespan(self.server) as self._lifespan, self._http.run():
            ready()
            await stop
            self._resources.close()

    async def serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of the Streamable HTTP transport; the gate has checked who asks."""
        await self._http.handle_request(scope, receive, send)

    async def serve_socket(
        self, first: str | None, receive: Receive, send: Send, caller: Caller, rate: RequestRate
    ) -> None:
        """One WebSocket connection until it closes."""
        incoming, to_read = create_context_streams[SessionMessage | Exception](0)
        to_write, outgoing = create_context_streams[SessionMessage](0)
        socket = _Socket(receive, send, caller, rate, self._nesting)
        async with anyio.create_task_group() as group:
            group.start_soon(socket.read, first, incoming)
            group.start_soon(socket.write, outgoing)
            await serve_dual_era_loop(
                self.server,
                to_read,
                to_write,
                lifespan_state=self._lifespan,
                init_options=self.server.create_initialization_options(),
            )
            group.cancel_scope.cancel()

    # --- tools ----------------------------------------------------------------------------------------------------

    async def _list_tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return self._tools[rights.get()]

    async def _call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> Any:
        call = self._call(ctx)
        if self._desk.adopt is not None:
            TRACEPARENT.set(_trace_of(ctx))
        with answering(self._desk.clock, params.name, call.client) as answered:
            tool = TOOLS.get(params.name)
            if tool is None:
                known = did_you_mean(params.name, TOOLS)
                raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name[:200]!r}{known}")
            try:
                return await self._answer(ctx, tool, call, params, answered)
            except OmniError as error:
                answered.outcome = kind_of(error)
                answered.concerns(params.arguments)
                return error_result(error)

    async def _answer(
        self, ctx: Context, tool: Tool, call: Call, params: types.CallToolRequestParams, answered: Answering
    ) -> Any:
        demand(tool.needs, tool.name)
        asked = tool.arguments.values(params.arguments)
        if self._tasks.wanted(ctx, tool.name):
            handle = await self._tasks.begin(call, asked)
            answered.concerns(handle)
            return handle
        said = await tool.handle(call, asked)
        answered.concerns(said.view)
        return _result(said)

    def _call(self, ctx: Context) -> Call:
        info = ctx.session.client_params
        client = labelled(f"mcp:{info.client_info.name[:80]}" if info else "mcp", visitor.get())
        wanted = ctx.meta is not None and "progress_token" in ctx.meta
        return Call(self._desk, self._make_spec, client, _progress(ctx) if wanted else None)


def _trace_of(ctx: Context) -> str:
    given = (ctx.meta or {}).get("traceparent")
    return given if isinstance(given, str) else ""


def _progress(ctx: Context) -> Progress:
    async def tell(progress: float, total: float | None, message: str) -> None:
        await ctx.session.report_progress(progress, total, message or None)

    return tell


def _result(said: Said) -> types.CallToolResult:
    texts = (said.sentence, _encode(said.view).decode())
    return types.CallToolResult(content=[types.TextContent(text=text) for text in texts], structured_content=said.view)


def error_result(error: OmniError) -> types.CallToolResult:
    """A refusal as the tool's answer: the caller can read it and do better."""
    view = error_view(error)
    sentence = sentence_of(error)
    texts = (sentence, _encode(view).decode())
    return types.CallToolResult(
        content=[types.TextContent(text=text) for text in texts], structured_content=view, is_error=True
    )


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema_of(tool.arguments.kind),
        output_schema=schema_of(tool.answer),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.repeats,
            open_world_hint=not tool.reads,
        ),
    )


class _Socket:
    """Frames on one side, protocol messages on the other."""

    def __init__(self, receive: Receive, send: Send, caller: Caller, rate: RequestRate, nesting: int) -> None:
        self._receive = receive
        self._send = send
        self._caller = caller
        self._rate = rate
        self._nesting = nesting

    async def read(self, first: str | None, incoming: ContextSendStream[SessionMessage | Exception]) -> None:
        async with incoming:
            if first is not None:
                await self._take(first, incoming)
            while True:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    return
                text = text_of(message)
                if text is None:
                    await self._complain(types.INVALID_REQUEST, "a message is a text frame, not a binary one")
                else:
                    await self._take(text, incoming)

    async def write(self, outgoing: Any) -> None:
        async with outgoing:
            async for message in outgoing:
                await self._send_text(message.message.model_dump_json(by_alias=True, exclude_unset=True))

    async def _take(self, text: str, incoming: ContextSendStream[SessionMessage | Exception]) -> None:
        if too_deep(text, self._nesting):
            await self._complain(types.PARSE_ERROR, f"the message nests deeper than {self._nesting}")
            return
        try:
            message = types.jsonrpc_message_adapter.validate_json(text, by_name=False)
        except (ValidationError, ValueError, RecursionError):
            await self._malformed(text)
            return
        if not self._caller.logged_in:
            await self._refuse(message, UNAUTHORISED_CODE, UNAUTHORISED)
        elif not self._rate.allows():
            await self._refuse(message, RATE_CODE, "too many requests a minute; slow down")
        else:
            try:
                await incoming.send(SessionMessage(message))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async def _malformed(self, text: str) -> None:
        try:
            value = msgspec.json.decode(text)
        except NOT_JSON as error:
            await self._complain(types.PARSE_ERROR, f"this is not JSON: {why_not_json(error)}")
            return
        if isinstance(value, list):
            await self._complain(types.INVALID_REQUEST, "one message a frame; batches are not taken")
            return
        ident = value.get("id") if isinstance(value, dict) else None
        ident = ident if isinstance(ident, str | int) and not isinstance(ident, bool) else None
        await self._complain(types.INVALID_REQUEST, "this is not a JSON-RPC 2.0 message", ident)

    async def _refuse(self, message: Any, code: int, text: str) -> None:
        if isinstance(message, types.JSONRPCRequest):
            await self._complain(code, text, message.id)

    async def _complain(self, code: int, message: str, ident: str | int | None = None) -> None:
        error = {"jsonrpc": "2.0", "id": ident, "error": {"code": code, "message": message}}
        await self._send_text(_encode(error).decode())

    async def _send_text(self, text: str) -> None:
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):
            return  # the client has gone; the reader hears of it next

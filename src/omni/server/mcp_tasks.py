"""The Tasks extension of MCP (io.modelcontextprotocol/tasks) over the real engine: a handle is a durable task's id.

idle, dispatching, executing, waiting → working
held                                  → input_required, when there is something to choose; else working
completed, failed                     → completed; a failed task's result is a tool error (isError)
cancelled                             → cancelled
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from omni.domain.errors import NotAuthorised, NotFound, OmniError
from omni.domain.task import Task
from omni.domain.values import TaskState
from omni.domain.view import task_view, timestamp
from omni.server.call_log import LONGEST_NAME, answering
from omni.server.requests import CreateTask
from omni.server.rights import Rights, demand
from omni.server.tools import Call, Said, hand_in, task_sentence

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_MS = 500
DECISION = "decision"
Context = ServerRequestContext[Any, Any]

_STATUS = {
    TaskState.COMPLETED: "completed",
    TaskState.FAILED: "completed",
    TaskState.CANCELLED: "cancelled",
}


class TaskParams(types.RequestParams):
    task_id: str


class UpdateParams(types.RequestParams):
    task_id: str
    input_responses: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies defaults


class TaskExtension:
    """tasks/get, tasks/update and tasks/cancel, and create_task's answer as a handle."""

    def __init__(
        self,
        desk: Any,
        call: Callable[[Context], Call],
        result: Callable[[Said], types.CallToolResult],
    ) -> None:
        self._desk = desk
        self._call = call
        self._result = result

    def join(self, server: Server[Any]) -> None:
        """Add the methods to a server and announce them."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self._guarded(self._get))
        server.add_request_handler("tasks/update", UpdateParams, self._guarded(self._update))
        server.add_request_handler("tasks/cancel", TaskParams, self._guarded(self._cancel))

    def wanted(self, ctx: Context, tool: str) -> bool:
        """Whether this call shall be answered with a handle."""
        return tool == "create_task" and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and declared(ctx)

    async def begin(self, call: Call, asked: CreateTask) -> dict[str, Any]:
        """Accept the task; the handle is given when it is durable."""
        task, _ = await hand_in(call, asked)
        return {**self._handle(task), "resultType": "task"}

    def _guarded(self, method: Callable[[Context, Any], Awaitable[dict[str, Any]]]) -> Any:
        async def guarded(ctx: Context, params: Any) -> dict[str, Any]:
            if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
                raise MCPError(types.METHOD_NOT_FOUND, "Method not found", ctx.method)
            if not declared(ctx):
                wanted: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
                text = f"declare the extension {EXTENSION} with the request"
                raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, text, wanted)
            with answering(self._desk.clock, ctx.method, self._call(ctx).client) as answered:
                answered.task = params.task_id[:LONGEST_NAME]
                try:
                    return await method(ctx, params)
                except NotFound:
                    raise MCPError(types.INVALID_PARAMS, f"there is no task {params.task_id[:200]!r}") from None

        return guarded

    async def _get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        task = await self._desk.get(params.task_id)
        return {**self._handle(task), **self._details(task), "resultType": "complete"}

    async def _cancel(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        _demand(ctx)
        task = await self._desk.get(params.task_id)
        if not task.ended:
            await self._try(self._desk.cancel(task.id, self._call(ctx).client))
        return {"resultType": "complete"}

    async def _update(self, ctx: Context, params: UpdateParams) -> dict[str, Any]:
        _demand(ctx)
        task = await self._desk.get(params.task_id)
        choice = _choice(params.input_responses.get(DECISION))
        if task.held is not None and choice is not None:
            if choice not in task.held.options:
                offered = ", ".join(task.held.options)
                raise MCPError(types.INVALID_PARAMS, f"decision must be one of: {offered}")
            await self._try(self._desk.resolve(task.id, choice, self._call(ctx).client))
        return {"resultType": "complete"}

    async def _try(self, change: Awaitable[Task]) -> None:
        try:
            await change
        except NotFound:
            raise
        except OmniError as error:
            raise MCPError(types.INVALID_REQUEST, error.message, {"hint": error.hint}) from None

    def _handle(self, task: Task) -> dict[str, Any]:
        return {
            "taskId": task.id,
            "status": _status(task),
            "statusMessage": task_sentence(task),
            "createdAt": timestamp(task.created_at),
            "lastUpdatedAt": timestamp(task.updated_at),
            "ttlMs": None,
            "pollIntervalMs": POLL_MS,
        }

    def _details(self, task: Task) -> dict[str, Any]:
        if task.state in {TaskState.COMPLETED, TaskState.FAILED}:
            result = self._result(Said(task_sentence(task), task_view(task)))
            result.is_error = task.state is TaskState.FAILED
            return {"result": result.model_dump(by_alias=True, mode="json", exclude_none=True)}
        if _status(task) == "input_required":
            return {"inputRequests": {DECISION: _question(task)}}
        return {}


def _demand(ctx: Context) -> None:
    try:
        demand(Rights.ADMIN, ctx.method)
    except NotAuthorised as error:
        raise MCPError(types.INVALID_REQUEST, error.message, {"hint": error.hint}) from None


def declared(ctx: Context) -> bool:
    """Whether this request declared the extension."""
    meta: Any = ctx.meta or {}
    capabilities = meta.get(types.CLIENT_CAPABILITIES_META_KEY)
    extensions = capabilities.get("extensions") if isinstance(capabilities, dict) else None
    return isinstance(extensions, dict) and EXTENSION in extensions


def _status(task: Task) -> str:
    if task.state is TaskState.HELD and task.held is not None and task.held.options:
        return "input_required"
    return _STATUS.get(task.state, "working")


def _question(task: Task) -> dict[str, Any]:
    assert task.held is not None
    choices = {"type": "string", "title": "Decision", "enum": list(task.held.options)}
    schema = {"type": "object", "properties": {DECISION: choices}, "required": [DECISION]}
    params = {"mode": "form", "message": task_sentence(task), "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


def _choice(response: Any) -> Any:
    if not isinstance(response, dict) or response.get("action") != "accept":
        return None
    content = response.get("content")
    return content.get(DECISION) if isinstance(content, dict) else None

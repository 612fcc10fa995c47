"""The bundled model adapter: an MCP server over stdio that does a task with one chat completion, and nothing else.

Its model calls go to Omni's own port, under the key of the attempt. Both come as arguments of each call, so that no key
stands in the environment of a process. A completion has no effect but its cost: an attempt that was cut off may be
made again (`on_crash: retry`), so there is nothing that `lookup_attempt` would have to remember. Within one call
nothing is repeated. Started as `python -m omni.adapters.model_task`.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import mcp_types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

import omni
from omni.adapters.completion import BROKEN_OFF, LENGTH, Completion, NoAnswer, refusal_of
from omni.adapters.report import language_of

CONNECT_S = 5.0
TELL_EVERY_S = 0.5
END_WITHIN_S = 2.0  # from the last word of an answer to the end of its stream
MAX_ERROR_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
ANY_MODEL = "auto"

Progress = Callable[[float, float | None, str | None], Awaitable[None]]

_SYSTEM = {
    "en": "Do the task that follows and answer with its result, complete and to the point. You have no tools, no files "
    "and no memory of earlier tasks. If the task needs them, say what you cannot do; never claim to have done it.",
    "zh": "请完成下面的任务，直接给出完整、切题的结果。你没有工具，看不到文件，也不记得以前的任务。"
    "如果任务需要这些，请说明你做不到什么，绝不要声称已经做了。",
}
_CUT = {
    "en": "[cut: the model stopped at its limit of length]",
    "zh": "[未完：模型在长度上限处停下]",
}


class Asked(msgspec.Struct, frozen=True):
    """The arguments of `answer`. `tier` stands in for a model that nobody named."""

    description: str
    base_url: str
    api_key: str = ""
    model: str = ""
    tier: str = ""
    task_id: str = ""
    attempt: int = 0


async def answer(client: httpx.AsyncClient, asked: Asked, on_progress: Progress) -> types.CallToolResult:
    """Do the task, or say why there is no answer."""
    completion = Completion()
    try:
        await _complete(client, asked, completion, on_progress)
        completion.finish()
    except NoAnswer as error:
        return _failed(error)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        return _failed(NoAnswer("unavailable", f"the model port cannot be reached: {error}"))
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return _failed(NoAnswer("bad_request", "there is no model port at the address that the adapter was given"))
    except httpx.HTTPError as error:
        how = str(error) or type(error).__name__
        return _failed(NoAnswer(BROKEN_OFF, f"the model's answer broke off after {completion.chars} characters: {how}"))
    return _done(completion, language_of(asked.description))


async def _complete(client: httpx.AsyncClient, asked: Asked, completion: Completion, on_progress: Progress) -> None:
    url = f"{asked.base_url.rstrip('/')}/v1/chat/completions"
    headers = {"Authorization": f"Bearer {asked.api_key}"} if asked.api_key else {}
    async with client.stream("POST", url, json=_request(asked), headers=headers) as response:
        if response.status_code != httpx.codes.OK:
            raise refusal_of(response.status_code, response.headers, await _read(response, MAX_ERROR_BYTES))
        if response.headers.get("content-type", "").startswith("application/json"):
            completion.whole(await _read(response, MAX_BODY_BYTES))
            return
        await _follow(response, completion, on_progress)


def _request(asked: Asked) -> dict[str, Any]:
    system = _SYSTEM[language_of(asked.description)]
    return {
        "model": asked.model or asked.tier or ANY_MODEL,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": asked.description}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def _follow(response: httpx.Response, completion: Completion, on_progress: Progress) -> None:
    """Read the stream to its end. Each line is a sign of life, also where the text does not grow: a model may think."""
    told_at, heard = anyio.current_time(), 0
    lines = response.aiter_lines()
    async for line in lines:
        heard += len(line) + 1
        completion.feed(line)
        if completion.complete:
            break
        if anyio.current_time() - told_at >= TELL_EVERY_S:
            told_at = anyio.current_time()
            await on_progress(float(heard), None, f"{completion.chars} characters")
    # Who hangs up before the end has abandoned the call, in the port's books.
    with anyio.move_on_after(END_WITHIN_S), contextlib.suppress(httpx.HTTPError):
        async for _ in lines:
            pass


async def _read(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body[:limit])


def _done(completion: Completion, language: str) -> types.CallToolResult:
    text = completion.text
    if completion.end == LENGTH:
        text = f"{text}\n{_CUT[language]}"
    structured: dict[str, Any] = {"text": text, "model": completion.model, "end": completion.end}
    if completion.usage:
        structured["tokens"] = completion.usage  # not `usage`, which counts for the task: the port has metered the call
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=structured)


def _failed(error: NoAnswer) -> types.CallToolResult:
    said: dict[str, Any] = {"kind": error.kind, "message": error.message}
    if error.retry_after_s is not None:
        said["retry_after_s"] = error.retry_after_s
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=error.message)]
    return types.CallToolResult(content=content, structured_content={"error": said}, is_error=True)


def make_server(client: httpx.AsyncClient) -> Server[Any]:
    """The MCP server with its one tool, `answer`."""
    text = {"type": "string"}
    tool = types.Tool(
        name="answer",
        description="Do a task with one completion of a language model.",
        input_schema={
            "type": "object",
            "properties": {
                "description": {**text, "description": "The task."},
                "base_url": {**text, "description": "Address of the model port, without /v1."},
                "api_key": {**text, "description": "Key of this attempt."},
                "model": {**text, "description": "The model; empty: the tier's."},
                "tier": {**text, "description": "The tier, where no model is named."},
                "task_id": text,
                "attempt": {"type": "integer"},
            },
            "required": ["description", "base_url"],
        },
    )

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool])

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            asked = msgspec.convert(params.arguments or {}, Asked)
        except msgspec.ValidationError as error:
            return _failed(NoAnswer("bad_request", f"the model adapter was called in a way it does not know: {error}"))
        return await answer(client, asked, context.session.report_progress)

    return Server("omni-model", version=omni.__version__, on_list_tools=list_tools, on_call_tool=call_tool)


def make_client() -> httpx.AsyncClient:
    """A client that follows no redirect and no proxy of the environment; who waits too long is told by a cancel."""
    timeout = httpx.Timeout(None, connect=CONNECT_S)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
    # The port is plain HTTP on this machine: an empty context spares reading all the world's certificates.
    return httpx.AsyncClient(
        timeout=timeout, limits=limits, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )


async def serve() -> None:
    """Speak MCP on stdin and stdout until stdin is closed."""
    async with make_client() as client, stdio_server() as (read, write):
        server = make_server(client)
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(serve)

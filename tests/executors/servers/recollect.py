"""A real MCP memory with several tongues and several illnesses: `python recollect.py`, over stdio or (`http`) HTTP.

RECOLLECT_FORM chooses the tools and the shape of the answers, RECOLLECT_MODE how ill it is, RECOLLECT_TEXTS (JSON) what
it knows. What it hears it writes into the directory RECOLLECT_NOTES, one JSON object on each line.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

NOTES = Path(os.environ["RECOLLECT_NOTES"])
MODE = os.environ.get("RECOLLECT_MODE", "well")
TEXTS = json.loads(os.environ.get("RECOLLECT_TEXTS", '["the bridge is closed"]'))

STRING = {"type": "string"}
MESSAGE = {
    "type": "object",
    "properties": {"role": STRING, "content": STRING, "chat_time": STRING},
    "required": ["role", "content"],
}


def schema(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def maybe(kind: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [kind, {"type": "null"}], "default": None}


def structured(body: Any) -> types.CallToolResult:
    block = types.TextContent(type="text", text=json.dumps(body))
    return types.CallToolResult(content=[block], structured_content=body)


def plain(*texts: str, bad: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=each) for each in texts], is_error=bad)


# --- three forms: a cloud's, an open-source server's, and a small one's

CLOUD_THREAD = {"conversation_first_message": STRING}
FORMS: dict[str, dict[str, dict[str, Any]]] = {
    "cloud": {
        "search_memory": schema(
            ["query", "conversation_first_message", "memory_limit_number"],
            query=STRING, **CLOUD_THREAD, memory_limit_number={"type": "number"},
        ),
        "add_message": schema(
            ["conversation_first_message", "messages"], **CLOUD_THREAD, messages={"type": "array", "items": MESSAGE}
        ),
    },
    "open": {
        "search_memory": schema(
            ["query"], query=STRING, user_id=maybe(STRING), cube_ids=maybe({"type": "array", "items": STRING})
        ),
        "add_message": schema(
            [], memory_content=maybe(STRING), doc_path=maybe(STRING), user_id=maybe(STRING),
            messages=maybe({"type": "array", "items": {"type": "object", "additionalProperties": STRING}}),
        ),
    },
    "small": {
        "find": schema(["text", "session_id"], text=STRING, session_id=STRING, k={"type": "integer", "maximum": 2}),
        "keep": schema(["text"], text=STRING),
    },
    "strange": {
        "search_memory": schema(["query", "vault"], query=STRING, vault=STRING),
        "add_message": schema(["messages"], messages={"type": "boolean"}),
    },
}  # fmt: skip
FORM = os.environ.get("RECOLLECT_FORM", "cloud")


def found() -> types.CallToolResult:
    if FORM == "cloud":
        facts = [{"memory_key": f"key {n}", "memory_value": text} for n, text in enumerate(TEXTS)]
        return structured({"code": 0, "message": "ok", "data": {"memory_detail_list": facts}})
    if FORM == "open":
        memories = [{"id": str(n), "memory": text, "metadata": {"content": "no"}} for n, text in enumerate(TEXTS)]
        return structured({"text_mem": [{"cube_id": "c", "memories": memories}], "act_mem": [], "para_mem": []})
    return plain(*TEXTS)


# --- illnesses


async def answer(params: types.CallToolRequestParams) -> types.CallToolResult:
    searches = params.name in {"search_memory", "find"}
    with (NOTES / "heard").open("a") as file:
        file.write(json.dumps({"tool": params.name, **(params.arguments or {})}) + "\n")
    if searches or MODE.startswith("add-"):
        return await ill(MODE.removeprefix("add-"))
    return structured({"code": 0, "data": {"success": True}})


async def ill(mode: str) -> types.CallToolResult:
    match mode:
        case "slow":
            await anyio.sleep(60)
        case "frozen":  # neither answers nor reads: even a cancellation stays in the pipe
            os.kill(os.getpid(), signal.SIGSTOP)
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "broken":
            return plain("Error: HTTP 500", bad=True)
        case "garbage":
            sys.stdout.write("not JSON-RPC\n{\n\xff\n")
            sys.stdout.flush()
            return structured({"data": [[[None, 1, {"score": True}]], "", {"text": "   "}]})
        case "huge":
            return plain("x" * 3_000_000)
        case "enormous":
            return plain("x" * 20_000_000)
    return found()


def make_server() -> Server[Any]:
    tools = [types.Tool(name=name, description=name, input_schema=each) for name, each in FORMS[FORM].items()]

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await answer(params)

    return Server("recollect", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


async def main() -> None:
    server = make_server()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def over_http() -> None:
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    (NOTES / "port").write_text(f"{listening.getsockname()[1]}\n")
    await uvicorn.Server(uvicorn.Config(make_server().streamable_http_app(), log_level="warning")).serve([listening])


if __name__ == "__main__":
    (NOTES / "pid").write_text(f"{os.getpid()}\n")
    if MODE == "mute":
        signal.pause()
    if MODE == "absent":
        sys.exit("no key")
    anyio.run(over_http if "http" in sys.argv else main)

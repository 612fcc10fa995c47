"""The bundled runbook adapter: an MCP server over stdio that runs named commands, and nothing else.

Its commands come from the daemon's configuration, as JSON in `OMNI_RUNBOOK`. A task chooses one by name; what the task
says is never part of a command line. Started as `python -m omni.adapters.runbook`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

import omni
from omni.adapters.report import language_of, measure, write
from omni.config import SYSTEM_REPORT, RunbookCommand
from omni.executors.bundled import RUNBOOK_VARIABLE
from omni.runtime.ports import SystemClock

MAX_OUTPUT_BYTES = 512 * 1024
PROGRESS_EVERY_S = 2.0
TERM_PATIENCE_S = 1.0

Commands = Mapping[str, RunbookCommand]
Progress = Callable[[float, float | None, str | None], Awaitable[None]]

_WORD = re.compile(r"[a-z0-9]+|[\u4e00-\u9fff]+")
# A person asks for the report of this machine in many ways; a configured command has its name and description only.
_ASKS_FOR_REPORT = re.compile(
    r"\b(system|machine|health|status|disk|memory|cpu|load|uptime)\b|系统|状态|磁盘|内存|负载|报告|健康", re.IGNORECASE
)


class Output(msgspec.Struct, frozen=True):
    """What a command left: its exit code and the end of what it wrote."""

    code: int
    text: str


def commands_of(environ: Mapping[str, str]) -> dict[str, RunbookCommand]:
    """The commands that the daemon named; the system report when it named none."""
    text = environ.get(RUNBOOK_VARIABLE, "")
    named = msgspec.json.decode(text, type=dict[str, RunbookCommand]) if text else {}
    return named or {"system_report": SYSTEM_REPORT}


def choose(description: str, command: str, commands: Commands) -> str:
    """The name of the command that is meant, empty when none is: by exact name, then by all words of one name."""
    if command:
        return command if command in commands else ""
    said = description.strip()
    if said in commands:
        return said
    words = set(_WORD.findall(said.lower()))
    meant = [name for name in commands if _names(name, said) or set(_WORD.findall(name.lower())) <= words]
    if meant:
        return max(meant, key=len)
    reports = [name for name, each in commands.items() if each.builtin == "system_report"]
    return reports[0] if reports and _ASKS_FOR_REPORT.search(said) else ""


def _names(name: str, said: str) -> bool:
    """Whether the name stands in the text as a word of its own; Chinese text has no spaces around it."""
    return bool(re.search(rf"(?<![A-Za-z0-9_-]){re.escape(name)}(?![A-Za-z0-9_-])", said))


async def run_command(command: RunbookCommand, on_progress: Progress) -> Output:
    """Run one argument list to its end; TimeoutError after its time. Cancelled or late, it is ended with its group."""
    process = await asyncio.create_subprocess_exec(
        *command.argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, cwd=_directory(command.cwd), env=_environment(),
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    try:
        async with asyncio.timeout(command.timeout_s):
            text = await _collect(process.stdout, on_progress)
            return Output(await process.wait(), text)
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


def _directory(cwd: str) -> str | None:
    return str(Path(cwd).expanduser()) if cwd else None


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {RUNBOOK_VARIABLE, "PYTHONPATH"}}


async def _collect(stream: asyncio.StreamReader, on_progress: Progress) -> str:
    kept, total, loop = bytearray(), 0, asyncio.get_running_loop()
    told_at = loop.time()
    while True:
        try:
            chunk = await asyncio.wait_for(stream.read(65_536), PROGRESS_EVERY_S)
        except TimeoutError:
            chunk = None
        if chunk == b"":
            return _end_of(kept, total)
        kept += chunk or b""
        total += len(chunk or b"")
        del kept[: max(0, len(kept) - MAX_OUTPUT_BYTES)]
        if chunk is None or loop.time() - told_at > PROGRESS_EVERY_S:
            told_at = loop.time()
            await on_progress(float(total), None, _last_line(kept))


def _last_line(data: bytearray) -> str:
    lines = bytes(data[-400:]).decode("utf-8", "replace").splitlines()
    return lines[-1][:200] if lines else "still running"


def _end_of(kept: bytearray, total: int) -> str:
    text = kept.decode("utf-8", "replace")
    return f"[the last {len(kept)} of {total} bytes]\n{text}" if total > len(kept) else text


async def _end(process: asyncio.subprocess.Process) -> None:
    """TERM, then KILL, to the whole group: what the command left in the background goes with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), TERM_PATIENCE_S)


async def answer(description: str, command: str, commands: Commands, on_progress: Progress) -> types.CallToolResult:
    """Run what the task asks for, or say what could be asked."""
    name = choose(description, command, commands)
    if not name:
        offered = "\n".join(
            f"  {each}: {known.description or ' '.join(known.argv)}" for each, known in commands.items()
        )
        return _told(f"No command of the runbook is meant. It offers:\n{offered}", "bad_request")
    if commands[name].builtin:
        figures = measure(SystemClock())
        return _done(write(figures, language_of(description)), {"command": name, "report": figures})
    return await _answer_with_program(name, commands[name], on_progress)


async def _answer_with_program(name: str, command: RunbookCommand, on_progress: Progress) -> types.CallToolResult:
    try:
        output = await run_command(command, on_progress)
    except TimeoutError:
        return _told(f"{name} did not finish within {command.timeout_s:g} s and was ended", "timeout")
    except OSError as error:
        return _told(f"{name} cannot be started: {error}", "failed")
    if output.code != 0:
        return _told(f"{name} ended with exit code {output.code}\n{output.text}", "failed")
    return _done(output.text, {"command": name, "exit_code": 0})


def _done(text: str, structured: dict[str, Any]) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=structured)


def _told(text: str, kind: str) -> types.CallToolResult:
    structured = {"error": {"kind": kind, "message": text}}
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=structured, is_error=True)


def make_server(commands: Commands) -> Server[Any]:
    """The MCP server with its one tool, `run`."""
    tool = types.Tool(
        name="run",
        description=f"Run a named command: {', '.join(commands)}.",
        input_schema={
            "type": "object",
            "properties": {
                "description": {"type": "string", "description": "What is wanted, with the name of the command."},
                "command": {"type": "string", "enum": list(commands)},
            },
            "required": ["description"],
        },
    )

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool])

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        said = params.arguments or {}
        return await answer(
            str(said.get("description", "")), str(said.get("command") or ""), commands, _progress_of(context)
        )

    return Server("omni-runbook", version=omni.__version__, on_list_tools=list_tools, on_call_tool=call_tool)


def _progress_of(context: Any) -> Progress:
    async def on_progress(done: float, total: float | None, text: str | None) -> None:
        await context.session.report_progress(done, total, text)

    return on_progress


async def serve() -> None:
    """Speak MCP on stdin and stdout until stdin is closed."""
    server = make_server(commands_of(os.environ))
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(serve)

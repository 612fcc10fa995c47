"""The executors: each MCP server is asked what it offers, and each adapter's programs are looked for.

Bundled adapters are not started: a second one beside the daemon's would take its runs for leftovers and end them.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from omni.adapters.openclaw.settings import DEFAULT_URL, is_near
from omni.adapters.openclaw.urls import page
from omni.config import ExecutorConfig
from omni.config.adapters import ClaudeCodeOptions, MemoryOptions
from omni.domain.errors import ExecutorUnavailable
from omni.executors.bundled import completed
from omni.executors.children import environment
from omni.executors.forms import ADD, SEARCH, Purpose, Unfit, fit
from omni.ops.asking import get
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.looking import Check
from omni.ops.doctor.scene import Scene
from omni.ops.doctor.template import misfits
from omni.ops.surroundings import Program, Targets, find
from omni.redact import Redactor

ROOM = "executors"
ANSWER_S = 15.0  # a launcher may first have to fetch the server
CHECK_S = ANSWER_S + 7.0  # with the end of the child
NEEDED_NODE = (22, 0)
TELL_S = 5.0  # a program that runs on Node may take seconds to say its version
_CHANGE = "omni config check --live, after you have corrected it"


def checks(scene: Scene) -> list[Check]:
    """A look for each entry that is switched on."""
    config = scene.config
    wanted = [each for each in config.executors.values() if each.enabled]
    memory = [config.memory] if config.memory else []
    return [_check(each) for each in (*wanted, *memory)]


def _check(executor: ExecutorConfig) -> Check:
    look = _look_of(executor)
    return Check(ROOM, executor.name, lambda scene: look(scene, executor), CHECK_S, live=True)


def _look_of(executor: ExecutorConfig) -> Any:
    if executor.adapter in _ADAPTERS and executor.transport == "bundled":
        return _ADAPTERS[executor.adapter]
    if executor.transport == "null":
        return dry_run
    return server


def dry_run(scene: Scene, executor: ExecutorConfig) -> Iterator[Finding]:
    """Nothing to look at."""
    yield fine(f"executor.{executor.name}", f"{executor.name}: a dry run, always there")


# --- MCP servers ------------------------------------------------------------------------------------------------------


def server(scene: Scene, executor: ExecutorConfig) -> Iterator[Finding]:
    """Connect, list the tools, and hold the template against the tool's schema."""
    try:
        executor, tools = _offer(scene, executor)
    except ExecutorUnavailable as error:
        yield found("mcp.unreachable", f"{executor.name}: {error.message}", _reach(executor))
        return
    trouble = list(_memory(executor, tools) if executor.adapter == "memos" else _fit(executor, tools))
    yield from trouble or [fine(f"executor.{executor.name}", _offers(executor, tools))]


def _offer(scene: Scene, executor: ExecutorConfig) -> tuple[ExecutorConfig, dict[str, dict[str, Any]]]:
    """The executor as it is called, and its tools with their schemas.

    Its child lives in a directory and under an owner of this look alone.
    """
    from omni.executors.offer import offered
    from omni.executors.plug import Plug

    with tempfile.TemporaryDirectory(prefix="omni-doctor-") as scratch:
        plug = Plug(Path(scratch), f"doctor-{uuid.uuid4().hex}", Redactor(scene.loaded.secrets))
        whole = completed(executor, scene.config.runbook_commands, Path(scratch))
        tools = asyncio.run(offered(plug.wire(whole), ANSWER_S))
    return whole, {each.name: each.schema for each in tools}


def _reach(executor: ExecutorConfig) -> str:
    if executor.transport == "stdio":
        return f"omni logs --level warning, and try it yourself: {executor.command} {' '.join(executor.args)}".rstrip()
    return f"start the server at {_plain(executor.url)}, or set mcp_servers.{executor.name}.enabled: false"


def _plain(url: str) -> str:
    """An address without a login or a query, which may hold secrets."""
    return re.sub(r"://[^/@]*@", "://", url).partition("?")[0]


def _offers(executor: ExecutorConfig, tools: dict[str, Any]) -> str:
    return f"{executor.name}: connected, {len(tools)} tools{f', {executor.tool} fits' if executor.tool else ''}"


def _fit(executor: ExecutorConfig, tools: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    where = f"mcp_servers.{executor.name}"
    if executor.tool and executor.tool not in tools:
        offered = ", ".join(list(tools)[:40]) or "none"
        says = f"{executor.name} has no tool {executor.tool!r}; its tools are: {offered}"
        near = _nearest(executor.tool, tools)
        yield found("mcp.tool_absent", says, f"set {where}.tool: {near or 'TOOL'}; then {_CHANGE}")
        return
    for misfit in misfits(executor.arguments, tools.get(executor.tool, {})):
        says = f"{executor.name}, tool {executor.tool}: {misfit.says}"
        yield found(f"mcp.argument_{misfit.kind}", says, f"correct {where}.arguments; then {_CHANGE}")


def _nearest(word: str, known: dict[str, Any]) -> str:
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.3)
    return close[0] if close else next(iter(known)) if len(known) == 1 else ""


def _memory(executor: ExecutorConfig, tools: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    options = msgspec.convert(executor.options, MemoryOptions)
    for key, (purposes, vital) in _WANTED.items():
        wanted = getattr(options, key)
        if why := _unfit(wanted, tools, purposes, vital):
            mend = f"set mcp_servers.{executor.name}.options.{key}; then {_CHANGE}"
            yield found("mcp.memory_unfit", f"the memory {executor.name}: {why}", mend)


_WANTED: dict[str, tuple[Mapping[Purpose, bool], tuple[Purpose, ...]]] = {
    "search_tool": (SEARCH, ("query",)),
    "add_tool": (ADD, ("messages", "content")),
}


def _unfit(
    wanted: str, tools: dict[str, dict[str, Any]], purposes: Mapping[Purpose, bool], vital: tuple[Purpose, ...]
) -> str:
    """Why a tool of the memory cannot be called; empty when it can."""
    if wanted not in tools:
        return f"there is no tool {wanted!r}; its tools are: {', '.join(tools) or 'none'}"
    try:
        fit(wanted, tools[wanted], purposes, vital)
    except Unfit as error:
        return error.message
    return ""


# --- adapters ---------------------------------------------------------------------------------------------------------


def claude_code(scene: Scene, executor: ExecutorConfig) -> Iterator[Finding]:
    """The program that the adapter runs."""
    options = msgspec.convert(executor.options, ClaudeCodeOptions)
    program = _program(
        scene, executor, str(Path(options.binary).expanduser()) if "/" in options.binary else options.binary
    )
    if not program.found:
        says = f"{executor.name}: there is no program {options.binary!r}"
        mend = f"npm install -g @anthropic-ai/claude-code, or set mcp_servers.{executor.name}.options.binary"
        yield found("program.absent", says, mend)
    elif program.problem:
        says = f"{executor.name}: {program.path} {program.problem}"
        yield found("program.broken", says, f"{program.path} --version")
    else:
        yield fine(f"executor.{executor.name}", f"{executor.name}: {program.path}, {program.version}")


def _program(scene: Scene, executor: ExecutorConfig, name: str) -> Program:
    """A program as the executor's process would find it."""
    environ = environment(executor.env, "", "", scene.environ)
    return asyncio.run(find(name, environ, Targets(places={}, within_s=TELL_S)))


def openclaw(scene: Scene, executor: ExecutorConfig) -> Iterator[Finding]:
    """The gateway, and where it is on this machine, the Node that it runs on."""
    url = executor.url or DEFAULT_URL
    answer = get(page(url, "/healthz"), 5.0, executor.headers)
    if answer.member("ok") is True:
        yield fine(f"executor.{executor.name}", f"{executor.name}: the gateway answers at {_plain(url)}")
    else:
        mend = "openclaw gateway run" if is_near(url) else f"look at {_plain(page(url, '/'))}"
        yield found("gateway.unreachable", f"{executor.name}: no gateway answers at {_plain(url)}: {answer.why}", mend)
    if is_near(url):
        yield from _node(scene, executor)


def _node(scene: Scene, executor: ExecutorConfig) -> Iterator[Finding]:
    """OpenClaw needs a Node of these years; one that is too old fails with a riddle."""
    program = _program(scene, executor, "node")
    if not program.found:
        says = f"{executor.name}: OpenClaw runs on Node, and there is none on the PATH"
        yield found("program.absent", says, "install Node 22 or newer: https://nodejs.org, or brew install node")
    elif tuple(map(int, re.findall(r"\d+", program.version)[:2])) < NEEDED_NODE:
        says = (
            f"{executor.name}: {program.path} is {program.version or 'of no version'}; OpenClaw needs Node 22 or newer"
        )
        yield found("program.too_old", says, "install Node 22 or newer: https://nodejs.org, or brew upgrade node")


def moltworker(scene: Scene, executor: ExecutorConfig) -> Iterator[Finding]:
    """Whether the Worker is there; its gateway is started on demand."""
    url = page(executor.url, "/sandbox-health")
    answer = get(url, 8.0, executor.headers)
    if 0 < answer.status < 400:
        yield fine(f"executor.{executor.name}", f"{executor.name}: the Worker answers")
    else:
        yield found("gateway.unreachable", f"{executor.name}: {answer.why}", f"curl -i {_plain(url)}")


def builtin(scene: Scene, executor: ExecutorConfig) -> Iterator[Finding]:
    """The runbook: its programs. The model: it has nothing of its own."""
    trouble = list(_commands(scene)) if executor.adapter == "runbook" else []
    yield from trouble or [fine(f"executor.{executor.name}", f"{executor.name}: comes with Omni")]


def _commands(scene: Scene) -> Iterator[Finding]:
    for name, command in scene.config.runbook_commands.items():
        if command.argv and not scene.program(command.argv[0]):
            says = f"runbook.{name}: there is no program {command.argv[0]!r}"
            yield found("program.absent", says, f"install it, or give its full path in runbook.{name}.argv")


_ADAPTERS: dict[str, Any] = {
    "claude_code": claude_code, "openclaw": openclaw, "moltworker": moltworker, "runbook": builtin, "model": builtin,
}  # fmt: skip
